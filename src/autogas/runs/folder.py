"""The run folder: settings, the record of evaluations, results. It survives ``kill -9`` and can be continued."""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from autogas.errors import InputError
from autogas.files import replacing, write_json
from autogas.runs.record import Record

SETTINGS_FILE = "settings.json"
RECORD_FILE = "record.sqlite"
RESULTS_FILE = "results.json"


def _unused(path: Path) -> Path:
    """The path, or with the first free number behind it when another run of the same second has it."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in itertools.count(2))
    return path if not path.exists() else next(other for other in numbered if not other.exists())


class Run:
    """One run of a workflow, as a folder.

    Attributes:
        path: the folder.
        workflow: which workflow made it (``discover``, ``rank``, ``build``, …).
        settings: everything that determines the result.
        record: evaluations so far.
    """

    def __init__(self, path: Path, workflow: str, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.workflow = workflow
        self.settings = dict(settings)
        self.record = Record(path / RECORD_FILE)

    @classmethod
    def start(cls, workflow: str, settings: Mapping[str, Any], out: str | Path | None = None) -> Run:
        """Make a new run folder (``runs/<workflow>-<time>`` unless ``out`` names one).

        Raises:
            InputError: the folder holds a run already, or cannot be written.
        """
        path = Path(out) if out is not None else _unused(Path("runs") / time.strftime(f"{workflow}-%Y%m%d-%H%M%S"))
        try:
            if (path / SETTINGS_FILE).exists():
                raise InputError(
                    f"--out {str(path)!r} holds a run already: continue it with --resume or name another folder"
                )
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path, workflow, settings)
            write_json(path / SETTINGS_FILE, {"workflow": workflow, "settings": run.settings})
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"--out {str(path)!r} cannot be written: {error}") from None
        return run

    @classmethod
    def open(cls, path: str | Path, workflow: str | None = None) -> Run:
        """Open an existing run folder; raises ``InputError`` when it is none or of another workflow."""
        path = Path(path)
        try:
            saved = json.loads((path / SETTINGS_FILE).read_text())
            found, settings = saved["workflow"], dict(**saved["settings"])
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{str(path)!r} is not a run folder: it has no readable {SETTINGS_FILE}") from None
        if workflow is not None and found != workflow:
            raise InputError(f"{str(path)!r} is a run of {found}, not of {workflow}")
        try:
            return cls(path, found, settings)
        except sqlite3.Error as error:
            raise InputError(f"{str(path)!r} has a {RECORD_FILE} that cannot be read: {error}") from None

    @property
    def results(self) -> dict[str, Any]:
        """The results of a finished run; raises ``InputError`` when it did not finish."""
        file = self.path / RESULTS_FILE
        if not file.exists():
            raise InputError(f"{str(self.path)!r} did not finish: continue it with --resume")
        results: dict[str, Any] = json.loads(file.read_text())
        return results

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the results; they hold nothing that depends on time, machine or number of workers."""
        write_json(self.path / RESULTS_FILE, results)

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as Parquet."""
        with replacing(self.path / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)

    def read_table(self, name: str) -> pd.DataFrame:
        """Read a table of this run."""
        return pd.read_parquet(self.path / f"{name}.parquet")

    def write_costs(self, costs: Mapping[str, Any]) -> None:
        """Write what the run cost; kept apart from the results since seconds are never the same twice."""
        write_json(self.path / "costs.json", costs)

    @property
    def costs(self) -> dict[str, Any]:
        """What the run cost; empty when unknown."""
        file = self.path / "costs.json"
        return json.loads(file.read_text()) if file.exists() else {}
