import json
import shutil
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import BaseModel
from toys import python

from autogas.datasets.domains import Frame
from autogas.datasets.mini import make_translation, write_images
from autogas.datasets.translation import load_translation
from autogas.errors import InputError
from autogas.metrics import FeatureAccumulator, frechet_distance, get_extractor
from autogas.metrics.pixels import as_uint8
from autogas.metrics.segmentation_training import SegmentationRecipe, make_segmentation
from autogas.runs import Run
from autogas.spaces import get_space
from autogas.training.checkpoint import load_tensors
from autogas.training.export import load_generator, load_translator
from autogas.workflows.evaluate_translation import evaluate_translation
from autogas.workflows.opening import from_anywhere, open_run
from autogas.workflows.train import train

WIDE = "32_32_32_32_32_32_32_32"
RESNET = {"image_size": 32, "choices": "channels-32", "divisor": 8}
SPADE = {"layout": "coco", "image_size": 64, "num_labels": 6, "divisor": 8}
RECIPE = {"steps": 5, "batch": 2, "discriminator_width": 4}
EVERY = {"log_every": 1, "checkpoint_every": 2}
TASKS = {
    "pix2pix": {"arch": WIDE, "space": "resnet-translation", "space_settings": RESNET, "task": "pix2pix"},
    "cyclegan": {"arch": WIDE, "space": "resnet-translation", "space_settings": RESNET, "task": "cyclegan"},
    "gaugan": {"arch": "32_32_32_32_32_24_24_24", "space": "spade-translation", "space_settings": SPADE},
}


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A data set for each task, of dead leaves; of the unpaired one, one domain is the other's negative."""
    root = tmp_path_factory.mktemp("data")
    options = {"images": "dead-leaves", "held_out": "dead-leaves", "count": 10, "held_out_count": 6}
    make_translation("edges2photo", root / "pix2pix", **options)
    make_translation("labels2photo", root / "gaugan", **options, size=64)
    for split in ("train", "test"):
        pairs = load_translation(root / "pix2pix", layout="paired", frame=Frame(32, 32), split=split)
        photos = as_uint8((pairs.targets.batch(torch.arange(len(pairs.targets))) + 1) / 2)
        write_images(root / "cyclegan" / f"{split}A", photos[::2])
        write_images(root / "cyclegan" / f"{split}B", 255 - photos[1::2])
    return root


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("translations")
    return {
        name: train(data=str(data / name), out=str(out / name), recipe=RECIPE, **EVERY, **settings)
        for name, settings in TASKS.items()
    }


def files(path):
    """What does not depend on time."""
    names = ["results.json", "losses.jsonl", "losses.png", "checkpoint.safetensors", "generator.safetensors"]
    names += [f"samples/step-0000000{step}.png" for step in (2, 4, 5)]
    return {name: (path / name).read_bytes() for name in names}


def test_a_killed_training_is_continued(trained, data, shared_home, tmp_path):
    name = "cyclegan"  # which keeps most from step to step; that all continue alike is tested without a process
    code = f"""
import time
from autogas.training.kinds import translation
from autogas.workflows.train import train
draw = translation.sample_grid
translation.sample_grid = lambda images, columns: (time.sleep(0.5), draw(images, columns=columns))[1]
train(data={str(data / name)!r}, out={str(tmp_path / "run")!r}, recipe={RECIPE!r}, **{EVERY!r}, **{TASKS[name]!r})
"""
    process = python(code, shared_home)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "checkpoint.safetensors").exists():
            assert process.poll() is None, process.communicate()[0].decode()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "run" / "results.json").exists()
    run = train(resume=str(tmp_path / "run"))
    assert files(run.path) == files(trained[name].path)
    assert dict(run.record) == dict(Run.open(trained[name].path).record)


def test_metrics_are_those_by_hand(trained, data):
    results = trained["pix2pix"].results
    pairs = load_translation(data / "pix2pix", layout="paired", frame=Frame(32, 32), split="test")
    index = torch.arange(6)
    network = load_translator(trained["pix2pix"].path).network
    with torch.no_grad():
        images = as_uint8((network(pairs.inputs.batch(index)) + 1) / 2)
    targets = as_uint8((pairs.targets.batch(index) + 1) / 2)
    statistics = []
    for pixels in (images, targets):
        accumulator = FeatureAccumulator()
        accumulator.update(get_extractor("cifarnet")(pixels)[0])
        statistics.append(accumulator.statistics())
    error = ((images.double() - targets.double()) / 255).square().mean((1, 2, 3))
    assert results["metrics"]["fid-cifarnet"] == pytest.approx(frechet_distance(*statistics), rel=1e-5)
    assert results["metrics"]["psnr"] == pytest.approx((-10 * error.log10()).mean().item(), rel=1e-5)
    assert -1 <= results["metrics"]["ssim"] <= 1
    space = get_space("resnet-translation", **RESNET)
    cost = space.cost(space.parse(WIDE))
    assert (results["params"], results["macs"], results["steps"]) == (cost.params, cost.macs, 5)


def test_results_name_network_resolution_and_split(trained, data):
    protocol = trained["cyclegan"].results["protocol"]
    assert protocol["extractor"] == "cifarnet"
    assert (protocol["image_size"], protocol["split"], protocol["samples"]) == ([32, 32], "test", 3)
    assert protocol["reference"] == f"{data / 'cyclegan'}, targets of train+test"
    assert protocol["reference_samples"] == 5 + 3
    assert protocol["direction"] == "AtoB"
    assert trained["gaugan"].results["protocol"]["reference_samples"] == 6
    assert trained["cyclegan"].results["metrics"].keys() == {"fid-cifarnet", "kid-cifarnet", "kid-error-cifarnet"}


def test_pictures_show_inputs_translations_and_targets(trained, data):
    with Image.open(trained["pix2pix"].path / "samples" / "step-00000004.png") as grid:
        pixels = np.asarray(grid)
    assert pixels.shape == (34 + 2, 6 * 3 * 34 + 2, 3) or pixels.shape == (2 * 34 + 2, 4 * 3 * 34 + 2, 3)
    tiles = [pixels[2:34, 2 + 34 * i : 34 + 34 * i] for i in range(3)]
    pairs = load_translation(data / "pix2pix", layout="paired", frame=Frame(32, 32), split="test")
    shown = [
        as_uint8((x.batch(torch.arange(6)) + 1) / 2).permute(0, 2, 3, 1).numpy() for x in (pairs.inputs, pairs.targets)
    ]
    places = [[np.array_equal(image, tile) for image in images] for images, tile in zip(shown, tiles[::2], strict=True)]
    assert places[0] == places[1]
    assert sum(places[0]) == 1


def test_losses_and_metrics_are_recorded(trained):
    record = Run.open(trained["gaugan"].path).record
    assert list(record) == ["step 00000002", "step 00000004", "step 00000005"]
    assert {"discriminator_loss", "generator_loss", "feature_loss", "fid-cifarnet", "ssim"} <= record[
        "step 00000002"
    ].keys()
    rows = [json.loads(line) for line in (trained["cyclegan"].path / "losses.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert {"cycle_loss", "identity_loss", "reverse_discriminator_loss"} <= rows[0].keys()


@pytest.mark.parametrize("name", TASKS)
def test_a_student_is_trained_from_a_run(trained, data, tmp_path, name):
    settings = {**TASKS[name], "arch": {"gaugan": TASKS["gaugan"]["arch"]}.get(name, "16_16_16_16_16_16_16_16")}
    options = {"data": str(data / name), "recipe": {**RECIPE, "steps": 1}, "teacher": str(trained[name].path)}
    run = train(out=str(tmp_path / "student"), **options, **settings)
    (line,) = (run.path / "losses.jsonl").read_text().splitlines()
    assert json.loads(line)["distill_loss"] > 0
    model = load_translator(run.path / "generator.safetensors")
    assert str(model.arch) == settings["arch"]


def test_a_generator_is_evaluated_like_its_training(trained, data, tmp_path):
    segmentation = tmp_path / "net.pt"
    make_segmentation(str(data / "gaugan"), segmentation, SegmentationRecipe(steps=1, width=2), classes=6, size=64)
    run = evaluate_translation(
        str(trained["gaugan"].path), str(data / "gaugan"), segmentation=str(segmentation), out=str(tmp_path / "run")
    )
    metrics, before = run.results["metrics"], trained["gaugan"].results["metrics"]
    assert {name: metrics[name] for name in before} == pytest.approx(before)
    assert 0 <= metrics["miou"] <= metrics["pixel-accuracy"] <= 1
    assert run.results["protocol"]["segmentation"]["name"] == str(segmentation)
    again = evaluate_translation(resume=str(run.path))
    assert again.results == run.results


def test_a_segmentation_of_the_real_images_is_as_good_as_it_says(data, tmp_path):
    """What is seen in the targets themselves, by hand, when a translation gives the targets."""
    from autogas.datasets.translation import load_data
    from autogas.metrics.segmenter import load_segmenter
    from autogas.metrics.translation import measure_translation, target_statistics

    record = make_segmentation(
        str(data / "gaugan"), tmp_path / "net.pt", SegmentationRecipe(steps=30, width=6), classes=6, size=64
    )
    space = get_space("spade-translation", **SPADE)
    held_out = load_data(space, str(data / "gaugan"), "labels", split="test")
    answers = iter([(held_out.targets.batch(torch.arange(6)) + 1) / 2])
    extractor = get_extractor("cifarnet")
    known = target_statistics(space, held_out, "labels", extractor)
    segmenter = load_segmenter(str(tmp_path / "net.pt"))
    result = measure_translation(lambda _: next(answers), held_out, known, extractor, segmenter=segmenter)
    assert result.metrics["miou"] == pytest.approx(record["miou"])
    assert result.metrics["pixel-accuracy"] == pytest.approx(record["pixel_accuracy"])
    assert result.metrics["ssim"] == pytest.approx(1, abs=1e-5)
    assert result.metrics["fid-cifarnet"] == pytest.approx(0, abs=1e-3)


def test_label_maps_beside_pairs_are_measured_at_their_size(trained, data, tmp_path):
    """Every pixel that counts has the class that a network of one answer gives."""
    pairs = tmp_path / "pairs"
    shutil.copytree(data / "pix2pix", pairs)
    labels = np.zeros((50, 70), np.uint8)
    labels[:10], labels[10:20] = 7, 8
    (pairs / "test_label").mkdir()
    for i in range(6):
        Image.fromarray(labels).save(pairs / "test_label" / f"{i:06}.png")
    about = tmp_path / "map.json"
    about.write_text(json.dumps({"classes": {"7": 1, "8": 0}}))
    constant = torch.nn.Conv2d(3, 2, 1)
    torch.nn.init.zeros_(constant.weight)
    constant.bias.data = torch.tensor([0.0, 1.0])
    with warnings.catch_warnings(category=FutureWarning, action="ignore"):
        torch.jit.script(constant).save(str(tmp_path / "net.pt"))
    run = evaluate_translation(
        str(trained["pix2pix"].path),
        str(pairs),
        segmentation=str(tmp_path / "net.pt"),
        segmentation_map=str(about),
        out=str(tmp_path / "run"),
    )
    assert run.results["metrics"]["pixel-accuracy"] == 0.5
    assert run.results["metrics"]["miou"] == 0.25  # (1/2 + 0) / 2


def test_passes_are_steps_of_the_data(data, tmp_path):
    recipe = {"passes": 0.5, "batch": 2, "discriminator_width": 4}
    run = train(data=str(data / "pix2pix"), out=str(tmp_path / "run"), recipe=recipe, **TASKS["pix2pix"])
    assert run.results["steps"] == 2  # half of 10 images in twos


def test_the_winner_of_a_search_is_trained(data, tmp_path):
    search = Run.start("search", {"space": "resnet-translation", "space_settings": RESNET}, tmp_path / "search")
    search.finish({"winner": {"arch": WIDE}})
    options = {"task": "pix2pix", "data": str(data / "pix2pix"), "recipe": {**RECIPE, "steps": 1}}
    run = train(str(search.path), out=str(tmp_path / "run"), **options)
    assert run.results["arch"] == WIDE
    assert run.settings["space_settings"] == RESNET


@pytest.mark.parametrize(
    ("name", "changed", "named"),
    [
        ("pix2pix", {"task": None}, "say which task of resnet-translation is trained: --task pix2pix or cyclegan"),
        ("pix2pix", {"task": "gaugan"}, "expected one of family spade-translation"),
        ("pix2pix", {"task": "pix2pixhd"}, "did you mean 'pix2pix'"),
        ("gaugan", {"task": "cyclegan"}, "task 'cyclegan' with space 'spade-translation'"),
        ("pix2pix", {"arch": "1_2_3"}, "1_2_3"),
        ("pix2pix", {"space_settings": {"image_size": 33}}, "image_size=33"),
        ("pix2pix", {"space_settings": {**RESNET, "image_size": 16}}, "images of 16x16 are too small"),
        ("pix2pix", {"data": "nowhere"}, "'nowhere': not a folder"),
        ("cyclegan", {"task": "pix2pix"}, "no folder 'train'"),
        ("pix2pix", {"task": "cyclegan"}, "no folder 'trainA'"),
        ("gaugan", {"space_settings": {**SPADE, "num_labels": 2}}, "expected 0 to 1"),
        ("pix2pix", {"direction": "left"}, "direction"),
        ("pix2pix", {"recipe": {"cycle_weight": 3}}, "cycle_weight"),
        ("pix2pix", {"recipe": {"batch": 3}, "devices": 2}, "a batch of 3 on 2 devices"),
        ("pix2pix", {"teacher": "nowhere"}, "nowhere"),
        ("pix2pix", {"teacher": "nowhere", "compile": True}, "compile=True with a teacher"),
        ("pix2pix", {"segmentation": "net"}, "no label maps"),
        ("gaugan", {"recipe": {"vgg": "nowhere.pth"}}, r"nowhere.pth"),
        ("pix2pix", {"samples": 1000}, "samples=1000: expected up to"),
        ("pix2pix", {"checkpoint_samples": 1000}, "checkpoint_samples=1000: expected up to"),
        ("pix2pix", {"width": 3}, "width"),
    ],
)
def test_bad_input_leaves_no_folder(data, tmp_path, name, changed, named):
    settings = {"data": str(data / name), "recipe": RECIPE, **TASKS[name], **changed}
    with pytest.raises(ValueError, match=named):
        train(out=str(tmp_path / "run"), **settings)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_a_recipe_names_is_found_from_anywhere_and_may_not_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("vgg.pth").write_bytes(b"one")
    found = from_anywhere({"recipe": {"vgg": "vgg.pth", "steps": 1}})
    assert found == {"recipe": {"vgg": str(tmp_path / "vgg.pth"), "steps": 1}}

    class Settings(BaseModel):
        recipe: dict[str, str | int]

    with open_run("train", Settings(**found), out="run", resume=None):
        pass
    with open_run("train", Settings(**found), out=None, resume="run"):
        pass
    Path("vgg.pth").write_bytes(b"two")
    with pytest.raises(InputError, match="the contents of vgg"):
        open_run("train", Settings(**found), out=None, resume="run")


def test_a_segmentation_that_does_not_know_the_labels_is_refused_before_training(data, tmp_path):
    net = tmp_path / "net.pt"
    make_segmentation(str(data / "gaugan"), net, SegmentationRecipe(steps=1, width=2), classes=6, size=64)
    about = tmp_path / "map.json"
    about.write_text(json.dumps({"classes": {str(label): 9 for label in range(6)}}))
    settings = {"data": str(data / "gaugan"), "recipe": RECIPE, **TASKS["gaugan"]}
    with pytest.raises(ValueError, match=r"has class 9 for segmentation .*: expected 0 to 5"):
        train(out=str(tmp_path / "run"), **settings, segmentation=str(net), segmentation_map=str(about))
    assert not (tmp_path / "run").exists()


def test_generators_of_other_kinds_are_refused(trained, data, tmp_path):
    settings = {**TASKS["gaugan"], "teacher": str(trained["pix2pix"].path)}
    with pytest.raises(InputError, match="teacher: expected a spade-translation"):
        train(data=str(data / "gaugan"), out=str(tmp_path / "run"), recipe=RECIPE, **settings)
    with pytest.raises(InputError, match="which translates images"):
        load_generator(trained["pix2pix"].path / "generator.safetensors")
    with pytest.raises(InputError, match="not a checkpoint"):
        load_translator(trained["pix2pix"].path / "checkpoint.safetensors")
    with pytest.raises(InputError, match="resnet-translation translates images"):
        evaluate_translation(str(trained["pix2pix"].path), str(data / "gaugan"), out=str(tmp_path / "run"))
    with pytest.raises(InputError, match="no label maps"):
        evaluate_translation(
            str(trained["pix2pix"].path), str(data / "pix2pix"), segmentation="fcn_resnet50", out=str(tmp_path / "run")
        )
    with pytest.raises(InputError, match="7 samples asked"):
        evaluate_translation(
            str(trained["pix2pix"].path), str(data / "pix2pix"), samples=7, out=str(tmp_path / "other")
        )


def test_a_generator_of_the_other_direction_is_refused(trained, data, tmp_path):
    path = trained["pix2pix"].path
    assert load_translator(path).trained == {"task": "pix2pix", "direction": "AtoB"}
    other = {**TASKS["pix2pix"], "direction": "BtoA"}
    with pytest.raises(InputError, match="--direction BtoA: the generator was trained AtoB"):
        train(data=str(data / "pix2pix"), out=str(tmp_path / "run"), recipe=RECIPE, teacher=str(path), **other)
    with pytest.raises(InputError, match="--direction BtoA: the generator was trained AtoB"):
        evaluate_translation(str(path), str(data / "pix2pix"), direction="BtoA", out=str(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_architecture_is_refused(trained, data, tmp_path):
    settings = {**TASKS["pix2pix"], "arch": "16_16_16_16_16_16_16_16"}
    run = train(data=str(data / "pix2pix"), out=str(tmp_path / "run"), recipe={**RECIPE, "steps": 1}, **settings)
    (run.path / "checkpoint.safetensors").write_bytes((trained["pix2pix"].path / "checkpoint.safetensors").read_bytes())
    with pytest.raises(InputError, match="the checkpoint is of another generator"):
        train(resume=str(run.path))
    assert load_tensors(run.path / "generator.safetensors")[1]["arch"] == settings["arch"]


def test_a_generator_is_measured_in_its_own_direction(trained, data, tmp_path):
    other = {**TASKS["pix2pix"], "direction": "BtoA"}
    run = train(data=str(data / "pix2pix"), out=str(tmp_path / "run"), recipe=RECIPE, **other)
    found = evaluate_translation(str(run.path), str(data / "pix2pix"), out=str(tmp_path / "evaluation"))
    assert found.results["protocol"]["direction"] == "BtoA"
    assert found.results["metrics"] == run.results["metrics"]


def test_label_maps_are_translated_one_way(data, tmp_path):
    with pytest.raises(InputError, match="'BtoA': label maps are translated to images"):
        train(data=str(data / "gaugan"), out=str(tmp_path / "run"), recipe=RECIPE, direction="BtoA", **TASKS["gaugan"])
    assert list(tmp_path.iterdir()) == []
