"""The command that repeats a run, and its settings as a table."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

VERBS = {
    "discover": "autogas discover",
    "discover-across": "autogas discover",
    "rank": "autogas rank",
    "search": "autogas search",
    "build": "autogas bench build",
    "reproduce": "autogas reproduce",
}
Fields = Mapping[str, Mapping[str, Any]]
"""What each setting means, as the run folder has it; see ``autogas.settings.described``."""
UNKNOWN: Mapping[str, Any] = {"default": None, "meaning": "", "flag": None, "argument": False, "always": False}


@dataclass(frozen=True)
class Setting:
    """One setting of a run: its name, value, whether it is not the default, and what it means."""

    name: str
    value: str
    changed: bool
    meaning: str


def command(workflow: str, settings: Mapping[str, Any], fields: Fields) -> str:
    """The command line that repeats a run: what must be given, and every setting that differs from its default."""
    known = {name: fields.get(name, UNKNOWN) for name in _ordered(settings, fields)}
    given = [name for name, field in known.items() if field["always"] or settings[name] != field["default"]]
    given.sort(key=lambda name: not known[name]["argument"])
    parts = [VERBS[workflow].split()]
    for name in given:
        field = known[name]
        flag = field["flag"] or "--" + name.replace("_", "-")
        parts.append(_argument(settings[name]) if field["argument"] else list(_option(name, flag, settings[name])))
    return shlex.join(itertools.chain.from_iterable(parts))


def _argument(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(map(str, value))


def _option(name: str, flag: str, value: Any) -> Iterator[str]:
    if name == "scored_at" and value == {}:
        yield "--full-size"
        return
    if name == "validation" and value is None:
        yield from (flag, "all")
        return
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


def setting_rows(settings: Mapping[str, Any], fields: Fields) -> list[Setting]:
    """Every setting of a run, in the order in which they were declared."""
    rows = []
    for name in _ordered(settings, fields):
        field = fields.get(name, UNKNOWN)
        changed = not field["always"] and settings[name] != field["default"]
        rows.append(Setting(name, _shown(settings[name]), changed, field["meaning"]))
    return rows


def _ordered(settings: Mapping[str, Any], fields: Fields) -> list[str]:
    """Names of settings as they were declared, unknown ones last."""
    return [*(name for name in fields if name in settings), *(name for name in settings if name not in fields)]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_plain(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not set" if value is None else str(value)
