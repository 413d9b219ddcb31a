import json
import signal
import time

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from toys import python

from autogas.datasets import load_images
from autogas.errors import InputError
from autogas.metrics import get_extractor
from autogas.metrics.evaluation import evaluate_generator, reference_statistics
from autogas.runs import Run
from autogas.spaces import get_space
from autogas.training.gan import GANRecipe, GANTask, gan_task
from autogas.training.loop import train as run_loop
from autogas.training.machine import launch
from autogas.workflows.evaluate import evaluate
from autogas.workflows.search import search
from autogas.workflows.train import profile, train


def interrupt():
    raise KeyboardInterrupt


RECIPE = {"steps": 5, "generator_batch": 4, "discriminator_batch": 2, "critic_steps": 1, "discriminator_width": 2}
TRAIN = {
    "width": 2,
    "recipe": RECIPE,
    "log_every": 1,
    "checkpoint_every": 2,
    "checkpoint_samples": 12,
    "samples": 20,
}


@pytest.fixture(scope="module")
def undisturbed(image_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("trainings") / "undisturbed"
    return train("eagan-best", out=str(out), images=str(image_folder), **TRAIN)


def files(path):
    """What does not depend on time."""
    names = ["results.json", "losses.jsonl", "losses.png", "checkpoint.safetensors", "generator.safetensors"]
    names += [f"samples/step-0000000{step}.png" for step in (2, 4, 5)]
    return {name: (path / name).read_bytes() for name in names}


def test_results_are_those_of_a_training_by_hand(undisturbed, image_folder):
    space = get_space("eagan-generator", width=2)
    recipe = GANRecipe(**RECIPE)
    task = gan_task(space, space.parse("eagan-best"), load_images(image_folder, size=32), recipe)
    rows = launch(lambda machine: run_loop(task, machine, steps=5, log_every=1))
    losses = [json.loads(line) for line in (undisturbed.path / "losses.jsonl").read_text().splitlines()]
    assert losses == rows
    reference = reference_statistics(str(image_folder), get_extractor("cifarnet"), size=32)
    expected = evaluate_generator(task.samples, reference=reference, samples=20).metrics
    results = undisturbed.results
    assert results["metrics"] == pytest.approx(expected)
    assert (results["params"], results["macs"]) == (
        space.cost(task_arch(space)).params,
        space.cost(task_arch(space)).macs,
    )
    assert results["arch"] == str(task_arch(space))
    assert results["steps"] == 5


def task_arch(space):
    return space.parse("eagan-best")


def test_metrics_are_recorded_at_checkpoints(undisturbed):
    record = Run.open(undisturbed.path).record
    assert list(record) == ["step 00000002", "step 00000004", "step 00000005"]
    assert {"discriminator_loss", "generator_loss", "fid-cifarnet", "is-cifarnet"} <= record["step 00000002"].keys()
    assert "fid-cifarnet" not in record["step 00000005"]  # the results have it, of more samples


def test_samples_are_drawn_at_checkpoints(undisturbed):
    with Image.open(undisturbed.path / "samples" / "step-00000004.png") as grid:
        assert grid.size == (8 * 34 + 2, 8 * 34 + 2)
        assert np.asarray(grid).std() > 1


def test_the_generator_can_be_evaluated(undisturbed):
    path = undisturbed.path
    run = evaluate(
        str(path / "generator.safetensors"), str(path / "reference.npz"), samples=20, out=str(path / "again")
    )
    assert run.results["metrics"] == undisturbed.results["metrics"]
    with pytest.raises(InputError, match=r"--size 16 of .*: expected its own, 32"):
        evaluate(str(path / "generator.safetensors"), str(path / "reference.npz"), size=16)


def test_a_killed_training_is_continued(undisturbed, image_folder, shared_home, tmp_path):
    code = f"""
import time
from autogas.training.kinds import gan
from autogas.workflows.train import profile, train
draw = gan.sample_grid
gan.sample_grid = lambda images: (time.sleep(0.5), draw(images))[1]
train("eagan-best", out={str(tmp_path / "run")!r}, images={str(image_folder)!r}, **{TRAIN!r})
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
    assert files(run.path) == files(undisturbed.path)
    assert dict(run.record) == dict(Run.open(undisturbed.path).record)


def test_the_winner_of_a_search_is_trained(undisturbed, image_folder, tmp_path):
    found = "[[0,0,1,0,1,0,0],[0,0,1,0,1,0,0],[0,0,1,0,1,0,0]]"
    searched = {"space": "eagan-generator", "space_settings": {"dataset": "stl10", "width": 3}}
    search = Run.start("search", searched, tmp_path / "search")
    search.finish({"winner": {"arch": found}})
    settings = {**TRAIN, "recipe": {**RECIPE, "steps": 1}}
    run = train(str(search.path), out=str(tmp_path / "run"), images=str(image_folder), **settings)
    assert run.results["arch"] == found
    assert run.settings["space_settings"] == {"dataset": "stl10", "width": TRAIN["width"]}  # what is said here counts
    with pytest.raises(InputError, match="a run of train: expected a search, which has a winner"):
        train(str(undisturbed.path), images=str(image_folder))


@pytest.mark.parametrize(("dataset", "clip"), [("cifar10", None), ("stl10", 50.0)])
def test_the_recipe_is_the_published_one_where_nothing_else_is_said(image_folder, tmp_path, monkeypatch, dataset, clip):
    monkeypatch.setattr("autogas.workflows.train.launch", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train("eagan-best", dataset=dataset, images=str(image_folder), recipe={"steps": 7}, out=str(tmp_path / "run"))
    recipe = Run.open(tmp_path / "run").settings["recipe"]
    assert (recipe["steps"], recipe["clip"], recipe["discriminator"]) == (7, clip, f"eagan-best-{dataset}")


def test_a_training_that_diverges_is_said_and_its_files_stay(image_folder, tmp_path):
    settings = {**TRAIN, "recipe": {**RECIPE, "generator_lr": 1e38}}
    with pytest.raises(InputError, match="training diverged by step"):
        train("eagan-best", out=str(tmp_path / "run"), images=str(image_folder), **settings)
    assert not (tmp_path / "run" / "results.json").exists()
    assert Run.open(tmp_path / "run").settings["recipe"]["generator_lr"] == 1e38


def test_logs_for_tensorboard(image_folder, tmp_path):
    from tensorboard.backend.event_processing import event_accumulator as events

    run = train("eagan-best", out=str(tmp_path / "run"), images=str(image_folder), tensorboard=True, **TRAIN)
    logs = events.EventAccumulator(str(run.path / "tensorboard")).Reload()
    rows = [json.loads(line) for line in (run.path / "losses.jsonl").read_text().splitlines()]
    read = [(event.step, event.value) for event in logs.Scalars("generator_loss")]
    assert read == [(row["step"], pytest.approx(row["generator_loss"])) for row in rows]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"arch": "best"}, "eagan-best"),
        ({"images": "nowhere"}, "nowhere"),
        ({"space": "transnas-mikro"}, "did you mean 'transnas-micro'"),
        ({"dataset": "imagenet"}, "dataset"),
        ({"width": 0}, "width"),
        ({"recipe": {"epochs": 3}}, "epochs"),
        ({"recipe": {"discriminator": "best"}}, "eagan-best-cifar10"),
        ({"devices": 3}, "a batch of 80 on 3 devices: expected multiples of 3"),
        ({"reference": "nowhere"}, "nowhere"),
        ({"precision": "16"}, "precision"),
    ],
)
def test_bad_input_leaves_no_folder(image_folder, tmp_path, settings, named):
    with pytest.raises(ValueError, match=named):
        train(**{"arch": "eagan-best", "images": str(image_folder), "out": str(tmp_path / "run"), **settings})
    assert list(tmp_path.iterdir()) == []


def test_a_csv_has_all_rows_of_a_training_that_was_interrupted_too(image_folder, tmp_path):
    whole = train("eagan-best", out=str(tmp_path / "whole"), images=str(image_folder), csv=True, **TRAIN)
    table = pd.read_csv(whole.path / "csv" / "metrics.csv").set_index("step")
    rows = [json.loads(line) for line in (whole.path / "losses.jsonl").read_text().splitlines()]
    assert list(table.index) == [row["step"] for row in rows]
    assert list(table["generator_loss"]) == pytest.approx([row["generator_loss"] for row in rows])
    assert table["fid-cifarnet"].notna().sum() == len(list((whole.path / "samples").iterdir())) - 1
    (whole.path / "results.json").unlink()
    train(resume=str(whole.path))
    assert pd.read_csv(whole.path / "csv" / "metrics.csv").set_index("step").equals(table)


def test_a_csv_of_an_interrupted_training_has_the_rows_before_the_checkpoint(image_folder, tmp_path, monkeypatch):
    settings = TRAIN | {"recipe": RECIPE | {"steps": 9}, "log_every": 2, "checkpoint_every": 4, "csv": True}
    whole = train("eagan-best", out=str(tmp_path / "whole"), images=str(image_folder), **settings)
    step = GANTask.step
    with monkeypatch.context() as patch:
        patch.setattr(GANTask, "step", lambda self, at, *rest: step(self, at, *rest) if at < 7 else interrupt())
        with pytest.raises(KeyboardInterrupt):
            train("eagan-best", out=str(tmp_path / "run"), images=str(image_folder), **settings)
    train(resume=str(tmp_path / "run"))
    tables = [pd.read_csv(path / "csv" / "metrics.csv") for path in (whole.path, tmp_path / "run")]
    pd.testing.assert_frame_equal(*tables)
    assert list(tables[0]["step"]) == [2, 4, 6, 8, 9]


@pytest.mark.parametrize("rate", [float("inf"), float("nan"), 1e300, 0])
def test_a_learning_rate_that_is_none_is_refused_at_once(rate, image_folder, tmp_path):
    with pytest.raises(InputError, match=r"^recipe\.generator_lr="):
        train(
            "eagan-best",
            out=str(tmp_path / "run"),
            images=str(image_folder),
            **(TRAIN | {"recipe": {"generator_lr": rate}}),
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", ["steps=2", ["steps=2"], 3])
def test_a_recipe_is_settings_by_name(recipe, image_folder):
    with pytest.raises(InputError, match=r"^recipe=.*expected settings by name"):
        train("eagan-best", images=str(image_folder), recipe=recipe)


def test_the_loss_says_how_many_outputs_a_discriminator_has(image_folder, tmp_path):
    small = {"space": "eagan-discriminator", "generator_width": 2, "width": 2, "samples": 4, "checkpoint_samples": 2}
    recipe = {"steps": 1, "generator_batch": 2, "discriminator_batch": 2, "critic_steps": 1, "loss": "mmd"}
    run = train("eagan-best-cifar10", out=str(tmp_path / "run"), images=str(image_folder), recipe=recipe, **small)
    space = get_space("eagan-discriminator", width=2, outputs=16)
    assert run.results["params"] == space.cost(space.parse("eagan-best-cifar10")).params
    for loss, outputs in (("mmd", 4), ("hinge", 16)):
        with pytest.raises(InputError, match=f"outputs={outputs} of a discriminator with this loss"):
            train(
                "eagan-best-cifar10",
                images=str(image_folder),
                space_settings={"outputs": outputs},
                recipe=recipe | {"loss": loss},
                **small,
            )


def test_the_mmd_loss_needs_two_images_a_device(image_folder):
    recipe = RECIPE | {"loss": "mmd", "generator_batch": 2, "discriminator_batch": 2}
    with pytest.raises(InputError, match=r"loss mmd.* 2 devices: expected 2 images"):
        train("eagan-best", images=str(image_folder), devices=2, **(TRAIN | {"recipe": recipe}))


def test_tensorboard_is_asked_for_at_once(image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("autogas.training.logs.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'autogas\[tensorboard\]'"):
        train("eagan-best", images=str(image_folder), tensorboard=True, out=str(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cuda
def test_training_on_cuda(image_folder, tmp_path):
    run = train("eagan-best", out=str(tmp_path / "run"), images=str(image_folder), device="cuda", **TRAIN)
    assert np.isfinite(run.results["metrics"]["fid-cifarnet"])


@pytest.mark.parametrize("asked", [{"graphs": "on"}, {"compile": True}])
def test_what_this_machine_cannot_do_leaves_no_folder(image_folder, tmp_path, monkeypatch, asked):
    def no_compiler(*_, **__):
        raise RuntimeError("no C++ compiler\nand a hundred lines more")

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(InputError, match=r"graphs on with 1 of 'cpu'|no kernels can be made here: no C\+\+ compiler$"):
        train("eagan-best", images=str(image_folder), out=str(tmp_path / "run"), **asked)
    with pytest.raises(InputError, match=r"graphs on with 1 of 'cpu'|no kernels can be made here"):
        profile("eagan-best", images=str(image_folder), **asked)
    assert list(tmp_path.iterdir()) == []


def test_the_winner_of_a_search_is_profiled(image_folder, tmp_path):
    found = search(
        "eagan-generator", "params", population=2, iterations=1, sample=3, agreement=0, out=str(tmp_path / "s")
    )
    settings = {name: value for name, value in TRAIN.items() if name in ("width", "recipe")}
    assert "ms a step" in profile(str(found.path), steps=1, images=str(image_folder), **settings)


def test_a_profile_names_operations_and_keeps_nothing(image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {name: value for name, value in TRAIN.items() if name in ("width", "recipe")}
    table = profile("eagan-best", steps=1, rows=5, images=str(image_folder), **settings)
    assert "ms a step" in table
    assert "convolution" in table
    assert list(tmp_path.iterdir()) == []


def test_a_profile_of_few_steps_looks_at_fewer(image_folder):
    settings = {"space": "transnas-macro", "space_settings": {"base_width": 4, "image_size": 64, "decoder_divisor": 16}}
    settings |= {"images": str(image_folder), "held_out_images": 2}
    table = profile("64-1234-basic", **settings, recipe={"steps": 4, "batch_size": 2})
    assert "ms a step" in table
    with pytest.raises(InputError, match="2 steps to profile: expected 3 or more"):
        profile("64-1234-basic", **settings, recipe={"steps": 2, "batch_size": 2})
