"""The one exception that users meet for bad input, and what becomes one."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Iterable

TORCH_LOAD_ERRORS = (EOFError, LookupError, RuntimeError, OSError, ValueError, AttributeError, ImportError, TypeError,
                     zipfile.BadZipFile)  # fmt: skip
"""What ``torch.load`` raises on a file that is cut or is something else (unpickling stops at any opcode)."""

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
