import sys

import numpy as np
import pandas as pd
import pytest

from autogas.benchmarks import save_benchmark
from autogas.cli.main import main
from autogas.spaces import get_space

SMALL = {"base_width": 8, "decoder_divisor": 64, "stem_stride": 1, "image_size": 16}


@pytest.fixture
def autogas(monkeypatch, capsys):
    """Call the command in this process; returns exit code, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["autogas", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return stop.value.code, out, err

    return run


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Work in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def over(words, others):
    """A command with other options in place of those that it has too."""
    kept, left = [], iter(words)
    for word in left:
        if word in others and word.startswith("--") and word not in ("--set", "--recipe"):
            next(left)
        else:
            kept.append(word)
    return [*kept, *others]


@pytest.fixture
def toy(autogas_home):
    """A benchmark of 14 tiny architectures: 8 for validation, 6 for test."""
    rng = np.random.default_rng(0)
    archs = get_space("transnas-macro", **SMALL).sample_distinct(14, rng)
    quality = [-arch.num_downsamples + 0.3 * rng.normal() for arch in archs]
    table = pd.DataFrame({"arch": map(str, archs), "ssim": quality})
    save_benchmark("toy", table, space="transnas-macro", space_settings=SMALL, metric="ssim", provenance={"by": "hand"})
    return table


@pytest.fixture
def no_page(monkeypatch):
    """Do not draw pages: that has its own tests, and takes seconds."""
    from autogas import report

    monkeypatch.setattr(report, "write_report", lambda run: run.path / "report.html")
