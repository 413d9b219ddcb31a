"""Work on a cluster of Dask: the same results, also when a worker is killed."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time

import pytest

import autogas
from autogas.errors import InputError
from autogas.runs import parallel_map
from autogas.runs.parallel import back_end

distributed = pytest.importorskip("distributed")

PLUGIN = """
import time

import autogas
from autogas.proxies.scorer import scorer
from torch import nn


def build(width, depth):
    layers = [nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()) for _ in range(depth)]
    return nn.Sequential(nn.Conv2d(3, width, 1), *layers, nn.Conv2d(width, 3, 1))


autogas.register_space(
    autogas.ChoiceSpace("plain", {"width": [4, 8, 12], "depth": range(1, 9)}, build, [(3, 8, 8)]), replace=True
)


@scorer(replace=True)
def slow(probe):
    \"\"\"A score that takes its time.\"\"\"
    time.sleep(0.2)
    return float(sum(p.abs().sum() for p in probe.model.parameters()))
"""
TINY = "--set image_size=16 --set base_width=8 --set decoder_divisor=64 --set stem_stride=1"
SHORT = "--recipe steps=20 --recipe batch_size=8"
VERBS = {
    "search": "search plain --proxy slow --population 6 --iterations 3 --sample 4 --agreement 0",
    "rank": "rank slow params --benchmark mini-autoencoder/macro --test 16 --batch-size 4",
    "build": f"bench build --space transnas-macro {TINY} --images dead-leaves --train-images 64 --held-out-images 8 "
    f"--count 8 --repeats 1 {SHORT}",
}
"""Work that takes seconds, so that a worker can be killed meanwhile."""


@pytest.fixture(scope="module")
def cluster():
    """Two workers that are processes."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def autogas_with(tmp_path_factory):
    """Run the command line with a plug-in."""
    folder = tmp_path_factory.mktemp("plugin")
    plugin = folder / "slow_plugin.py"
    plugin.write_text(PLUGIN)
    environment = {**os.environ, "AUTOGAS_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}

    def run(verb, *words):
        words = [sys.executable, "-m", "autogas", *shlex.split(VERBS[verb]), "--plugin", plugin, *words]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="module", params=VERBS)
def here(request, autogas_with, tmp_path_factory):
    """The same work in one process."""
    folder = tmp_path_factory.mktemp("here") / request.param
    autogas_with(request.param, "--jobs", "1", "--out", folder)
    return autogas.Run.open(folder)


def found(run):
    """What a run found, without seconds, which are never the same: results, and what is on record."""
    rows = {key: value for key, value in run.record.items() if "latency" not in key}
    if run.workflow == "build":
        rows = {key: {k: v for k, v in row.items() if "seconds" not in k} for key, row in rows.items()}
        return run.results, rows
    return (run.path / "results.json").read_bytes(), rows.keys()


def test_work_on_a_cluster_is_the_work_here(cluster, autogas_with, here, tmp_path):
    there = tmp_path / "there"
    autogas_with(here.path.name, "--backend", "dask", "--scheduler", cluster.scheduler_address, "--out", there)
    assert found(autogas.Run.open(there)) == found(here)


@pytest.mark.parametrize("here", ["build"], indirect=True)
def test_a_worker_that_is_killed_costs_a_retry(cluster, autogas_with, here, tmp_path):
    killed, there = [], tmp_path / "killed"

    def kill():
        while not (there / "record.sqlite").exists():
            time.sleep(0.05)
        while not len(autogas.Run.open(there).record):
            time.sleep(0.05)
        with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
            process = next(iter(client.run(os.getpid).values()))
            os.kill(process, signal.SIGKILL)
            killed.append(len(autogas.Run.open(there).record))

    thread = threading.Thread(target=kill)
    thread.start()
    autogas_with(here.path.name, "--backend", "dask", "--scheduler", cluster.scheduler_address, "--out", there)
    thread.join()
    assert len(killed) == 1
    assert killed[0] < len(here.record)  # in the middle
    assert found(autogas.Run.open(there)) == found(here)


def double(number):
    return 2 * number


def test_items_are_mapped_on_the_cluster_whatever_the_jobs(cluster):
    with back_end("dask", cluster.scheduler_address):
        assert sorted(parallel_map(double, [1, 2, 3], jobs=1)) == [(1, 2), (2, 4), (3, 6)]


def test_a_set_up_that_fails_is_an_error(cluster, tmp_path, monkeypatch):
    gone = tmp_path / "gone.py"
    gone.write_text("x = 1\n")
    monkeypatch.setenv("AUTOGAS_PLUGINS", str(gone))
    gone.unlink()
    with (
        back_end("dask", cluster.scheduler_address),
        pytest.raises(InputError, match="a worker cannot load the plug-ins"),
    ):
        list(parallel_map(double, [1, 2]))


@pytest.mark.parametrize(
    ("name", "scheduler", "said"),
    [
        ("ray", None, "expected loky or dask"),
        ("dask", None, "say where its scheduler is"),
        ("dask", "tcp://127.0.0.1:1", "no answer"),
        ("dask", "nonsense://x", "no answer"),
        ("loky", "tcp://127.0.0.1:1", "accepted with --backend dask"),
    ],
)
def test_a_bad_back_end_is_one_line(name, scheduler, said, monkeypatch):
    monkeypatch.setattr("autogas.runs.parallel.CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match=said), back_end(name, scheduler):
        raise AssertionError
