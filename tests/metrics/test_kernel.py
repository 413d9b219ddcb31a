import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric

from autogas.errors import InputError
from autogas.metrics import FeatureAccumulator, FeatureStatistics, kernel_distance
from autogas.metrics.kernel import SAMPLE, FeatureSample


def features(count, dimensions=6, seed=0, moved=0.0):
    return np.random.default_rng(seed).normal(moved, 1, (count, dimensions))


def by_pairs(x, y):
    """The definition, pair by pair."""

    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    m, n = len(x), len(y)
    within = sum(k(x[i], x[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    among = sum(k(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return within + among - 2 * sum(k(a, b) for a in x for b in y) / (m * n)


def test_the_distance_is_that_of_all_pairs():
    x, y = features(9), features(14, seed=1, moved=0.5)
    assert kernel_distance(x, y).value == pytest.approx(by_pairs(x, y), rel=1e-12)


@pytest.mark.parametrize("moved", [0.0, 0.3])
def test_the_distance_is_that_of_torch_fidelity_with_one_subset_of_all(moved):
    x, y = features(300), features(300, seed=1, moved=moved)
    theirs = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=300, verbose=False
    )
    assert kernel_distance(x, y).value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)


def test_few_images_do_not_move_the_expectation():
    values = np.array([kernel_distance(features(40, seed=s), features(40, seed=1000 + s)).value for s in range(200)])
    assert abs(values.mean()) < 4 * values.std() / len(values) ** 0.5


@pytest.mark.parametrize(("moved", "low", "high"), [(0.0, 2, 5), (1.0, 0.6, 1.7)])
def test_the_error_says_how_far_values_scatter(moved, low, high):
    """Roughly; where there is no difference it says three times as much."""
    found = [kernel_distance(features(200, seed=s), features(200, seed=1000 + s, moved=moved)) for s in range(100)]
    spread = np.std([one.value for one in found])
    assert low < np.median([one.error for one in found]) / spread < high


def test_large_sets_are_worked_off_in_parts():
    x, y = features(2500), features(1300, seed=1, moved=0.2)
    whole = (x @ y.T / 6 + 1) ** 3
    own = [((a @ a.T / 6 + 1) ** 3) for a in (x, y)]
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in own]
    assert kernel_distance(x, y).value == pytest.approx(sum(within) - 2 * whole.mean(), rel=1e-9)


@pytest.mark.parametrize(("one", "other"), [((1, 4), (5, 4)), ((5, 4), (5, 3)), ((5,), (5,)), ((0, 4), (5, 4))])
def test_sets_that_cannot_be_compared_are_refused(one, other):
    with pytest.raises(InputError, match="expected 2 or more of equal length"):
        kernel_distance(np.zeros(one), np.zeros(other))


@pytest.mark.parametrize("batch", [7, 1000, 20_000])
def test_a_sample_depends_on_the_images_not_on_batches(batch):
    whole = torch.arange(12_000.0)[:, None]
    sample = FeatureSample()
    for part in whole.split(batch):
        sample.update(part)
    kept = sample.features()[:, 0]
    assert len(kept) == SAMPLE
    assert (np.diff(kept) > 0).all()
    expected = FeatureSample()
    expected.update(whole)
    assert (kept == expected.features()[:, 0]).all()
    assert np.histogram(kept, bins=6, range=(0, 12_000))[0].min() > SAMPLE / 6 - 150  # no part is left out


def test_a_small_set_is_its_own_sample_and_survives_a_file(tmp_path):
    accumulator = FeatureAccumulator()
    accumulator.update(torch.from_numpy(features(30)))
    statistics = accumulator.statistics()
    statistics.save(tmp_path / "known.npz")
    read = FeatureStatistics.load(tmp_path / "known.npz")
    assert np.array_equal(read.sample, features(30).astype(np.float32))


def test_a_broken_sample_is_refused(tmp_path):
    np.savez(tmp_path / "odd.npz", mu=np.zeros(3), sigma=np.eye(3), sample=np.zeros((5, 2)))
    with pytest.raises(InputError, match=r"a sample of shape \(5, 2\), expected 2 or more finite rows of 3"):
        FeatureStatistics.load(tmp_path / "odd.npz")
