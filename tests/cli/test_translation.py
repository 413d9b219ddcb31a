import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DEAD_LEAVES = ["--images", "dead-leaves", "--held-out", "dead-leaves", "--count", "6", "--held-out-count", "4"]
SPACE = [
    "--space",
    "resnet-translation",
    "--set",
    "image_size=32",
    "--set",
    "choices=channels-32",
    "--set",
    "divisor=8",
]
RECIPE = [word for pair in ("steps=2", "batch=2", "discriminator_width=4") for word in ("--recipe", pair)]
ARCH = "16_16_16_16_16_16_16_16"
PIX2PIX = ["train", ARCH, *SPACE, "--task", "pix2pix", *RECIPE]


@pytest.fixture
def pairs(autogas, here):
    code, out, _ = autogas("data", "make", "edges2photo", "pairs", *DEAD_LEAVES, "--json")
    assert code == 0
    assert json.loads(out) == {"folder": "pairs", "files": {"train": 6, "test": 4}}
    return here / "pairs"


def test_make_data_train_resume_distil_evaluate(autogas, pairs):
    code, out, _ = autogas(*PIX2PIX, "--data", "pairs", "--out", "run", "--json")
    assert code == 0
    document = json.loads(out)
    assert (document["steps"], document["protocol"]["split"]) == (2, "test")
    code, out, _ = autogas("train", "--resume", "run")
    assert code == 0
    assert f"{document['metrics']['ssim']:.6g}\tssim" in out.splitlines()
    code, _, _ = autogas(*PIX2PIX, "--data", "pairs", "--teacher", "run", "--out", "student")
    assert code == 0
    rows = Path("student/losses.jsonl").read_text().splitlines()
    assert json.loads(rows[0])["distill_loss"] > 0
    evaluation = ["evaluate", "--images", "run/generator.safetensors", "--data", "pairs", "--out", "evaluation"]
    code, out, _ = autogas(*evaluation, "--json")
    assert code == 0
    assert json.loads(out)["metrics"] == pytest.approx(document["metrics"])
    code, again, _ = autogas("evaluate", "--resume", "evaluation", "--json")
    assert json.loads(again) == json.loads(out)


def test_a_segmentation_network_is_trained_and_named(autogas, here):
    autogas("data", "make", "labels2photo", "maps", *DEAD_LEAVES, "--size", "64")
    words = ["train-segmentation", "--data", "maps", "--recipe", "steps=1", "--recipe", "width=2", "--json"]
    code, out, _ = autogas(*words)
    assert code == 0
    assert 0 < json.loads(out)["pixel_accuracy"] < 1
    space = ["--space", "spade-translation", "--set", "layout=coco", "--set", "image_size=64", "--set", "num_labels=6"]
    arch, segmentation = "32_32_32_32_32_24_24_24", ["--segmentation", "segmentation.pt"]
    words = ["train", arch, *space, "--set", "divisor=8", "--data", "maps", *RECIPE, *segmentation, "--json"]
    code, out, _ = autogas(*words)
    assert code == 0
    document = json.loads(out)
    names = {"miou", "pixel-accuracy", "ssim", "psnr", "fid-cifarnet", "kid-cifarnet", "kid-error-cifarnet"}
    assert names == document["metrics"].keys()
    assert Path(document["protocol"]["segmentation"]["name"]).name == "segmentation.pt"


def mismatched(pairs):
    Image.fromarray(np.zeros((32, 63, 3), np.uint8)).save(pairs / "train" / "odd.png")


@pytest.mark.parametrize(
    ("spoil", "given", "named"),
    [
        (mismatched, PIX2PIX, "odd.png': of size 63x32, expected two halves of equal size"),
        (None, [*PIX2PIX[:-8], "--task", "cyclegan"], "no folder 'trainA'; unpaired data has trainA and trainB"),
        (None, [*PIX2PIX, "--recipe", "loss=wgan"], "recipe.loss='wgan'"),
        (None, [*PIX2PIX, "--teacher", "pairs"], "generator.safetensors"),
        (None, [*PIX2PIX, "--width", "3"], "unknown setting 'width': expected arch, "),
        (None, [*PIX2PIX, "--images", "nowhere"], "unknown setting 'images': expected arch, "),
        (None, [*PIX2PIX, "--recipe", "generator_lrr=1"], "did you mean 'recipe.generator_lr'"),
        (None, [*PIX2PIX, "--recipe", "generator_lr=-1"], "recipe.generator_lr=-1: "),
        (None, ["train", ARCH, *SPACE], "--task pix2pix or cyclegan"),
        (None, ["evaluate", "--images", "nowhere"], "'nowhere'"),
    ],
)
def test_bad_input_is_one_line(autogas, pairs, here, spoil, given, named):
    if spoil is not None:
        spoil(pairs)
    code, out, err = autogas(*given, "--data", "pairs")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert named in err
    assert [path.name for path in here.iterdir()] == ["pairs"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["data", "make", "horse2zebra", "x"], "unknown data set 'horse2zebra'"),
        (["data", "make", "edges2photo", "x", "--images", "nowhere"], "'nowhere'"),
        (["train-segmentation", "--data", "nowhere"], "'nowhere': not a folder"),
        (["evaluate", "--images", "a", "--reference", "b", "--split", "val"], "split"),
    ],
)
def test_bad_data_is_one_line(autogas, here, given, named):
    code, out, err = autogas(*given)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert named in err
    assert list(here.iterdir()) == []


def test_a_missing_setting_is_named(autogas, here):
    code, out, err = autogas(*PIX2PIX)
    assert (code, out, err) == (2, "", "autogas: data: needed, and not given\n")
    assert list(here.iterdir()) == []
