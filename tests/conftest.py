import itertools
import os
from pathlib import Path

# Read when numpy and torch are loaded, also by processes that tests start: sums run in one order, and workers do not
# fight for the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("AUTOGAS_JOBS", "1")

import hypothesis
import numpy as np
import pytest
import torch
from PIL import Image

hypothesis.settings.register_profile("autogas", deadline=None, derandomize=True, database=None, max_examples=50)
hypothesis.settings.load_profile("autogas")
torch.set_num_threads(1)


def pytest_runtest_setup(item):
    torch.manual_seed(0)  # of networks that a test makes without a seed: the same, whatever ran before
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def shared_data():
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture(scope="session")
def homes(tmp_path_factory):
    """Names of folders that are made by whoever writes into them: to make thousands takes longer than many tests."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def autogas_home(homes, monkeypatch):
    home = next(homes)
    monkeypatch.setenv("AUTOGAS_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """Twelve pictures of noise."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    return folder
