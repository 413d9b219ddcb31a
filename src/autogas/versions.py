"""Versions of libraries, for the record of a run."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from autogas import __version__


def versions(names: Iterable[str]) -> dict[str, str | None]:
    """Versions of distributions; None for one that is not installed as such, but lies on the path as source."""
    return {name: __version__ if name == "autogas" else _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
