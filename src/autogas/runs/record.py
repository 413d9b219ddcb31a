"""A durable record of evaluations: one SQLite row for each, written as it finishes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


class Record(Mapping[str, dict[str, Any]]):
    """Key to JSON-able values, on disk; every write survives ``kill -9``. One process writes, any number read."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        with self._connection:
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS evaluations (key TEXT PRIMARY KEY, value TEXT NOT NULL, "
                "at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            )

    def put(self, items: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Write evaluations in one transaction; a key that exists is replaced."""
        rows = [(key, json.dumps(value)) for key, value in items]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO evaluations (key, value) VALUES (?, ?)", rows)

    def __getitem__(self, key: str) -> dict[str, Any]:
        row = self._connection.execute("SELECT value FROM evaluations WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        value: dict[str, Any] = json.loads(row[0])
        return value

    def __iter__(self) -> Iterator[str]:
        return (key for (key,) in self._connection.execute("SELECT key FROM evaluations ORDER BY key"))

    def __len__(self) -> int:
        (count,) = self._connection.execute("SELECT COUNT(*) FROM evaluations").fetchone()
        return int(count)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
