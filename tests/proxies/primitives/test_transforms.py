import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax
from torch.nn import functional as F

from autogas.proxies.primitives import REGISTRY, Stage, primitive, stages_of

TRANSFORMS = REGISTRY[Stage.TRANSFORM]
SHAPES = [(6, 4, 8, 8), (6, 5)]
ATTENTION_MAPS = ("channel_attention", "spatial_attention")
NORMS = ("norm", "norm_batch", "norm_channel", "norm_spatial")


def feature(shape, *, seed=0, std=2.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, std, shape).astype(np.float32))


def with_fact(fact):
    return [name for name, word in TRANSFORMS.items() if getattr(word, fact)]


def maps(x):
    return x.reshape(*x.shape[:2], -1)


def unit(x, axis):
    return x / np.sqrt((x**2).sum(axis=axis, keepdims=True))


def unit_sample(x):
    return np.stack([row / np.linalg.norm(row.ravel()) for row in x])


def unit_variance(x):
    axes = (0, *range(2, x.ndim))
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def pooled(x, k):
    if x.ndim != 4:
        return x
    n, c, h, w = x.shape
    return x.reshape(n, c, h // k, k, w // k, k).max(axis=(3, 5))


REFERENCES = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "swish": lambda x: x * expit(x),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "exp": np.exp,
    "abs": np.abs,
    "log": lambda x: np.sign(x) * np.log(np.abs(x) + 1e-9),
    "sqrt": lambda x: np.where(x > 0, np.abs(x) ** 0.5, 0),
    "scale": lambda x: (x + 1) / 2,
    "min_max": lambda x: (x - x.min()) / (x.max() - x.min()),
    "norm": unit_sample,
    "norm_batch": lambda x: unit(x, 0),
    "norm_channel": lambda x: unit(x, 1),
    "norm_spatial": lambda x: unit(maps(x), 2),
    "batch_norm": unit_variance,
    "softmax": lambda x: softmax(x, axis=1),
    "softmax_batch": lambda x: softmax(x, axis=0),
    "softmax_spatial": lambda x: softmax(maps(x), axis=2),
    "log_softmax": lambda x: log_softmax(x, axis=1),
    "log_softmax_spatial": lambda x: log_softmax(maps(x), axis=2),
    "sample_attention": lambda x: len(x) * softmax(x / 0.5, axis=0),
    "channel_attention": lambda x: x.shape[1] * softmax(np.abs(maps(x)).mean(2) / 0.5, axis=1),
    "spatial_attention": lambda x: maps(x).shape[2] * softmax(np.abs(maps(x)).mean(1) / 0.5, axis=1),
    "max_pool2": lambda x: pooled(x, 2),
    "max_pool4": lambda x: pooled(x, 4),
}


def test_every_transform_has_a_reference():
    assert set(REFERENCES) == set(TRANSFORMS)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", REFERENCES)
def test_value(name, shape):
    x = feature(shape)
    expected = REFERENCES[name](x.double().numpy())
    got = TRANSFORMS[name].function(x).flatten(1).numpy()
    np.testing.assert_allclose(got, expected.reshape(len(x), -1), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_single_channel_stands_beside_a_zero(name):
    x = feature((6, 1, 8, 8))
    beside = torch.cat([x, torch.zeros_like(x)], dim=1)
    torch.testing.assert_close(TRANSFORMS[name].function(x), TRANSFORMS[name].function(beside)[:, :1])


@pytest.mark.parametrize(
    ("name", "reference", "largest", "rtol", "atol"),
    [
        ("mish", F.mish, 100, 1e-6, 2e-6),
        ("tanh", torch.tanh, 100, 1e-6, 2e-6),
        ("exp", torch.exp, 44, 2.1e-6, 0),
        ("log", lambda x: x.sign() * (x.abs() + 1e-9).log(), 100, 1e-6, 0),
    ],
)
def test_fast_kernel_equals_torch_over_the_whole_range(name, reference, largest, rtol, atol):
    x = torch.linspace(-largest, largest, 20_001).view(3, -1)
    torch.testing.assert_close(TRANSFORMS[name].function(x), reference(x), rtol=rtol, atol=atol)


def test_logarithm_has_a_gradient():
    x = torch.tensor([[2.0, -4.0]], requires_grad=True)
    TRANSFORMS["log"].function(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([[0.5, 0.25]]))


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)], ids=str)
def test_batch_norm_of_one_value_a_channel_is_zero(shape):
    assert not TRANSFORMS["batch_norm"].function(feature(shape)).any()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_contract(name, shape):
    x = feature(shape)
    before = x.clone()
    y = TRANSFORMS[name].function(x)
    assert torch.equal(x, before)
    assert len(y) == len(x)
    assert y.dtype == x.dtype
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("name", [n for n in TRANSFORMS if n not in ATTENTION_MAPS])
def test_channels_stay_channels(name):
    assert TRANSFORMS[name].function(feature((6, 4, 8, 8))).shape[:2] == (6, 4)


@pytest.mark.parametrize(
    ("stage", "name"),
    [(stage, name) for stage in Stage for name in REGISTRY[stage]],
    ids=lambda v: getattr(v, "label", v),
)
def test_documented(stage, name):
    word = REGISTRY[stage][name]
    assert word.name == name
    assert word.stage is stage
    assert word.formula.strip()
    assert word.edge.strip()
    assert (word.function.__doc__ or "").strip()


@pytest.mark.parametrize("name", with_fact("keeps_sign"))
def test_keeps_sign(name):
    x = feature((6, 4, 8, 8))
    x[:, :, 0] = 0
    x[:, :, 1] = x[:, :, 1].sign() * 1e-6
    x[:, :, 2] = x[:, :, 2].clamp(-1, 1) * 10
    assert torch.equal(TRANSFORMS[name].function(x).flatten(1).sign(), x.flatten(1).sign())


@pytest.mark.parametrize("name", with_fact("increasing"))
def test_increasing(name):
    values = torch.linspace(-4, 4, 6 * 4 * 8 * 8)
    order = torch.randperm(len(values), generator=torch.Generator().manual_seed(0))
    y = TRANSFORMS[name].function(values[order].view(6, 4, 8, 8)).flatten()
    assert (y[order.argsort()].diff() > 0).all()


@pytest.mark.parametrize("name", with_fact("affine"))
def test_affine(name):
    x = feature((6, 4, 8, 8))
    y = TRANSFORMS[name].function(x)
    slope, offset = np.polyfit(x.double().flatten(), y.double().flatten(), 1)
    assert slope > 0
    np.testing.assert_allclose(y, slope * x + offset, atol=1e-5)


@pytest.mark.parametrize("name", with_fact("affine"))
def test_affine_is_increasing(name):
    assert TRANSFORMS[name].increasing


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", with_fact("positive"))
def test_positive(name, shape):
    assert (TRANSFORMS[name].function(feature(shape)) > 0).all()


@pytest.mark.parametrize("name", with_fact("positive"))
def test_positive_where_the_feature_is_zero(name):
    x = feature((6, 4, 8, 8)).relu()
    assert (TRANSFORMS[name].function(x) > 0).all()


@pytest.mark.parametrize("name", with_fact("elementwise"))
def test_elementwise(name):
    x = feature((6, 4, 8, 8))
    whole = TRANSFORMS[name].function(x).flatten(1)
    shuffle = torch.randperm(whole.shape[1], generator=torch.Generator().manual_seed(0))[:50]
    torch.testing.assert_close(TRANSFORMS[name].function(x.flatten(1)[:, shuffle]), whole[:, shuffle])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_nan_passes_through(name):
    x = feature((6, 4, 8, 8))
    x[2, 1, 3, 3] = float("nan")
    assert TRANSFORMS[name].function(x).isnan().any()


@pytest.mark.parametrize("name", ["log", "sqrt", *NORMS])
def test_zero_stays_zero(name):
    assert not TRANSFORMS[name].function(torch.zeros(6, 4, 8, 8)).any()


def test_sqrt_of_negative_is_zero():
    assert not TRANSFORMS["sqrt"].function(-feature((6, 5)).abs()).any()


@pytest.mark.parametrize("value", [-3.0, 0.0, 0.7])
def test_min_max_of_constant_is_zero(value):
    assert not TRANSFORMS["min_max"].function(torch.full((6, 5), value)).any()


def test_batch_norm_of_constant_channel_is_zero():
    x = feature((6, 4, 8, 8))
    x[:, 1] = 0.5
    assert TRANSFORMS["batch_norm"].function(x)[:, 1].abs().max() < 1e-4


@pytest.mark.parametrize(("name", "low", "high"), [("tanh", -1, 1), ("sigmoid", 0, 1)])
def test_saturates(name, low, high):
    y = TRANSFORMS[name].function(torch.tensor([[-1e4, 1e4]]))
    assert y.tolist() == [[low, high]]


def test_exp_overflows_above_88():
    assert TRANSFORMS["exp"].function(torch.tensor([[88.0, 89.0]])).isinf().tolist() == [[False, True]]


@pytest.mark.parametrize(("name", "size"), [("max_pool2", 1), ("max_pool4", 3)])
def test_small_maps_pass_unpooled(name, size):
    x = feature((6, 4, size, 8))
    assert torch.equal(TRANSFORMS[name].function(x), x)


@pytest.mark.parametrize(
    ("stage", "word"),
    [
        (Stage.TRANSFORM, "relu"),
        (Stage.TRANSFORM, "gram"),
        (Stage.KERNEL, "swish"),
        (Stage.BINARISER, "pearson"),
        (Stage.KERNEL, "above_mean"),
        (Stage.REDUCTION, "trace"),
        (Stage.AGGREGATE, "pow2"),
        (Stage.AUGMENT, "max"),
        (Stage.LAYERS, "activations"),
    ],
)
def test_a_word_is_registered_once(stage, word):
    def step(x):
        """Another one."""
        return x

    step.__name__ = word
    before = {stage: list(words) for stage, words in REGISTRY.items()}
    with pytest.raises(ValueError, match=f"'{word}' is registered twice"):
        primitive(stage, formula="x", edge="none")(step)
    assert {stage: list(words) for stage, words in REGISTRY.items()} == before


@pytest.mark.parametrize("word", ["abs", "log", "sqrt"])
def test_a_word_may_serve_two_kinds(word):
    assert stages_of(word) == [Stage.TRANSFORM, Stage.AUGMENT]
