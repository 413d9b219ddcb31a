import numpy as np
import pytest
import torch
from scipy.stats import entropy

from autogas.proxies.primitives import PARTNERS, REGISTRY, Stage

COMPARING = {name: word for name, word in REGISTRY[Stage.REDUCTION].items() if word.needs in PARTNERS}
REDUCTIONS = {name: word for name, word in REGISTRY[Stage.REDUCTION].items() if name not in COMPARING}
NOT_FINITE = [name for name, word in REDUCTIONS.items() if "an all-zero matrix is not finite" in word.edge]
EPSILON = np.finfo(np.float64).eps


def symmetric(n=6, count=3, seed=0):
    x = np.random.default_rng(seed).normal(size=(count, n, n))
    return x + x.transpose(0, 2, 1)


def reduce(name, matrices):
    word = REDUCTIONS[name]
    x = np.linalg.eigvalsh(matrices) if word.needs == "eigenvalues" else matrices
    return word.function(torch.from_numpy(np.array(x))).numpy()


def eigenvalues(x):
    return np.linalg.eigvals(x).real


DIRECT = {
    "slogdet": lambda x: np.linalg.slogdet(x)[1],
    "log_condition": lambda x: np.log(np.linalg.cond(x)),
    "eigenvalue_max": lambda x: max(eigenvalues(x)),
    "eigenvalue_min": lambda x: min(eigenvalues(x)),
    "eigenvalue_floor": lambda x: min(value for value in eigenvalues(x) if value > 1e-5 * max(eigenvalues(x))),
    "log_range": lambda x: np.log(max(eigenvalues(x)) / DIRECT["eigenvalue_floor"](x)),
    "coding_rate": lambda x: sum(np.log1p(max(value, 0)) for value in eigenvalues(x)),
    "eigenvalue_std": lambda x: np.std(eigenvalues(x)),
    "eigenvalue_entropy": lambda x: entropy(np.linalg.svd(x, compute_uv=False)),
    "effective_rank": lambda x: np.linalg.norm(x, "nuc") ** 2 / np.sum(x**2),
    "spectral_norm": lambda x: np.linalg.norm(x, 2),
    "nuclear_norm": lambda x: np.linalg.norm(x, "nuc"),
    "trace": np.trace,
    "frobenius": lambda x: np.linalg.norm(x, "fro"),
    "abslog": lambda x: np.mean(np.log(np.abs(x))),
    "l1_norm": lambda x: np.linalg.norm(x.ravel(), 1) / x.size,
    "normalized_sum": lambda x: x.sum() / x.size,
    "off_diagonal": lambda x: x[~np.eye(len(x), dtype=bool)].mean(),
    "entry_std": np.std,
}


def test_every_reduction_has_a_direct_computation():
    assert set(DIRECT) == set(REDUCTIONS)


@pytest.mark.parametrize("n", [2, 6])
@pytest.mark.parametrize("name", DIRECT)
def test_value(name, n):
    matrices = symmetric(n)
    np.testing.assert_allclose(reduce(name, matrices), [DIRECT[name](x) for x in matrices], rtol=1e-9)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_pure(name):
    x = torch.linspace(-1, 1, 8, dtype=torch.float64).view(
        (2, 4) if REDUCTIONS[name].needs == "eigenvalues" else (2, 2, 2)
    )
    before = x.clone()
    REDUCTIONS[name].function(x)
    assert torch.equal(x, before)


def test_the_floor_of_a_spectrum_is_not_null():
    matrices = np.stack([np.diag([0.0, 3.0, 2.0]), np.diag([1e-6, 1.0, 5.0]), np.diag([-4.0, 0.5, 2.0])])
    assert reduce("eigenvalue_floor", matrices).tolist() == [2.0, 1.0, 0.5]
    assert np.isnan(reduce("eigenvalue_floor", np.zeros((1, 3, 3)))[0])


def test_coding_rate_is_a_log_determinant():
    x = np.random.default_rng(0).normal(size=(5, 40))
    gram = x @ x.T
    assert reduce("coding_rate", gram[None])[0] == pytest.approx(np.linalg.slogdet(np.eye(5) + gram)[1])


def test_entropy_of_positive_spectrum():
    matrix = np.diag([1.0, 2.0, 5.0])[None]
    assert reduce("eigenvalue_entropy", matrix)[0] == pytest.approx(entropy([1, 2, 5]))


@pytest.mark.parametrize(("name", "value"), [("eigenvalue_entropy", np.log(5)), ("effective_rank", 5)])
def test_identity_has_full_rank(name, value):
    assert reduce(name, 3 * np.eye(5)[None])[0] == pytest.approx(value)


@pytest.mark.parametrize(("name", "value"), [("eigenvalue_entropy", 0), ("effective_rank", 1)])
def test_rank_one(name, value):
    assert reduce(name, np.ones((1, 5, 5)))[0] == pytest.approx(value, abs=1e-9)


def test_slogdet_counts_a_null_direction_at_the_rank_tolerance():
    matrix = np.diag([0.0, 0.0, 2.0, 3.0])[None]
    expected = np.log(2) + np.log(3) + 2 * np.log(4 * EPSILON * 3)
    assert reduce("slogdet", matrix)[0] == pytest.approx(expected)


def test_slogdet_does_not_depend_on_how_far_below_tolerance():
    low, lower = np.diag([1e-18, 2.0, 3.0])[None], np.diag([-1e-25, 2.0, 3.0])[None]
    assert reduce("slogdet", low) == reduce("slogdet", lower)


@pytest.mark.parametrize("top", [1.0, 1e6])
def test_log_condition_of_a_singular_matrix(top):
    assert reduce("log_condition", np.diag([0.0, 1.0, top])[None])[0] == pytest.approx(-np.log(3 * EPSILON))


@pytest.mark.parametrize("name", REDUCTIONS)
def test_zero_matrix_is_finite_unless_documented(name):
    assert np.isfinite(reduce(name, np.zeros((1, 4, 4)))[0]) == (name not in NOT_FINITE)


@pytest.mark.parametrize("name", [name for name in REDUCTIONS if name not in NOT_FINITE])
def test_zero_matrix_counts_nothing(name):
    assert reduce(name, np.zeros((1, 4, 4)))[0] == 0


def test_which_reductions_fail_on_zero():
    logarithms = {"slogdet", "log_condition", "log_range"}
    assert set(NOT_FINITE) == {*logarithms, "eigenvalue_floor", "eigenvalue_entropy", "effective_rank"}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_layers_do_not_see_each_other(name):
    matrices = symmetric()
    alone = reduce(name, matrices[1:2])
    matrices[0] = 0
    matrices[2] *= 1e6
    np.testing.assert_allclose(reduce(name, matrices)[1:2], alone, rtol=1e-12)


def test_abslog_skips_zero_entries():
    assert reduce("abslog", np.diag([np.e, np.e**2])[None])[0] == pytest.approx(3 / 4)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_non_finite_layer_is_noticed(name):
    word = REDUCTIONS[name]
    x = torch.full((1, 4) if word.needs == "eigenvalues" else (1, 4, 4), float("nan"), dtype=torch.float64)
    assert not torch.isfinite(word.function(x)).any()


@pytest.mark.parametrize("name", REDUCTIONS)
def test_needs_are_known(name):
    assert REDUCTIONS[name].needs in ("eigenvalues", "matrix")


def centred(x):
    return x - x.mean(axis=0)


def unit(kernel):
    return torch.from_numpy(kernel / np.linalg.norm(kernel))[None]


@pytest.mark.parametrize("name", COMPARING)
def test_alignment_of_deviations_is_centred_kernel_alignment(name):
    """By its definition for linear kernels, from features of any two widths."""
    rng = np.random.default_rng(0)
    one, other = centred(rng.normal(1, 1, (6, 30))), centred(rng.normal(-2, 3, (6, 11)))
    kernels = [unit(x @ x.T) for x in (one, other)]
    cross = np.linalg.norm(one.T @ other) ** 2
    expected = cross / (np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other))
    assert COMPARING[name].function(*kernels).item() == pytest.approx(expected)
    assert COMPARING[name].function(kernels[0], kernels[0]).item() == 1


@pytest.mark.parametrize("name", COMPARING)
def test_alignment_with_nothing_is_not_finite(name):
    with np.errstate(invalid="ignore"):
        none = unit(np.zeros((3, 3)))
    assert not torch.isfinite(COMPARING[name].function(unit(np.eye(3)), none)).any()
    assert "not finite" in COMPARING[name].edge
