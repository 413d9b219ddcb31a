import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

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


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory):
    """One data folder for all workflows, so that each network is run once."""
    return save_toy(tmp_path_factory.mktemp("shared-home"))


@pytest.fixture(autouse=True)
def autogas_home(shared_home, monkeypatch):
    monkeypatch.setenv("AUTOGAS_HOME", str(shared_home))
    return shared_home


@pytest.fixture
def fresh_home(tmp_path_factory, monkeypatch):
    """A data folder without any banked features."""
    home = save_toy(tmp_path_factory.mktemp("fresh-home"))
    monkeypatch.setenv("AUTOGAS_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    return folder


def python(code, home):
    """Start Python in another process."""
    environment = {**os.environ, "AUTOGAS_HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory, image_folder):
    """Folder of a discovery, a ranking and a build that another process made from nothing."""
    home = save_toy(tmp_path_factory.mktemp("other-home"))
    code = f"""
from autogas.workflows import build, discover, rank
discover.discover("toy", out={str(home / "discover")!r}, **{DISCOVER!r})
rank.rank("toy", out={str(home / "rank")!r}, **{RANK!r})
build.build(out={str(home / "build")!r}, images={str(image_folder)!r}, **{BUILD!r})
"""
    process = python(code, home)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output.decode()
    return home


def recorded(run):
    """Number of evaluations on record."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{run / 'record.sqlite'}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT COUNT(*) FROM evaluations").fetchone()[0]
    except sqlite3.OperationalError:  # not yet made
        return 0


@pytest.fixture
def killed(tmp_path, shared_home):
    """Run code in another process, kill it when the run ``tmp_path / "run"`` has some rows, give their number."""
    processes = []

    def kill(code, rows):
        process = python(code, shared_home)
        processes.append(process)
        deadline = time.monotonic() + 240
        while recorded(tmp_path / "run") < rows:
            assert process.poll() is None, process.communicate()[0].decode()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "run" / "results.json").exists()
        return recorded(tmp_path / "run")

    yield kill
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def calls(monkeypatch):
    """Count the calls of a function of a module (which still runs); returns the list of first arguments."""

    def count(owner, name):
        real, seen = getattr(owner, name), []

        def spy(*args, **options):
            seen.append(args[0])
            return real(*args, **options)

        monkeypatch.setattr(owner, name, spy)
        return seen

    return count
