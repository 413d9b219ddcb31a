"""Settings of a workflow: declared once, for Python, for the command line, for the record of a run and its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """What determines a result. Each field has a default or is needed, a type, bounds, and says what it means."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def on_command_line(
    *, flag: str | None = None, argument: bool = False, always: bool = False, text: bool = False
) -> dict[str, Any]:
    """How a field is given on the command line, for ``Field(json_schema_extra=…)``, where it is not ``--its-name``.

    Args:
        flag: the option's name.
        argument: whether it is given without an option, by its place.
        always: whether the command that repeats a run says it even when it is the default.
        text: whether it takes words beside numbers, which the field's own validator reads.
    """
    return {"flag": flag, "argument": argument, "always": always or argument, "text": text}


def described(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """By name of a field: ``default`` (as JSON), ``meaning``, and what ``on_command_line`` says."""
    return {
        name: {
            "default": _plain(field.get_default(call_default_factory=True, validated_data={})),
            "meaning": field.description or "",
            **on_command_line(),
            **(field.json_schema_extra if isinstance(field.json_schema_extra, Mapping) else {}),
        }
        for name, field in model.model_fields.items()
        if not field.exclude
    }


def _plain(default: Any) -> Any:
    if isinstance(default, BaseModel):
        return default.model_dump(mode="json")
    return default if isinstance(default, bool | int | float | str | list | dict) else None


def all_is_none(value: object) -> object:
    """``all`` as None, for fields whose None means all."""
    return None if value == "all" else value


def split_at_commas(value: object) -> object:
    """A list whose texts may each name several things, with commas between."""
    if not isinstance(value, list):
        return value
    return [part for entry in value for part in (entry.split(",") if isinstance(entry, str) else [entry])]
