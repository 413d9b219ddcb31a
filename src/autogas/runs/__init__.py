"""Run folders, the record of every evaluation, and the parallel map."""

from autogas.runs.folder import Run, replacing, write_json
from autogas.runs.memory import keep_freed_memory
from autogas.runs.parallel import Failure, attempt, parallel_map, progress
from autogas.runs.record import Record

__all__ = [
    "Failure",
    "Record",
    "Run",
    "attempt",
    "keep_freed_memory",
    "parallel_map",
    "progress",
    "replacing",
    "write_json",
]
