"""Where the time of a workflow went."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence


class Stopwatch:
    """Wall-clock seconds of the parts of a workflow, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        yield
        self.laps[name] = self.laps.get(name, 0.0) + time.perf_counter() - start


def seconds_spent(networks: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds over all networks, by what they went to: build, forward, statistics (on one core, when measured)."""
    keys = ("build", "forward", "statistics")
    return {"count": len(networks), **{key: sum(each.get(key, 0.0) for each in networks) for key in keys}}
