"""The example plug-in, installed into a folder of its own and used from the command line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"
SEARCH = ["search", "denoisers", "--population", "4", "--iterations", "2", "--sample", "4", "--agreement", "0"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package as pip leaves it."""
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, folder / "source")
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    pytest.importorskip("setuptools")
    done = subprocess.run([*words, "--target", folder / "site", source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def command(*words, site, home):
    environment = {**os.environ, "AUTOGAS_HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(site), environment.get("PYTHONPATH", "")])
    environment.pop("AUTOGAS_PLUGINS", None)
    done = subprocess.run(
        [sys.executable, "-m", "autogas", *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_is_listed(installed, tmp_path):
    names = json.loads(command("list", "--json", site=installed, home=tmp_path))
    assert "denoisers" in names["spaces"]
    assert "live_share" in names["proxies"]
    assert "above_share" in names["primitives"]


def test_workers_know_it(installed, tmp_path):
    out = tmp_path / "run"
    command(*SEARCH, "--proxy", "live_share", "--jobs", 2, "--out", out, site=installed, home=tmp_path)
    found = json.loads((out / "results.json").read_text())
    assert (found["failed"], found["evaluated"]) == (0, 8)


def test_its_word_is_scored(installed, tmp_path):
    arch = ["--space", "denoisers", "--arch", "width=16,depth=2,skip=True"]
    out = command("score", "above_share > hamming > slogdet > mean", "live_share", *arch, site=installed, home=tmp_path)
    assert [line.split("\t")[1] for line in out.splitlines()] == [
        "above_share > hamming > slogdet > mean",
        "live_share",
    ]


def test_its_space_keeps_the_contract(installed, monkeypatch):
    monkeypatch.syspath_prepend(str(installed))
    from autogas_example.space import denoisers

    from autogas.testing import SpaceContract

    class Contract(SpaceContract):
        space = denoisers

    tests = [name for name in dir(Contract) if name.startswith("test_")]
    assert len(tests) >= 8
    for name in tests:
        getattr(Contract(), name)()
