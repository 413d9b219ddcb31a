"""A durable record of evaluations: one SQLite row for each, written as it finishes."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autogas.files import checksum, damaged

PATIENCE = 30.0
"""Seconds that a reader or writer waits for another one."""
WAY_OUT = "start the run again in another folder"


class Record(Mapping[str, dict[str, Any]]):
    """Key to JSON-able values, on disk; every write survives ``kill -9``. One process writes, any number read.

    While it is written it has a write-ahead log beside it, so that readers do not wait for the writer nor a write for
    the disk; ``close`` makes it one file again. The file is opened when it is first needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None

    def put(self, items: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Write evaluations in one transaction; a key that exists is replaced."""
        rows = [(key, text := json.dumps(value), checksum([key, text])) for key, value in items]
        with self._guarded(), self.writer() as connection:
            connection.executemany("INSERT OR REPLACE INTO evaluations (key, value, checksum) VALUES (?, ?, ?)", rows)

    def writer(self) -> sqlite3.Connection:
        """The connection that writes; makes the file where there is none."""
        if self._writer is None:
            with self._guarded():
                self._close_reader()
                connection = sqlite3.connect(self.path, timeout=PATIENCE)
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")  # a crash of the machine may cost the last rows
                with connection:
                    connection.execute(
                        "CREATE TABLE IF NOT EXISTS evaluations (key TEXT PRIMARY KEY, value TEXT NOT NULL, "
                        "checksum TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
                    )
                self._writer = connection
        return self._writer

    def __getitem__(self, key: str) -> dict[str, Any]:
        for value, given in self._select("SELECT value, checksum FROM evaluations WHERE key = ?", key):
            if given != checksum([key, value]):
                raise damaged(self.path, f"the entry {key[:60]!r} does not fit its checksum", WAY_OUT)
            found: dict[str, Any] = json.loads(value)
            return found
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        rows = self._select("SELECT key, value, checksum FROM evaluations ORDER BY key")
        for key, value, given in rows:  # a damaged key would not be found again
            if given != checksum([key, value]):
                raise damaged(self.path, f"the entry {key[:60]!r} does not fit its checksum", WAY_OUT)
        return (key for key, _, _ in rows)

    def __len__(self) -> int:
        return sum(count for (count,) in self._select("SELECT COUNT(*) FROM evaluations"))

    def _select(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with self._guarded():
            connection = self._writer or self._reader or self._open_reader()
            return [] if connection is None else connection.execute(query, values).fetchall()

    def _open_reader(self) -> sqlite3.Connection | None:
        """A connection that cannot write; None where there is no table yet, as after a disk that was full at once."""
        if not self.path.exists():
            return None
        # A log that a killed writer left can only be read where it could be written.
        writable = self.path.with_name(f"{self.path.name}-wal").exists()
        mode = "rw" if writable else "ro"
        connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, timeout=PATIENCE)
        if not connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'evaluations'").fetchone()[0]:
            connection.close()
            return None
        self._reader = connection
        return connection

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "no such" in str(error) or "decode" in str(error):  # a table or column; a text
                raise damaged(self.path, str(error), WAY_OUT) from None
            raise
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise damaged(self.path, str(error), WAY_OUT) from None

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def close(self) -> None:
        """Close the file, which is whole without its log then; it can be read and written again."""
        self._close_reader()
        if self._writer is not None:
            with contextlib.suppress(sqlite3.OperationalError):  # somebody reads it: the log stays beside it
                self._writer.execute("PRAGMA journal_mode=DELETE")
            self._writer.close()
            self._writer = None
