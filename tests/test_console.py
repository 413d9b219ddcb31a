"""The commands that the documentation shows run one after the other, on small stand-ins of what they read."""

import json
import shlex
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from autogas.benchmarks import save_benchmark
from autogas.cli.main import main
from autogas.datasets.mini import make_translation
from autogas.seeding import numpy_generator
from autogas.spaces import get_space
from tests.test_documentation import BLOCK, ROOT, WITH_CONSOLE, commands_of_ours, registries_as_before  # noqa: F401

SMALLER = {
    "bench build": "--images dead-leaves --train-images 8 --count 2 --repeats 0 --recipe steps=1",
    "data make": "--images dead-leaves --count 2 --held-out-count 2 --size 64",
    "discover": "--validation 4 --test 4 --top-k 1",
    "evaluate": "--samples 12 --reference photos",
    "rank": "--test 4",
    "reproduce": "--batch-size 4 --benchmark transnas-macro",
    "search": "--population 2 --iterations 1 --sample 2 --agreement 0",
    "train eagan": "--width 16 --images dead-leaves --train-images 8 --samples 12 --checkpoint-samples 12 "
    "--recipe critic_steps=1 --recipe steps=1 --recipe generator_batch=2 --recipe discriminator_batch=2 "
    "--recipe discriminator_width=2",
    "train unet": "--images dead-leaves --train-images 8 --held-out-images 4 --samples 12 --checkpoint-samples 12 "
    "--reference photos --recipe steps=1 --recipe batch=2",
    "train translator": "--recipe steps=1 --recipe batch=1 --recipe discriminator_width=2 --set image_size=64",
    "train-segmentation": "--size 32 --recipe steps=1",
}
"""Options, appended to those that are shown, with which the same command takes seconds."""
LEFT_OUT = {
    "FOUR": ["separation"],
    "--all": [],
    "--compile": [],
    "cuda": ["cpu"],
    "4": ["1"],
    "horse2deer": ["edges2photo"],
}
"""Words that stand for a formula, ask for everything, for GPUs, a compiler or labels; what stands instead."""
NOT_HERE = {"vgg=vgg19.pth", "drn.pt", "runs/teacher", "scheduler.json", "TRAIN.parquet"}
"""Weights that others publish, the network that a student learns from, a cluster, the photographs of CIFAR-10."""
BEFORE = {"docs/training.md": ["search eagan-generator --dataset stl10 --out runs/search"]}
"""What a page takes for done."""


def small(words):
    """The same command on stand-ins, in seconds."""
    if "--resume" in words:
        return words
    of_translation = {"resnet-translation", "spade-translation"} & set(words)
    verb = " ".join(words[:2]) if words[0] in ("bench", "data") else words[0]
    if verb == "train":
        verb += " translator" if of_translation else " unet" if "runs/unet" in words else " eagan"
    added = shlex.split(SMALLER.get(verb, ""))
    if verb == "discover" and "ascent" not in words:
        added += ["--population", "4", "--iterations", "2"]
    if verb == "search" and of_translation and "image_size=64" not in words:
        added += ["--set", "image_size=64"]
    if verb == "search" and "spade-translation" in words and not any(word.startswith("divisor=") for word in words):
        added += ["--set", "divisor=8"]
    if verb == "bench build":
        added += ["--held-out-images", "4"] if "eagan-generator" not in words else []
        added += (
            ["--samples", "12", "--reference", "photos"] if {"eagan-generator", "diffusion-unet"} & set(words) else []
        )
    if "--jobs" in words:
        added += ["--jobs", "1"]
    again = {word.split("=")[0] for word in added if "=" in word}
    places = [i for i, word in enumerate(words) if "=" in word and word.split("=")[0] in again]
    once = {word for word in added if word.startswith("--")} - {"--set", "--recipe"}
    places += [i + 1 for i, word in enumerate(words) if word in once]
    places += [i + 1 for i, word in enumerate(words) if word == "--benchmark" and words[:i].count(word) > 1]  # two do
    two = [words[i + 1] for i, word in enumerate(words) if word == "--benchmark"][:2]
    given = ((i + 1, words[i + 1].split("=")[0]) for i, word in enumerate(words) if word == "--target")
    places += [place for place, name in given if name not in two]
    kept = [word for i, word in enumerate(words) if not {i, i + 1} & set(places)]
    return [*(new for word in kept for new in LEFT_OUT.get(word, [word])), *added]


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """A folder with what the commands read."""
    folder, rng = tmp_path_factory.mktemp("stand-ins"), np.random.default_rng(0)
    (folder / "photos").mkdir()
    for i in range(16):
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(folder / "photos" / f"{i}.png")
    encoded = [{"bytes": path.read_bytes()} for path in sorted((folder / "photos").iterdir())]
    pd.DataFrame({"image": encoded}).to_parquet(folder / "photos.parquet")
    for split in ("trainA", "trainB", "testA", "testB"):
        shutil.copytree(folder / "photos", folder / "horse2zebra" / split)
    for kind, name in (("edges2photo", "edges2shoes"), ("labels2photo", "cityscapes")):
        make_translation(kind, folder / name, images="dead-leaves", count=2, held_out_count=2, size=64)
    own = next(block for block in BLOCK.findall((ROOT / "docs/search.md").read_text()) if block.startswith("# mine.py"))
    (folder / "mine.py").write_text(own)
    for name in ("transnas-macro", "transnas-micro"):
        space = get_space(name, base_width=4, decoder_divisor=16, stem_stride=1, image_size=16)
        archs = [str(arch) for arch in space.sample_distinct(9, numpy_generator(name))]
        rows = pd.DataFrame({"arch": archs, "ssim": np.linspace(0.2, 0.8, len(archs))})
        about = {"space": name, "space_settings": space.settings, "higher_is_better": True, "provenance": {}}
        (folder / "home" / "benchmarks").mkdir(parents=True, exist_ok=True)
        save_benchmark(name, rows, metric="ssim", folder=folder / "home" / "benchmarks", **about)
    return folder


def write_published(folder):
    """Tables in the formats in which TransNAS-Bench-101 and NAS-Bench-Suite-Zero are published."""
    qualities = {"64-1234-basic": 0.5, "64-4111-basic": 0.6, "64-124321-basic": 0.7}
    curves = {
        arch: {"autoencoder": {"total_epochs": 1, "model_info": {}, "metrics": {"test_ssim": [quality]}}}
        for arch, quality in qualities.items()
    }
    torch.save({"data": {"macro": curves}}, folder / "transnas-bench_v10141024.pth")
    entries = {arch: {"val_accuracy": quality} for arch, quality in qualities.items()}
    (folder / "zc_transbench101_macro.json").write_text(json.dumps({"autoencoder": entries}))
    table = pd.DataFrame({"arch": list(qualities), "ssim": [*qualities.values()]})
    table["autoencoder_valid_ssim"] = table["ssim"]
    table.to_csv(folder / "table.csv", index=False)


@pytest.mark.pages
@pytest.mark.usefixtures("registries_as_before")
@pytest.mark.parametrize("page", [page for page in WITH_CONSOLE if list(commands_of_ours(page))])
def test_the_commands_of_a_page_run_one_after_the_other(page, stand_ins, tmp_path, monkeypatch, capsys):
    shutil.copytree(stand_ins, tmp_path, dirs_exist_ok=True)
    write_published(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOGAS_JOBS", "1")
    before = [shlex.split(line) for line in BEFORE.get(page, [])]
    done = []
    for number, words in enumerate([*before, *commands_of_ours(page)]):
        if NOT_HERE & set(words):
            continue
        imports = words[:2] == ["bench", "import"]
        monkeypatch.setenv("AUTOGAS_HOME", str(tmp_path / f"import-{number}" if imports else tmp_path / "home"))
        if "--out" in words:
            shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
        words = words if imports else small(words)
        if words in done:  # others are the same on stand-ins
            continue
        done.append(words)
        monkeypatch.setattr(sys, "argv", ["autogas", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        assert stop.value.code == 0, f"autogas {shlex.join(words)}: {err}"
        assert out.strip()
