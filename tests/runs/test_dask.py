"""Work on a cluster of Dask: the same results, also when a worker is killed."""

import os
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
SEARCH = ["search", "plain", "--proxy", "slow", "--population", "6", "--iterations", "3", "--sample", "4"]
SEARCH += ["--agreement", "0"]


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

    def run(*words):
        words = [sys.executable, "-m", "autogas", *SEARCH, "--plugin", plugin, *words]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="module")
def here(autogas_with, tmp_path_factory):
    """The same search in one process."""
    folder = tmp_path_factory.mktemp("here") / "run"
    autogas_with("--jobs", "1", "--out", folder)
    return autogas.Run.open(folder)


def test_a_search_on_a_cluster_is_the_search_here(cluster, autogas_with, here, tmp_path):
    autogas_with("--backend", "dask", "--scheduler", cluster.scheduler_address, "--out", tmp_path / "there")
    assert (here.path / "results.json").read_bytes() == (tmp_path / "there" / "results.json").read_bytes()


def test_a_worker_that_is_killed_costs_a_retry(cluster, autogas_with, here, tmp_path):
    killed = []

    def kill():
        while not (tmp_path / "there" / "record.sqlite").exists():
            time.sleep(0.05)
        time.sleep(1.5)
        with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
            for process in client.run(os.getpid).values():
                killed.append(process)
                os.kill(process, signal.SIGKILL)
                break

    thread = threading.Thread(target=kill)
    thread.start()
    autogas_with("--backend", "dask", "--scheduler", cluster.scheduler_address, "--out", tmp_path / "there")
    thread.join()
    assert len(killed) == 1
    there = autogas.Run.open(tmp_path / "there")
    assert (here.path / "results.json").read_bytes() == (there.path / "results.json").read_bytes()
    assert {key for key in here.record if "latency" not in key} == {key for key in there.record if "latency" not in key}


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
