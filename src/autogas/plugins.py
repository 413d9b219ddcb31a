"""Code of users that adds spaces, primitives, scorers and trainings, known to every process of a run.

Files and modules are named by ``--plugin`` and imported once, before the first name is looked up. Installed packages
name what they add as entry points: whole modules in the group ``autogas.plugins``, spaces in ``autogas.spaces``,
classes of trainings (by family of spaces) in ``autogas.training``, search strategies in ``autogas.strategies``,
extractors of features in ``autogas.metrics``, and in ``autogas.primitives`` and
``autogas.scorers`` functions that register themselves. What is registered in a script or a notebook is sent along with
the work to other processes, see ``carried``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import re
import sys
import warnings
import zlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from autogas.errors import InputError

V = TypeVar("V")
VARIABLE = "AUTOGAS_PLUGINS"
PREFIX = "autogas_plugin_"
"""Starts the names of modules that are files of users."""
MODULE = re.compile(r"[^\W\d]\w*(\.\w+)*")
"""Names of modules."""
MODULES = "autogas.plugins"
GROUPS = (
    MODULES,
    *(f"autogas.{kind}" for kind in ("spaces", "primitives", "scorers", "training", "strategies", "metrics")),
)
"""Groups of entry points."""

_noted: dict[tuple[str, str], tuple[Callable[..., None], tuple[Any, ...], dict[str, Any]]] = {}
"""What scripts and notebooks registered, by kind and name."""
_received: list[bytes] = []
"""What came last, which is not registered again."""
_loading: list[str] = []


def add(reference: str) -> None:
    """Import a plug-in now, and in every process that starts from here.

    Args:
        reference: path of a Python file, or name of a module.

    Raises:
        InputError: no such file or module.
    """
    file = Path(reference).expanduser()
    if file.is_file() != (file.suffix == ".py") or (file.suffix != ".py" and not MODULE.fullmatch(reference)):
        raise InputError(f"--plugin {reference!r}: expected a Python file that exists, or a module")
    if file.is_file() and os.pathsep in str(file.resolve()):
        raise InputError(f"--plugin {reference!r}: expected a path without {os.pathsep!r}")
    given = str(file.resolve()) if file.is_file() else reference
    known = named()
    if given not in known:
        os.environ[VARIABLE] = os.pathsep.join([*known, given])
        load.cache_clear()
    try:
        load()
    except BaseException:  # also an exit: what cannot be loaded is no plug-in of what starts from here
        os.environ[VARIABLE] = os.pathsep.join(known)
        raise


def named() -> list[str]:
    """Plug-ins of this process, in order."""
    return [name for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]


def enter(registry: dict[str, V], kind: str, name: str, what: V, *, replace: bool) -> None:
    """Put something into a registry; what has its name already is replaced, with a warning unless that is meant."""
    if name in registry and not replace:
        warnings.warn(f"{kind} {name!r} is replaced", stacklevel=3)
    registry[name] = what


def note(register: Callable[..., None], *args: Any, **options: Any) -> None:
    """Remember a registration that other processes must hear of; what a plug-in registers they load themselves."""
    if not _loading:
        _noted[register.__qualname__, str(getattr(args[0], "name", args[0]))] = (register, args, options)


def carried() -> bytes:
    """What another process has to know besides the package: names of plug-ins, and what was registered by hand."""
    import cloudpickle

    packed = (_packed(name, registration) for (_, name), registration in _noted.items())
    registrations = [content for content in packed if content]
    return bytes(cloudpickle.dumps((named(), registrations))) if registrations or named() else b""


def _packed(name: str, registration: object) -> bytes:
    """A registration as bytes, empty where it cannot be sent: work that needs it misses it by name."""
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(registration))
    except Exception as error:  # noqa: BLE001 - whatever a user's object raises; the work may not need it
        warnings.warn(f"{name!r} cannot be sent to other processes: {error}", stacklevel=4)
        return b""


def receive(content: bytes) -> None:
    """Take what ``carried`` gave in another process, once.

    Raises:
        InputError: a plug-in that is not there, or code that cannot be brought here.
    """
    if not content or content in _received:
        return
    import cloudpickle

    try:
        references, registrations = cloudpickle.loads(content)
        for reference in references:
            add(reference)
        for register, args, options in map(cloudpickle.loads, registrations):
            register(*args, **options)
    except Exception as error:  # noqa: BLE001 - whatever it is, nothing that needs it can work
        raise InputError(f"a worker cannot load the plug-ins: {type(error).__name__}: {error}") from None
    _received[:] = [content]


@functools.cache
def load() -> None:
    """Import what is named and what installed packages offer; what is imported already stays."""
    _loading.append("plug-ins")
    try:
        for group in GROUPS:
            for point in entry_points(group=group):
                _offered(point)
        for reference in named():
            _import(reference)
    finally:
        _loading.pop()


def _offered(point: EntryPoint) -> None:
    """Take what an installed package offers."""
    if point.group == MODULES:
        importlib.import_module(point.module)
        return
    found = point.load()
    if point.group == "autogas.spaces":
        from autogas.spaces import register_space

        register_space(found, replace=True)
    elif point.group == "autogas.training":
        from autogas.training.kinds import register_training

        register_training(point.name, found, replace=True)
    elif point.group == "autogas.strategies":
        from autogas.evolution import register_strategy

        register_strategy(point.name, found, replace=True)
    elif point.group == "autogas.metrics":
        from autogas.metrics.features import register_extractor

        register_extractor(point.name, found, replace=True)


def _import(reference: str) -> None:
    file = Path(reference)
    if not file.is_file():
        try:
            importlib.import_module(reference)
        except ModuleNotFoundError as error:
            if error.name is not None and reference.split(".")[0] == error.name.split(".")[0]:
                raise InputError(f"--plugin {reference!r}: expected a Python file, or a module that exists") from None
            raise
        return
    name = PREFIX + file.stem
    if name in sys.modules and sys.modules[name].__file__ != str(file):  # another one of this name
        name += f"_{zlib.crc32(os.fsencode(file)):08x}"
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
