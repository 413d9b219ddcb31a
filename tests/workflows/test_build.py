import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from toys import BUILD, SMALL, recorded

from autogas import get_space, list_benchmarks, load_benchmark
from autogas.datasets import Images, load_images
from autogas.errors import InputError
from autogas.files import write_json
from autogas.training.autoencoder import AutoencoderRecipe, AutoencoderTask, evaluate_autoencoder
from autogas.training.loop import train
from autogas.training.machine import launch
from autogas.workflows import build as module
from autogas.workflows.build import build, store_built

SECONDS = ["train_seconds", "evaluate_seconds"]


@pytest.fixture(scope="module")
def undisturbed(image_folder, tmp_path_factory):
    """A build from start to end in this process."""
    return build(out=str(tmp_path_factory.mktemp("builds") / "undisturbed"), images=str(image_folder), **BUILD)


def trained(folder):
    """The table of a run without seconds, which are never the same."""
    return pd.read_parquet(folder / "trained.parquet").drop(columns=SECONDS)


def same(first, second):
    """Whether two finished runs found the same, byte by byte."""
    assert (first.path / "results.json").read_bytes() == (second / "results.json").read_bytes()
    pd.testing.assert_frame_equal(trained(first.path), trained(second))
    return True


def test_another_process_trains_the_same(undisturbed, elsewhere):
    assert same(undisturbed, elsewhere / "build")


def test_two_jobs_train_the_same(undisturbed, image_folder, tmp_path):
    assert same(undisturbed, build(out=str(tmp_path), jobs=2, images=str(image_folder), **BUILD).path)


def test_a_killed_run_is_continued(undisturbed, image_folder, killed, tmp_path, calls):
    code = f"""
import time
from autogas.workflows import build as module
train = module.train_one
module.train_one = lambda *args, **options: (time.sleep(0.5), train(*args, **options))[1]
module.build(out={str(tmp_path / "run")!r}, images={str(image_folder)!r}, **{BUILD!r})
"""
    done = killed(code, rows=2)
    assert 2 <= done < 5
    begun = calls(module, "train_one")
    assert same(undisturbed, build(resume=str(tmp_path / "run")).path)
    assert len(begun) == 5 - done
    assert recorded(tmp_path / "run") == 5


def test_every_architecture_is_trained_and_some_with_three_seeds(undisturbed):
    table = trained(undisturbed.path)
    archs = table["arch"].unique()
    assert len(archs) == 3
    assert list(zip(table["arch"], table["seed"], strict=True)) == [
        *((arch, 0) for arch in archs),
        (archs[0], 1),
        (archs[0], 2),
    ]
    assert undisturbed.results["trained"] == 5
    assert undisturbed.results["failed"] == {}


def test_a_row_is_a_training_by_hand(undisturbed, image_folder):
    pixels = load_images(image_folder, size=16, limit=100).pixels
    shown, held_out = Images(pixels[:8], ""), Images(pixels[8:], "")
    space = get_space("transnas-macro", **SMALL)
    for row in trained(undisturbed.path).iloc[[1, 3]].to_dict("records"):
        model = space.build(space.parse(row["arch"]), seed=row["seed"])
        task = AutoencoderTask(model, shown, AutoencoderRecipe(steps=2, batch_size=2), seed=row["seed"])
        losses = launch(lambda machine, task=task: train(task, machine, steps=2, log_every=1, equal_until=2))
        assert row["train_l1"] == pytest.approx(losses[-1]["train_l1"], rel=1e-5)
        assert (row["ssim"], row["l1"]) == pytest.approx(evaluate_autoencoder(model, held_out), rel=1e-5)


def test_quality_is_measured_meanwhile_and_nothing_else_changes(undisturbed, image_folder, tmp_path):
    parts = {"recipe": {**BUILD["recipe"], "steps": 5}, "measurements": 3}
    often = trained(build(out=str(tmp_path / "often"), images=str(image_folder), **BUILD | parts).path)
    once = trained(
        build(out=str(tmp_path / "once"), images=str(image_folder), **BUILD | parts | {"measurements": 1}).path
    )
    early = ["ssim_at_2", "ssim_at_4"]
    assert set(often.columns) - set(once.columns) == set(early)
    pd.testing.assert_frame_equal(often.drop(columns=early), once)

    pixels = load_images(image_folder, size=16, limit=100).pixels
    shown, held_out = Images(pixels[:8], ""), Images(pixels[8:], "")
    row = often.iloc[0]
    space = get_space("transnas-macro", **SMALL)
    model = space.build(space.parse(row["arch"]), seed=0)
    task = AutoencoderTask(model, shown, AutoencoderRecipe(steps=5, batch_size=2), seed=0)
    found = []

    def observe(rows):
        found.append(evaluate_autoencoder(model, held_out)[0])

    launch(lambda machine: train(task, machine, steps=5, log_every=2, equal_until=5, observe=observe))
    assert found == pytest.approx([*row[early], row["ssim"]], rel=1e-5)


def test_no_image_is_both_trained_on_and_measured(image_folder):
    training = module.read({**BUILD, "images": str(image_folder)})
    shown, held_out = (part.pixels for part in training.images)
    assert (len(shown), len(held_out)) == (8, 4)
    assert not {image.numpy().tobytes() for image in shown} & {image.numpy().tobytes() for image in held_out}


def test_held_out_images_may_come_from_elsewhere(image_folder, tmp_path):
    other = shutil.copytree(image_folder, tmp_path / "other")
    for file in sorted(other.iterdir())[:4]:
        file.unlink()
    training = module.read({**BUILD, "images": str(image_folder), "held_out": str(other), "held_out_images": 3})
    assert torch.equal(training.images[1].pixels, load_images(other, size=16, limit=3).pixels)
    same = module.read({**BUILD, "images": str(image_folder), "held_out": str(image_folder), "held_out_images": 3})
    with pytest.raises(InputError, match="are the training images"):
        _ = same.images


def fail_once(monkeypatch, seeds):
    train = module.train_one

    def broken(item, settings_json):
        if item[1] in seeds:
            raise RuntimeError("diverged\nand more lines")
        return train(item, settings_json)

    monkeypatch.setattr(module, "train_one", broken)


def test_a_failed_training_is_said_and_left_out(undisturbed, image_folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        fail_once(patch, {1})
        run = build(out=str(tmp_path), images=str(image_folder), **BUILD)
    arch = trained(undisturbed.path)["arch"][0]
    assert run.results["failed"] == {f"{arch}/seed1": "RuntimeError: diverged"}
    assert run.results["trained"] == 4
    assert 1 not in trained(run.path)["seed"].to_numpy()
    # It is tried again, it alone, when the run is resumed.
    assert same(undisturbed, build(resume=str(run.path)).path)


def test_a_failed_training_alone_is_repeated(image_folder, tmp_path, monkeypatch, calls):
    with monkeypatch.context() as patch:
        fail_once(patch, {2})
        build(out=str(tmp_path), images=str(image_folder), **BUILD)
    begun = calls(module, "train_one")
    build(resume=str(tmp_path))
    assert [seed for _, seed in begun] == [2]


def test_provenance_says_how_it_came_to_be(undisturbed, image_folder):
    provenance = undisturbed.results["provenance"]
    assert provenance["settings"]["recipe"]["steps"] == 2
    assert provenance["settings"]["images"] == image_folder.name  # no paths of this machine
    assert torch.__version__.partition("+")[0] == provenance["versions"]["torch"].partition("+")[0]
    assert provenance["versions"]["numpy"] == np.__version__


def test_a_built_benchmark_is_loaded(undisturbed, fresh_home):
    path = store_built(undisturbed, name="mine")
    assert path == fresh_home / "benchmarks" / "mine.parquet"
    bench = load_benchmark("mine")
    table = trained(undisturbed.path)
    first = table[table["seed"] == 0]
    assert [str(arch) for arch in bench.archs] == first["arch"].tolist()
    assert bench.quality == pytest.approx(table.groupby("arch")["ssim"].mean()[first["arch"]].to_numpy())
    assert (bench.metric, bench.higher_is_better) == ("ssim", True)
    assert (bench.space.name, dict(bench.space.settings)) == ("transnas-macro", SMALL)
    assert len(bench.repeats) == 5
    assert bench.noise_ceiling() is None  # one architecture was repeated
    seconds = undisturbed.read_table("trained")["train_seconds"].sum()
    assert bench.provenance["train_seconds"] == pytest.approx(seconds, abs=1)


def test_a_built_benchmark_has_the_name_of_its_run(undisturbed, fresh_home, monkeypatch):
    store_built(undisturbed)
    assert "undisturbed" in list_benchmarks()
    monkeypatch.chdir(undisturbed.path)
    undisturbed.path, path = type(undisturbed.path)("."), undisturbed.path
    try:
        assert store_built(undisturbed).stem == "undisturbed"
    finally:
        undisturbed.path = path


def test_a_built_benchmark_may_be_stored_elsewhere(undisturbed, fresh_home, tmp_path):
    path = store_built(undisturbed, folder=tmp_path / "data")
    assert path == tmp_path / "data" / "undisturbed.parquet"
    assert "undisturbed" not in list_benchmarks()


def test_costs_are_the_sum_of_the_trainings(undisturbed):
    costs = json.loads((undisturbed.path / "costs.json").read_text())
    assert costs["train_seconds"] == pytest.approx(undisturbed.read_table("trained")["train_seconds"].sum())
    assert math.isfinite(costs["seconds_this_time"])


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"images": "nowhere"}, "nowhere"),
        ({"space": "transnas-makro"}, "did you mean 'transnas-macro'"),
        ({"space_settings": {"depth": 3}}, "depth"),
        ({"count": 5000}, "5000"),
        ({"count": 0}, "count"),
        ({"repeats": -1}, "repeats"),
        ({"recipe": {"steps": 0}}, "steps"),
        ({"recipe": {"momentum": 0.5}}, "momentum"),
        ({"held_out_images": 7}, "too few to hold out 7"),
        ({"held_out": "nowhere"}, "nowhere"),
        ({"epochs": 3}, "epochs"),
    ],
)
def test_bad_input_leaves_no_folder(image_folder, tmp_path, settings, named):
    with pytest.raises(ValueError, match=named):
        build(out=str(tmp_path / "run"), **{"images": str(image_folder), **BUILD, **settings})
    assert list(tmp_path.iterdir()) == []


def test_only_a_build_is_resumed(tmp_path):
    with pytest.raises(InputError, match="not a run folder"):
        build(resume=str(tmp_path))
    write_json(tmp_path / "settings.json", {"workflow": "rank", "settings": {}, "inputs": {}})
    with pytest.raises(InputError, match="a run of rank, not of build"):
        build(resume=str(tmp_path))


def test_bands_that_overlap_share_no_architecture():
    space = get_space("transnas-macro", **SMALL)
    middle = float(np.median([space.cost(arch).macs for arch in space.sample_distinct(50, np.random.default_rng(0))]))
    found = module.in_bands(space, 10, [middle, 1.04 * middle], np.random.default_rng(0))
    assert len(found) == len(set(found)) == 10


def test_a_machine_without_git_builds_all_the_same(image_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    run = build(out=str(tmp_path / "run"), images=str(image_folder), **BUILD)
    assert run.results["provenance"]["commit"] is None


def test_a_quality_that_is_not_finite_is_a_failure(image_folder, tmp_path, monkeypatch):
    real = module.train_one
    first = []

    def one_is_infinite(item, settings_json):
        first.append(item)
        return real(item, settings_json) | ({"ssim": None} if item == first[0] else {})

    with monkeypatch.context() as patch:
        patch.setattr(module, "train_one", one_is_infinite)
        run = build(out=str(tmp_path / "run"), images=str(image_folder), jobs=1, **BUILD)
    arch, seed = first[0]
    assert run.results["failed"] == {f"{arch}/seed{seed}": "ssim is not finite"}
    assert len(load_benchmark(store_built(run).stem)) == run.results["trained"] - 1
    again = build(resume=str(run.path), jobs=1)  # trained once more
    assert not again.results["failed"]


def test_a_damaged_list_of_trainings_is_drawn_again(image_folder, tmp_path):
    run = build(out=str(tmp_path / "run"), images=str(image_folder), **BUILD)
    before = (run.path / "work.parquet").read_bytes()
    (run.path / "work.parquet").write_text("x")
    build(resume=str(run.path))
    assert (run.path / "work.parquet").read_bytes() == before


@pytest.mark.parametrize("band", [-1.0, 0.0])
def test_a_band_is_above_zero(band, tmp_path):
    with pytest.raises(InputError, match="macs_band"):
        build(out=str(tmp_path / "run"), images="dead-leaves", macs_band=[band])
    assert not (tmp_path / "run").exists()


def test_a_band_that_no_architecture_is_in_is_soon_refused():
    space = get_space("transnas-macro", **SMALL)
    with pytest.raises(InputError, match=r"macs_band=1: 0 of 2,001 random .*, whose MACs are \d"):
        module.in_bands(space, 2, [1.0], np.random.default_rng(0))
