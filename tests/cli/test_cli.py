import colorsys
import errno
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from scipy import stats
from tests.cli.conftest import over

from autogas import get_space, list_benchmarks, list_proxies, list_spaces, score, score_many
from autogas.files import read_json
from autogas.proxies.scorer import SCORERS
from autogas.runs import Record, Run
from autogas.seeding import torch_generator

ARCH = "64-1234-basic"
SET = ["--set", "base_width=8", "--set", "decoder_divisor=64", "--set", "stem_stride=1", "--set", "image_size=16"]
RANK = ["rank", "num_downsamples", "params", "--benchmark", "toy", "--jobs", "1"]
DISCOVER = ["discover", "--benchmark", "toy", "--jobs", "1", "--no-controls", "--population", "4", "--iterations", "2"]
DISCOVER += ["--validation", "4", "--test", "4", "--batch-size", "4"]
NETS = """
from torch import nn

def conv():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Tanh())

class Dense(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5), nn.Tanh())

def number():
    return 3

def broken():
    raise ValueError("no such layer")

constant = 5
"""


@pytest.fixture
def nets(here):
    (here / "nets.py").write_text(NETS)
    return "nets.py"


@pytest.fixture
def images(here):
    folder = here / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    return folder


def files(*folders):
    """Every file and folder with what it holds."""
    return {path: path.is_file() and path.read_bytes() for folder in folders for path in sorted(folder.rglob("*"))}


@pytest.fixture
def refused(autogas, here, autogas_home, monkeypatch):
    """Call the command, see that it says one line, exits with 2 and leaves nothing behind; returns the line."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # what Python compiles of a user's file it keeps beside it

    def run(*words):
        before = files(here, autogas_home)
        code, out, err = autogas(*words)
        assert (code, out) == (2, "")
        assert re.fullmatch(r"autogas: [^\n]+\n", err), err
        assert files(here, autogas_home) == before
        return err

    return run


def parsed(result):
    """The JSON on stdout of a command that went well."""
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


# What goes well


def test_list_names_everything(autogas, toy):
    document = parsed(autogas("list", "--json"))
    assert document["spaces"] == list_spaces()
    assert document["proxies"] == list_proxies()
    assert "toy" in document["benchmarks"]
    assert any("slogdet" in line for line in document["primitives"])


@pytest.mark.parametrize(
    ("what", "name"), [("spaces", "transnas-micro"), ("proxies", "autogas"), ("benchmarks", "toy")]
)
def test_list_of_one_kind(autogas, toy, what, name):
    code, out, err = autogas("list", what)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == what
    assert name in [line.split()[0] for line in out.splitlines()]
    assert list(parsed(autogas("list", what, "--json"))) == [what]


def test_list_has_every_scorer(autogas):
    assert SCORERS.keys() <= {line.split()[0] for line in autogas("list", "proxies")[1].splitlines()}


def test_score_by_every_proxy(autogas):
    space = get_space("transnas-macro", base_width=8, decoder_divisor=64, stem_stride=1, image_size=16)
    arch = space.parse(ARCH)
    document = parsed(autogas("score", *list_proxies(), "--arch", ARCH, *SET, "--batch-size", 4, "--json"))
    of_module = [name for name in list_proxies() if name not in ("num_downsamples", "num_skips")]
    expected = score_many(space.build(arch), space.inputs(batch_size=4), of_module)
    assert document == {**expected, "num_downsamples": -2, "num_skips": 0}


def test_bench_list_and_show(autogas, toy):
    assert "toy" in autogas("bench", "list")[1].splitlines()
    assert parsed(autogas("bench", "list", "--json")) == list_benchmarks()
    document = parsed(autogas("bench", "show", "toy", "--json"))
    assert (document["name"], document["space"], document["architectures"]) == ("toy", "transnas-macro", 14)
    assert document["range"] == [toy["ssim"].min(), toy["ssim"].max()]
    assert document["provenance"] == {"by": "hand"}
    code, out, _ = autogas("bench", "show", "toy")
    assert code == 0
    assert out.startswith("toy: 14 architectures of transnas-macro")


def test_score_an_architecture(autogas):
    space = get_space("transnas-macro", base_width=8, decoder_divisor=64, stem_stride=1, image_size=16)
    model, inputs = space.build(space.parse(ARCH), seed=3), space.inputs(batch_size=4, seed=3)
    words = ["score", "autogas", "params", "num_downsamples", "--arch", ARCH, *SET, "--batch-size", "4", "--seed", "3"]
    scores = parsed(autogas(*words, "--json"))
    assert scores == {
        "autogas": pytest.approx(score(model, inputs, "autogas")),
        "params": sum(p.numel() for p in model.parameters()),
        "num_downsamples": -2,
    }
    code, out, err = autogas(*words)
    assert (code, err) == (0, "")
    shown = dict(line.split("\t")[::-1] for line in out.splitlines())
    assert {name: float(value) for name, value in shown.items()} == pytest.approx(scores, rel=1e-6)


def test_the_default_proxy(autogas):
    assert list(parsed(autogas("score", "--arch", ARCH, *SET, "--json"))) == ["concord"]


@pytest.mark.parametrize(
    "words", [("--space", "eagan-generator", "--arch", "eagan-best", "--set", "width=8"), ("--module", "nets.py:conv")]
)
@pytest.mark.usefixtures("nets")
def test_what_has_no_score_leaves_the_others(autogas, words):
    unknown = "num_downsamples"  # of TransNAS-Bench-101's spaces only
    code, out, err = autogas("score", "params", unknown, "macs", *words)
    assert code == 2
    assert [line.split("\t")[1] for line in out.splitlines()] == ["params", "macs"]
    assert len(err.splitlines()) == 1
    assert unknown in err
    shown = json.loads(autogas("score", "params", unknown, "--json", *words)[1])
    assert shown[unknown] is None
    assert shown["params"] > 0


def test_score_your_own_network(autogas, nets):
    scores = parsed(autogas("score", "params", "macs", "tanh > gram > trace", "--module", f"{nets}:conv", "--json"))
    assert scores["params"] == 3 * 8 * 9 + 8 + 8 * 4 * 9 + 4
    assert scores["macs"] == 30 * 30 * 8 * 27 + 28 * 28 * 4 * 72
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3), torch.nn.Tanh())
    noise = torch.randn(16, 3, 32, 32, generator=torch_generator("inputs", 0))
    assert scores["tanh > gram > trace"] == pytest.approx(score(net, noise, "tanh > gram > trace"))


def test_score_a_class_on_noise_of_another_shape(autogas, nets):
    words = ["score", "gram > trace", "params", "--module", f"{nets}:Dense", "--shape", "10", "--json"]
    first, again, other = (parsed(autogas(*words, "--seed", seed)) for seed in (0, 0, 1))
    assert first["params"] == 10 * 20 + 20 + 20 * 5 + 5
    assert first == again
    assert first["gram > trace"] != other["gram > trace"]


def test_a_network_s_file_does_not_hide_a_module(autogas, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "colorsys", colorsys)
    (here / "colorsys.py").write_text(NETS)
    parsed(autogas("score", "params", "--module", "colorsys.py:conv", "--json"))
    assert sys.modules["colorsys"] is colorsys


@pytest.mark.usefixtures("toy", "no_page")
def test_rank(autogas, here, toy):
    document = parsed(autogas(*RANK, "--out", "run", "--json"))
    assert document["run"] == "run"
    table = pd.read_parquet(here / "run" / "scores.parquet")
    rows = {row["name"]: row for row in document["test"]}
    assert set(rows) == {"num_downsamples", "params"}
    for name, row in rows.items():
        assert row["kendall_b"]["value"] == pytest.approx(stats.kendalltau(table["ssim"], table[name]).statistic)
    assert read_json(here / "run" / "results.json").items() <= document.items()


@pytest.mark.usefixtures("toy", "no_page", "images")
def test_rank_by_every_proxy_on_images(autogas):
    words = ["rank", *list_proxies(), "--benchmark", "toy", "--test", "3", "--images", "images", "--batch-size", "8"]
    document = parsed(autogas(*words, "--jobs", 1, "--json"))
    assert {row["name"]: row["failed"] for row in document["test"]} == dict.fromkeys(list_proxies(), 0)


@pytest.mark.usefixtures("toy", "images")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--images", "nowhere"], "'nowhere'"),
        (["--images", "images", "--batch-size", "13"], "12 images are fewer than --batch-size 13"),
    ],
)
def test_images_that_are_not_there_are_refused(refused, options, named):
    assert named in refused(*RANK, *options, "--out", "run")


@pytest.mark.usefixtures("toy", "no_page")
def test_rank_prints_a_table(autogas):
    document = parsed(autogas(*RANK, "--out", "run", "--json"))
    code, out, err = autogas("rank", "--resume", "run")
    assert (code, err) == (0, "")
    assert "toy: 6 test architectures, quality ssim" in out
    for row in document["test"]:
        line, beyond = (line for line in out.splitlines() if line.split()[:1] == [row["name"]])
        assert f"{row['kendall_b']['value']:.3f}" in line.split()
        (known,) = (known for known in document["beyond_size"] if known["name"] == row["name"])
        assert f"{known['top']['1']['percentile']:.1f}" in beyond.split()
    assert out.endswith("report: run/report.html\n")


@pytest.mark.usefixtures("toy", "no_page")
def test_rank_all(autogas):
    assert {row["count"] for row in parsed(autogas(*RANK, "--all", "--json"))["test"]} == {14}


@pytest.mark.usefixtures("toy", "no_page")
def test_a_run_without_a_name_gets_one(autogas, here):
    document = parsed(autogas(*RANK, "--json"))
    (folder,) = (here / "runs").iterdir()
    assert document["run"] == f"runs/{folder.name}"
    assert re.fullmatch(r"rank-\d{8}-\d{6}", folder.name)


@pytest.mark.usefixtures("toy")
def test_discover_draws_a_page_that_report_draws_again(autogas, here):
    document = parsed(autogas(*DISCOVER, "--out", "run", "--json"))
    page = Path(document["report"])
    drawn = page.read_bytes()
    assert document["evaluated"] == {"evolution": 8}
    assert document["winner"]["proxy"].encode() in drawn.replace(b"&gt;", b">")
    page.unlink()
    assert parsed(autogas("report", "run", "--json")) == {"report": str(page)}
    assert page.read_bytes() == drawn
    assert autogas("report", "run") == (0, f"{page}\n", "")


@pytest.mark.usefixtures("toy", "no_page")
def test_discover_can_be_resumed(autogas):
    first = parsed(autogas(*DISCOVER, "--out", "run", "--json"))
    code, out, err = autogas("discover", "--resume", "run", "--jobs", "1")
    assert (code, err) == (0, "")
    assert f"winner: {first['winner']['proxy']}" in " ".join(out.split())
    assert parsed(autogas("discover", "--resume", "run", "--jobs", "1", "--json")) == first


def test_import(autogas, here):
    pd.DataFrame({"arch": [ARCH, "64-4111-basic", "bad"], "ssim": [1, 2, 3]}).to_csv(here / "t.csv", index=False)
    document = parsed(autogas("bench", "import", "t.csv", "--name", "mine", "--json"))
    assert document == [
        {
            "benchmark": "mine",
            "architectures": 2,
            "metric": "ssim",
            "skipped": {"not an architecture of transnas-macro": ["bad"]},
        }
    ]
    code, out, err = autogas("bench", "import", "t.csv")
    assert (code, err) == (0, "")
    assert out.startswith("transnas-macro: 2 architectures, quality ssim; skipped 1")
    assert {"mine", "transnas-macro"} <= set(list_benchmarks())


def test_build(autogas, here, images):
    others = shutil.copytree(images, here / "others")
    words = ["bench", "build", "--space", "transnas-macro", *SET, "--images", "images", "--held-out", str(others)]
    words += ["--count", "2", "--repeats", "0", "--recipe", "steps=2", "--recipe", "batch_size=2", "--jobs", "1"]
    document = parsed(autogas(*words, "--out", "run", "--store", "data", "--json"))
    assert (document["trained"], document["benchmark"]) == (2, "data/run.parquet")
    assert len(pd.read_parquet(here / "data" / "run.parquet")) == 2
    code, out, err = autogas("bench", "build", "--resume", "run", "--name", "mine", "--jobs", "1")
    assert (code, err) == (0, "")
    assert out.startswith("2 trainings, 0 failed; benchmark mine in ")
    assert "mine" in list_benchmarks()


@pytest.mark.parametrize("words", [[], ["score"], ["bench", "build"], ["bench", "import"], ["report"], ["list"]])
def test_help(autogas, words):
    code, out, err = autogas(*words, "--help")
    assert (code, err) == (0, "")
    assert "Usage" in out


@pytest.mark.parametrize("words", [[], ["bench"]])
def test_nothing_asked_shows_the_help(autogas, words):
    code, out, err = autogas(*words)
    assert code == 2
    assert "Usage" in out + err
    assert "Traceback" not in err


def test_the_command_itself(here):
    command = Path(sys.executable).with_name("autogas")
    done = subprocess.run([command, "list", "spaces", "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"spaces": list_spaces()}
    done = subprocess.run([command, "list", "spaecs"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "autogas: unknown kind of thing 'spaecs': did you mean 'spaces'?\n"


# What is refused


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["rank", "swish > gram > slogdett"], ["'slogdett'", "'slogdet'"]),
        (["rank", "autogaz"], ["'autogaz'", "'autogas'"]),
        (["rank", "slogdet > gram"], ["slogdet", "gram"]),
        (["rank", "gram"], ["gram"]),
        (["score", "swish > gram > slogdett", "--arch", ARCH], ["'slogdett'", "'slogdet'"]),
        (["score", "gram > swish", "--arch", ARCH], ["gram", "swish"]),
    ],
)
def test_a_bad_proxy_is_refused(refused, words, named):
    options = ["--benchmark", "toy", "--out", "run", "--jobs", "1"] if words[0] == "rank" else []
    line = refused(*words, *options)
    assert all(word in line for word in named)


@pytest.mark.parametrize("arch", ["64-9999-basic", "64-1111-basic", "64-41414-1_23_012", "nonsense", ""])
def test_an_architecture_outside_the_space_is_refused(refused, arch):
    assert repr(arch) in refused("score", "--arch", arch, "--space", "transnas-macro")


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("verb", [DISCOVER, RANK], ids=["discover", "rank"])
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--benchmark", "tooy"], ["unknown benchmark 'tooy'", "'toy'"]),
        (["--benchmark", "toy/macro"], ["'macro'"]),
        (["--test", "7"], ["--test 7", "6"]),
        (["--test", "1"], ["test", "1"]),
        (["--device", "gpu"], ["--device 'gpu'"]),
        (["--set", "depth=3"], ["depth"]),
        (["--set", "depth"], ["--set 'depth'", "NAME=VALUE"]),
        (["--set", "=3"], ["--set '=3'", "NAME=VALUE"]),
        (["--set", "image_size=17"], ["image_size=17"]),
        (["--set", "image_size=large"], ["image_size"]),
        (["--seed", "-1"], ["--seed"]),
        (["--seed", "x"], ["--seed", "'x'"]),
        (["--jobs", "0"], ["--jobs"]),
        (["--batch-size", "1"], ["--batch-size"]),
        (["--banana"], ["--banana"]),
        (["--resume", "nothing"], ["beside --resume"]),
        (["--out", "file/run"], ["'file/run'"]),
    ],
)
def test_a_bad_option_is_refused(refused, here, verb, words, named):
    (here / "file").write_text("a regular file")
    line = refused(*over([*verb, "--out", "run"], words))
    assert all(word in line for word in named)


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--validation", "9"], ["--validation 9", "8"]),
        (["--validation", "2"], ["validation"]),
        (["--strategy", "evolve"], ["strategy", "evolve", "evolution"]),
        (["--fitness", "tau-a"], ["fitness", "tau-a", "kendall_a"]),
        (["--population", "0"], ["population"]),
        (["--iterations", "0"], ["iterations"]),
        (["--sampling-ratio", "1.5"], ["--sampling-ratio 1.5"]),
        (["--top-k", "0"], ["--top-k 0"]),
    ],
)
def test_a_bad_option_of_discover_is_refused(refused, words, named):
    line = refused(*over([*DISCOVER, "--out", "run"], words))
    assert all(word in line for word in named)


@pytest.mark.usefixtures("toy")
def test_all_and_some_are_refused(refused):
    assert "--all" in refused(*RANK, "--out", "run", "--all", "--test", "4")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("words", [["score", "--arch", ARCH, *SET], RANK, DISCOVER], ids=["score", "rank", "discover"])
def test_a_device_that_is_not_there_is_refused(refused, toy, words):
    assert "--device 'cuda'" in refused(*words, "--device", "cuda")


@pytest.mark.usefixtures("toy", "no_page")
@pytest.mark.parametrize("verb", [DISCOVER, RANK], ids=["discover", "rank"])
def test_a_folder_with_a_run_is_refused(autogas, refused, verb):
    assert autogas(*RANK, "--out", "run")[0] == 0
    assert "'run' holds a run already" in refused(*verb, "--out", "run", "--seed", "1")


@pytest.mark.usefixtures("toy", "no_page")
def test_a_run_of_another_verb_is_not_resumed(autogas, refused):
    assert autogas(*RANK, "--out", "run")[0] == 0
    assert "a run of rank, not of discover" in refused("discover", "--resume", "run")
    assert "a run of rank, not of build" in refused("bench", "build", "--resume", "run")


@pytest.mark.parametrize("damage", ["settings.json", "record.sqlite"])
@pytest.mark.usefixtures("toy", "no_page")
def test_a_damaged_run_is_not_resumed(autogas, refused, here, damage):
    assert autogas(*RANK, "--out", "run")[0] == 0
    (here / "run" / damage).write_bytes(b"\x00 not what it was" * 100)
    refused("rank", "--resume", "run")


@pytest.mark.usefixtures("no_page")
def test_a_damaged_benchmark_is_refused(refused, toy, autogas_home):
    (autogas_home / "benchmarks" / "toy.parquet").write_bytes(b"not parquet")
    refused(*RANK, "--out", "run")


@pytest.mark.parametrize("folder", ["nothing", "."])
def test_no_page_of_what_is_no_run(refused, folder):
    assert "not a run folder" in refused("report", folder)


def test_no_page_of_a_run_that_did_not_finish(refused, here):
    Run.start("rank", {}, here / "run").record.close()
    assert "did not finish" in refused("report", "run")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], ["--arch", "--module"]),
        (["--arch", ARCH, "--module", "nets.py:conv"], ["--arch", "--module"]),
        (["--module", "nets.py"], ["'nets.py'", "FILE.py:NAME"]),
        (["--module", "missing.py:conv"], ["'missing.py:conv'", "FILE.py:NAME of a file that exists"]),
        (["--arch", ARCH, "--shape", "3,8,8"], ["--shape '3,8,8'", "--module"]),
        (["--module", "nets.txt:conv"], ["'nets.txt:conv'", "FILE.py:NAME"]),
        (["--module", "nets.py:nothing"], ["nets.py", "'nothing'"]),
        (["--module", "nets.py:constant"], ["'constant'"]),
        (["--module", "nets.py:number"], ["number made a int"]),
        (["--module", "nets.py:conv", "--shape", "3,x"], ["--shape '3,x'"]),
        (["--module", "nets.py:conv", "--shape", "3,0,32"], ["--shape '3,0,32'"]),
        (["--module", "nets.py:conv", "--shape", ""], ["--shape ''"]),
        (["num_skips", "--module", "nets.py:conv"], ["num_skips", "architecture"]),
        (["--arch", ARCH, "--space", "transnas-makro"], ["'transnas-makro'", "'transnas-macro'"]),
        (["--arch", ARCH, "--set", "depth=3"], ["depth"]),
        (["--arch", ARCH, "--device", "gpu"], ["--device 'gpu'"]),
        (["--module", "nets.py:conv", "--set", "image_size=64"], ["--set"]),
    ],
)
def test_a_network_that_cannot_be_scored_is_refused(refused, nets, here, words, named):
    (here / "nets.txt").write_text(NETS)
    line = refused("score", *words)
    assert all(word in line for word in named)


def test_a_network_that_does_not_take_the_shape_is_refused(refused, nets):
    assert "nets.py:Dense" in refused("score", "--module", f"{nets}:Dense", "--shape", "3,32,32")


FEW_IMAGES = ("--images", "dead-leaves", "--train-images", "8", "--held-out-images", "4")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["bench", "show", "tooy"], ["'tooy'", "'toy'"]),
        (["bench", "shwo"], ["shwo"]),
        (["bench", "import", "missing.csv"], ["'missing.csv'"]),
        (["bench", "import"], ["'path'"]),
        (["list", "spaecs"], ["'spaecs'", "'spaces'"]),
        (["disocver"], ["disocver"]),
        (["--version-of-nothing"], ["--version-of-nothing"]),
        (["bench", "build", "--images", "nowhere", "--out", "run"], ["'nowhere'"]),
        (["bench", "build", "--space", "transnas-makro", "--out", "run"], ["'transnas-macro'"]),
        (["bench", "build", "--set", "depth=3", "--out", "run"], ["depth"]),
        (["bench", "build", "--recipe", "steps=0", "--out", "run"], ["recipe.steps=0"]),
        (["bench", "build", "--count", "0", "--out", "run"], ["--count 0"]),
        (["bench", "build", "--device", "gpu", "--out", "run"], ["--device 'gpu'"]),
        (
            [*("bench", "build", "--repeat-space", "transnas-mikro", "--out", "run"), *FEW_IMAGES],
            ["'transnas-micro'"],
        ),
        (["bench", "build", "--name", "a/b", "--out", "run"], ["'a/b'"]),
        (["bench", "build", "--name", "mini-autoencoder", "--out", "run"], ["'mini-autoencoder'", "embedded"]),
        (["bench", "build", "--out", "two words"], ["'two words'"]),
        (["score", "--arch", ARCH, *SET, "--device", "meta"], ["--device 'meta'"]),
        (["bench", "build", "--resume", "nothing"], ["'nothing'", "not a run folder"]),
    ],
)
def test_other_bad_input_is_refused(refused, toy, words, named):
    line = refused(*words)
    assert all(word in line for word in named)


def test_a_truncated_benchmark_file_is_refused(refused, here):
    path = here / "bench.pth"
    torch.save({"data": {"macro": {ARCH: {"autoencoder": {"metrics": {"test_ssim": [0.5] * 100}}}}}}, path)
    path.write_bytes(path.read_bytes()[:-200])
    assert "not a complete torch file" in refused("bench", "import", "bench.pth")


@pytest.mark.parametrize("options", [[], ["--space", "transnas-micro"]])
def test_a_benchmark_file_of_another_space_is_refused(refused, here, options):
    digits = "(1, 5, 4, 2, 0, 0)" if not options else "(1, 2, 4, 2, 0, 0)"
    (here / "zc.json").write_text(json.dumps({"autoencoder": {digits: {"val_accuracy": 0.5}}}))
    assert "another space" in refused("bench", "import", "zc.json", *options)


@pytest.mark.parametrize(
    ("table", "options", "named"),
    [
        ({"arch": [ARCH], "ssim": [1.0]}, ["--metric", "fid"], ["'fid'", "ssim"]),
        ({"arch": [ARCH], "ssim": [1.0], "l1": [2.0]}, [], ["--metric", "ssim, l1"]),
        ({"model": [ARCH], "ssim": [1.0]}, [], ["'arch'", "model, ssim"]),
        ({"arch": [None, ARCH], "ssim": [1.0, 2.0]}, [], ["1 of 2"]),
    ],
)
def test_a_table_without_what_is_needed_is_refused(refused, here, table, options, named):
    pd.DataFrame(table).to_csv(here / "t.csv", index=False)
    line = refused("bench", "import", "t.csv", *options)
    assert all(word in line for word in named)


def test_a_class_in_a_benchmark_file_is_refused(refused, here):
    torch.save({"data": {"macro": {ARCH: Path("x")}}}, here / "bench.pth")
    assert "--allow-pickle" in refused("bench", "import", "bench.pth")


# What breaks on the way


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_database(*arguments, **options):
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.usefixtures("toy", "no_page")
@pytest.mark.parametrize("verb", [DISCOVER, RANK], ids=["discover", "rank"])
@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [
        (Run, "write_table", full),
        (Record, "put", full_database),
        (Run, "finish", full),
        (parquet, "write_table", full),
    ],
    ids=["table", "record", "results", "parquet"],
)
def test_a_full_disk_is_said_and_the_run_can_be_continued(autogas, here, monkeypatch, verb, owner, name, error):
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, error)
        code, out, err = autogas(*verb, "--out", "run")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"autogas: cannot [^\n]*(No space left on device|disk is full)\n", err), err
    assert not (here / "run" / "results.json").exists()
    assert not list((here / "run").glob(".*.tmp"))
    parsed(autogas(verb[0], "--resume", "run", "--jobs", "1", "--json"))


@pytest.mark.usefixtures("toy")
def test_a_full_disk_stores_no_benchmark(autogas, here, autogas_home, monkeypatch):
    pd.DataFrame({"arch": [ARCH], "ssim": [1.0]}).to_csv(here / "t.csv", index=False)
    before = files(here, autogas_home)
    with monkeypatch.context() as patch:
        patch.setattr(parquet, "write_table", full)
        code, out, err = autogas("bench", "import", "t.csv")
    assert (code, out) == (2, "")
    assert err == "autogas: cannot read or write a file: No space left on device\n"
    assert files(here, autogas_home) == before


@pytest.mark.usefixtures("toy")
def test_an_interrupted_run_says_how_to_go_on(autogas, here, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write_table", interrupt)
        code, out, err = autogas(*RANK, "--out", "run")
    assert (code, out) == (130, "")
    assert err == "autogas: interrupted; what was recorded is kept, continue with: autogas rank --resume run\n"
    assert len(Run.open(here / "run").record) == 6


def test_score_explains(autogas):
    args = ["score", "--arch", "eagan-best", "--space", "eagan-generator", "--set", "width=8", "--explain", "--json"]
    code, out, _ = autogas(*args)
    rows = json.loads(out)
    assert code == 0
    assert rows[0]["module"] == "linears.0"
    assert {row["kind"] for row in rows} == {"activations", "convolutions", "normalisations"}
