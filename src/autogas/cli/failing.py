"""Bad input becomes one line on stderr and exit code 2."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sqlite3
import sys
from collections.abc import Iterator

import typer
from pydantic import ValidationError

from autogas.cli.parsing import LONGEST
from autogas.cli.printing import printable
from autogas.errors import InputError
from autogas.settings import SettingError, setting_error

# Typer carries click under changing names; the base of its usage errors is the same class in all of them.
USAGE_ERROR: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


OUT_OF_MEMORY = re.compile(r"can't allocate memory|out of memory|not enough memory", re.IGNORECASE)
"""What torch says."""


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn bad input and unwritable disks into one line on stderr and exit code 2."""
    try:
        yield
    except (ValidationError, InputError) as error:
        _fail(_named(setting_error(error) if isinstance(error, ValidationError) else error))
    except BrokenPipeError:  # nobody reads on, which is no fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except sqlite3.OperationalError as error:
        _fail(f"cannot write the record of the run: {error}")
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not OUT_OF_MEMORY.search(str(error)):
            raise
        _fail(f"not enough memory: {error}")
    except OSError as error:
        _fail(f"cannot read or write {error.filename or 'a file'}: {error.strerror or error}")
    except USAGE_ERROR as error:
        _fail(_with_value(error.format_message() if hasattr(error, "format_message") else str(error)))
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write(f"autogas: interrupted; {_way_on()}\n")
        raise SystemExit(130) from None


def _way_on() -> str:
    """How the run that was interrupted is continued."""
    folder = sys.modules.get("autogas.runs.folder")
    run = folder and folder.Run.written
    if not run or not run.path.exists():
        return "what was recorded is kept, continue with --resume"
    verb = {"build": "bench build", "discover-across": "discover"}.get(run.workflow, run.workflow)
    return f"what was recorded is kept, continue with: autogas {verb} --resume {shlex.quote(str(run.path))}"


def _named(error: InputError) -> str:
    """The message, with the option that was given instead of the setting's name."""
    if isinstance(error, SettingError):
        option = "--" + error.name.replace("_", "-")
        if option in sys.argv:
            return f"{option} {error.value!r}: {error.reason}"
    return str(error)


def _with_value(message: str) -> str:
    """Typer's message on an option, with what was given for it."""
    option = re.search(r"'(--[\w-]+)'", message)
    words = [part for word in sys.argv for part in word.split("=", 1)]
    if option is None or option[1] not in words[:-1]:
        return message
    value = words[words.index(option[1]) + 1]
    return message if repr(value) in message else f"{message} (given {value!r})"


def _fail(message: str) -> None:
    if not message:  # the help was shown instead of an error
        raise SystemExit(2)
    line = printable(" ".join(message.split()))
    sys.stderr.write("autogas: " + (line if len(line) <= LONGEST else line[: LONGEST - 3] + "...") + "\n")
    raise SystemExit(2)
