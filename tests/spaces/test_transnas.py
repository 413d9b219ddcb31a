import ast
import csv
import itertools
import json
import math
import re
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from autogas.errors import InputError
from autogas.spaces import get_space
from autogas.spaces.transnas import TransNASArch

SMALL = {"base_width": 8, "decoder_divisor": 16, "stem_stride": 1, "image_size": 32}
SPACES = ("transnas", "transnas-macro", "transnas-micro")
DOWN, DOUBLE = "34", "24"  # module digits that halve the resolution, that double the channels


def count(text, digits):
    """How many module digits of an architecture string are among ``digits``."""
    return sum(digit in digits for digit in text.split("-")[1])


def valid_macro_strings():
    for length in range(1, 8):
        for digits in itertools.product("1234", repeat=length):
            text = f"64-{''.join(digits)}-basic"
            if length in (4, 5, 6) and count(text, DOWN) in (1, 2, 3, 4) and count(text, DOUBLE) in (1, 2, 3):
                yield text


def valid_micro_strings():
    return (f"64-41414-{a}_{b}{c}_{d}{e}{f}" for a, b, c, d, e, f in itertools.product("0123", repeat=6))


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def on_meta(space, text):
    with torch.device("meta"):
        return space.network(space.parse(text))


def multiply_accumulates(part, shape):
    """MACs by hand: every weight of a convolution works once a pixel of the grid that its stride runs over."""
    macs = []

    def record(layer, inputs, output):
        grid = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        macs.append(layer.weight.numel() * grid.shape[-2] * grid.shape[-1])

    for layer in part.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(record)
    output = part.eval()(torch.empty(shape, device="meta"))
    return sum(macs), output.shape


# Genotypes


@pytest.mark.parametrize(("length", "published"), [(4, 210), (5, 750), (6, 2296)])
def test_macro_counts_by_length(length, published):
    archs = [arch for arch in get_space("transnas-macro").enumerate() if len(arch.modules) == length]
    # A digit is two independent switches (down, double), so that the count is a product of binomial sums.
    closed = sum(math.comb(length, k) for k in (1, 2, 3, 4)) * sum(math.comb(length, k) for k in (1, 2, 3))
    assert len(archs) == published == closed


@pytest.mark.parametrize(
    ("name", "published"), [("transnas-macro", 3256), ("transnas-micro", 4096), ("transnas", 7352)]
)
def test_every_architecture_is_enumerated_once(name, published):
    archs = list(get_space(name).enumerate())
    assert len(archs) == len(set(archs)) == len(set(map(str, archs))) == published


def test_macro_holds_exactly_the_valid_strings():
    assert {str(arch) for arch in get_space("transnas-macro").enumerate()} == set(valid_macro_strings())


def test_micro_holds_exactly_the_valid_strings():
    assert {str(arch) for arch in get_space("transnas-micro").enumerate()} == set(valid_micro_strings())


def test_union_is_macro_and_micro():
    parts = set(get_space("transnas-macro").enumerate()) | set(get_space("transnas-micro").enumerate())
    assert set(get_space("transnas").enumerate()) == parts


def test_macro_refuses_every_other_digit_string():
    space, valid = get_space("transnas-macro"), set(valid_macro_strings())
    for length in range(1, 8):
        for digits in itertools.product((1, 2, 3, 4), repeat=length):
            arch = TransNASArch(digits)
            assert space.contains(arch) == (str(arch) in valid)


@pytest.mark.parametrize("name", SPACES)
def test_every_string_parses_back(name):
    space = get_space(name)
    for arch in space.enumerate():
        assert space.parse(str(arch)) == arch


@pytest.mark.parametrize(
    ("name", "strings"), [("transnas-macro", valid_macro_strings), ("transnas-micro", valid_micro_strings)]
)
def test_every_string_is_printed_back(name, strings):
    parse, either = get_space(name).parse, get_space("transnas").parse
    for text in strings():
        assert str(parse(text)) == str(either(text)) == text


def test_benchmark_strings_all_parse(shared_data):
    with open(shared_data / "transnas101_ssim.csv") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert str(get_space(f"transnas-{row['space']}").parse(row["arch"])) == row["arch"]


@pytest.mark.parametrize(
    ("text", "modules", "cell"),
    [("64-1234-basic", (1, 2, 3, 4), None), ("64-41414-0_12_301", (4, 1, 4, 1, 4), (0, 1, 2, 3, 0, 1))],
)
def test_parse_reads_digits_in_order(text, modules, cell):
    arch = get_space("transnas").parse(text)
    assert (arch.modules, arch.cell) == (modules, cell)


NOT_MACRO = (
    "64-1111-basic",  # neither down-sampling nor doubling
    "64-1121-basic",  # no down-sampling
    "64-1131-basic",  # no doubling
    "64-4444-basic",  # four doublings
    "64-133333-basic",  # five down-samplings
    "64-124-basic",  # three modules
    "64-1212341-basic",  # seven modules
)
NOT_MICRO = ("64-41411-0_00_000", "64-4141-0_00_000", "64-1234-0_12_301")
NO_FORM = (
    "",
    "abc",
    "64-1234",
    "1234-basic",
    "32-1234-basic",
    "64-1254-basic",
    "64-0234-basic",
    "64-1234-Basic",
    "64-1234-basic-",
    "64-12 34-basic",
    "64-1234-basic\n64-1234-basic",
    "64-41414-4_00_000",
    "64-41414-0_00_00",
    "64-41414-0_00_0000",
    "64-41414-000000",
    "64-41414-00_0_000",
    "64-١٢٣٤-basic",  # digits of another script
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, text) for name in SPACES for text in (*NOT_MACRO, *NOT_MICRO, *NO_FORM)),
        ("transnas-macro", "64-41414-0_12_301"),
        ("transnas-micro", "64-1234-basic"),
        ("transnas-micro", "64-41414-basic"),
    ],
)
def test_string_outside_the_space_is_one_line(name, text):
    with pytest.raises(InputError) as error:
        get_space(name).parse(text)
    assert len(str(error.value).splitlines()) == 1
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        *({"base_width": width} for width in (-8, 0, 2, 7, 65)),
        *({"decoder_divisor": divisor} for divisor in (-1, 0)),
        *({"stem_stride": stride} for stride in (-1, 0, 3, 8)),
        *({"image_size": size} for size in (-64, 0, 32, 63, 100)),
        *({"stem_stride": stride, "image_size": size} for stride, size in ((1, 24), (2, 48), (4, 96))),
    ],
)
@pytest.mark.parametrize("name", SPACES)
def test_bad_setting_names_itself(name, settings):
    culprit, value = list(settings.items())[-1]
    with pytest.raises(InputError, match=rf"^{name}: {culprit}={value}: expected [^\n]+$"):
        get_space(name, **settings)


@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_smallest_image_size_is_accepted_and_runs(stem_stride):
    space = get_space("transnas", **{**SMALL, "stem_stride": stem_stride, "image_size": 16 * stem_stride})
    model = space.build(space.parse("64-43243-basic"))
    (x,) = space.inputs(batch_size=2)
    assert model(x).shape == x.shape


@pytest.mark.parametrize(
    "settings",
    [
        {"base_width": 64.0},
        {"decoder_divisor": 1.5},
        {"image_size": 64.0},
        {"base_width": True},
        {"stem_stride": 2.0},
    ],
)
def test_fractional_setting_is_refused(settings):
    with pytest.raises(InputError):
        get_space("transnas", **settings)


# Traits


@pytest.mark.parametrize("name", SPACES)
def test_traits_are_counts_of_digits(name):
    space = get_space(name)
    for arch in space.enumerate():
        tail = str(arch).split("-")[2]
        assert space.traits(arch) == {"num_downsamples": count(str(arch), DOWN), "num_skips": tail.count("1")}


# Sampling, mutation, crossover


def test_macro_sample_is_uniform_over_lengths():
    space, rng = get_space("transnas-macro"), np.random.default_rng(0)
    drawn = Counter(len(space.sample(rng).modules) for _ in range(20_000))
    expected = [20_000 * n / 3256 for n in (210, 750, 2296)]
    assert stats.chisquare([drawn[length] for length in (4, 5, 6)], expected).pvalue > 1e-3


@pytest.mark.parametrize(("name", "size"), [("transnas-macro", 3256), ("transnas-micro", 4096)])
def test_sample_is_uniform_over_members(name, size):
    space, rng = get_space(name), np.random.default_rng(0)
    drawn = Counter(str(space.sample(rng)) for _ in range(10 * size))
    counts = list(drawn.values()) + [0] * (size - len(drawn))
    assert len(counts) == size
    assert stats.chisquare(counts).pvalue > 1e-3


def test_union_sample_is_half_macro():
    space, rng = get_space("transnas"), np.random.default_rng(0)
    macro = sum(space.sample(rng).cell is None for _ in range(10_000))
    assert stats.binomtest(macro, 10_000).pvalue > 1e-3


@pytest.mark.parametrize("name", SPACES)
def test_sample_depends_on_the_generator_alone(name):
    space = get_space(name)
    first, again, other = (space.sample(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("name", SPACES)
def test_sample_distinct_repeats_nothing(name):
    space = get_space(name)
    archs = space.sample_distinct(1001, np.random.default_rng(0))
    assert len(archs) == len(set(archs)) == 1001
    assert all(space.contains(arch) for arch in archs)


def test_union_sample_distinct_alternates():
    kinds = [a.cell is None for a in get_space("transnas").sample_distinct(7, np.random.default_rng(0))]
    assert kinds == [True, False] * 3 + [True]


@pytest.mark.parametrize("name", ["transnas-macro", "transnas-micro"])
def test_sample_distinct_can_draw_everything(name):
    space = get_space(name)
    assert set(space.sample_distinct(len(space), np.random.default_rng(0))) == set(space.enumerate())


def test_union_sample_distinct_can_draw_everything():
    space = get_space("transnas")
    assert set(space.sample_distinct(len(space), np.random.default_rng(0))) == set(space.enumerate())


@pytest.mark.parametrize(
    "name",
    [
        "transnas-macro",
        "transnas-micro",
        "transnas",
    ],
)
def test_sample_distinct_refuses_more_than_there_are(name):
    space = get_space(name)
    with pytest.raises(InputError, match=f"{len(space) + 1} architectures asked of space {name}"):
        space.sample_distinct(len(space) + 1, np.random.default_rng(0))


def edits(text):
    """All strings one inserted, removed or changed character away."""
    places = range(len(text) + 1)
    inserted = {text[:i] + new + text[i:] for i in places for new in "1234"}
    changed = {text[:i] + new + text[i + 1 :] for i in places[:-1] for new in "1234"}
    removed = {text[:i] + text[i + 1 :] for i in places[:-1]}
    return (inserted | changed | removed) - {text}


@pytest.mark.parametrize("digits", ["1234", "3222", "211113", "213333", "41414", "344411", "1114"])
def test_macro_mutation_is_uniform_over_valid_edits(digits):
    valid = set(valid_macro_strings())
    neighbours = {f"64-{other}-basic" for other in edits(digits)} & valid
    space, rng = get_space("transnas-macro"), np.random.default_rng(0)
    arch = space.parse(f"64-{digits}-basic")
    drawn = Counter(str(space.mutate(arch, rng)) for _ in range(30 * len(neighbours)))
    assert set(drawn) == neighbours
    assert stats.chisquare(list(drawn.values())).pvalue > 1e-3


def test_micro_mutation_is_uniform_over_single_edges():
    space, rng = get_space("transnas-micro"), np.random.default_rng(0)
    arch = space.parse("64-41414-0_12_301")
    drawn = Counter(space.mutate(arch, rng) for _ in range(30 * 18))
    assert len(drawn) == 18
    assert all(sum(a != b for a, b in zip(n.cell, arch.cell, strict=True)) == 1 for n in drawn)
    assert all(n.modules == arch.modules for n in drawn)
    assert stats.chisquare(list(drawn.values())).pvalue > 1e-3


members = {name: list(get_space(name).enumerate()) for name in SPACES}


@pytest.mark.parametrize("name", SPACES)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_mutation_stays_inside_and_moves(name, data, seed):
    space, arch = get_space(name), data.draw(st.sampled_from(members[name]))
    child = space.mutate(arch, np.random.default_rng(seed))
    assert child in set(members[name])
    assert child != arch
    assert (child.cell is None) == (arch.cell is None)


@pytest.mark.parametrize("name", SPACES)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_crossover_genes_come_from_the_parents(name, data, seed):
    space = get_space(name)
    first, second = (data.draw(st.sampled_from(members[name])) for _ in range(2))
    child = space.crossover(first, second, np.random.default_rng(seed))
    assert child in set(members[name])
    if (first.cell is None) != (second.cell is None):
        assert child in (first, second)
        return
    assert len(child.modules) in (len(first.modules), len(second.modules))
    for i, gene in enumerate(child.modules):
        assert gene in {parent.modules[i] for parent in (first, second) if i < len(parent.modules)}
    for i, gene in enumerate(child.cell or ()):
        assert gene in (first.cell[i], second.cell[i])


@pytest.mark.parametrize("text", ["64-1234-basic", "64-41414-0_12_301"])
def test_crossover_with_itself_changes_nothing(text):
    space, rng = get_space("transnas"), np.random.default_rng(0)
    arch = space.parse(text)
    assert {space.crossover(arch, arch, rng) for _ in range(20)} == {arch}


def test_micro_crossover_reaches_every_mixture():
    space, rng = get_space("transnas-micro"), np.random.default_rng(0)
    first, second = space.parse("64-41414-0_00_000"), space.parse("64-41414-1_23_123")
    children = {space.crossover(first, second, rng).cell for _ in range(1000)}
    assert children == set(itertools.product(*zip(first.cell, second.cell, strict=True)))


def test_macro_crossover_reaches_every_valid_mixture_of_two_lengths():
    space, rng = get_space("transnas-macro"), np.random.default_rng(0)
    first, second = "1234", "431121"
    mixtures = {
        f"64-{''.join(head)}{tail}-basic"
        for tail in ("", second[4:])
        for head in itertools.product(*zip(first, second, strict=False))
    }
    parents = [space.parse(f"64-{digits}-basic") for digits in (first, second)]
    assert {str(space.crossover(*parents, rng)) for _ in range(2000)} == mixtures & set(valid_macro_strings())


# Size: published at 64 channels and 256 pixels


@pytest.mark.parametrize(
    ("text", "encoder", "decoder"),
    [
        ("64-1234-basic", 3_400_224, 20_512_563),
        ("64-2311-basic", 2_334_240, 19_332_915),
        ("64-43243-basic", 21_350_432, 22_871_859),
        ("64-41414-3_33_333", 41_411_616, 22_871_859),
        ("64-41414-0_00_000", 19_488, 22_871_859),
    ],
)
def test_published_parameters(text, encoder, decoder):
    space = get_space("transnas")
    assert [parameters(part) for part in on_meta(space, text)] == [encoder, decoder]
    assert space.cost(space.parse(text)).params == encoder + decoder


@pytest.mark.parametrize("kind", ["macro", "micro"])
def test_parameters_equal_those_of_nas_bench_suite_zero(shared_data, kind):
    table = json.loads((shared_data / f"zc_transbench101_{kind}.json").read_text())["autoencoder"]
    space = get_space(f"transnas-{kind}")
    for key in list(table)[::15]:
        digits = ast.literal_eval(key)
        arch = TransNASArch(tuple(d for d in digits if d)) if kind == "macro" else TransNASArch((4, 1, 4, 1, 4), digits)
        with torch.device("meta"):
            model = space.network(arch)
        assert parameters(model) == round(table[key]["params"]["score"] * 1e6), arch


@pytest.mark.parametrize(
    ("text", "published"), [("64-1234-basic", 4.00), ("64-2311-basic", 4.07), ("64-43243-basic", 2.01)]
)
def test_published_encoder_macs(text, published):
    model = on_meta(get_space("transnas"), text)
    macs, _ = multiply_accumulates(model[0], (1, 3, 256, 256))
    assert round(macs / 1e9, 2) == published


@pytest.mark.parametrize(
    ("text", "upsamples", "published"),
    [
        ("64-2311-basic", 3, 20.0),
        ("64-1234-basic", 4, 5.5),
        ("64-41414-3_33_333", 5, 1.8),
        ("64-43243-basic", 6, 0.9),
    ],
)
def test_published_decoder_macs(text, upsamples, published):
    model = on_meta(get_space("transnas"), text)
    _, (_, channels, height, _) = multiply_accumulates(model[0], (1, 3, 256, 256))
    assert 256 // height == 2**upsamples
    macs, _ = multiply_accumulates(model[1], (1, channels, height, height))
    assert round(macs / 1e9, 1) == published


@pytest.mark.parametrize("text", ["64-1234-basic", "64-43243-basic", "64-41414-1_23_012", "64-41414-3_33_333"])
@pytest.mark.parametrize("settings", [{"image_size": 256}, {"image_size": 64}, SMALL])
def test_cost_counts_every_convolution_once(text, settings):
    space = get_space("transnas", **settings)
    size = settings["image_size"]
    macs, _ = multiply_accumulates(on_meta(space, text), (1, 3, size, size))
    assert space.cost(space.parse(text)).macs == macs


def test_cost_leaves_the_default_device_alone():
    space = get_space("transnas", **SMALL)
    space.cost(space.parse("64-1234-basic"))
    assert torch.empty(1).device.type == "cpu"


def test_parameters_do_not_depend_on_the_image_size():
    small, large = (get_space("transnas", image_size=size) for size in (64, 256))
    arch = small.parse("64-1234-basic")
    first, second = small.cost(arch), large.cost(arch)
    assert first.params == second.params
    assert second.macs == 16 * first.macs


# Networks

SHAPES = [str(arch) for arch in get_space("transnas").sample_distinct(24, np.random.default_rng(7))]


def test_output_has_the_shape_of_the_input_at_full_size():
    space = get_space("transnas", image_size=256)
    for text in SHAPES[:10]:
        x = torch.empty(2, 3, 256, 256, device="meta")
        assert on_meta(space, text)(x).shape == x.shape, text


@pytest.mark.parametrize("text", [*SHAPES, "64-3332-basic", "64-113344-basic", "64-41414-0_00_000"])
def test_output_is_an_image_of_the_shape_of_the_input(text):
    space = get_space("transnas", **SMALL)
    x = space.inputs(batch_size=2)[0]
    y = space.build(space.parse(text))(x)
    assert y.shape == x.shape
    assert float(y.detach().abs().max()) <= 1


@pytest.mark.parametrize("text", SHAPES[:8])
@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_code_shape_follows_the_digits(text, stem_stride):
    space = get_space("transnas", base_width=6, decoder_divisor=64, stem_stride=stem_stride, image_size=128)
    code = on_meta(space, text)[0](torch.empty(1, 3, 128, 128, device="meta"))
    size = 128 // (stem_stride * 2 ** count(text, DOWN))
    assert code.shape == (1, 6 * 2 ** count(text, DOUBLE), size, size)


def test_decoder_divisor_divides_widths_down_to_four():
    space = get_space("transnas", **{**SMALL, "decoder_divisor": 16})
    published = get_space("transnas")
    widths, full = (
        [layer.num_features for layer in on_meta(s, "64-1234-basic")[1] if isinstance(layer, nn.BatchNorm2d)]
        for s in (space, published)
    )
    assert len(full) == 13
    assert widths == [max(4, width // 16) for width in full]


def test_gradient_reaches_every_weight():
    space = get_space("transnas", **SMALL)
    model = space.build(space.parse("64-1234-basic"))
    x = space.inputs(batch_size=4)[0]
    (model(x) - x).abs().mean().backward()
    # A bias in front of a batch normalisation has no effect.
    silent = [name for name, p in model.named_parameters() if not name.endswith("bias") and not p.grad.abs().max() > 0]
    assert silent == []


def norm(x, layer):
    x = (x - layer.running_mean[:, None, None]) / (layer.running_var[:, None, None] + layer.eps).sqrt()
    return x * layer.weight[:, None, None] + layer.bias[:, None, None]


def mix(x, weight):
    """A 1x1 convolution."""
    return torch.einsum("oc,nchw->nohw", weight[:, :, 0, 0], x)


def convolve3(x, weight, stride):
    """A 3x3 convolution as a sum of nine shifted 1x1 ones."""
    padded = torch.zeros(x.shape[0], x.shape[1], x.shape[2] + 2, x.shape[3] + 2)
    padded[:, :, 1:-1, 1:-1] = x
    shifted = (
        mix(padded[:, :, i : i + x.shape[2], j : j + x.shape[3]], weight[:, :, i, j, None, None])
        for i in range(3)
        for j in range(3)
    )
    return sum(shifted)[:, :, ::stride, ::stride]


def reference_edge(op, weights, x, width, stride):
    """One edge from the weights of its convolutions and its normalisation, by the definition of its digit."""
    convs, norms = weights
    if op == "0":
        return torch.zeros(len(x), width, x.shape[2] // stride, x.shape[3] // stride)
    if op == "1" and stride == 1:
        return x
    x = x.clamp(min=0)
    if op == "1":
        x = torch.cat([mix(x[:, :, ::2, ::2], convs[0].weight), mix(x[:, :, 1::2, 1::2], convs[1].weight)], 1)
    elif op == "2":
        x = mix(x[:, :, ::stride, ::stride], convs[0].weight)
    else:
        x = convolve3(x, convs[0].weight, stride)
    return norm(x, norms[0])


def perturbed(space, text):
    """The encoder in evaluation mode with every normalisation at random."""
    model = space.build(space.parse(text)).eval()
    generator = torch.Generator().manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean):
                nn.init.normal_(tensor, generator=generator)
            nn.init.uniform_(layer.running_var, 0.5, 2, generator=generator)
    return model[0]


def weights_of(module):
    layers = list(module.modules())
    return [m for m in layers if isinstance(m, nn.Conv2d)], [m for m in layers if isinstance(m, nn.BatchNorm2d)]


# Each edge has each operation in one of the first four.
CELLS = ["0_12_301", "1_23_012", "2_30_123", "3_01_230", "3_33_333", "1_11_111", "0_00_000", "2_12_210"]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("place", "stride", "c_in", "c_out"), [(1, 2, 8, 16), (2, 1, 16, 16), (3, 1, 16, 16)])
@torch.no_grad()
def test_cell_equals_its_definition(cell, place, stride, c_in, c_out):
    module = perturbed(get_space("transnas", **SMALL), f"64-41414-{cell}")[place]
    x = torch.randn(2, c_in, 8, 8, generator=torch.Generator().manual_seed(1))
    ops = cell.replace("_", "")
    to = {(i, j): n for n, (i, j) in enumerate([(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)])}

    def edge(i, j, value):
        n = to[i, j]
        return reference_edge(ops[n], weights_of(module.edges[n]), value, c_out, stride if i == 0 else 1)

    one = edge(0, 1, x)
    two = edge(0, 2, x) + edge(1, 2, one)
    three = edge(0, 3, x) + edge(1, 3, one) + edge(2, 3, two)
    torch.testing.assert_close(module(x), three, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("digit", "stride", "c_out"), [(1, 1, 8), (2, 1, 16), (3, 2, 8), (4, 2, 16)])
@torch.no_grad()
def test_basic_block_equals_its_definition(digit, stride, c_out):
    block = perturbed(get_space("transnas", **SMALL), f"64-{digit}234-basic")[1]
    x = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    convs, norms = weights_of(block)
    y = norm(convolve3(x.clamp(min=0), convs[0].weight, stride), norms[0])
    y = norm(convolve3(y.clamp(min=0), convs[1].weight, 1), norms[1])
    shortcut = x if digit == 1 else norm(mix(x[:, :, ::stride, ::stride], convs[2].weight), norms[2])
    assert block(x).shape == (2, c_out, 8 // stride, 8 // stride)
    torch.testing.assert_close(block(x), y + shortcut, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("stem_stride", "first", "second"), [(1, 1, 1), (2, 2, 1), (4, 2, 2)])
@torch.no_grad()
def test_stem_equals_its_definition(stem_stride, first, second):
    space = get_space("transnas", **{**SMALL, "stem_stride": stem_stride, "image_size": 64})
    stem = perturbed(space, "64-1234-basic")[0]
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    convs, norms = weights_of(stem)
    y = norm(convolve3(x, convs[0].weight, first), norms[0])
    y = norm(convolve3(y.clamp(min=0), convs[1].weight, second), norms[1])
    torch.testing.assert_close(stem(x), y, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_decoder_equals_its_definition():
    space = get_space("transnas", **SMALL)
    decoder = space.build(space.parse("64-1234-basic")).eval()[1]
    generator = torch.Generator().manual_seed(0)
    y = x = torch.randn(2, 32, 8, 8, generator=generator)
    layers = [layer for layer in decoder if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    norms = [layer for layer in decoder if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:
        nn.init.normal_(layer.running_mean, 0, 0.1, generator=generator)
    # Two up-samplings: layers 11 and 13 of 14.
    for place, layer in enumerate(layers, start=1):
        if place in (11, 13):
            # A transposed convolution is a convolution of the input spread over every second pixel.
            spread = torch.zeros(*y.shape[:2], 2 * y.shape[2], 2 * y.shape[3])
            spread[:, :, ::2, ::2] = y
            y = convolve3(spread, layer.weight.flip(2, 3).transpose(0, 1), 1)
        else:
            y = convolve3(y, layer.weight, 1)
        y = y + layer.bias[:, None, None]
        if place < 14:
            y = norm(y, norms[place - 1])
            y = torch.where(y > 0, y, 0.2 * y)
    assert len(layers) == 14
    torch.testing.assert_close(decoder(x), y.tanh(), atol=1e-4, rtol=1e-4)


# Weights


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("text", ["64-1234-basic", "64-41414-1_23_012"])
def test_build_depends_on_seed_and_architecture_alone(text):
    space = get_space("transnas", **SMALL)
    arch = space.parse(text)
    torch.manual_seed(1)
    first = space.build(arch, seed=5)
    torch.manual_seed(2)
    assert same(first, get_space("transnas", **SMALL).build(arch, seed=5))
    assert not same(first, space.build(arch, seed=6))


def test_other_architecture_has_other_weights():
    space = get_space("transnas", **SMALL)
    first, second = (space.build(space.parse(f"64-{digits}-basic")) for digits in ("1234", "1243"))
    assert not torch.equal(first[0][0][0].weight, second[0][0][0].weight)


@pytest.mark.parametrize(
    ("name", "text"), [("transnas-macro", "64-1234-basic"), ("transnas-micro", "64-41414-1_23_012")]
)
def test_same_architecture_has_the_same_weights_in_both_spaces(name, text):
    first, second = (space.build(space.parse(text)) for space in (get_space(n, **SMALL) for n in ("transnas", name)))
    assert same(first, second)


def test_build_leaves_the_global_generators_alone():
    space = get_space("transnas", **SMALL)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - the global one is meant
    space.build(space.parse("64-1234-basic"))
    assert torch.equal(before, torch.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()  # noqa: NPY002


def test_build_is_on_the_cpu_and_in_training_mode():
    space = get_space("transnas", **SMALL)
    model = space.build(space.parse("64-41414-1_23_012"))
    assert {t.device.type for t in model.state_dict().values()} == {"cpu"}
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad for p in model.parameters())


def test_build_starts_normalisation_afresh():
    space = get_space("transnas", **SMALL)
    model = space.build(space.parse("64-41414-1_23_012"))
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    for built in norms:
        assert same(built, nn.BatchNorm2d(built.num_features))


WIDE = {"base_width": 32, "decoder_divisor": 4}
TEXTS = ["64-24341-basic", "64-41414-3_21_123"]


@pytest.mark.parametrize("text", TEXTS)
def test_encoder_convolutions_are_kaiming_normal_by_fan_out(text):
    space = get_space("transnas", **WIDE)
    encoder = space.build(space.parse(text))[0]
    scaled = []
    for conv in (m for m in encoder.modules() if isinstance(m, nn.Conv2d)):
        assert conv.bias is None
        std = math.sqrt(2 / (conv.out_channels * conv.kernel_size[0] ** 2))
        z = conv.weight.detach().double().flatten() / std
        assert abs(float(z.mean())) < 5 / z.numel() ** 0.5
        assert abs(float(z.var()) - 1) < 5 * (2 / z.numel()) ** 0.5
        scaled.append(z[:2000])
    assert stats.kstest(torch.cat(scaled).numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("text", TEXTS)
def test_decoder_has_the_default_initialisation_of_torch(text):
    space = get_space("transnas", **WIDE)
    decoder = space.build(space.parse(text))[1]
    layers = [m for m in decoder if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    ours = {"weight": [], "bias": []}
    theirs = {"weight": [], "bias": []}
    for layer in layers:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            plain = nn.ConvTranspose2d if isinstance(layer, nn.ConvTranspose2d) else nn.Conv2d
            fresh = plain(layer.in_channels, layer.out_channels, layer.kernel_size)
        bound = float(fresh.weight.detach().abs().max())  # of thousands of uniform draws: the bound to a promille or so
        for key in ours:
            ours[key].append(getattr(layer, key).detach().flatten()[:3000] / bound)
            theirs[key].append(getattr(fresh, key).detach().flatten()[:3000] / bound)
        assert float(layer.weight.detach().abs().max()) == pytest.approx(bound, rel=0.02)
    for key in ours:
        a, b = torch.cat(ours[key]).numpy(), torch.cat(theirs[key]).numpy()
        assert np.abs(a).max() < 1.02
        assert stats.ks_2samp(a, b).pvalue > 1e-3
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in layers) == count(text, DOWN) + 2


def test_weights_of_two_layers_of_one_shape_differ():
    space = get_space("transnas", **SMALL)
    encoder = space.build(space.parse("64-1234-basic"))[0]
    first, second = (encoder[i].conv_b[1].weight for i in (1, 2))
    assert first.shape == second.shape
    assert not torch.equal(first, second)


def test_architecture_string_is_a_safe_name():
    assert all(re.fullmatch(r"[\w-]+", str(arch)) for arch in get_space("transnas").enumerate())
