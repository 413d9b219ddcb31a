"""Run code that the user wrote: it may print, exit or raise whatever it likes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from autogas.errors import InputError, describe

if TYPE_CHECKING:
    from torch import nn


def load_network(reference: str, seed: int) -> nn.Module:
    """The network that ``FILE.py:NAME`` or ``package.module:NAME`` makes, with torch's seed set.

    The folder of the file (of its topmost package, if it is in one) can be imported from.

    Raises:
        InputError: nothing of that name, or what it raised, with the line of the user's code.
    """
    from torch import nn

    from autogas.seeding import seeded

    where, _, name = reference.rpartition(":")
    with guarded(f"--module {reference!r}"):
        code = _import(where, reference)
    factory = getattr(code, name, None)
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        makers = [key for key, value in vars(code).items() if callable(value) and not key.startswith("_")]
        raise InputError(
            f"--module {reference!r}: no function or class {name!r} there; it has {', '.join(makers) or 'none'}"
        )
    with guarded(f"--module {reference!r}"), seeded(seed % 2**64):
        model = factory()
    if not isinstance(model, nn.Module):
        raise InputError(f"--module {reference!r}: {name} made a {type(model).__name__}, expected a torch.nn.Module")
    return model


def _import(where: str, reference: str) -> ModuleType:
    file = Path(where).expanduser()
    if not file.is_file():
        if all(part.isidentifier() for part in where.split(".")) and file.suffix != ".py":
            with _importable(Path.cwd()):
                return importlib.import_module(where)
        raise InputError(f"--module {reference!r}: expected FILE.py:NAME of a file that exists, or MODULE:NAME")
    packages = list(itertools.takewhile(lambda folder: (folder / "__init__.py").exists(), file.absolute().parents))
    with _importable(packages[-1].parent if packages else file.absolute().parent):
        if packages:
            names = file.absolute().relative_to(packages[-1].parent).with_suffix("").parts
            return importlib.import_module(".".join(names))
        specification = importlib.util.spec_from_file_location(f"autogas_network_{file.stem}", file)
        if specification is None or specification.loader is None:
            raise InputError(f"--module {reference!r}: expected FILE.py:NAME of a Python file")
        code = importlib.util.module_from_spec(specification)
        sys.modules[specification.name] = code
        specification.loader.exec_module(code)
        return code


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Put a folder first where modules are looked for, and last afterwards: networks may import while they run."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.path.append(str(folder))


@contextlib.contextmanager
def guarded(what: str) -> Iterator[None]:
    """Keep stdout for the answer, and turn whatever is raised into one line that says where.

    Raises:
        InputError: what the code raised; one of our own stays as it is.
    """
    try:
        with _stdout_to_stderr():
            yield
    except InputError:
        raise
    except BaseException as error:  # the code of users may exit
        if type(error) in (KeyboardInterrupt, GeneratorExit):
            raise
        raise InputError(f"{what}: {describe(error)}") from None


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """What is printed meanwhile goes to stderr, also by code below Python."""
    sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        try:
            kept = os.dup(1)
        except OSError:  # no such descriptor: stdout is closed
            kept = None
        if kept is not None:
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 1)
            os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
