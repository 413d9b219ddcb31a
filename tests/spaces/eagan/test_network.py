import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.signal import correlate2d
from torch import nn
from torch.nn import functional as F

import autogas
from autogas.spaces import get_space
from autogas.spaces.eagan import EAGANArch
from autogas.spaces.eagan.network import DiscriminatorCell, GeneratorCell, down_sampling
from autogas.spaces.layers import twice

SPACES = ("eagan-generator", "eagan-discriminator")
DATASETS = {"cifar10": 32, "stl10": 48}
KERNEL = {2: (1, 1), 3: (3, 1), 4: (5, 1), 5: (3, 2), 6: (5, 2)}  # of an edge operation; the down ones are one less


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def on_meta(space, text):
    with torch.device("meta"):
        return space.network(space.parse(text))


def samples(name, count, seed=0, **settings):
    space, rng = get_space(name, **settings), np.random.default_rng(seed)
    return space, [space.sample(rng) for _ in range(count)]


# Published sizes


def test_published_generator_parameters():
    model = on_meta(get_space("eagan-generator"), "eagan-best")
    assert parameters(model) == 7_142_403
    assert parameters(model.linears) == 3_526_656
    assert [parameters(cell) for cell in model.cells] == [787_456, 1_377_536, 1_443_328]
    assert parameters(model.to_rgb) == 7_427


def test_published_discriminator_parameters():
    assert parameters(on_meta(get_space("eagan-discriminator"), "eagan-best-cifar10")) == 906_240


def bias_adds(model, x):
    """Additions of biases of convolutions and linear layers for a sample."""
    adds = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            layer.register_forward_hook(lambda _, __, out: adds.append(out.numel()))
    with torch.no_grad():
        model(x)
    return sum(adds)


@pytest.mark.parametrize(
    ("name", "published", "giga"),
    [("eagan-generator", "eagan-best", 1.892), ("eagan-discriminator", "eagan-best-cifar10", 0.263)],
)
def test_published_operations_count_bias_additions(name, published, giga):
    space = get_space(name)
    x = torch.empty(1, *space.input_shapes[0], device="meta")
    adds = bias_adds(on_meta(space, published).eval(), x)
    assert round((space.cost(space.parse(published)).macs + adds) / 1e9, 3) == giga


def multiply_accumulates(model, x):
    """MACs by hand: every weight works once a pixel of the grid that its stride runs over."""
    macs = []

    def record(layer, inputs, output):
        grid = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        macs.append(layer.weight.numel() * math.prod(grid.shape[2:]))

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            layer.register_forward_hook(record)
    with torch.no_grad():
        model(x)
    return sum(macs)


@pytest.mark.parametrize("name", SPACES)
def test_cost_counts_every_layer_once(name):
    space, archs = samples(name, 5, dataset="stl10", width=6)
    for arch in archs:
        model = on_meta(space, str(arch)).eval()
        macs = multiply_accumulates(model, torch.empty(1, *space.input_shapes[0], device="meta"))
        assert space.cost(arch) == autogas.Cost(params=parameters(model), macs=macs)


def test_every_normal_and_down_operation_adds_up_to_the_super_network():
    # EAGAN's super-network holds all operations on every edge and all down-samplings of every cell: 23,806,592.
    width = 128
    cell = sum(
        parameters(DiscriminatorCell((1, op, 0, 1, 0, -1, -1), width)) for op in range(1, 7)
    )  # c1 runs over all operations
    downs = sum(parameters(down_sampling(op, width)) for op in range(6))
    fixed = on_meta(get_space("eagan-discriminator"), "[[1,1,0,1,0,-1,-1],[1,1,0,1,0,-1,-1],[1,1,0,1,0,-1,-1]]")
    assert 3 * (5 * cell + 2 * downs) + parameters(fixed) == 23_806_592


# Shapes


@pytest.mark.parametrize(("dataset", "size"), DATASETS.items())
def test_generator_makes_images(dataset, size):
    space, archs = samples("eagan-generator", 6, dataset=dataset, width=8)
    for arch in archs:
        with torch.no_grad():
            y = space.build(arch)(*space.inputs(batch_size=2))
        assert y.shape == (2, 3, size, size)
        assert float(y.abs().max()) < 1
        assert float(y.std()) > 0


@pytest.mark.parametrize(("dataset", "size"), DATASETS.items())
def test_discriminator_makes_logits(dataset, size):
    space, archs = samples("eagan-discriminator", 6, dataset=dataset, width=8)
    for arch in archs:
        with torch.no_grad():
            y = space.build(arch)(*space.inputs(batch_size=2))
        assert y.shape == (2, 1)
        assert bool(y.isfinite().all())


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", SPACES)
def test_full_size_runs(name, dataset):
    space, archs = samples(name, 4, dataset=dataset)
    for arch in (*archs, *space.published.values()):
        x = torch.empty(2, *space.input_shapes[0], device="meta")
        assert on_meta(space, str(arch)).eval()(x).shape[0] == 2


@pytest.mark.parametrize("name", SPACES)
def test_width_one_is_accepted(name):
    space, archs = samples(name, 3, width=1)
    for arch in archs:
        assert bool(space.build(arch)(*space.inputs(batch_size=2)).isfinite().all())


@pytest.mark.parametrize("downs", [(), (0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_discriminator_halves_where_its_genes_say(downs):
    space = get_space("eagan-discriminator", width=4)
    rows = [(3, 0, 3, 0, 2, *((0, 3) if cell in downs else (-1, -1))) for cell in range(3)]
    model = space.build(space.parse(str(list(map(list, rows)))))
    sizes = []
    for block in model.cells:
        block.register_forward_hook(lambda _, __, out: sizes.append(out.shape[-1]))
    model(*space.inputs(batch_size=2))
    expected = [16]
    for cell in range(3):
        expected.append(expected[-1] // (2 if cell in downs else 1))
    assert sizes == expected


# Wiring


def constant_generator(arch, scale):
    """A generator of width 1 whose feature maps are constant: linear layers give their bias, every conv a scale."""
    space = get_space("eagan-generator", width=1)
    model = space.build(arch).eval()
    scales = iter(scale)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for place, linear in enumerate(model.linears):
            linear.bias.fill_((1.0, 10.0, 100.0)[place])
        for cell in model.cells:
            for conv in (m for m in cell.modules() if isinstance(m, nn.Conv2d)):
                conv.weight.fill_(next(scales))
        norm, _, conv, _ = model.to_rgb
        norm.weight.fill_(math.sqrt(1 + norm.eps))
        conv.weight[:, :, 1, 1] = 1e-9  # the middle of the kernel, in the range where tanh is the identity
    return float(model(torch.randn(1, 120)).detach().mean()) * 1e9


def test_generator_of_identities_by_hand():
    arch = get_space("eagan-generator").parse("[[0,0,1,1,1,1,1],[0,0,1,1,1,1,1],[0,0,1,1,1,1,1]]")
    # Up-samplings of cell 1, 2, 3 scale by (2, 3), (5, 7), (11, 13); skips into cell 2 by 17, into cell 3 by 19 and
    # 23. Each cell: node 2 = node 0 + node 1 + skips; out = node 0 + node 1 + node 2.
    inner1 = 2 * 1 + 3 * 1
    out1 = 2 + 3 + inner1
    x2 = out1 + 10
    inner2 = 5 * x2 + 7 * x2 + 17 * inner1
    out2 = 5 * x2 + 7 * x2 + inner2
    x3 = out2 + 100
    inner3 = 11 * x3 + 13 * x3 + 19 * inner1 + 23 * inner2
    out3 = 11 * x3 + 13 * x3 + inner3
    total = constant_generator(arch, [2, 3, 5, 7, 17, 11, 13, 19, 23])
    assert total == pytest.approx(out3, rel=1e-5)
    without_skip_in = out3 - 23 * 17 * inner1  # if cell 2 emitted its node before its own skip came in
    assert total != pytest.approx(without_skip_in, rel=1e-2)


def test_generator_of_single_wires_by_hand():
    # Cell 1 goes 0 -> 2 -> out, cell 2 goes 1 -> out with node 2 = node 0, cell 3 goes 0 -> out and 1 -> 2 -> out.
    arch = get_space("eagan-generator").parse("[[0,0,1,0,0,0,1],[0,0,1,0,0,1,0],[0,0,0,1,1,0,1]]")
    inner1 = out1 = 2 * 1
    x2 = out1 + 10
    inner2 = 5 * x2 + 17 * inner1
    x3 = 7 * x2 + 100
    out3 = 11 * x3 + (13 * x3 + 19 * inner1 + 23 * inner2)
    assert constant_generator(arch, [2, 3, 5, 7, 17, 11, 13, 19, 23]) == pytest.approx(out3, rel=1e-5)


def resized(x, size, mode):
    """Rows and columns resized by pixel centres."""
    factor = size // x.shape[-1]
    if mode == "nearest":
        return x.repeat(factor, axis=-1).repeat(factor, axis=-2)
    centres = (np.arange(size) + 0.5) / factor - 0.5

    def along_rows(rows):
        return np.apply_along_axis(lambda row: np.interp(centres, np.arange(len(row)), row), -1, rows)

    return along_rows(along_rows(x).swapaxes(-1, -2)).swapaxes(-1, -2)


def convolved(x, conv, *, weight=None, stride=1):
    """Same-padded convolution with the kernel spread out by its dilation."""
    weight = conv.weight.detach().numpy() if weight is None else weight
    dilation = conv.dilation[0]
    size = dilation * (weight.shape[-1] - 1) + 1
    kernel = np.zeros((*weight.shape[:2], size, size))
    kernel[:, :, ::dilation, ::dilation] = weight
    out = np.array(
        [
            [sum(correlate2d(plane, k, "same") for plane, k in zip(image, ks, strict=True)) for ks in kernel]
            for image in x
        ]
    )
    bias = 0 if conv.bias is None else conv.bias.detach().numpy()[:, None, None]
    return out[:, :, ::stride, ::stride] + bias


def relu(x):
    return np.maximum(x, 0)


def spectral(conv):
    """The weight over u' W v."""
    weight = conv.weight.detach().numpy()
    return weight / (conv.u.numpy() @ weight.reshape(len(weight), -1) @ conv.v.numpy())


def reference_up(op, module, x):
    convs = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    if op < 2:
        return convolved(relu(resized(x, 2 * x.shape[-1], ("nearest", "bilinear")[op])), convs[0])
    # A transposed convolution is a convolution of the input spread over every second pixel with the kernel turned.
    kernels = next(m for m in module.modules() if isinstance(m, nn.ConvTranspose2d)).weight.detach().numpy()[:, 0]
    spread = np.zeros((*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]))
    spread[:, :, ::2, ::2] = relu(x)
    spread = [[correlate2d(p, k[::-1, ::-1], "same") for p, k in zip(i, kernels, strict=True)] for i in spread]
    return convolved(np.array(spread), convs[0])


def reference_down(op, module, x):
    if op == -1:
        return x
    if op < 2:
        return (np.mean, np.max)[op](x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2), axis=(3, 5))
    (conv,) = (m for m in module.modules() if isinstance(m, nn.Conv2d))
    assert (conv.kernel_size[0], conv.dilation[0]) == KERNEL[op + 1]
    return convolved(relu(x), conv, weight=spectral(conv), stride=2)


def reference_edge(op, convs, x, *, normalise=False, rectify=True):
    """One edge; takes its convolution off the list."""
    if op < 2:
        return op * x
    conv = convs.pop(0)
    assert (conv.kernel_size[0], conv.dilation[0]) == KERNEL[op]
    return convolved(relu(x) if rectify else x, conv, weight=spectral(conv) if normalise else None)


def reference_generator_cell(genes, cell, x, earlier, mode):
    u0, u1, a, b, c, d, e = genes
    zero, one = (reference_up(op, module, x) for op, module in zip((u0, u1), cell.ups, strict=True))
    convs = [m for m in cell.edges.modules() if isinstance(m, nn.Conv2d)]
    two = reference_edge(a, convs, zero) + reference_edge(b, convs, one)
    for skip, node in zip(cell.skips, earlier, strict=True):
        two = two + convolved(resized(node, two.shape[-1], mode), skip)
    out = reference_edge(c, convs, zero) + reference_edge(d, convs, one) + reference_edge(e, convs, two)
    assert convs == []
    return two, out


# Together each has every operation on every edge.
GENERATOR_CELLS = [
    (0, 1, 0, 1, 2, 3, 4),
    (1, 2, 1, 2, 3, 4, 5),
    (2, 0, 2, 3, 4, 5, 6),
    (0, 0, 3, 4, 5, 6, 0),
    (1, 1, 4, 5, 6, 0, 1),
    (2, 2, 5, 6, 0, 1, 2),
    (0, 2, 6, 0, 1, 2, 3),
]
DISCRIMINATOR_CELLS = [
    (1, 0, 1, 2, 3, 0, 1),
    (2, 1, 2, 3, 4, 1, 2),
    (3, 2, 3, 4, 5, 2, 3),
    (4, 3, 4, 5, 6, 3, 4),
    (5, 4, 5, 6, 0, 4, 5),
    (6, 5, 6, 0, 1, 5, 0),
    (1, 6, 0, 1, 2, -1, -1),
]


def tiny(build, seed=0):
    """A module with random weights and, where it has them, warm singular vectors, in evaluation mode."""
    module = build().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
        for layer in module.modules():
            if hasattr(layer, "reset_vectors"):
                layer.reset_vectors(generator)
    return module


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def close(got, expected):
    torch.testing.assert_close(got.detach().double(), torch.from_numpy(expected), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("genes", GENERATOR_CELLS)
@pytest.mark.parametrize(("num_skips", "mode"), [(0, "nearest"), (1, "bilinear"), (2, "nearest")])
def test_generator_cell_equals_its_definition(genes, num_skips, mode):
    cell = tiny(lambda: GeneratorCell(genes, 2, num_skips, mode))
    x = noise(2, 2, 8, 8)
    earlier = [noise(2, 2, 16 // 2 ** (num_skips - i), 16 // 2 ** (num_skips - i)) for i in range(num_skips)]
    inner, out = cell(torch.from_numpy(x), [torch.from_numpy(node) for node in earlier])
    expected_inner, expected = reference_generator_cell(genes, cell, x.astype(float), earlier, mode)
    close(inner, expected_inner)
    close(out, expected)


@pytest.mark.parametrize("genes", DISCRIMINATOR_CELLS)
def test_discriminator_cell_equals_its_definition(genes):
    cell = tiny(lambda: DiscriminatorCell(genes, 3))
    x = noise(2, 3, 8, 8)
    c0, c1, c2, c3, c4, d0, d1 = genes
    convs = [m for m in cell.edges.modules() if isinstance(m, nn.Conv2d)]
    zero = x.astype(float)
    one = reference_edge(c0, convs, zero, normalise=True)
    two = reference_edge(c1, convs, zero, normalise=True) + reference_edge(c2, convs, one, normalise=True)
    three = reference_edge(c3, convs, one, normalise=True)
    three = three + reference_edge(c4, convs, zero, normalise=True, rectify=False)
    assert convs == []
    close(cell(torch.from_numpy(x)), reference_down(d0, cell.downs[0], two) + reference_down(d1, cell.downs[1], three))


def test_generator_equals_its_definition():
    arch = EAGANArch(tuple(GENERATOR_CELLS[i] for i in (1, 4, 6)))
    space = get_space("eagan-generator", dataset="stl10", width=2)
    model = space.build(arch).eval()
    (z,) = space.inputs(batch_size=2)
    earlier, x = [], 0
    for place, (cell, mode) in enumerate(zip(model.cells, ("nearest", "bilinear", "nearest"), strict=True)):
        weight, bias = (p.detach().numpy().astype(float) for p in model.linears[place].parameters())
        size = 6 * 2**place
        part = z[:, 40 * place : 40 * (place + 1)].numpy() @ weight.T + bias
        inner, x = reference_generator_cell(arch.cells[place], cell, x + part.reshape(2, 2, size, size), earlier, mode)
        earlier.append(inner)
    norm, _, conv, _ = model.to_rgb
    scale = norm.weight.detach().numpy() / np.sqrt(1 + norm.eps)  # running statistics are still 0 and 1
    close(model(z), np.tanh(convolved(relu(x * scale[:, None, None]), conv)))


def test_discriminator_equals_its_definition():
    space = get_space("eagan-discriminator", width=3)
    # Cells without down-sampling that pass 3 x on: node 1 = x, node 2 = node 1, node 3 = node 1 + x.
    model = space.build(space.parse("[[1,0,1,1,1,-1,-1],[1,0,1,1,1,-1,-1],[1,0,1,1,1,-1,-1]]")).eval()
    (x,) = space.inputs(batch_size=2)
    block = model.cells[0]
    first, second = (m for m in block.residual if isinstance(m, nn.Conv2d))
    image = x.numpy().astype(float)
    residual = convolved(image, first, weight=spectral(first))
    residual = reference_down(0, None, convolved(relu(residual), second, weight=spectral(second)))
    shortcut = convolved(reference_down(0, None, image), block.shortcut[1], weight=spectral(block.shortcut[1]))
    features = relu(27 * (residual + shortcut)).sum((2, 3))
    assert model.head.bias is None
    close(model(x), features @ spectral(model.head).T)


# Weights


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", SPACES)
def test_build_depends_on_seed_and_architecture_alone(name):
    space, (arch, other) = samples(name, 2, width=8)
    torch.manual_seed(1)
    first = space.build(arch, seed=5)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert same(first, get_space(name, width=8).build(space.parse(str(arch)), seed=5))
    assert torch.equal(before, torch.get_rng_state())
    assert not same(first, space.build(arch, seed=6))
    assert not same(first, space.build(other, seed=5))


def test_discriminator_weights_do_not_depend_on_the_image_size():
    arch = get_space("eagan-discriminator").parse("eagan-best-stl10")
    first, second = (get_space("eagan-discriminator", dataset=dataset, width=8).build(arch) for dataset in DATASETS)
    assert same(first, second)


@pytest.mark.parametrize("name", SPACES)
def test_build_is_on_the_cpu_and_in_training_mode(name):
    space, (arch,) = samples(name, 1, width=8)
    model = space.build(arch)
    assert {t.device.type for t in model.state_dict().values()} == {"cpu"}
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad for p in model.parameters())


def uniform_within(values, bound):
    """Values over their bounds, as one sample that should be uniform in [-1, 1]."""
    return torch.cat([v.detach().flatten()[:4000] / b for v, b in zip(values, bound, strict=True)]).numpy()


@pytest.mark.parametrize("name", SPACES)
def test_weights_have_the_published_distribution(name):
    text = {
        "eagan-generator": "[[2,2,4,5,6,1,1],[2,0,2,3,4,5,6],[1,0,0,3,0,0,3]]",
        "eagan-discriminator": "eagan-best-stl10",
    }[name]
    space = get_space(name, width=24)
    layers = list(space.build(space.parse(text)).modules())
    convs = [m for m in layers if isinstance(m, nn.Conv2d)]
    area = [m.kernel_size[0] ** 2 for m in convs]
    xavier = [math.sqrt(6 / (a * (m.in_channels + m.out_channels))) for m, a in zip(convs, area, strict=True)]
    z = uniform_within([m.weight for m in convs], xavier)
    assert stats.kstest(z, "uniform", (-1, 2)).pvalue > 1e-3
    # torch's default: 1 / sqrt(fan-in), of a depthwise transposed convolution its kernel's nine.
    rest = [m for m in layers if isinstance(m, nn.Linear | nn.ConvTranspose2d)]
    fan_in = [9 if isinstance(m, nn.ConvTranspose2d) else m.in_features for m in rest]
    z = uniform_within([m.weight for m in rest], [f**-0.5 for f in fan_in])
    assert stats.kstest(z, "uniform", (-1, 2)).pvalue > 1e-3
    biased = [(m, a * m.in_channels) for m, a in zip(convs, area, strict=True) if m.bias is not None]
    z = uniform_within([m.bias for m, _ in biased], [f**-0.5 for _, f in biased])
    assert stats.kstest(z, "uniform", (-1, 2)).pvalue > 1e-3


def test_normalisation_starts_near_one():
    space = get_space("eagan-generator", width=2048)
    norm = space.build(space.parse("[[2,2,1,1,1,1,1],[2,2,1,1,1,1,1],[2,2,1,1,1,1,1]]")).to_rgb[0]
    assert stats.kstest(norm.weight.detach().numpy(), "norm", (1, 0.02)).pvalue > 1e-3
    fresh = nn.BatchNorm2d(2048).state_dict()
    assert all(torch.equal(value, fresh[key]) for key, value in norm.state_dict().items() if key != "weight")


@pytest.mark.parametrize(
    ("name", "published", "silent"),
    [
        # The released generator's last cell up-samples a node that no edge leaves.
        ("eagan-generator", "eagan-best", ["cells.2.ups.0.2.weight", "cells.2.ups.0.2.bias"]),
        ("eagan-discriminator", "eagan-best-cifar10", []),
    ],
)
def test_gradient_reaches_every_weight_in_use(name, published, silent):
    space = get_space(name, width=8)
    model = space.build(space.parse(published))
    model(*space.inputs(batch_size=4)).square().sum().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == silent


@pytest.mark.parametrize("name", SPACES)
def test_networks_can_be_scored(name):
    space, archs = samples(name, 3, width=32)
    x = space.inputs(batch_size=8)
    for arch in archs:
        model = space.build(arch)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        assert math.isfinite(autogas.score(model, x, "autogas"))
        assert autogas.score(model, x, "params") == parameters(model)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.cuda
@pytest.mark.parametrize("name", SPACES)
def test_cuda_gives_the_same(name):
    space, (arch,) = samples(name, 1, width=8)
    (x,) = space.inputs(batch_size=4)
    expected = space.build(arch)(x)
    got = space.build(arch).cuda()(x.cuda())
    torch.testing.assert_close(got.cpu(), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 4), (3, 7)])
def test_twice_is_bilinear_resizing_with_its_gradient(size):
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    usual = F.interpolate(x, scale_factor=2, mode="bilinear")
    slopes = torch.randn(usual.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.allclose(twice(x), usual)
    assert torch.allclose(*(torch.autograd.grad(made, x, slopes)[0] for made in (twice(x), usual)))
