"""Losses and metrics for tools that draw them, by Lightning Fabric's loggers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from autogas.errors import InputError

Values: TypeAlias = Mapping[str, float | None]
CSV_FOLDER, TENSORBOARD_FOLDER = "csv", "tensorboard"


def check_loggers(*, tensorboard: bool) -> None:
    """Raise ``InputError`` for a logger whose package is not installed."""
    if tensorboard and find_spec("tensorboard") is None:
        raise InputError("--tensorboard: needs the package tensorboard; pip install 'autogas[tensorboard]'")


@contextlib.contextmanager
def loggers(
    folder: Path, *, tensorboard: bool, csv: bool, past: Callable[[], Iterable[tuple[int, Values]]]
) -> Iterator[Callable[[Values, int], None]]:
    """A function that logs values at a step; everything is on the disk when the block ends.

    Args:
        folder: of the run.
        tensorboard: write event files to ``tensorboard/``.
        csv: write ``csv/metrics.csv``, a row a step.
        past: gives steps and values of the run before it was interrupted: the CSV is written anew.
    """
    from lightning_fabric.loggers.csv_logs import CSVLogger
    from lightning_fabric.loggers.logger import Logger
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    found: list[Logger] = []

    def start(step: int) -> None:
        if tensorboard:
            found.append(TensorBoardLogger(folder, name=TENSORBOARD_FOLDER, version=""))
        if csv:
            (folder / CSV_FOLDER / "metrics.csv").unlink(missing_ok=True)
            found.append(CSVLogger(folder, name=CSV_FOLDER, version="", flush_logs_every_n_steps=1))
            for at, values in past():
                if at < step:
                    found[-1].log_metrics(_known(values), at)

    def log(values: Values, step: int) -> None:
        if not found:
            start(step)
        for logger in found:
            logger.log_metrics(_known(values), step)

    try:
        yield log
    finally:
        for logger in found:
            logger.finalize("success")


def _known(values: Values) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
