"""Code of users that adds spaces, primitives and scorers: files and modules, known to every process of a run.

They are named by ``--plugin`` and passed on in an environment variable; installed packages name theirs as entry points
of the group ``autogas.plugins``. A plug-in is imported once, before the first name is looked up.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

from autogas.errors import InputError

VARIABLE = "AUTOGAS_PLUGINS"
GROUP = "autogas.plugins"


def add(reference: str) -> None:
    """Import a plug-in now, and in every process that starts from here.

    Args:
        reference: path of a Python file, or name of a module.

    Raises:
        InputError: no such file or module.
    """
    file = Path(reference).expanduser()
    if file.suffix == ".py" and not file.is_file():
        raise InputError(f"--plugin {reference!r}: accepted is a Python file that exists, or a module")
    given = str(file.resolve()) if file.is_file() else reference
    known = named()
    if given not in known:
        os.environ[VARIABLE] = os.pathsep.join([*known, given])
        load.cache_clear()
    load()


def named() -> list[str]:
    """Plug-ins of this process, in order."""
    return [name for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]


@functools.cache
def load() -> None:
    """Import what is named and what installed packages offer; what is imported already stays."""
    for point in entry_points(group=GROUP):
        importlib.import_module(point.module)
    for reference in named():
        _import(reference)


def _import(reference: str) -> None:
    file = Path(reference)
    if not file.is_file():
        try:
            importlib.import_module(reference)
        except ModuleNotFoundError as error:
            if error.name is not None and reference.split(".")[0] == error.name.split(".")[0]:
                raise InputError(
                    f"--plugin {reference!r}: accepted is a Python file, or a module that exists"
                ) from None
            raise
        return
    name = f"autogas_plugin_{file.stem}"
    if name in sys.modules:
        return
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None
    assert specification.loader is not None
    code = importlib.util.module_from_spec(specification)
    sys.path.append(str(file.parent))  # it may import its neighbours
    sys.modules[name] = code
    try:
        specification.loader.exec_module(code)
    except BaseException:  # also an exit: what was half imported must not pass for a plug-in
        del sys.modules[name]
        raise
