"""The one exception that users meet for bad input, and what becomes one."""

from __future__ import annotations

import difflib
import os
import traceback
import zipfile
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path

TORCH_LOAD_ERRORS = (EOFError, LookupError, RuntimeError, OSError, ValueError, AttributeError, ImportError, TypeError,
                     zipfile.BadZipFile)  # fmt: skip
"""What ``torch.load`` raises on a file that is cut or is something else (unpickling stops at any opcode)."""

OTHERS = (f"{os.sep}site-packages{os.sep}", f"{os.sep}autogas{os.sep}", f"{os.sep}python3.", "<frozen")
"""Parts of the paths of code that is not the user's."""
LONGEST_SHOWN = 100
"""Characters of a name that a message repeats."""


class InputError(ValueError):
    """Bad input: one line that says what was given and what is accepted.

    The command line prints the line and exits with code 2; in Python it is an ordinary ``ValueError``.
    """


def unknown(kind: str, given: str, accepted: Iterable[str]) -> InputError:
    """Error for a name that no registry knows, with the nearest accepted names.

    Examples:
        >>> print(unknown("space", "transnas-makro", ["transnas-macro", "transnas-micro"]))
        unknown space 'transnas-makro': did you mean 'transnas-macro' or 'transnas-micro'?
    """
    accepted = sorted(accepted)
    given = given if len(given) <= LONGEST_SHOWN else given[:LONGEST_SHOWN] + "…"
    near = difflib.get_close_matches(given, accepted, n=2, cutoff=0.6)
    if near:
        return InputError(f"unknown {kind} {given!r}: did you mean {' or '.join(map(repr, near))}?")
    return InputError(f"unknown {kind} {given!r}: expected {', '.join(accepted) or 'none'}")


def must_be_whole(least: int, most: int | None = None, **given: object) -> None:
    """Raise ``InputError`` for an argument, by its name, that is no whole number from ``least`` to ``most``.

    Examples:
        >>> must_be_whole(1, size=32)
        >>> must_be_whole(1, 8192, size="32")
        Traceback (most recent call last):
        ...
        autogas.errors.InputError: size '32': expected a whole number from 1 to 8192
    """
    for name, value in given.items():
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not (whole and least <= int(value) and (most is None or int(value) <= most)):  # type: ignore[call-overload]
            accepted = f"of {least} or more" if most is None else f"from {least} to {most}"
            raise InputError(f"{name} {value!r:.40}: expected a whole number {accepted}")


class Terminated(SystemExit):
    """The process was asked to end (SIGTERM), unlike a ``sys.exit`` of somebody's code that it runs."""


def message_of(error: BaseException) -> str:
    """What an exception says, whatever it does when it is shown."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - of a class of the user's
        return "it cannot be shown"


def describe(error: BaseException) -> str:
    """What was raised and where, in one line."""
    message = " ".join(message_of(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        place = f" at {Path(error.filename).name}:{error.lineno}"
    else:
        own = [frame for frame in frames if not any(part in frame.filename for part in OTHERS)]
        place = f" at {Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""
    return f"{type(error).__name__}{place}: {message}".removesuffix(": ")


def shape_of(value: object) -> str:
    """What something is, in words: a tensor by its shape, anything else by its type."""
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" if shape is None else f"a tensor of shape {tuple(shape)}"
