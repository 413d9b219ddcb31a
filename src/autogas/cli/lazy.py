"""Groups of commands that are loaded when they are asked for: the help of a group needs none of them."""

from __future__ import annotations

import importlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from autogas.errors import InputError

Table = Mapping[str, tuple[str, str]]
"""By name of a command: where it is, ``module:function`` or ``module:app`` of this package, and what it is for."""


class Once(TyperCommand):
    """A command whose options are given once, but those that may repeat: the last would be taken without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See the base class; raises ``InputError`` for an option that is there twice."""
        seen = Counter(word.partition("=")[0] for word in itertools.takewhile(lambda word: word != "--", args))
        for option in self.params:
            if option.param_type_name == "option" and not (option.multiple or getattr(option, "is_flag", False)):
                given = [name for name in option.opts for _ in range(seen[name])]
                if len(given) > 1:
                    raise InputError(f"{given[0]} is given twice: expected one value")
        return super().parse_args(ctx, args)


class _Commands(MutableMapping[str, Any]):
    """The commands by name; each module is imported when its command is looked up."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._loaded: dict[str, Any] = dict.fromkeys(table)

    def __getitem__(self, name: str) -> Any:
        if self._loaded[name] is None:
            self._loaded[name] = load(name, self.table[name][0])
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded)

    def __len__(self) -> int:
        return len(self._loaded)


def load(name: str, place: str) -> Any:
    """A command from where it is."""
    module, _, attribute = place.partition(":")
    found = getattr(importlib.import_module(f"autogas.cli.{module}"), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        found.command(name=name, cls=Once)(function)
    command = typer.main.get_command(found)
    command.name = name
    return command


def lazy_group(table: Table) -> type[TyperGroup]:
    """A class of groups with these commands; one without a word on what it is for is hidden."""

    class LazyGroup(TyperGroup):
        """Shows what its commands are for without loading them."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands = _Commands(table)
            self.listing = False

        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as the base class has it
            """The names, in the order of the table."""
            return list(self.commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            """The command, or while the help is written only what the help says of it."""
            if self.listing:
                return TyperCommand(cmd_name, help=table[cmd_name][1], hidden=not table[cmd_name][1])
            return super().get_command(ctx, cmd_name)

        def format_help(self, ctx: Any, formatter: Any) -> None:
            """See the base class."""
            self.listing = True
            try:
                super().format_help(ctx, formatter)
            finally:
                self.listing = False

    return LazyGroup
