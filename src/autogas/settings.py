"""Settings of a workflow: declared once, for Python, for the command line, for the record of a run and its report."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from autogas.errors import InputError, unknown


class Settings(BaseModel):
    """What determines a result: unknown names and numbers that are not finite are refused, nothing changes later."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def must_be_usual(settings: BaseModel, names: Iterable[str], because: str) -> None:
    """Raise ``ValueError`` for a setting that is not at its default where it says nothing.

    Args:
        settings: which.
        names: of those that say nothing.
        because: what else was asked for, as ``with strategy random``.
    """
    for name in names:
        if getattr(settings, name) != usual(type(settings).model_fields[name]):
            raise ValueError(f"{name}={getattr(settings, name)!r} {because}, which does not use it: leave it out")


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


def described(model: type[BaseModel], known: Mapping[str, Any] = MappingProxyType({})) -> dict[str, dict[str, Any]]:
    """By name of a field: ``default`` (as JSON), ``meaning``, and what ``on_command_line`` says.

    Args:
        model: a class of settings.
        known: settings by name, on which defaults of others may depend.
    """
    return {
        name: {
            "default": _plain(usual(field, known)),
            "meaning": field.description or "",
            **on_command_line(),
            **(field.json_schema_extra if isinstance(field.json_schema_extra, Mapping) else {}),
        }
        for name, field in model.model_fields.items()
        if not field.exclude
    }


def usual(field: FieldInfo, known: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """The default of a field; None where it depends on a setting that is not known."""
    return field.get_default(call_default_factory=True, validated_data=dict(known))


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


class SettingError(InputError):
    """A setting with a value that it does not accept.

    Attributes:
        name: of the setting, dotted inside a recipe.
        value: what was given.
        reason: what it accepts.
    """

    def __init__(self, name: str, value: object, reason: str) -> None:
        super().__init__(f"{name}={value!r}: {reason}")
        self.name = name
        self.value = value
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.value, self.reason)


def over(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a space with those over them that are given among others; raises ``InputError`` for no mapping."""
    found = given.get("space_settings") or {}
    if not isinstance(found, Mapping):
        raise SettingError("space_settings", found, "expected settings by name")
    return {**own, **found}


def known_device(name: str) -> str:
    """The device's name, if this machine has it; raises ``ValueError`` if not."""
    import torch

    try:
        torch.zeros(1, device=name).item()  # a device without values, such as meta, is none to run on
    except (RuntimeError, AssertionError) as error:
        raise ValueError(str(error).splitlines()[0]) from None
    return name


Device: TypeAlias = Annotated[str, AfterValidator(known_device), Field(description="where networks run")]
SpaceSettings: TypeAlias = Annotated[
    dict[str, Any],
    Field(description="settings of the space that differ", json_schema_extra=on_command_line(flag="--set")),
]
SamplingRatio: TypeAlias = Annotated[
    float, Field(gt=0, le=1, description="share of the population that parents come from")
]
Batch: TypeAlias = Annotated[int, Field(ge=1, le=1 << 16)]
ScoredBatch: TypeAlias = Annotated[int, Field(ge=2, le=1 << 16)]
"""Samples that networks are scored on together: of one, nothing varies."""
MOST = 1_000_000
"""Candidates, rounds or networks of which nobody needs more."""
LARGEST = 1e38
"""About the largest number that float32 holds."""


M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], given: Mapping[str, Any]) -> M:
    """Settings of a class by name.

    Raises:
        InputError: the first thing that is wrong with them, in one line.
    """
    _no_flags_for_numbers(model, given)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise setting_error(error) from None


def _no_flags_for_numbers(model: type[BaseModel], given: Mapping[str, Any], above: str = "") -> None:
    """Raise ``SettingError`` for true or false where a number belongs, which would pass for 1 or 0."""
    for name, value in given.items():
        kind = getattr(model.model_fields.get(name), "annotation", None)
        kinds = {kind, *get_args(kind)}
        if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:
            raise SettingError(above + name, value, "expected a number")
        if isinstance(value, Mapping) and get_origin(kind) is dict:
            inside = get_args(kind)[1]
            flags = [entry for entry in value.items() if isinstance(entry[1], bool)]
            if flags and {inside, *get_args(inside)} & {int, float}:
                raise SettingError(f"{above}{name}.{flags[0][0]}", flags[0][1], "expected a number")
        if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, BaseModel):
            _no_flags_for_numbers(kind, value, f"{above}{name}.")


def setting_error(error: ValidationError) -> InputError:
    """The first problem that validation found, as an error of one line."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return InputError(f"{where}: needed, and not given")
    if first["type"] == "extra_forbidden":
        names = {".".join(map(str, (*first["loc"][:-1], name))) for name in _fields(error.title, first["loc"][:-1])}
        return unknown("setting", where, names)
    reason = first["msg"].removeprefix("Value error, ")
    return SettingError(where, first.get("input"), reason) if where else InputError(reason)


def _fields(title: str, parts: Sequence[int | str]) -> Iterable[str]:
    """Names that a part of a model of settings accepts, as far as it is made of models."""
    models = [BaseModel]
    for model in models:  # grows while it is read
        models += model.__subclasses__()
    found: Any = next((model for model in models if model.__name__ == title), None)
    for part in parts:
        field = getattr(found, "model_fields", {}).get(part)
        found = field and field.annotation
    return getattr(found, "model_fields", ())


F = TypeVar("F", bound=Callable[..., Any])


def takes(*models: type[BaseModel]) -> Callable[[F], F]:
    """Let the signature of a function with ``**settings`` show the fields of the classes that they become.

    So ``help`` and notebooks know the names, types and defaults, which are declared in the classes alone. Type checkers
    read ``autogas.workflows.keywords``, which is made from them too.
    """

    def decorate(function: F) -> F:
        own = inspect.signature(function)
        shown = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        names = {p.name for p in shown}
        for model in models:
            for name, field in model.model_fields.items():
                if name not in names:
                    names.add(name)
                    required, keyword = field.is_required(), inspect.Parameter.KEYWORD_ONLY
                    default = inspect.Parameter.empty if required else usual(field)
                    annotation = field.annotation or inspect.Parameter.empty
                    shown.append(inspect.Parameter(name, keyword, default=default, annotation=annotation))
        function.declares = list(own.parameters)  # type: ignore[attr-defined]
        function.__signature__ = own.replace(parameters=shown)  # type: ignore[attr-defined]
        return function

    return decorate
