import numpy as np
import pytest
import scipy.linalg
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from autogas.errors import InputError
from autogas.metrics import FeatureAccumulator, FeatureStatistics, frechet_distance


def features(count, dimensions=48, seed=0):
    """Correlated, with a spectrum that falls, away from zero."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(dimensions, dimensions)) / np.arange(1, dimensions + 1)
    return torch.from_numpy(rng.normal(seed, 1 + seed, (count, dimensions)) @ mixing.T + 3)


def statistics_of(batch, batch_size=64):
    accumulator = FeatureAccumulator()
    for part in batch.split(batch_size):
        accumulator.update(part)
    return accumulator.statistics()


def by_nuclear_norm(first, second):
    """From the singular values of the centred features, which needs neither covariance nor root."""
    a, b = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (first, second))
    cross = torch.linalg.svdvals(a @ b.T).sum()
    return float((first.mean(0) - second.mean(0)).square().sum() + (a * a).sum() + (b * b).sum() - 2 * cross)


# Distance


def test_distance_of_independent_features_is_a_closed_form():
    mu1, mu2 = np.array([1.0, 2.0, 3.0]), np.array([0.0, 4.0, 3.5])
    var1, var2 = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.25])
    expected = ((mu1 - mu2) ** 2).sum() + ((np.sqrt(var1) - np.sqrt(var2)) ** 2).sum()
    ours = frechet_distance(FeatureStatistics(mu1, np.diag(var1)), FeatureStatistics(mu2, np.diag(var2)))
    assert ours == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_distance_is_that_of_scipy_and_of_torch_fidelity(scale):
    first, second = scale * features(400, seed=1), scale * features(300, seed=0)
    ours = frechet_distance(statistics_of(first), statistics_of(second))
    theirs = [fid_features_to_statistics(x) for x in (first, second)]
    by_eigenvalues = fid_statistics_to_metric(*theirs, False)["frechet_inception_distance"]
    moved = theirs[0]["mu"] - theirs[1]["mu"]
    root = scipy.linalg.sqrtm(theirs[0]["sigma"] @ theirs[1]["sigma"])
    by_scipy = moved @ moved + np.trace(theirs[0]["sigma"] + theirs[1]["sigma"] - 2 * root.real)
    assert ours == pytest.approx(by_eigenvalues, rel=1e-6)
    assert ours == pytest.approx(by_scipy, rel=1e-6)


@pytest.mark.parametrize("counts", [(20, 300), (300, 20), (20, 30), (2, 300), (300, 2), (2, 2), (49, 49)])
def test_distance_with_fewer_images_than_features(counts):
    first, second = features(counts[0], seed=1), features(counts[1], seed=0)
    ours = frechet_distance(statistics_of(first), statistics_of(second))
    assert ours == pytest.approx(by_nuclear_norm(first, second), rel=1e-8)


def test_distance_without_a_count_is_nearly_as_good():
    first, second = features(20, seed=1), features(30, seed=0)
    bare = [FeatureStatistics(s.mu, s.sigma) for s in map(statistics_of, (first, second))]
    assert frechet_distance(*bare) == pytest.approx(by_nuclear_norm(first, second), rel=1e-6)


@pytest.mark.parametrize("count", [300, 20])
def test_distance_to_itself_is_zero(count):
    one = statistics_of(features(count))
    assert 0 <= frechet_distance(one, one) < 1e-9 * np.trace(one.sigma)


def test_distance_is_symmetric():
    one, other = statistics_of(features(300)), statistics_of(features(30, seed=1))
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-9)


@pytest.mark.parametrize("count", [300, 20])
def test_root_is_a_root(count):
    one = statistics_of(features(count))
    np.testing.assert_allclose(one.root @ one.root.T, one.sigma, atol=1e-10 * np.abs(one.sigma).max())
    assert one.root.shape == (48, min(48, count - 1))


def test_root_of_the_reference_is_computed_once(monkeypatch):
    calls = []
    eigh = np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda matrix: calls.append(1) or eigh(matrix))
    reference = statistics_of(features(100))
    for seed in range(3):
        frechet_distance(statistics_of(features(100, seed=seed)), reference)
    assert len(calls) == 1


def test_features_of_different_kinds_are_refused():
    one = FeatureStatistics(np.zeros(2), np.eye(2), extractor="a")
    with pytest.raises(InputError, match=r"of 2 features against a reference of 3: [^\n]+$"):
        frechet_distance(one, FeatureStatistics(np.zeros(3), np.eye(3)))
    with pytest.raises(InputError, match="by a against a reference by b"):
        frechet_distance(one, FeatureStatistics(np.zeros(2), np.eye(2), extractor="b"))
    assert frechet_distance(one, FeatureStatistics(np.zeros(2), np.eye(2))) == 0


# Accumulation


@pytest.mark.parametrize("batch_size", [1, 7, 50, 100])
def test_batches_give_mean_and_covariance(batch_size):
    batch = features(50)
    ours = statistics_of(batch, batch_size)
    np.testing.assert_allclose(ours.mu, batch.mean(0), rtol=1e-12)
    np.testing.assert_allclose(ours.sigma, np.cov(batch.numpy(), rowvar=False), rtol=1e-10, atol=1e-12)
    assert ours.count == 50


def test_a_large_mean_does_not_swallow_the_covariance():
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(200, 4)))
    far = statistics_of(noise + 1e6, 10)
    np.testing.assert_allclose(far.sigma, np.cov((noise.numpy() + 1e6), rowvar=False), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_are_in_float64(dtype):
    batch = features(200).to(dtype)
    ours = statistics_of(batch, 9)
    np.testing.assert_allclose(ours.sigma, np.cov(batch.double().numpy(), rowvar=False), rtol=1e-9, atol=1e-11)


def test_too_few_or_broken_features_are_refused():
    accumulator = FeatureAccumulator()
    with pytest.raises(InputError, match=r"^0 images: a covariance needs 2 or more$"):
        accumulator.statistics()
    accumulator.update(torch.ones(1, 3))
    with pytest.raises(InputError, match=r"^1 images"):
        accumulator.statistics()
    with pytest.raises(InputError, match="features of images 1 to 2: some are not finite"):
        accumulator.update(torch.tensor([[1.0, 2.0, 3.0], [1.0, float("nan"), 3.0]]))


@pytest.mark.cuda
def test_cuda_gives_the_same_statistics():
    batch = features(100)
    here, there = statistics_of(batch), statistics_of(batch.cuda())
    np.testing.assert_allclose(here.sigma, there.sigma, rtol=1e-10, atol=1e-12)


# Files


def test_a_saved_file_is_read_back(tmp_path):
    accumulator = FeatureAccumulator()
    accumulator.update(features(60))
    one = accumulator.statistics(extractor="x, version 1", source="photographs")
    one.save(tmp_path / "s.npz")
    back = FeatureStatistics.load(tmp_path / "s.npz")
    assert (back.mu == one.mu).all()
    assert (back.sigma == one.sigma).all()
    assert (back.count, back.extractor, back.source) == (60, "x, version 1", "photographs")
    with np.load(tmp_path / "s.npz") as file:  # as any other tool reads it
        assert (file["mu"] == one.mu).all()
        assert (file["sigma"] == one.sigma).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_file_of_another_tool_is_read(tmp_path, dtype):
    sigma = np.cov(features(60).numpy(), rowvar=False)
    np.savez_compressed(tmp_path / "s.npz", mu=np.arange(48, dtype=dtype), sigma=sigma.astype(dtype))
    back = FeatureStatistics.load(tmp_path / "s.npz")
    assert (back.count, back.extractor, back.source) == (None, None, None)
    assert back.mu.dtype == back.sigma.dtype == np.float64
    assert (back.mu == np.arange(48)).all()


def refused(path):
    with pytest.raises(InputError) as error:
        FeatureStatistics.load(path)
    assert len(str(error.value).splitlines()) == 1
    assert repr(str(path)) in str(error.value)
    return str(error.value)


MU, SIGMA = np.zeros(3), np.eye(3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"mu": MU}, "has mu, expected mu and sigma"),
        ({}, "has nothing, expected mu and sigma"),
        ({"mu": MU, "sigma": np.eye(4)}, "(3,) and sigma of shape (4, 4)"),
        ({"mu": np.zeros((3, 1)), "sigma": SIGMA}, "(3, 1)"),
        ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, "(0,)"),
        ({"mu": np.array([0, np.nan, 0]), "sigma": SIGMA}, "not finite"),
        ({"mu": MU, "sigma": np.diag([1, 2, np.inf])}, "not finite"),
        ({"mu": MU, "sigma": np.triu(np.ones((3, 3)))}, "no covariance"),
        ({"mu": MU, "sigma": np.diag([1, 2, -1])}, "no covariance"),
        ({"mu": MU, "sigma": SIGMA, "count": 1}, "count 1"),
        ({"mu": MU, "sigma": SIGMA, "count": "many"}, "not numbers"),
        ({"mu": np.array(["a", "b", "c"]), "sigma": SIGMA}, "not numbers"),
        ({"mu": np.array([{}, {}, {}], dtype=object), "sigma": SIGMA}, "not a readable .npz file"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path, content, said):
    np.savez(tmp_path / "s.npz", **content)
    assert said in refused(tmp_path / "s.npz")


def test_damaged_files_are_refused(tmp_path):
    statistics_of(features(60)).save(tmp_path / "s.npz")
    whole = (tmp_path / "s.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for damaged in (b"", b"PK", whole[: len(whole) // 2], whole[:-30], b"no archive", bytes(flipped)):
        (tmp_path / "s.npz").write_bytes(damaged)
        assert "not a readable .npz file" in refused(tmp_path / "s.npz")
    refused(tmp_path / "nothing.npz")
    refused(tmp_path)


def test_a_single_array_is_no_npz(tmp_path):
    np.save(tmp_path / "s.npy", SIGMA)
    assert "not a readable .npz file" in refused(tmp_path / "s.npy")
