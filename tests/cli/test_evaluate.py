import json

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import over

from autogas.files import read_json


@pytest.fixture
def folders(here):
    for seed, name in enumerate(("real", "fake")):
        (here / name).mkdir()
        rng = np.random.default_rng(seed)
        for i in range(20):
            Image.fromarray(rng.integers(0, 200 + 50 * seed, (32, 32, 3), dtype=np.uint8)).save(
                here / name / f"{i}.png"
            )


WORDS = ["evaluate", "--images", "fake", "--reference", "real"]


@pytest.mark.usefixtures("folders")
def test_evaluate(autogas, here):
    words = [*WORDS, "--save-reference", "real.npz", "--batch-size", "8", "--splits", "2"]
    code, out, err = autogas(*words, "--out", "run", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["run"] == "run"
    assert set(document["metrics"]) == {
        *("fid-cifarnet", "kid-cifarnet", "kid-error-cifarnet", "is-cifarnet", "is-std-cifarnet")
    }
    assert (document["protocol"]["samples"], document["protocol"]["splits"]) == (20, 2)
    assert read_json(here / "run" / "results.json").items() <= document.items()
    code, out, err = autogas("evaluate", "--images", "fake", "--reference", "real.npz", "--splits", "2")
    assert (code, err) == (0, "")
    shown = dict(line.split("\t")[::-1] for line in out.splitlines() if "\t" in line)
    values = {name: float(value) for name, value in shown.items()}
    assert values == pytest.approx(document["metrics"], rel=1e-3)
    assert "extractor: cifarnet" in out.splitlines()
    assert f"reference: {here / 'real'}" in out.splitlines()


@pytest.mark.usefixtures("folders")
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--images", "nowhere"], ["'nowhere'"]),
        (["--reference", "nowhere.npz"], ["'nowhere.npz'"]),
        (["--extractor", "inceptoin"], ["extractor", "'inceptoin'", "'inception'"]),
        (["--extractor", "inception", "--inception-weights", "w.pth"], ["--inception-weights 'w.pth'"]),
        (["--inception-weights", "w.pth"], ["--inception-weights 'w.pth'", "inception"]),
        (["--reference-samples", "21"], ["21", "20"]),
        (["--samples", "1"], ["samples", "1"]),
        (["--batch-size", "0"], ["--batch-size 0"]),
        (["--splits", "0"], ["splits"]),
        (["--device", "gpu"], ["--device 'gpu'"]),
        (["--save-reference", "x.txt"], ["--save-reference 'x.txt'", ".npz"]),
        (["--resume", "nothing"], ["--images", "beside --resume"]),
    ],
)
def test_a_bad_option_is_refused(autogas, here, words, named):
    before = sorted(here.rglob("*"))
    code, out, err = autogas(*over([*WORDS, "--out", "run"], words))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert all(word in err for word in named)
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("words", [[], ["--images", "x"], ["--reference", "x"]])
def test_images_and_reference_are_needed(autogas, words):
    code, out, err = autogas("evaluate", *words)
    assert (code, out) == (2, "")
    assert err == "autogas: say what to evaluate and what it should look like: --images and --reference or --data\n"


def test_train_cifarnet_is_not_shown_but_there(autogas):
    assert "train-cifarnet" not in autogas("--help")[1]
    code, out, _ = autogas("train-cifarnet", "--help")
    assert code == 0
    assert "--held-out" in out


def test_train_cifarnet_needs_images(autogas):
    code, out, err = autogas("train-cifarnet", "--images", "nowhere", "--held-out", "nowhere")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "'nowhere'" in err
