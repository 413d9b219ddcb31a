"""The command that repeats a run, and its settings as a table."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from autogas.workflows.build import DEFAULT_SPACE
from autogas.workflows.candidates import SearchSettings
from autogas.workflows.discover import DiscoverSettings
from autogas.workflows.rank import RankSettings
from autogas.workflows.tables import ReproduceSettings
from autogas.workflows.trainings import training_of

VERBS: dict[str, tuple[str, type[BaseModel] | None]] = {
    "discover": ("autogas discover", DiscoverSettings),
    "rank": ("autogas rank", RankSettings),
    "search": ("autogas search", SearchSettings),
    "build": ("autogas bench build", None),
    "reproduce": ("autogas reproduce", ReproduceSettings),
}
"""Command and class of settings, which for a build depends on the space."""
ALWAYS = ("benchmark", "space", "recipe", "name", "benchmarks")
OPTIONS = {"everything": "--all", "space_settings": "--set", "benchmarks": "--benchmark"}
"""Options whose name is not the setting's own."""
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "discover": (),
    "rank": ("proxies",),
    "search": ("space",),
    "build": (),
    "reproduce": ("name",),
}
PYTHON_ONLY = ("train_images", "held_out_images")
"""Settings without an option: the Python functions take them."""


@dataclass(frozen=True)
class Setting:
    """One setting of a run: its name, value, whether it is not the default, and what it means."""

    name: str
    value: str
    changed: bool
    meaning: str


def command(workflow: str, settings: Mapping[str, Any]) -> str:
    """The command line that repeats a run: what must be given, and every setting that differs from its default."""
    verb, model = VERBS[workflow][0], _model(workflow, settings)
    given = [name for name in _ordered(model, settings) if name in ALWAYS or settings[name] != _default(model, name)]
    arguments = ARGUMENTS[workflow]
    given.sort(key=lambda name: name not in arguments)
    parts = (_argument(settings[name]) if name in arguments else _option(name, settings[name]) for name in given)
    return shlex.join([*verb.split(), *itertools.chain.from_iterable(parts)])


def python_only(workflow: str, settings: Mapping[str, Any]) -> list[str]:
    """``name=value`` of every setting that is not the default and that the command line cannot set."""
    model = _model(workflow, settings)
    found = [(name, settings[name], _default(model, name)) for name in PYTHON_ONLY if name in settings]
    return [f"{name}={value}" for name, value, default in found if value != default]


def _argument(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(map(str, value))


def _option(name: str, value: Any) -> Iterator[str]:
    if name in PYTHON_ONLY:
        return
    if name == "scored_at" and value == {}:
        yield "--full-size"
        return
    if name == "validation" and value is None:
        yield from ("--validation", "all")
        return
    flag = OPTIONS.get(name, "--" + name.replace("_", "-"))
    if isinstance(value, bool):
        yield flag if value else flag.replace("--", "--no-", 1)
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from (flag, f"{key}={_plain(entry)}")
    elif value is not None:
        for entry in value if isinstance(value, list) else [value]:
            yield from (flag, str(entry))


def _plain(value: Any) -> str:
    """A value as ``--set`` and ``--recipe NAME=VALUE`` read it: text stays as it is unless it would be read as JSON."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)


def setting_rows(workflow: str, settings: Mapping[str, Any]) -> list[Setting]:
    """Every setting of a run, in the order of the settings' own class."""
    model = _model(workflow, settings)
    fields = model.model_fields
    rows = []
    for name in _ordered(model, settings):
        meaning = fields[name].description if name in fields else None
        changed = name not in ALWAYS and settings[name] != _default(model, name)
        rows.append(Setting(name, _shown(settings[name]), changed, meaning or ""))
    return rows


def _model(workflow: str, settings: Mapping[str, Any]) -> type[BaseModel]:
    """The class of a run's settings."""
    return VERBS[workflow][1] or training_of(settings.get("space", DEFAULT_SPACE)).settings


def _ordered(model: type[BaseModel], settings: Mapping[str, Any]) -> list[str]:
    """Names of settings in the order of their class, unknown ones last."""
    known = [name for name in model.model_fields if name in settings]
    return [*known, *(name for name in settings if name not in model.model_fields)]


def _default(model: type[BaseModel], name: str) -> Any:
    if name not in model.model_fields:
        return None
    default = model.model_fields[name].get_default(call_default_factory=True)
    return default.model_dump(mode="json") if isinstance(default, BaseModel) else default


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_plain(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not set" if value is None else str(value)
