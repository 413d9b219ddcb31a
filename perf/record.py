"""What the record of evaluations costs: single writes beside other load, and a reader's wait.

    python perf/record.py                  # 20,000 writes, each its own transaction

Beside the record as it is (write-ahead log, checksums) stands a plain SQLite table with the default rollback journal.
A second process reads the whole record over and over meanwhile, and a third does arithmetic. Times are wall-clock.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from autogas.runs.record import Record

VALUE = {"fitness": 0.123456789, "reason": ""}


class RollbackJournal:
    """The same table without a write-ahead log."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, timeout=30)
        with self.connection as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS evaluations (key TEXT PRIMARY KEY, value TEXT NOT NULL)")

    def put(self, items: list[tuple[str, dict[str, object]]]) -> None:
        """One transaction."""
        with self.connection as connection:
            rows = [(key, str(value)) for key, value in items]
            connection.executemany("INSERT OR REPLACE INTO evaluations (key, value) VALUES (?, ?)", rows)

    def __iter__(self) -> Iterator[str]:
        return iter([key for (key,) in self.connection.execute("SELECT key FROM evaluations")])


def _read(make: Callable[[Path], object], path: Path, stop: Event, waits: object) -> None:
    record = make(path)
    while not stop.is_set():
        start = time.perf_counter()
        list(record)  # type: ignore[call-overload]
        waits.put(time.perf_counter() - start)  # type: ignore[attr-defined]
        time.sleep(0.02)


def _work(stop: Event) -> None:
    while not stop.is_set():
        np.linalg.eigvalsh(np.eye(200))


@contextmanager
def beside(make: Callable[[Path], object], path: Path) -> Iterator[list[float]]:
    """A reader and a process that works; its waits are in the list at the end."""
    context = multiprocessing.get_context("spawn")
    stop, waits = context.Event(), context.SimpleQueue()
    processes = [
        context.Process(target=_read, args=(make, path, stop, waits)),
        context.Process(target=_work, args=(stop,)),
    ]
    for process in processes:
        process.start()
    found: list[float] = []
    waits.get()  # the first one: both run
    yield found
    stop.set()
    while any(process.is_alive() for process in processes) or not waits.empty():
        while not waits.empty():
            found.append(waits.get())
        time.sleep(0.01)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    count = parser.parse_args().count
    print("| record | ms a write, median | 99 % | slowest | writes a second | a reader waits, median | longest |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    makes: dict[str, Callable[[Path], object]] = {
        "rollback journal": RollbackJournal,
        "write-ahead log (autogas)": Record,
    }
    for name, make in makes.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "record.sqlite"
            record = make(path)
            record.put([("first", VALUE)])  # type: ignore[attr-defined]
            times = np.empty(count)
            start = time.perf_counter()
            with beside(make, path) as waits:
                for number in range(count):
                    before = time.perf_counter()
                    record.put([(f"softmax > gram > slogdet {number}", VALUE)])  # type: ignore[attr-defined]
                    times[number] = time.perf_counter() - before
                total = time.perf_counter() - start
            ms = 1000 * times
            print(
                f"| {name} | {np.median(ms):.2f} | {np.quantile(ms, 0.99):.1f} | {ms.max():.0f} "
                f"| {count / total:.0f} | "
                f"{1000 * float(np.median(waits)):.0f} ms | {1000 * max(waits):.0f} ms |",
                flush=True,
            )


if __name__ == "__main__":
    main()
