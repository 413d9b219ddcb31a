import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from autogas.proxies.primitives import REGISTRY, Stage

BINARISERS = REGISTRY[Stage.BINARISER]
KERNELS = REGISTRY[Stage.KERNEL]
SIZES = (40, 7, 23)


def layers(kind, n=5):
    rng = np.random.default_rng(0)
    drawn = [rng.normal(size=(n, size)) for size in SIZES]
    if kind == "offset":
        return [3 + 0.5 * x for x in drawn]
    if kind == "zero-one":
        return [(x > 0.3).astype(float) for x in drawn]
    return drawn


def kernel(name, features, storage=np.float64):
    gram = np.stack([b @ b.T for b in features]).astype(storage).astype(np.float64)
    sums = np.stack([b.sum(axis=1) for b in features])
    sizes = torch.tensor([b.shape[1] for b in features])
    return KERNELS[name].function(torch.from_numpy(gram), torch.from_numpy(sums), sizes).numpy()


def equal_entries(b):
    return np.array([[sum(x == y for x, y in zip(one, other, strict=True)) for other in b] for one in b])


DIRECT = {
    "gram": lambda b: np.einsum("id,jd->ij", b, b),
    "pearson": np.corrcoef,
    "covariance": lambda b: np.cov(b, bias=True),
    "deviation": lambda b: (b - b.mean(axis=0)) @ (b - b.mean(axis=0)).T / b.shape[1],
    "cosine": lambda b: 1 - cdist(b, b, "cosine"),
    "hamming": equal_entries,
    "distance": lambda b: cdist(b, b, "sqeuclidean"),
}


def test_every_kernel_has_a_direct_computation():
    assert set(DIRECT) == set(KERNELS)


FITTING = [
    (name, kind)
    for name, word in KERNELS.items()
    for kind in ("normal", "offset", "zero-one")
    if word.needs != "binary" or kind == "zero-one"
]


@pytest.mark.parametrize(("name", "kind"), FITTING)
def test_kernel(name, kind):
    features = layers(kind)
    expected = np.stack([DIRECT[name](b) for b in features])
    np.testing.assert_allclose(kernel(name, features), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_is_pure(name):
    gram, sums, sizes = torch.eye(3, dtype=torch.float64)[None], torch.ones(1, 3).double(), torch.tensor([4])
    before = gram.clone(), sums.clone(), sizes.clone()
    KERNELS[name].function(gram, sums, sizes)
    assert all(torch.equal(x, y) for x, y in zip((gram, sums, sizes), before, strict=True))


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_is_symmetric(name):
    matrices = kernel(name, layers("zero-one"))
    np.testing.assert_array_equal(matrices, matrices.transpose(0, 2, 1))


@pytest.mark.parametrize("name", ["gram", "hamming"])
def test_constant_feature_has_rank_one(name):
    assert np.linalg.matrix_rank(kernel(name, [np.ones((5, 12))])[0]) == 1


def test_covariance_of_constant_feature_is_zero():
    assert not kernel("covariance", [np.full((5, 16), 0.5)]).any()


def lone(matrix, i):
    rest = np.delete(matrix, i, axis=0)[:, i]
    return matrix[i, i] == 1 and not rest.any() and not np.delete(matrix[i], i).any()


@pytest.mark.parametrize("storage", [np.float64, np.float32])
@pytest.mark.parametrize("level", [0.0, 0.3, -7.0])
def test_pearson_of_a_sample_without_variance(level, storage):
    features = layers("normal")
    features[0][2] = level
    matrices = kernel("pearson", features, storage)
    assert lone(matrices[0], 2)
    others = np.delete(np.delete(matrices[0], 2, 0), 2, 1)
    np.testing.assert_allclose(others, np.corrcoef(np.delete(features[0], 2, 0)), atol=1e-5)


@pytest.mark.parametrize("storage", [np.float64, np.float32])
def test_pearson_when_no_sample_has_variance(storage):
    level = np.random.default_rng(0).uniform(0.1, 1, size=(6, 1))
    matrix = kernel("pearson", [np.repeat(level, 50, axis=1)], storage)[0]
    np.testing.assert_array_equal(matrix, np.eye(6))


@pytest.mark.parametrize("kind", ["normal", "offset"])
def test_pearson_from_stored_statistics(kind):
    features = layers(kind)
    expected = np.stack([np.corrcoef(b) for b in features])
    np.testing.assert_allclose(kernel("pearson", features, np.float32), expected, atol=1e-4)


def test_cosine_of_a_zero_sample():
    features = layers("normal")
    features[1][3] = 0
    assert lone(kernel("cosine", features)[1], 3)


def test_equal_samples_have_no_distance():
    features = layers("normal")
    features[2][4] = features[2][1]
    matrix = kernel("distance", features)[2]
    assert matrix[1, 4] == pytest.approx(0, abs=1e-12)
    assert (matrix[1, :4] > 1).tolist() == [True, False, True, True]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", KERNELS)
def test_non_finite_feature_is_noticed(name, bad):
    features = layers("normal")
    features[1][2, 0] = bad
    with np.errstate(invalid="ignore"):
        matrices = kernel(name, features)
    assert [bool(np.isfinite(matrix).all()) for matrix in matrices] == [True, False, True]


def spread(size, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0.2, 1, size).astype(np.float32))


def lower_median(x):
    return np.sort(x, axis=None)[(x.size - 1) // 2]


BINARY = {
    "sign": lambda x: (x > 0).astype(float) - (x < 0),
    "above_zero": lambda x: x > 0,
    "above_mean": lambda x: x > x.mean(),
    "above_median": lambda x: x > lower_median(x),
}


def test_every_binariser_has_a_reference():
    assert set(BINARY) == set(BINARISERS)


@pytest.mark.parametrize("shape", [(4, 3, 5, 5), (4, 6), (3, 5)], ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_binariser(name, shape):
    x = spread(shape)
    x.view(-1)[:2] = 0
    np.testing.assert_array_equal(BINARISERS[name].function(x).numpy(), BINARY[name](x.double().numpy()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("name", BINARISERS)
def test_binariser_is_pure_and_keeps_the_type(name, dtype):
    x = spread((4, 6)).to(dtype)
    before = x.clone()
    assert BINARISERS[name].function(x).dtype == dtype
    assert torch.equal(x, before)


def test_nan_counts_as_below_zero():
    assert BINARISERS["above_zero"].function(torch.tensor([float("nan"), 1.0])).tolist() == [0, 1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_mean_gives_zeros(bad):
    x = spread((4, 6))
    x[1, 1] = bad
    assert not BINARISERS["above_mean"].function(x).any()


def test_median_is_the_lower_of_two():
    assert BINARISERS["above_median"].function(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [0, 0, 1, 1]


def test_mean_of_the_whole_batch_not_of_a_sample():
    x = torch.tensor([[0.0, 1.0], [10.0, 11.0]])
    assert BINARISERS["above_mean"].function(x).tolist() == [[0, 0], [1, 1]]
