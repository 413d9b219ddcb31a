"""What tests of the workflows run: a benchmark of tiny networks, in this process or another."""

import contextlib
import os
import sqlite3
import subprocess
import sys

import numpy as np
import pandas as pd

from autogas.benchmarks import save_benchmark
from autogas.spaces import get_space

SMALL = {"base_width": 8, "decoder_divisor": 64, "stem_stride": 1, "image_size": 16}
DISCOVER = {"iterations": 4, "population": 6, "validation": 8, "test": 8, "batch_size": 4, "controls": False}
RANK = {"proxies": ["autogas", "tanh > gram > trace", "num_downsamples"], "batch_size": 4}
BUILD = {
    "space": "transnas-macro",
    "space_settings": SMALL,
    "count": 3,
    "repeats": 1,
    "train_images": 8,
    "held_out_images": 4,
    "recipe": {"steps": 2, "batch_size": 2},
}


def save_toy(home):
    """A benchmark of 24 architectures whose quality falls with the number of down-samplings."""
    rng = np.random.default_rng(0)
    archs = get_space("transnas-macro", **SMALL).sample_distinct(24, rng)
    quality = [-arch.num_downsamples + 0.3 * rng.normal() for arch in archs]
    about = {"space": "transnas-macro", "space_settings": SMALL, "metric": "ssim", "provenance": {}}
    save_benchmark("toy", pd.DataFrame({"arch": map(str, archs), "ssim": quality}), folder=home / "benchmarks", **about)
    return home


def python(code, home):
    """Start Python in another process."""
    environment = {**os.environ, "AUTOGAS_HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def recorded(run):
    """Number of evaluations on record."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{run / 'record.sqlite'}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT COUNT(*) FROM evaluations").fetchone()[0]
    except sqlite3.OperationalError:  # not yet made
        return 0
