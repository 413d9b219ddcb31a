"""Options of a verb, made from the fields of the settings that it takes: there is no other list of them."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from autogas.cli.parsing import parse_settings
from autogas.settings import described

Verb = Callable[..., None]


def with_options(*models: type[BaseModel], without: Iterable[str] = ()) -> Callable[[Verb], Verb]:
    """Give a verb an option for every field of some classes of settings.

    The verb's first parameter gets what was given, by the fields' names; what was not given is not in it, so that
    defaults stay where they are declared. Its other parameters are options as it declares them.

    Args:
        models: a field that several have is one option, described by the first.
        without: fields that the verb declares itself.
    """
    fields: dict[str, FieldInfo] = {}
    abouts: dict[str, Mapping[str, Any]] = {}
    for model in models:
        about = described(model)
        for name, field in model.model_fields.items():
            if name in about and name not in without and name not in fields:
                fields[name], abouts[name] = field, about[name]
            elif name in fields and about.get(name, {}).get("default") != abouts[name]["default"]:
                abouts[name] = {**abouts[name], "default": None}  # it depends

    def decorate(verb: Verb) -> Verb:
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(verb, eval_str=True).parameters.values())[1:]
        ]
        needed = {name for name in fields if len(models) == 1 and fields[name].is_required()}
        made = [
            _parameter(name, field, abouts[name], _panel(name, models), needed=name in needed)
            for name, field in fields.items()
        ]
        parameters = sorted([*made, *own], key=lambda parameter: not _is_argument(parameter))

        @functools.wraps(verb)
        def wrapper(**values: Any) -> None:
            given = {name: values.pop(name) for name in fields}
            verb({name: _read(name, fields[name], v) for name, v in given.items() if v is not None}, **values)

        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapper

    return decorate


PREFIXES = ("What determines the training of ", "What determines ", "Those of ")


def _panel(name: str, models: Sequence[type[BaseModel]]) -> str | None:
    """Title of the part of the help, for what only some of several classes have: what these determine."""
    having = [model for model in models if name in model.model_fields]
    shared = models[0] in having and len(models) != 2
    if shared or len(having) == len(models) or all(model in having for model in models[1:]):
        return None
    return "For " + ", ".join(dict.fromkeys(map(_about, having)))


def _about(model: type[BaseModel]) -> str:
    """What a class of settings determines, as its first line says."""
    line = (model.__doc__ or "").strip().splitlines()[0].rstrip(".")
    return next((line.removeprefix(prefix) for prefix in PREFIXES if line.startswith(prefix)), line)


def _parameter(
    name: str, field: FieldInfo, about: Mapping[str, Any], panel: str | None, *, needed: bool
) -> inspect.Parameter:
    kind = str if about["text"] else _plain_type(field.annotation)
    many = kind in (list, dict)
    python: Any = list[str] if many else kind
    meaning = about["meaning"].replace("None: ", "if not given: ")
    text = meaning[:1].upper() + meaning[1:] + _note(field, kind, about["default"], needed=needed)
    if about["argument"]:
        option: Any = typer.Argument(help=text)
    else:
        flag = about["flag"] or "--" + name.replace("_", "-")
        if kind is bool and field.default is True:
            flag = f"{flag}/{flag.replace('--', '--no-', 1)}"
        option = typer.Option(flag, help=text, show_default=False, rich_help_panel=panel)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[python | None, option]
    )


def _is_argument(parameter: inspect.Parameter) -> bool:
    return any(isinstance(part, typer.models.ArgumentInfo) for part in get_args(parameter.annotation))


def _plain_type(annotation: Any) -> Any:
    """``bool``, ``int``, ``float`` or ``str``; ``list`` for several, ``dict`` for names with values."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain_type(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return _plain_type(next(part for part in get_args(annotation) if part is not type(None)))
    if origin is Literal:
        return str
    if origin is not None:
        annotation = origin
    if annotation in (list, tuple):
        return list
    if annotation is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return dict
    return annotation if annotation in (bool, int, float) else str


def _note(field: FieldInfo, kind: Any, default: Any, *, needed: bool) -> str:
    """What an option accepts and what it is if it is not given."""
    notes = []
    choices = _choices(field.annotation)
    if choices and any(choice not in (field.description or "") for choice in choices):
        notes.append(" or ".join(choices))
    if kind is dict:
        notes.append("NAME=VALUE, may repeat")
    elif kind is list:
        notes.append("may repeat")
    if default is not None and kind not in (dict, list) and default is not False:
        notes.append(f"default {default:g}" if isinstance(default, float) else f"default {_shown(default)}")
    if needed and kind is not dict and "None: " not in (field.description or ""):
        notes.append("needed")
    return f" ({'; '.join(notes)})." if notes else "."


def _choices(annotation: Any) -> tuple[str, ...]:
    """What a field of a few words accepts."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for part in get_args(annotation) if (found := _choices(part))), ())


def _shown(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _read(name: str, field: FieldInfo, value: Any) -> Any:
    if _plain_type(field.annotation) is dict:
        extra = field.json_schema_extra
        flag = extra.get("flag") if isinstance(extra, Mapping) else None
        return parse_settings(value, str(flag or "--" + name.replace("_", "-")))
    return value
