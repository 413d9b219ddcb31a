"""The run folder: settings, the record of evaluations, results. It survives ``kill -9`` and can be continued."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import time
from collections.abc import Mapping
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import pandas as pd
from filelock import FileLock, Timeout

from autogas.errors import InputError
from autogas.files import read_json, read_table, write_json, write_table
from autogas.runs.record import Record

SETTINGS_FILE = "settings.json"
RECORD_FILE = "record.sqlite"
RESULTS_FILE = "results.json"
COSTS_FILE = "costs.json"
LOCK_FILE = ".lock"
OWN_FILES = (
    *(RECORD_FILE, RESULTS_FILE, COSTS_FILE, "losses.jsonl", "report.html", "samples", "figures", "csv", "tensorboard"),
    "reference.npz",
)
OWN_SUFFIXES = (".parquet", ".safetensors")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
LONGEST_SHOWN = 200
"""Characters of a result that a notebook shows."""
BARE = (SETTINGS_FILE, RECORD_FILE, f"{RECORD_FILE}-wal", f"{RECORD_FILE}-shm", LOCK_FILE)
"""What a run has that has done nothing yet."""
MEASURED = "latency of "
"""Prefix of keys on record that are no work yet: a run that has only these may be removed."""


def _unused(path: Path) -> Path:
    """The path, or with the first free number behind it when another run of the same second has it."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in itertools.count(2))
    return path if not path.exists() else next(other for other in numbered if not other.exists())


class Run:
    """One run of a workflow, as a folder.

    A run that is written is a context: its folder is locked until the block ends, so that no other process writes it.
    One that was started and refused its input before it did anything leaves no folder.

    Attributes:
        path: the folder.
        workflow: which workflow made it (``discover``, ``rank``, ``build``, …).
        settings: everything that determines the result.
        inputs: digests of the contents that the settings only name.
        fields: what each setting means, see ``autogas.settings.described``.
        record: evaluations so far.
    """

    written: ClassVar[Run | None] = None
    """The last one that this process began to write."""

    def __init__(
        self,
        path: Path,
        workflow: str,
        settings: Mapping[str, object],
        inputs: Mapping[str, str] | None = None,
        fields: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        self.path = path
        self.workflow = workflow
        self.settings: dict[str, Any] = dict(settings)
        self.inputs = dict(inputs or {})
        self.fields = dict(fields or {})
        self.record = Record(path / RECORD_FILE)
        self._lock: FileLock | None = None
        self._before: set[str] | None = None  # of a run that was started: what was in its folder
        self._made = False  # and whether it made the folder

    @classmethod
    def start(
        cls,
        workflow: str,
        settings: Mapping[str, object],
        out: str | Path | None = None,
        inputs: Mapping[str, str] | None = None,
        fields: Mapping[str, Mapping[str, object]] | None = None,
    ) -> Run:
        """Make a new run folder (``runs/<workflow>-<time>`` unless ``out`` names one) and lock it.

        Raises:
            InputError: the folder holds a run or files of its names already, or cannot be written.
        """
        if out is not None and (not isinstance(out, str | Path) or not str(out)):
            raise InputError(f"--out {out!r}: expected the name of a folder")
        path = Path(out) if out is not None else _unused(Path("runs") / time.strftime(f"{workflow}-%Y%m%d-%H%M%S"))
        run = cls(path, workflow, settings, inputs, fields)
        try:
            run._made = not path.exists()
            path.mkdir(parents=True, exist_ok=True)
            run._before = {file.name for file in path.iterdir()}
            if not (path / LOCK_FILE).exists():  # no run was here: nothing is left in somebody's folder
                _must_be_free(path)
            run._acquire()
            try:
                _must_be_free(path)  # nor has another run begun meanwhile
                write_json(
                    path / SETTINGS_FILE,
                    {
                        "workflow": workflow,
                        "settings": run.settings,
                        "inputs": run.inputs,
                        "fields": [{"name": name, **field} for name, field in run.fields.items()],  # in their order
                    },
                )
                run.record.writer()
            except BaseException:  # an interrupt too: nobody may stay locked out
                run._release()
                raise
        except (OSError, sqlite3.Error, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"--out {str(path)!r} cannot be written: {error}") from None
        return run

    @classmethod
    def open(cls, path: str | Path, workflow: str | None = None) -> Run:
        """An existing run, to be read; raises ``InputError`` when the folder is none or of another workflow."""
        path = Path(path)
        try:
            saved = read_json(path / SETTINGS_FILE, "start the run again in another folder")
            found, settings, inputs = saved["workflow"], dict(**saved["settings"]), dict(**saved["inputs"])
            fields = {field.pop("name"): field for field in map(dict, saved.get("fields", ()))}
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise InputError(f"{str(path)!r} is not a run folder: {error}") from None
            raise InputError(f"{str(path)!r} is not a run folder: it has no readable {SETTINGS_FILE}") from None
        if workflow is not None and found != workflow:
            raise InputError(f"{str(path)!r} is a run of {found}, not of {workflow}")
        return cls(path, found, settings, inputs, fields)

    @classmethod
    def resume(cls, path: str | Path, workflow: str, inputs: Mapping[str, str] | None = None) -> Run:
        """An existing run, locked to be continued.

        Raises:
            InputError: as ``open``, the run is being written, or an input has other contents than at its start.
        """
        run = cls.open(path, workflow)
        changed = sorted(name for name, digest in (inputs or {}).items() if run.inputs.get(name) != digest)
        if changed:
            raise InputError(
                f"--resume {str(path)!r}: the contents of {', '.join(changed)} are not those that the run was started "
                "with, as this version of autogas sees them: bring them back, or start another run"
            )
        try:
            run._acquire()
            try:
                len(run.record)  # a damaged one is said before any work
            except BaseException:  # an interrupt too: nobody may stay locked out
                run._release()
                raise
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"--resume {str(path)!r} cannot be continued: {error}") from None
        return run

    def __repr__(self) -> str:
        done = "finished" if (self.path / RESULTS_FILE).exists() else "not finished"
        return f"<{self.workflow} run in {str(self.path)!r}, {done}>"

    def _repr_html_(self) -> str:
        """For notebooks: where the run is, and the numbers of its results that fit a line."""
        rows = {"workflow": self.workflow, "folder": str(self.path)}
        if (self.path / RESULTS_FILE).exists():
            rows |= {name: str(value) for name, value in self.results.items() if len(str(value)) <= LONGEST_SHOWN}
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
        return f"<table>{cells}</table>"

    def _acquire(self) -> None:
        lock = FileLock(self.path / LOCK_FILE)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{str(self.path)!r} is being written by another process: wait for it") from None
        self._lock = lock
        Run.written = self

    def _release(self) -> None:
        self.record.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        refused = isinstance(error, InputError | OSError)
        try:
            with contextlib.suppress(OSError, sqlite3.Error):  # of a folder that is gone, which the error says
                if refused and self._before is not None and self._did_nothing(self._before):
                    self._vanish(self._before)
        finally:
            self._release()

    def _vanish(self, before: set[str]) -> None:
        """Take away what the run made."""
        self.record.close()
        for file in self.path.iterdir():
            if file.name in BARE and file.name not in before:
                file.unlink()
        if self._made:
            self.path.rmdir()

    def _did_nothing(self, before: set[str]) -> bool:
        """Whether there is nothing that a refused run, started on other settings, would not do again in no time."""
        work = any(not key.startswith(MEASURED) for key in self.record)
        return not work and {file.name for file in self.path.iterdir()} <= {*BARE, *before}

    @property
    def results(self) -> dict[str, Any]:
        """The results of a finished run; raises ``InputError`` when it did not finish."""
        file = self.path / RESULTS_FILE
        if not file.exists():
            raise InputError(f"{str(self.path)!r} did not finish: continue it with --resume")
        return read_json(file, "continue the run with --resume, which writes it again")

    def finish(self, results: Mapping[str, object]) -> None:
        """Write the results; they hold nothing that depends on time, machine or number of workers."""
        write_json(self.path / RESULTS_FILE, results)

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as Parquet."""
        write_table(self._table(name), table)

    def read_table(self, name: str) -> pd.DataFrame:
        """Read a table of this run; raises ``InputError`` when it is not there or damaged."""
        file = self._table(name)
        if not file.exists():
            raise InputError(f"{str(self.path)!r} has no {file.name}: continue it with --resume")
        return read_table(file, "continue the run with --resume, which writes it again")[0]

    def _table(self, name: str) -> Path:
        return self.path / f"{name.replace('/', '-')}.parquet"

    def write_costs(self, costs: Mapping[str, object]) -> None:
        """Write what the run cost; kept apart from the results since seconds are never the same twice."""
        write_json(self.path / COSTS_FILE, costs)

    @property
    def costs(self) -> dict[str, Any]:
        """What the run cost; empty when unknown."""
        file = self.path / COSTS_FILE
        return read_json(file, "delete it: seconds are not needed") if file.exists() else {}


def _must_be_free(path: Path) -> None:
    """Raises ``InputError`` where a run would overwrite something."""
    if (path / SETTINGS_FILE).exists():
        raise InputError(f"--out {str(path)!r} holds a run already: continue it with --resume or name another folder")
    pictures = sorted(x.name for x in path.iterdir() if x.suffix.lower() in PICTURES)
    if pictures:
        raise InputError(
            f"--out {str(path)!r} holds images, such as {pictures[0]}: name a folder of its own for the run"
        )
    found = sorted(x.name for x in path.iterdir() if x.name in OWN_FILES or x.suffix in OWN_SUFFIXES)
    if found:
        raise InputError(
            f"--out {str(path)!r} holds {found[0]}, which no run here made and one would overwrite: name another folder"
        )
