"""Where autogas keeps what outlives a run."""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path

import platformdirs

EMBEDDED = Path(str(resources.files("autogas"))) / "benchmarks" / "data"
"""Benchmarks that ship with the package."""
LONGEST_NAME = 200
"""Bytes of a benchmark's name; file systems take 255, endings included."""


def home() -> Path:
    """The data folder: ``$AUTOGAS_HOME``, else the user's."""
    return Path(os.environ.get("AUTOGAS_HOME") or platformdirs.user_data_dir("autogas"))


def store_folder() -> Path:
    """Where imported and built benchmarks are kept."""
    return home() / "benchmarks"


def benchmark_files() -> dict[str, Path]:
    """The file of every benchmark at hand by name, embedded ones first."""
    found: dict[str, Path] = {}
    for folder in (EMBEDDED, store_folder()):
        for path in sorted(folder.glob("*.parquet")):
            if is_name(path.stem):
                found.setdefault(path.stem, path)
    return found


def is_name(text: str) -> bool:
    """Whether a benchmark may have this name."""
    return re.fullmatch(r"\w[\w.-]*", text) is not None and len(text.encode()) <= LONGEST_NAME
