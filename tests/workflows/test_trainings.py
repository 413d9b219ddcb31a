import pytest
import torch

from autogas import ChoiceSpace, get_space, load_benchmark, register_space
from autogas.datasets import load_images
from autogas.datasets.mini import make_translation
from autogas.errors import InputError
from autogas.metrics import get_extractor
from autogas.metrics.evaluation import evaluate_generator, reference_statistics
from autogas.report import write_report
from autogas.spaces import SPACES
from autogas.training.gan import GANRecipe, gan_task
from autogas.training.kinds import (
    AutoencoderTraining,
    DiscriminatorTraining,
    GeneratorTraining,
    TranslationTraining,
    training_of,
)
from autogas.training.loop import train
from autogas.training.machine import launch
from autogas.workflows.build import build, read, store_built

RECIPE = {"steps": 3, "generator_batch": 2, "discriminator_batch": 2, "critic_steps": 1, "discriminator_width": 2}
BUILD = {
    "space": "eagan-generator",
    "space_settings": {"width": 2},
    "count": 3,
    "repeats": 2,
    "seeds": 2,
    "samples": 12,
    "recipe": RECIPE,
}


@pytest.fixture(scope="module")
def built(image_folder, tmp_path_factory):
    return build(out=str(tmp_path_factory.mktemp("builds") / "gans"), images=str(image_folder), **BUILD)


def by_hand(image_folder, arch, seed):
    """Metrics and last losses of one training."""
    space = get_space("eagan-generator", width=2)
    task = gan_task(space, space.parse(arch), load_images(image_folder, size=32), GANRecipe(**RECIPE), seed=seed)
    rows = launch(lambda machine: train(task, machine, steps=3, seed=seed, log_every=1))
    reference = reference_statistics(str(image_folder), get_extractor("cifarnet"), size=32)
    return evaluate_generator(task.samples, reference=reference, samples=12).metrics, rows[-1]


def test_a_row_is_a_training_by_hand(built, image_folder):
    table = built.read_table("trained")
    for row in table.iloc[[0, 4]].to_dict("records"):
        metrics, losses = by_hand(image_folder, row["arch"], row["seed"])
        assert row["fid_cifarnet"] == pytest.approx(metrics["fid-cifarnet"], rel=1e-4)
        assert row["is_cifarnet"] == pytest.approx(metrics["is-cifarnet"], rel=1e-4)
        for name in ("discriminator_loss", "generator_loss"):
            assert row[name] == pytest.approx(losses[name], rel=1e-5)
        space = get_space("eagan-generator", width=2)
        cost = space.cost(space.parse(row["arch"]))
        assert (row["params"], row["macs"]) == (cost.params, cost.macs)
        assert row["reason"] is None


def test_every_architecture_comes_before_any_repeat(built):
    table = built.read_table("trained")
    assert table["seed"].tolist() == [0, 0, 0, 1, 1]
    assert table["arch"].tolist() == [*table["arch"][:3], *table["arch"][:2]]
    assert built.results["trained"] == 5


def test_the_benchmark_is_better_the_lower(built, fresh_home):
    store_built(built, name="gans")
    bench = load_benchmark("gans")
    assert (bench.metric, bench.higher_is_better) == ("fid_cifarnet", False)
    assert bench.space.settings["width"] == 2
    means = built.read_table("trained").groupby("arch", sort=False)["fid_cifarnet"].mean()
    assert (bench.goodness == -means.to_numpy()).all()


def test_its_report_speaks_of_its_metric(built):
    page = write_report(built).read_text()
    assert "Fréchet distance by cifarnet to the training images" in page
    assert "SSIM" not in page
    assert "--recipe critic_steps=1" in page


def test_a_collapsed_training_has_a_reason_and_the_quality_it_measures(image_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("autogas.training.loop.LEAST_SPREAD", 9.0)
    run = build(out=str(tmp_path), images=str(image_folder), **{**BUILD, "count": 1, "repeats": 0})
    (row,) = run.read_table("trained").to_dict("records")
    assert row["reason"].startswith("training collapsed by step 1")
    assert row["fid_cifarnet"] > 0
    assert "generator_loss" not in row
    assert run.results["failed"] == {}


def test_a_diverged_training_fails_with_its_reason(image_folder, tmp_path):
    settings = {**BUILD, "count": 1, "repeats": 0, "recipe": {**RECIPE, "generator_lr": 1e38}}
    with pytest.raises(InputError, match=r"no training succeeded; .* training diverged by step"):
        build(out=str(tmp_path), images=str(image_folder), **settings)


def test_a_training_is_that_of_the_space():
    assert training_of("transnas-micro") is AutoencoderTraining
    assert training_of("eagan-generator") is GeneratorTraining
    assert training_of("eagan-discriminator") is DiscriminatorTraining
    assert training_of("spade-translation") is TranslationTraining
    with pytest.raises(InputError, match="did you mean 'eagan-generator'"):
        training_of("eagan-generater")


def test_a_space_without_a_training_says_which_have_one(fresh_spaces):
    register_space(ChoiceSpace("plain", {"width": [1, 2]}, lambda width: torch.nn.Conv2d(3, width, 1), [(3, 4, 4)]))
    with pytest.raises(InputError, match=r"'plain': no training is known for it; .* of diffusion-unet, eagan-disc"):
        build(space="plain", count=1)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"held_out": "elsewhere"}, "held_out"),
        ({"samples": 1}, "samples"),
        ({"recipe": {"batch_size": 3}}, "batch_size"),
        ({"space_settings": {"width": 0}}, "width"),
    ],
)
def test_bad_input_leaves_no_folder(image_folder, tmp_path, settings, named):
    with pytest.raises(ValueError, match=named):
        build(out=str(tmp_path / "run"), **{"images": str(image_folder), **BUILD, **settings})
    assert list(tmp_path.iterdir()) == []


def test_real_images_are_measured_in_full(image_folder):
    given = {"space": "eagan-generator", "images": str(image_folder), "train_images": 7}
    training = read(given)
    training.prepare()
    expected = reference_statistics(str(image_folder), get_extractor("cifarnet"), size=32, samples=7)
    assert training.known.count == len(training.images) == 7
    torch.testing.assert_close(torch.tensor(training.known.sigma), torch.tensor(expected.sigma))


@pytest.fixture
def fresh_spaces(monkeypatch):
    """Spaces that a test registers are gone after it."""
    monkeypatch.setattr("autogas.spaces.SPACES", dict(SPACES))


def test_discriminators_are_told_apart_by_the_generator_that_they_teach(image_folder, tmp_path):
    recipe = {name: value for name, value in RECIPE.items() if name != "discriminator_width"}
    settings = {**BUILD, "space": "eagan-discriminator", "recipe": recipe, "count": 2, "repeats": 0}
    run = build(out=str(tmp_path), images=str(image_folder), generator_width=2, **settings)
    table = run.read_table("trained")
    generators, discriminators = get_space("eagan-generator", width=2), get_space("eagan-discriminator", width=2)
    for row in table.to_dict("records"):
        against = GANRecipe(**recipe, discriminator=row["arch"], discriminator_width=2)
        images = load_images(image_folder, size=32)
        task = gan_task(generators, generators.parse("eagan-best"), images, against)
        rows = launch(lambda machine, task=task: train(task, machine, steps=3, log_every=1))
        assert row["discriminator_loss"] == pytest.approx(rows[-1]["discriminator_loss"], rel=1e-5)
        assert row["params"] == discriminators.cost(discriminators.parse(row["arch"])).params
    assert table["fid_cifarnet"].nunique() == 2


def test_a_benchmark_of_translators(tmp_path):
    data = tmp_path / "data"
    make_translation("edges2photo", data, images="dead-leaves", count=6, held_out_count=4, size=32)
    small = {"discriminator_width": 2, "discriminator_layers": 1, "batch": 2, "steps": 1}
    run = build(
        out=str(tmp_path / "run"),
        space="resnet-translation",
        space_settings={"image_size": 32, "divisor": 8},
        task="pix2pix",
        data=str(data),
        count=2,
        repeats=0,
        recipe=small,
    )
    table = run.read_table("trained")
    assert {"fid_cifarnet", "ssim", "psnr", "macs", "generator_loss"} <= set(table)
    assert run.results["quality"] == {
        "metric": "fid_cifarnet",
        "higher_is_better": False,
        "measured": "Fréchet distance by cifarnet to the target images",
    }
    assert "to the target images" in write_report(run).read_text()
