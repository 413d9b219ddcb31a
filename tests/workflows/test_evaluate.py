import dataclasses
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image

import autogas
from autogas.datasets import load_images
from autogas.errors import InputError
from autogas.metrics import FeatureStatistics, get_extractor, inception_score
from autogas.metrics.evaluation import Evaluation, evaluate_generator
from autogas.metrics.pixels import as_uint8
from autogas.runs import Run
from autogas.workflows.evaluate import evaluate

REAL, FAKE = 60, 40


class Mean:
    """Features that can be computed by hand: the mean of each channel."""

    name = "mean"
    dim = 3
    version = "1"
    resizing = "none"

    def __call__(self, images):
        features = as_uint8(images).double().mean((2, 3))
        return features, features / 50


def pixels(count, seed):
    """Noise of a brightness that differs from image to image."""
    rng = np.random.default_rng(seed)
    level = rng.integers(0, 180 + 20 * seed, (count, 1, 1, 3))
    return (level + rng.integers(0, 50, (count, 16, 16, 3))).astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
    for name, count, seed in (("real", REAL, 0), ("fake", FAKE, 1)):
        (tmp_path / name).mkdir()
        for i, image in enumerate(pixels(count, seed)):
            Image.fromarray(image).save(tmp_path / name / f"{i:03}.png")
    return str(tmp_path / "fake"), str(tmp_path / "real")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("saved", "asked"), [(8, None), (None, 8)])
def test_saved_statistics_are_those_of_images_of_one_size(folders, saved, asked):
    images, reference = folders
    first = evaluate(images, reference, size=8, splits=1).results["metrics"]
    evaluate(images, reference, size=saved, splits=1, save_reference="known.npz")
    with pytest.raises(InputError, match=r"of size (8x8|16x16) against .* of size (16x16|8x8): expected equal sizes"):
        evaluate(images, "known.npz", size=asked, splits=1)
    if saved:
        assert evaluate(images, "known.npz", size=8, splits=1).results["metrics"] == first


@pytest.mark.parametrize("out", ["fake/run", "real/deep/run"])
def test_no_run_is_written_among_the_images_that_it_reads(folders, out):
    with pytest.raises(InputError, match=r"--out .* lies in (images|reference) .*, which it reads"):
        evaluate(*folders, splits=1, out=out)
    assert not Path(out).exists()


def test_folders_of_images_of_two_sizes_are_refused(folders):
    images, reference = folders
    for file in Path(images).iterdir():
        Image.open(file).crop((0, 0, 12, 10)).save(file)
    with pytest.raises(InputError, match=r"of size 10x12 against .* of size 16x16: expected equal sizes \(--size"):
        evaluate(images, reference, splits=1)
    assert evaluate(images, reference, size=8, splits=1).results["metrics"]


def test_a_reference_is_brought_to_the_size_of_what_a_generator_makes(folders):
    made = [torch.from_numpy(pixels(FAKE, 1)).permute(0, 3, 1, 2)[:, :, 4:12, 4:12] for _ in range(2)]
    found = [
        evaluate_generator(lambda count, _, m=m: m[:count], reference=of, samples=FAKE, extractor=Mean(), splits=1)
        for m, of in zip(made, (folders[1], small(folders[1], 8)), strict=True)
    ]
    assert found[0].metrics == found[1].metrics


def small(folder, size):
    """The same images, centre-cropped and resized, in another folder."""
    loaded = load_images(folder, size=size)
    Path("small").mkdir()
    for i, image in enumerate(loaded.pixels):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(f"small/{i:03}.png")
    return "small"


def test_statistics_are_not_saved_onto_a_folder(folders):
    Path("folder.npz").mkdir()
    with pytest.raises(InputError, match=r"--save-reference .*: expected"):
        evaluate(*folders, splits=1, save_reference="folder.npz", out="run")
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"samples": "10"}, "samples '10': expected a whole number of 2 or more"),
        ({"splits": None}, "splits None: expected"),
        ({"batch_size": 3.0}, "batch_size 3.0: expected"),
        ({"seed": -1}, "seed -1: expected a whole number of 0 or more"),
        ({"extractor": None}, "extractor None: expected a name"),
        ({"reference": torch.zeros(3)}, "reference of type Tensor: expected a path"),
        ({"generate": None}, "generate None: expected a function"),
    ],
)
def test_arguments_of_an_evaluation_of_a_generator_are_checked(folders, given, said):
    usual = {"generate": replay(pixels(FAKE, 1)), "reference": folders[1], "samples": 10, "extractor": Mean()}
    with pytest.raises(InputError, match=said):
        evaluate_generator(**{**usual, **given})


def replay(images):
    """A generator that makes the given images, as floats."""
    rest = iter(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    return lambda count, _: torch.stack([next(rest) for _ in range(count)])


def by_hand(images, reference):
    """Fréchet distance by scipy and the mean Inception Score."""
    a, b = (x.astype(float).mean((1, 2)) for x in (images, reference))
    sa, sb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(sa @ sb).real
    distance = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(sa + sb - 2 * root)
    return distance, inception_score(torch.from_numpy(a) / 50).mean


def test_metrics_are_those_of_every_image():
    real, fake = pixels(REAL, 0), pixels(FAKE, 1)
    features = real.astype(float).mean((1, 2))
    reference = FeatureStatistics(features.mean(0), np.cov(features, rowvar=False))
    ours = evaluate_generator(replay(fake), reference=reference, extractor=Mean(), samples=FAKE, batch_size=7)
    distance, score = by_hand(fake, real)
    assert ours.metrics["fid-mean"] == pytest.approx(distance, rel=1e-6)
    assert ours.metrics["is-mean"] == pytest.approx(score, rel=1e-6)


def test_a_folder_and_the_generator_that_filled_it_are_equal(folders):
    fake, real = folders
    run = evaluate(fake, real)
    by_generator = evaluate_generator(replay(pixels(FAKE, 1)), reference=real, samples=FAKE)
    assert run.results["metrics"] == pytest.approx(by_generator.metrics, rel=1e-5)
    assert set(run.results["metrics"]) == {
        *("fid-cifarnet", "kid-cifarnet", "kid-error-cifarnet", "is-cifarnet", "is-std-cifarnet")
    }
    assert run.results["metrics"]["fid-cifarnet"] > 0


def test_the_protocol_is_told(folders):
    fake, real = folders
    protocol = evaluate(fake, real, samples=30, reference_samples=50, splits=3, batch_size=8).results["protocol"]
    extractor = get_extractor("cifarnet")
    expected = {
        "extractor": "cifarnet",
        "extractor_version": extractor.version,
        "features": 192,
        "resizing": extractor.resizing,
        "images": fake,
        "image_size": [16, 16],
        "size": None,
        "samples": 30,
        "batch_size": 8,
        "splits": 3,
        "reference": real,
        "reference_samples": 50,
    }
    assert expected.items() <= protocol.items()
    assert protocol["versions"]["torch"] == version("torch")


def test_saved_statistics_are_as_good_as_images(folders):
    fake, real = folders
    first = evaluate(fake, real, save_reference="real.npz", batch_size=16)
    again = evaluate(fake, "real.npz", batch_size=16)
    assert again.results == first.results
    with np.load("real.npz") as file:
        assert file["mu"].shape == (192,)
        assert file["sigma"].shape == (192, 192)


def test_images_against_themselves(folders):
    _, real = folders
    metrics = evaluate(real, real).results["metrics"]
    assert metrics["fid-cifarnet"] == pytest.approx(0, abs=1e-6)


def test_size_is_applied_to_both(folders, monkeypatch):
    fake, real = folders
    seen = []
    call = type(get_extractor("cifarnet")).__call__
    monkeypatch.setattr(
        type(get_extractor("cifarnet")), "__call__", lambda self, x: seen.append(x.shape[2:]) or call(self, x)
    )
    results = evaluate(fake, real, size=8).results
    assert set(seen) == {(8, 8)}
    assert (results["protocol"]["size"], results["protocol"]["image_size"]) == (8, [8, 8])


def test_a_generator_gets_seeded_batches():
    asked = []

    def generate(count, generator):
        asked.append(count)
        return torch.rand(count, 3, 8, 8, generator=generator)

    reference = FeatureStatistics(np.zeros(3), np.eye(3))
    first, again, other = (
        evaluate_generator(
            generate, reference=reference, extractor=Mean(), samples=25, batch_size=10, splits=2, seed=seed
        )
        for seed in (0, 0, 1)
    )
    assert asked == [10, 10, 5] * 3
    assert first == again
    assert first.metrics["fid-mean"] != other.metrics["fid-mean"]
    assert first.protocol["seed"] == 0


def test_a_generator_is_not_differentiated():
    weight = torch.ones(1, requires_grad=True)
    made = []

    def generate(count, generator):
        made.append(torch.rand(count, 3, 8, 8, generator=generator) * weight)
        return made[-1]

    reference = FeatureStatistics(np.zeros(3), np.eye(3))
    evaluate_generator(generate, reference=reference, extractor=Mean(), samples=10)
    assert not made[0].requires_grad


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(9, 3, 8, 8), "(9, 3, 8, 8)"),
        (torch.zeros(10, 3, 8), "(10, 3, 8)"),
        (np.zeros((10, 3, 8, 8)), "ndarray"),
        (torch.full((10, 3, 8, 8), -1.0), "expected floats in [0, 1]"),
    ],
)
def test_what_a_generator_may_not_make(folders, images, said):
    with pytest.raises(InputError) as error:
        evaluate_generator(lambda count, generator: images, reference=folders[1], samples=10)
    assert said in str(error.value)


@pytest.mark.parametrize("settings", [{"samples": 1}, {"samples": 0}, {"batch_size": 0}, {"samples": 5, "splits": 6}])
def test_generator_settings_out_of_range_are_refused(settings):
    reference = FeatureStatistics(np.zeros(3), np.eye(3))
    with pytest.raises(InputError):
        evaluate_generator(
            lambda count, generator: torch.rand(count, 3, 8, 8, generator=generator),
            **{"reference": reference, "extractor": Mean(), "samples": 10, **settings},
        )


# Runs


def test_a_finished_run_is_a_folder_that_can_be_continued(folders):
    fake, real = folders
    run = evaluate(fake, real, out="run", samples=20)
    assert Run.open("run", "evaluate").results == run.results
    assert evaluate(resume="run").results == run.results
    with pytest.raises(InputError, match="holds a run already"):
        evaluate(fake, real, out="run")


def test_a_run_goes_on_where_what_is_not_read_has_changed(folders):
    fake, real = folders
    run = evaluate(fake, real, out="run", samples=20)
    (Path(fake) / ".DS_Store").write_text("by a file manager")
    (Path(fake) / ".hidden").mkdir()
    (Path(fake) / ".hidden" / "0.png").write_bytes(b"")
    (Path(fake) / "notes.txt").write_text("by a person")
    assert evaluate(resume="run").results == run.results


def test_pictures_behind_a_link_are_those_of_the_run(folders, tmp_path):
    fake, real = folders
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "there").symlink_to(Path(fake).absolute(), target_is_directory=True)
    evaluate(str(linked), real, out="run", samples=20)
    (Path(fake) / "one-more.png").write_bytes(next(Path(fake).glob("*.png")).read_bytes())
    with pytest.raises(InputError, match="the contents of images"):
        evaluate(resume="run")


def test_a_default_beside_resume_is_a_setting_too(folders):
    fake, real = folders
    evaluate(fake, real, out="run", samples=20, seed=3)
    with pytest.raises(InputError, match=r"seed=0 beside --resume: the run has 3"):
        evaluate(resume="run", seed=0)
    evaluate(resume="run", seed=3)


# What is refused


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"images": "nowhere"}, "images 'nowhere'"),
        ({"reference": "nowhere"}, "images 'nowhere'"),
        ({"reference": "nowhere.npz"}, "statistics 'nowhere.npz'"),
        ({"reference_samples": 61}, "61 samples asked of"),
        ({"inception_weights": "x.pth"}, "--inception-weights 'x.pth'"),
        ({"save_reference": "real.txt"}, "--save-reference 'real.txt'"),
        ({"save_reference": "nowhere/real.npz"}, "--save-reference 'nowhere/real.npz'"),
    ],
)
def test_bad_settings_leave_nothing_behind(folders, tmp_path, settings, said):
    fake, real = folders
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as error:
        evaluate(**{"images": fake, "reference": real, "out": "run", **settings})
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_too_few_images_are_refused(folders):
    with pytest.raises(InputError, match=r"41 samples asked of .*, which holds 40"):
        evaluate(*folders, samples=41)
    with pytest.raises(InputError, match="--splits 41: 40 images"):
        evaluate(*folders, splits=41)


@pytest.mark.parametrize(
    "settings", [{"samples": 1}, {"splits": 0}, {"batch_size": 0}, {"size": 0}, {"extractor": "x"}]
)
def test_settings_out_of_range_are_refused(folders, settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        evaluate(*folders, **settings)


def test_statistics_that_do_not_fit_are_refused(folders):
    fake, real = folders
    evaluate(fake, real, save_reference="real.npz")
    known = FeatureStatistics.load("real.npz")
    with pytest.raises(InputError, match="statistics have their samples"):
        evaluate(fake, "real.npz", reference_samples=10)
    evaluate(fake, real, save_reference="small.npz", size=16)
    resized, again = (evaluate(fake, reference, size=16).results["metrics"] for reference in (real, "small.npz"))
    assert resized == again
    with pytest.raises(InputError, match=r"images of size 24x24 against .* of size 16x16"):
        evaluate(fake, "small.npz", size=24)
    dataclasses.replace(known, extractor="cifarnet, weights sha256 00000000").save("old.npz")
    with pytest.raises(InputError, match=r"192 features by cifarnet, weights sha256 00000000, expected 192 by cif"):
        evaluate(fake, "old.npz")
    FeatureStatistics(np.zeros(2048), np.eye(2048)).save("inception.npz")
    with pytest.raises(InputError, match="2048 features by an unknown extractor, expected 192"):
        evaluate(fake, "inception.npz")


# What is said before any work


def five(tmp_path, name="five", count=5):
    (tmp_path / name).mkdir()
    for i, image in enumerate(pixels(count, 2)):
        Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    return str(tmp_path / name)


def test_too_few_images_for_the_splits_are_said_before_any_work_and_leave_no_folder(folders, tmp_path, monkeypatch):
    images, (_, real) = five(tmp_path), folders
    with monkeypatch.context() as patch:
        patch.setattr("autogas.metrics.evaluation.measure_images", None)  # nothing is measured
        with pytest.raises(InputError, match=r"--splits 10: 5 images; expected 1 to 5 splits"):
            evaluate(images, real, out="o1")
    assert not (tmp_path / "o1").exists()
    run = evaluate(images, real, splits=1, out="o1")
    assert run.results["metrics"]["is-std-cifarnet"] == 0


@pytest.mark.parametrize(
    ("count", "settings", "message"),
    [
        (1, {"splits": 1}, "1 image; a distance needs 2 or more"),
        (5, {"splits": 6}, "--splits 6: 5 images"),
        (5, {"samples": 3, "splits": 4}, "--splits 4: 3 images"),
        (5, {"samples": 9, "splits": 1}, "9 samples asked of .*, which holds 5"),
    ],
)
def test_counts_that_do_not_fit_leave_no_folder(folders, tmp_path, count, settings, message):
    with pytest.raises(InputError, match=message):
        evaluate(five(tmp_path, count=count), folders[1], out="o1", **settings)
    assert not (tmp_path / "o1").exists()


def test_metrics_without_a_finite_value_are_null_and_said():
    found = Evaluation(metrics={"psnr": float("inf"), "ssim": 1.0, "x": float("nan")}, protocol={"samples": 2})
    assert found.metrics == {"psnr": None, "ssim": 1.0, "x": None}
    assert found.protocol == {"samples": 2, "not_finite": {"psnr": "inf", "x": "nan"}}


def test_libraries_that_are_no_installed_distribution_have_no_version(folders, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("autogas.versions.version", missing)
    versions = evaluate(*folders, splits=2).results["protocol"]["versions"]
    assert versions == {"autogas": autogas.__version__, "torch": None, "torch-fidelity": None}
