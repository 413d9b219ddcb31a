import json

import numpy as np
import pytest
from PIL import Image

SMALL = ["--width", "2", "--log-every", "1", "--checkpoint-every", "1", "--checkpoint-samples", "4", "--samples", "6"]
RECIPE = {"steps": 2, "generator_batch": 2, "discriminator_batch": 2, "critic_steps": 1, "discriminator_width": 2}


@pytest.fixture
def words(here):
    (here / "images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(here / "images" / f"{i}.png")
    recipe = [word for name, value in RECIPE.items() for word in ("--recipe", f"{name}={value}")]
    return ["train", "eagan-best", "--images", "images", *SMALL, *recipe, "--out", "run"]


def test_train_then_resume_then_evaluate(autogas, words, here):
    code, out, _ = autogas(*words, "--json")
    assert code == 0
    document = json.loads(out)
    assert document["run"] == "run"
    assert document["steps"] == 2
    code, out, _ = autogas("train", "--resume", "run")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"{document['metrics']['fid-cifarnet']:.6g}\tfid-cifarnet"
    assert lines[-1] == "generator: run/generator.safetensors"
    evaluation = ["evaluate", "--images", "run/generator.safetensors", "--reference", "images", "--samples", "6"]
    code, out, _ = autogas(*evaluation, "--splits", "6", "--json")
    assert json.loads(out)["metrics"]["fid-cifarnet"] == pytest.approx(document["metrics"]["fid-cifarnet"])
    code, out, _ = autogas(*evaluation, "--splits", "6", "--seed", "1", "--json")
    assert json.loads(out)["metrics"]["fid-cifarnet"] != pytest.approx(document["metrics"]["fid-cifarnet"])


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], "say what to train"),
        (["nonsense"], "'nonsense'"),
        (["eagan-best", "--recipe", "steps"], "--recipe 'steps': expected NAME=VALUE"),
        (["eagan-best", "--recipe", "steps=0"], "recipe.steps=0"),
        (["eagan-best", "--dataset", "imagenet"], "dataset='imagenet'"),
        (["eagan-best", "--images", "nowhere"], "'nowhere'"),
        (["--resume", "nowhere"], "'nowhere'"),
        (["eagan-best", "--device", "meta"], "--device 'meta'"),
    ],
)
def test_bad_input_is_one_line(autogas, here, given, named):
    code, out, err = autogas("train", *given)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert named in err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--space", "eagan-generator", "--arch", "eagan-best", "--threads", "100000"], "less than or equal to 1024"),
        (
            ["--space", "eagan-generator", "--arch", "eagan-best", "--batch-size", "999999999"],
            "less than or equal to 65536",
        ),
        (["--space", "eagan-generator"], "a training, or a space and an architecture"),
        (["--arch", "eagan-best"], "a training, or a space and an architecture"),
        (["run", "--set", "image_size=16"], "settings of a space beside 'run'"),
        (["run", "--arch", "eagan-best"], "a training, or a space and an architecture"),
    ],
)
def test_latency_that_cannot_be_measured(autogas, words, said):
    code, _, err = autogas("latency", *words)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert said in err
