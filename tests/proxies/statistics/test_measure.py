import dataclasses
import functools
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autogas.errors import InputError
from autogas.proxies.language.expression import Prefix
from autogas.proxies.language.grammar import default_prefixes
from autogas.proxies.primitives import REGISTRY, Stage
from autogas.proxies.probe import Probe
from autogas.proxies.statistics import gram_matrices
from autogas.proxies.statistics import measure as statistics
from autogas.proxies.statistics import moments as of_features
from autogas.proxies.statistics.measure import measure
from autogas.proxies.statistics.moments import Moments
from autogas.spaces import get_space

SMALL = {"base_width": 8, "decoder_divisor": 16, "stem_stride": 1, "image_size": 32}
PLAIN = Prefix()
MORE = (
    Prefix(transforms=("tanh", "softmax"), binariser="above_mean"),
    Prefix(transforms=("exp", "norm_spatial")),
    Prefix(transforms=("max_pool2",), binariser="sign"),
    Prefix(transforms=("max_pool2", "abs"), binariser="above_median"),
    Prefix(transforms=("min_max",)),
    Prefix(transforms=("relu",), binariser="above_median"),
)
PREFIXES = (*default_prefixes(), *MORE)
FLIPPED = 3  # entries that single precision may carry over a threshold

TRANSFORMS = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "swish": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "exp": torch.exp,
    "abs": torch.abs,
    "log": lambda x: x.sign() * (x.abs() + 1e-9).log(),
    "scale": lambda x: 0.5 * x + 0.5,
    "norm": lambda x: x / x.square().sum(dim=tuple(range(1, x.dim())), keepdim=True).sqrt(),
    "softmax": lambda x: x.exp() / x.exp().sum(1, keepdim=True),
    "norm_spatial": lambda x: x / x.square().sum((2, 3), keepdim=True).sqrt() if x.dim() == 4 else x.sign(),
    "max_pool2": lambda x: F.max_pool2d(x, 2) if x.dim() == 4 and min(x.shape[2:]) > 1 else x,
    "min_max": lambda x: (x - x.min()) / (x.max() - x.min()),
}
BINARISERS = {
    None: lambda b: b,
    "sign": np.sign,
    "above_zero": lambda b: b > 0,
    "above_mean": lambda b: b > b.mean(),
    "above_median": lambda b: b > np.sort(b, axis=None)[(b.size - 1) // 2],
}


def explicit(feature, prefix):
    """``B [N, D]`` in double precision."""
    x = feature.double()
    for name in prefix.transforms:
        x = TRANSFORMS[name](x)
    return BINARISERS[prefix.binariser](x.flatten(1).numpy()).astype(np.float64)


def images(n=6, size=8, seed=0):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def hand_made():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3),
        nn.BatchNorm2d(5),
        nn.ReLU(inplace=True),
        nn.Conv2d(5, 4, 3, stride=2),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Flatten(),
        nn.Linear(16, 30),
        nn.SiLU(),
    )


def transnas(arch):
    space = get_space("transnas", **SMALL)
    return space.build(space.parse(arch)), space.inputs(batch_size=5)


NETS = {
    "hand-made": lambda: (hand_made(), (images(),)),
    "macro": lambda: transnas("64-1342-basic"),
    "micro": lambda: transnas("64-41414-2_13_302"),
}


@functools.cache
def both(net):
    """Features by ordinary hooks and statistics by the engine."""
    model, inputs = NETS[net]()
    seen = []
    for module in model.modules():
        if isinstance(module, nn.ReLU | nn.LeakyReLU | nn.SiLU):
            module.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    with torch.no_grad():
        model(*inputs)
    model, inputs = NETS[net]()
    return seen, measure(model, inputs, PREFIXES)


@pytest.mark.parametrize("prefix", PREFIXES, ids=str)
@pytest.mark.parametrize("net", NETS)
def test_against_explicit_features(net, prefix):
    features, found = both(net)
    assert len(features) == len(found.gram[prefix])
    for layer, feature in enumerate(features):
        b = explicit(feature, prefix)
        gram, sums = b @ b.T, b.sum(axis=1)
        if prefix.binariser is None:
            np.testing.assert_allclose(found.gram[prefix][layer], gram, rtol=1e-4, atol=1e-5 * np.trace(gram))
            np.testing.assert_allclose(found.sums[prefix][layer], sums, rtol=1e-4, atol=1e-5 * np.abs(b).sum() / len(b))
        else:
            np.testing.assert_allclose(found.gram[prefix][layer], gram, atol=FLIPPED)
            np.testing.assert_allclose(found.sums[prefix][layer], sums, atol=FLIPPED)
        assert found.sizes[prefix][layer] == b.shape[1]


@pytest.mark.parametrize("net", NETS)
def test_everything_is_live(net):
    features, found = both(net)
    assert found.live["activations"].tolist() == [True] * len(features)
    assert found.failure == ""


def test_types():
    features, found = both("hand-made")
    assert list(found.gram) == list(PREFIXES)
    for prefix, gram in found.gram.items():
        entries = [explicit(feature, prefix) for feature in features]
        of_mean = [np.square(b.mean(axis=0)).sum() / np.square(b).sum(axis=1).mean() for b in entries]
        wide = prefix.binariser is None and max(of_mean) > 0.99  # little but what all samples have in common
        assert gram.dtype == (np.float64 if wide else np.float32), prefix
    assert {x.dtype for x in found.sums.values()} == {np.dtype(np.float64)}
    assert {x.dtype for x in found.sizes.values()} == {np.dtype(np.int64)}
    assert set(found.seconds) == {"forward", "statistics"}


def test_two_kinds_of_layers():
    prefixes = [Prefix("convolutions"), PLAIN, Prefix("convolutions", binariser="above_zero")]
    found = measure(hand_made(), (images(),), prefixes)
    assert {str(p): len(found.gram[p]) for p in found.gram} == {
        "convolutions": 3,
        "convolutions > above_zero": 3,
        "activations": 3,
    }
    assert found.live.keys() == {"convolutions", "activations"}


def test_convolutions_are_read_after_the_call():
    x = images()
    conv = nn.Conv2d(3, 4, 3)
    b = conv(x).detach().flatten(1).double()
    found = measure(conv, (x,), [Prefix("convolutions")])
    np.testing.assert_allclose(found.gram[Prefix("convolutions")][0], b @ b.T, rtol=1e-4, atol=1e-4)


def feature(shape=(5, 6, 8, 8), seed=0):
    x = np.random.default_rng(seed).normal(0.1, 1, shape)
    return torch.from_numpy(x + 0.2 * x**2).float()


def moments(x, prefixes):
    """Of one feature, without the dimension of features."""
    found = statistics.moments(x[None], prefixes)
    return Moments(found.gram[:, 0], found.sums[:, 0], found.sizes)


def one(prefix, x):
    found = moments(x, [prefix])
    return found.gram[0].numpy(), found.sums[0].numpy(), found.sizes[0]


@pytest.mark.parametrize("block", [1, 333, 1919])
@pytest.mark.parametrize("prefix", PREFIXES, ids=str)
def test_blocks_of_columns(prefix, block, monkeypatch):
    x = feature()
    gram, sums, size = one(prefix, x)
    monkeypatch.setattr(of_features, "SMALL", 0)
    monkeypatch.setattr(of_features, "BLOCK", block)
    blocked = one(prefix, x)
    slack = 1 if prefix.binariser == "above_mean" else 0
    np.testing.assert_allclose(blocked[0], gram, rtol=1e-5, atol=1e-5 * np.abs(gram).max() + slack)
    np.testing.assert_allclose(blocked[1], sums, rtol=1e-5, atol=1e-5 * np.abs(sums).max() + slack)
    assert blocked[2] == size


@pytest.mark.parametrize("small", [0, of_features.SMALL])
@pytest.mark.parametrize("block", [333, of_features.BLOCK])
def test_company_changes_nothing(small, block, monkeypatch):
    monkeypatch.setattr(of_features, "SMALL", small)
    monkeypatch.setattr(of_features, "BLOCK", block)
    x = feature()
    together = moments(x, PREFIXES)
    for place, prefix in enumerate(PREFIXES):
        alone = moments(x, [prefix])
        assert torch.equal(together.gram[place], alone.gram[0])
        assert torch.equal(together.sums[place], alone.sums[0])
        assert together.sizes[place] == alone.sizes[0]


def four_features(shape):
    return torch.stack([feature(shape, seed) * (1 + seed) - seed / 2 for seed in range(4)])


@pytest.mark.parametrize("shape", [(5, 6, 8, 8), (16, 8, 1, 1), (16, 3, 6, 6), (2, 80), (16, 9, 40, 40)], ids=str)
@pytest.mark.parametrize("small", [0, of_features.SMALL])
def test_features_that_are_measured_together_do_not_see_each_other(shape, small, monkeypatch):
    monkeypatch.setattr(of_features, "SMALL", small)
    together = statistics.moments(four_features(shape), PREFIXES)
    for number, x in enumerate(four_features(shape)):
        alone = moments(x, PREFIXES)
        assert torch.equal(together.gram[:, number], alone.gram)
        assert torch.equal(together.sums[:, number], alone.sums)
        assert together.sizes == alone.sizes


@pytest.mark.parametrize("shape", [(2, 3, 5), (9, 7), (3, 2, 5, 5), (5, 31)], ids=str)
def test_company_of_unaligned_features_only_rounds(shape):
    together = statistics.moments(four_features(shape), PREFIXES)
    for number, x in enumerate(four_features(shape)):
        alone = moments(x, PREFIXES)
        torch.testing.assert_close(together.gram[:, number], alone.gram, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(together.sums[:, number], alone.sums, rtol=1e-5, atol=1e-5)
        assert together.sizes == alone.sizes


def many_layers(x):
    dead = torch.ones_like(x)
    small = x[:, :, :3, :3] * 1
    for y in (x * 2, small, x + 1, dead, x * 3, small - 1, x.double(), x - 1, small, x / 2):
        F.relu(y)
    return x


@pytest.mark.parametrize("room", [1, 2, 3, 100])
def test_layers_of_one_shape_wait_for_each_other(room, monkeypatch):
    x = images()
    batches = []
    real = statistics.moments
    monkeypatch.setattr(statistics, "ROOM", room * x.numel())
    monkeypatch.setattr(statistics, "moments", lambda fs, prefixes: batches.append(fs.shape) or real(fs, prefixes))
    found = measure(Call(many_layers), (x,), [PLAIN])
    expected = [x * 2, x[:, :, :3, :3], x + 1, x * 0, x * 3, x[:, :, :3, :3] - 1, x, x - 1, x[:, :, :3, :3], x / 2]
    for gram, y in zip(found.gram[PLAIN], expected, strict=True):
        b = y.flatten(1).double()
        np.testing.assert_allclose(gram, b @ b.T, rtol=1e-4, atol=1e-4)
    assert found.sizes[PLAIN].tolist() == [y[0].numel() for y in expected]
    assert found.live["activations"].tolist() == [not (y == 0).all() for y in expected]
    of_x = [shape[0] for shape in batches if shape[1:] == x.shape]
    assert sorted(of_x) == {1: [1] * 6, 2: [1, 1, 2, 2], 3: [1, 2, 3], 100: [1, 5]}[room]


@pytest.mark.parametrize("prefix", PREFIXES, ids=str)
def test_long_rows_are_multiplied_by_convolution(prefix, monkeypatch):
    x = feature()
    gram, sums, _ = one(prefix, x)
    monkeypatch.setattr(gram_matrices, "LONG", 1)
    monkeypatch.setattr(gram_matrices, "MANY", 1)
    monkeypatch.setattr(torch, "bmm", None)
    by_convolution = one(prefix, x)
    np.testing.assert_allclose(by_convolution[0], gram, rtol=1e-5, atol=1e-5 * np.abs(gram).max())
    np.testing.assert_array_equal(by_convolution[1], sums)


@pytest.mark.parametrize("shape", [(2, 1 << 19), (7, 1 << 14), (16, 1 << 16)], ids=str)
def test_long_rows_are_exact_enough(shape):
    x = feature(shape)
    gram = x.double().numpy() @ x.double().numpy().T
    np.testing.assert_allclose(one(PLAIN, x)[0], gram, rtol=2e-5, atol=1e-6 * np.abs(gram).max())


@pytest.mark.parametrize("room", [0, statistics.ROOM])
@pytest.mark.parametrize("length", [600, gram_matrices.LONG])
@pytest.mark.parametrize("where", ["inside", "outside"])
def test_counts_stay_exact_under_autocast(where, length, room, monkeypatch):
    monkeypatch.setattr(statistics, "ROOM", room)
    x = torch.randn(8, length, generator=torch.Generator().manual_seed(0))
    prefix = Prefix(binariser="sign")
    mixed = functools.partial(torch.autocast, "cpu", dtype=torch.bfloat16)

    def inside(x):
        with mixed():
            return F.relu(x)

    if where == "inside":
        found = measure(Call(inside), (x,), [prefix])
    else:
        with mixed():
            found = measure(Call(F.relu), (x,), [prefix])
    signs = x.sign().double()
    assert np.array_equal(found.gram[prefix][0], signs @ signs.T)
    assert np.array_equal(found.sums[prefix][0], signs.sum(1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_layers_wait_under_autocast(dtype):
    def layers(x):
        for i in (1, 2, 3):
            y = F.relu(x.to(dtype) * i)
        return y

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = measure(Call(layers), (images(),), [PLAIN])
    b = images().to(dtype).double().flatten(1)
    expected = torch.stack([i * i * b @ b.T for i in (1, 2, 3)])
    np.testing.assert_allclose(found.gram[PLAIN], expected, rtol=0.03, atol=0.5)


def test_time_of_what_waits_is_counted(monkeypatch):
    real = statistics.moments
    monkeypatch.setattr(statistics, "moments", lambda *args: time.sleep(0.2) or real(*args))
    seconds = measure(Call(F.relu), (images(),), [PLAIN]).seconds
    assert seconds["statistics"] >= 0.2 > seconds["forward"]


def test_only_means_that_are_asked_for(monkeypatch):
    monkeypatch.setattr(of_features._Stack, "sums", property(lambda _: pytest.fail("not needed")))
    moments(feature(), [Prefix(binariser=b) for b in ("sign", "above_zero", "above_median")])


def test_blocks_are_really_used(monkeypatch):
    monkeypatch.setattr(of_features, "BLOCK", 50)
    words = REGISTRY[Stage.TRANSFORM]
    size, blocks = of_features._transformed(feature((1, 5, 4, 8)), (words["relu"], words["exp"]))
    assert size == 32
    assert [block.shape for block in blocks()] == [(1, 1, 5, 10), (1, 1, 5, 10), (1, 1, 5, 10), (1, 1, 5, 2)]


@pytest.mark.parametrize("shape", [(5, 7), (4, 6), (3, 2, 5, 5), (2, 1)], ids=str)
@pytest.mark.parametrize("block", [1 << 20, 11])
def test_median_is_that_of_torch(shape, block, monkeypatch):
    monkeypatch.setattr(of_features, "BLOCK", block)
    x = feature(shape)
    pair = torch.stack([x, -3 * x])
    medians = of_features._medians(block[0] for block in of_features._transformed(pair, ())[1]())
    assert torch.equal(medians, torch.stack([x.median(), (-3 * x).median()]))


def test_median_of_ties():
    x = torch.tensor([[0.0, 0, 0, 0], [0, 0, 1, 2]])
    gram, sums, _ = one(Prefix(binariser="above_median"), x)
    assert sums.tolist() == [0, 2]
    assert gram.tolist() == [[0, 0], [0, 2]]


@pytest.mark.parametrize("block", [1 << 20, 11])
def test_features_are_left_alone(block, monkeypatch):
    monkeypatch.setattr(of_features, "BLOCK", block)
    x = feature()
    before = x.clone()
    moments(x, PREFIXES)
    assert torch.equal(x, before)
    assert x._version == 0


def test_order_of_prefixes():
    x = feature()
    together = moments(x, PREFIXES)
    for place, prefix in enumerate(PREFIXES):
        gram, sums, size = one(prefix, x)
        np.testing.assert_array_equal(together.gram[place], gram, err_msg=str(prefix))
        np.testing.assert_array_equal(together.sums[place], sums, err_msg=str(prefix))
        assert together.sizes[place] == size


def dead_between(x):
    y = F.relu(x)
    F.relu(torch.ones_like(x) * torch.arange(8))
    F.relu(x[:1].expand(len(x), -1, -1, -1) * 1)
    F.relu(torch.cat([x[:1].expand(len(x) - 1, -1, -1, -1), x[-1:]]))
    return y


def test_dead_layers_are_flagged():
    found = measure(Call(dead_between), (images(),), [PLAIN, Prefix(transforms=("swish",), binariser="above_mean")])
    assert found.live["activations"].tolist() == [True, False, False, True]
    assert found.failure == ""


def test_dead_layers_hold_no_statistics():
    found = measure(Call(dead_between), (images(),), [PLAIN])
    assert not found.gram[PLAIN][1:3].any()
    assert not found.sums[PLAIN][1:3].any()
    assert found.sizes[PLAIN].tolist() == [192] * 4


IGNORES = "the output of the network ignores its input"
NOT_FINITE = "the output of the network is not finite"
OUTPUTS = {
    "as it should": (lambda x: x, ""),
    "constant": (lambda x: torch.ones_like(x), IGNORES),
    "the first image": (lambda x: x[:1].expand(len(x), -1, -1, -1) * 2, IGNORES),
    "one of them differs": (lambda x: torch.cat([x[:1].expand(5, -1, -1, -1), x[5:]]), ""),
    "nan": (lambda x: x.where(x < x.max(), float("nan")), NOT_FINITE),
    "infinite": (lambda x: 1 / x.clamp_max(0), NOT_FINITE),
    "tuple": (lambda x: (torch.ones_like(x), x), ""),
    "two constants": (lambda x: (torch.ones_like(x), x[:, :0]), IGNORES),
    "nested": (lambda x: [(x, torch.ones_like(x))], ""),
    "dictionary": (lambda x: {"image": x * float("nan"), "other": x}, NOT_FINITE),
    "number": (lambda x: x.sum(), ""),
    "no tensor": (lambda x: "done", "the output of the network is a str without tensors"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_output(name):
    function, failure = OUTPUTS[name]
    assert measure(Call(lambda x: function(F.relu(x) + x)), (images(),), [PLAIN]).failure == failure


def counted(monkeypatch):
    """What is measured, in order."""
    measured = []
    real = statistics.moments
    monkeypatch.setattr(statistics, "moments", lambda fs, prefixes: measured.extend(fs) or real(fs, prefixes))
    return measured


def test_tensor_read_twice_is_measured_once(monkeypatch):
    measured = counted(monkeypatch)
    found = measure(Call(lambda x: F.relu(x) + F.relu(x + 1) + F.silu(x)), (images(),), [PLAIN])
    assert len(measured) == 2
    gram = found.gram[PLAIN]
    assert len(gram) == 3
    np.testing.assert_array_equal(gram[0], gram[2])
    assert not np.allclose(gram[0], gram[1])


def overwritten(x):
    y = x.clone()
    F.relu(y)
    y.mul_(3)
    F.relu(y)
    F.relu_(y)
    return F.relu(y)


def test_change_in_place_is_noticed(monkeypatch):
    measured = counted(monkeypatch)
    x = images()
    gram = measure(Call(overwritten), (x,), [PLAIN]).gram[PLAIN]
    b = x.flatten(1).double()
    expected = [b @ b.T, 9 * b @ b.T, 9 * b @ b.T, 9 * b.relu() @ b.relu().T]
    np.testing.assert_allclose(gram, torch.stack(expected), rtol=1e-4, atol=1e-3)
    assert len(measured) == 3


def scaled(x):
    for factor in range(1, 7):
        F.relu(x * factor)
    return x


def test_memory_that_is_used_again_is_measured_again():
    gram = measure(Call(scaled), (images(),), [PLAIN]).gram[PLAIN]
    np.testing.assert_allclose(gram, np.arange(1, 7)[:, None, None] ** 2 * gram[0], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (0, 3, 8, 8), (1,), ()], ids=str)
def test_too_few_samples(shape):
    with pytest.raises(InputError, match=r"expected batches \[N, …\] of at least 2 samples"):
        measure(nn.ReLU(), (torch.ones(shape),), [PLAIN])


@pytest.mark.parametrize(
    ("model", "prefix", "kind"),
    [
        (nn.ReLU(), Prefix("convolutions"), "convolutions"),
        (Call(lambda x: F.relu(x.flatten())), PLAIN, "activations"),
    ],
)
def test_no_layer_of_the_kind(model, prefix, kind):
    with pytest.raises(InputError, match=f"no layer of kind '{kind}'"):
        measure(model, (images(),), [prefix])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("prefix", [PLAIN, *(Prefix(transforms=("swish",), binariser=b) for b in BINARISERS)], ids=str)
def test_other_precision(dtype, prefix):
    x = images().to(dtype)
    found = measure(Call(F.relu), (x,), [prefix])
    b = explicit(x.double(), prefix)
    slack = 1e-4 * np.abs(b @ b.T).max() if prefix.binariser is None else FLIPPED
    np.testing.assert_allclose(found.gram[prefix][0], b @ b.T, atol=slack)
    assert found.gram[prefix].dtype == np.float32


def in_inference_mode(x):
    with torch.inference_mode():
        return F.relu(x * 2) + F.relu(x * 3)


def test_network_in_inference_mode():
    gram = measure(Call(in_inference_mode), (images(),), [PLAIN]).gram[PLAIN]
    np.testing.assert_allclose(gram[1] / gram[0], 9 / 4, rtol=1e-2)


def with_gradients(x):
    with torch.enable_grad():
        return F.relu(x * torch.ones(1, requires_grad=True))


def test_network_that_switches_gradients_on():
    found = measure(Call(with_gradients), (images(),), [PLAIN])
    b = images().flatten(1).double()
    np.testing.assert_allclose(found.gram[PLAIN][0], b @ b.T, rtol=1e-4, atol=1e-3)


def test_not_finite_features_do_not_raise():
    found = measure(Call(lambda x: F.relu(x / 0) + x), (images(),), PREFIXES)
    assert not np.isfinite(found.gram[PLAIN][0]).any()


@pytest.mark.parametrize(
    ("name", "arch"), [("transnas-macro", "64-421113-basic"), ("transnas-micro", "64-41414-2_11_333")]
)
def test_a_recorded_pass_has_the_same_features(name, arch):
    space = get_space(name, **SMALL)
    inputs = space.inputs(batch_size=4, seed=1)
    prefixes = (PLAIN, Prefix(binariser="above_mean"), Prefix(layers="convolutions", transforms=("relu",)))
    expected = measure(space.build(space.parse(arch), seed=1), inputs, prefixes)
    record = Probe(space.build(space.parse(arch), seed=1), inputs).recorded
    for prefix in prefixes:
        features = record.activations if prefix.layers == "activations" else record.convolutions
        found = [one(dataclasses.replace(prefix, layers="activations"), feature.detach()) for feature in features]
        for layer, (gram, sums, size) in enumerate(found):
            np.testing.assert_allclose(expected.gram[prefix][layer], gram, rtol=1e-6)
            np.testing.assert_allclose(expected.sums[prefix][layer], sums, rtol=1e-6)
            assert expected.sizes[prefix][layer] == size
        assert len(features) == len(expected.live[prefix.layers])


def test_what_sets_samples_apart_survives_what_they_share():
    """Pooled features differ in the fifth digit: against the same in float64, centred before it is multiplied."""
    torch.manual_seed(2)
    net = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)),
    )
    x, prefix, seen = torch.randn(8, 3, 128, 128), Prefix("convolutions", ("softmax",)), []
    found = measure(net, (x,), [prefix])
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda _m, _x, out: seen.append(out.detach().double().softmax(1).flatten(1)))
    net(x)
    G, s, D = found.gram[prefix], found.sums[prefix], found.sizes[prefix]
    matrices = REGISTRY[Stage.KERNEL]["deviation"].function(*map(torch.from_numpy, (G.astype(float), s, D)))
    for matrix, feature in zip(matrices, seen, strict=True):
        apart = feature - feature.mean(dim=0)
        torch.testing.assert_close(
            matrix, apart @ apart.T / feature.shape[1], rtol=1e-3, atol=1e-4 * float(matrix.max())
        )
