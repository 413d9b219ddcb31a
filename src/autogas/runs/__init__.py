"""Run folders, the record of every evaluation, and the parallel map."""

from autogas.runs.folder import Run
from autogas.runs.parallel import Failure, attempt, parallel_map, processes, progress
from autogas.runs.record import Record

__all__ = [
    "Failure",
    "Record",
    "Run",
    "attempt",
    "parallel_map",
    "processes",
    "progress",
]
