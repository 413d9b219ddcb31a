"""Map a function over items in parallel, with a progress bar and errors as values."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from joblib import Parallel, cpu_count, delayed, parallel_config
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from autogas import plugins
from autogas.errors import InputError, Terminated, message_of
from autogas.memory import keep_freed_memory
from autogas.threads import one_thread

BACK_ENDS = ("loky", "dask")
CONNECT_SECONDS = 10
"""How long a scheduler may take to answer."""
T = TypeVar("T")
R = TypeVar("R")


class Failure:
    """What an item's function raised."""

    def __init__(self, error: Exception | SystemExit) -> None:
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        self.reason = f"{kind}{message_of(error)}".partition("\n")[0]


def attempt(function: Callable[..., R], *args: Any) -> R | Failure:
    """What ``function(*args)`` gives, or why it failed; a full or vanished disk is not its fault and is raised."""
    try:
        return function(*args)
    except OSError:
        raise
    except Terminated:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - one bad piece of work must not stop the others
        return Failure(error)


@functools.cache
def end_with(parent: int) -> None:
    """End this worker soon after the process that gave it work has ended, however that was.

    A thread looks every half second; a signal at the death of the parent would come when only its thread ended.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    threading.Thread(target=watch, name="end with the parent", daemon=True).start()


_elsewhere: list[str] = []


@contextlib.contextmanager
def back_end(name: str, scheduler: str | None = None) -> Iterator[None]:
    """Where ``parallel_map`` works inside a block, whatever its ``jobs``.

    Args:
        name: ``loky``, processes of this machine, or ``dask``, a cluster that is there already.
        scheduler: of the cluster: its address, or the file that says it.

    Raises:
        InputError: another name, no scheduler or none that answers, or Dask is not installed.
    """
    if name not in BACK_ENDS:
        raise InputError(f"--backend {name!r}: expected {' or '.join(BACK_ENDS)}")
    if name == "loky":
        if scheduler is not None:
            raise InputError(f"--scheduler {scheduler!r}: accepted with --backend dask")
        yield
        return
    try:
        import distributed
    except ImportError:
        raise InputError("--backend dask: needs the package distributed; pip install 'autogas[dask]'") from None
    if scheduler is None:
        raise InputError("--backend dask: say where its scheduler is with --scheduler ADDRESS")
    given = {"scheduler_file": scheduler} if Path(scheduler).is_file() else {"address": scheduler}
    connect: Any = distributed.Client  # which has types only where it is installed
    try:
        client = connect(**given, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--scheduler {scheduler!r}: no answer ({str(error).splitlines()[0]})") from None
    with client, parallel_config(backend="dask", client=client):
        _elsewhere.append(name)
        try:
            yield
        finally:
            _elsewhere.pop()


def _may_grow() -> None:
    """Let this worker keep what it loads: loky, where psutil is installed, ends one that grows, and may then hang."""
    executor = sys.modules.get("joblib.externals.loky.process_executor")
    if executor is not None:
        executor._MAX_MEMORY_LEAK_SIZE = sys.maxsize  # type: ignore[attr-defined]


class _SingleThreaded(Generic[T, R]):
    """Run a function with one torch thread: sums then run in one order, whatever the number of workers."""

    def __init__(self, function: Callable[[T], R], *, away: bool) -> None:
        self.function = function
        self.parent = os.getpid()
        self.host = socket.gethostname()
        self.plugins = plugins.carried() if away else b""

    def __call__(self, item: T) -> tuple[T, R | Failure]:
        keep_freed_memory()
        if os.getppid() == self.parent and not _elsewhere:
            end_with(self.parent)
            _may_grow()
        if (os.getpid(), socket.gethostname()) != (self.parent, self.host):
            plugins.receive(self.plugins)
        with one_thread():
            return item, attempt(self.function, item)


def progress(items: Iterable[T], total: int | None, description: str) -> Iterator[T]:
    """Pass items through, showing rate and remaining time when stderr is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(description, total=total, rate="")
        for item in items:
            yield item
            speed = bar.tasks[task].speed
            bar.update(task, advance=1, rate=f"{speed:.2f}/s" if speed else "")


JOBS = "AUTOGAS_JOBS"
MOST = 1024
"""Processes that can be asked for."""


def processes(jobs: int | None = None) -> int:
    """How many processes work: as many as asked, else as the environment says in ``AUTOGAS_JOBS``, else one a core.

    Raises:
        InputError: the environment says no number from 1 to ``MOST``.
    """
    asked = os.environ.get(JOBS, "") if jobs is None else str(jobs)
    if not asked:
        return int(cpu_count())
    if not asked.isdecimal() or not 1 <= int(asked) <= MOST:
        raise InputError(f"{JOBS if jobs is None else 'jobs'}={asked!r}: expected a number of processes, 1 to {MOST}")
    return int(asked)


def parallel_map(
    function: Callable[[T], R], items: Sequence[T], *, jobs: int | None = None, description: str | None = None
) -> Iterator[tuple[T, R | Failure]]:
    """Pairs of item and result, as they become available (in no fixed order when ``jobs`` is above 1).

    Args:
        function: a picklable function of one item.
        items: its arguments.
        jobs: see ``processes``; 1 stays in this process. Inside ``back_end``, all workers of the cluster instead.
        description: label of the progress bar; None draws none.
    """
    jobs = processes(jobs)
    away = jobs != 1 or bool(_elsewhere)
    work = _SingleThreaded(function, away=away)
    if not away:
        results: Iterable[tuple[T, R | Failure]] = map(work, items)
    else:
        results = Parallel(n_jobs=-1 if _elsewhere else jobs, return_as="generator_unordered")(
            delayed(work)(item) for item in items
        )
    return iter(results) if description is None else progress(results, len(items), description)
