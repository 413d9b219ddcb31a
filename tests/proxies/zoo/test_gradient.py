import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autogas import InputError, get_space, score, score_many


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def array(x):
    return x.detach().double().numpy()


def square(output, inputs):
    return (output - inputs[0]).square().mean()


def two_layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4))


def backward(model, x):
    """Weights, their gradients of the mean absolute error, features and theirs, by hand in float64."""
    w1, b1, w2, b2 = map(array, model.parameters())
    x = array(x)
    z = x @ w1.T + b1
    h = np.maximum(z, 0)
    y = h @ w2.T + b2
    dy = np.sign(y - x) / y.size
    dz = (dy @ w2) * (z > 0)
    return [w1, w2], [dz.T @ x, dy.T @ h], [z, y], [dz, dy]


def test_first_order_scorers_by_hand():
    model, x = two_layers(), noise(8, 4)
    weights, by_weight, features, by_feature = backward(model, x)
    found = score_many(model, x, ["grad_norm", "snip", "plain", "fisher"])
    pairs = list(zip(weights, by_weight, strict=True))
    assert found == pytest.approx(
        {
            "grad_norm": sum(np.linalg.norm(g) for g in by_weight),
            "snip": sum(np.abs(w * g).sum() for w, g in pairs),
            "plain": sum((w * g).sum() for w, g in pairs),
            "fisher": sum(((a * g) ** 2).sum() / 16 for a, g in zip(features, by_feature, strict=True)),
        },
        rel=1e-5,
    )


def test_sums_over_many_weights():
    """More than fit one block, with a last block that is not full."""
    torch.manual_seed(0)
    model, x = nn.Linear(300, 300), noise(8, 300)
    w = array(model.weight)
    y = array(x) @ w.T + array(model.bias)
    g = (np.sign(y - array(x)) / y.size).T @ array(x)
    found = score_many(model, x, ["snip", "plain"])
    assert found == pytest.approx({"snip": np.abs(w * g).sum(), "plain": (w * g).sum()}, rel=1e-5)


def test_fisher_of_channels_by_finite_differences():
    torch.manual_seed(0)
    layer, x = nn.Conv2d(2, 3, 3, padding=1).double(), noise(4, 2, 5, 5, dtype=torch.float64)

    target = noise(4, 3, 5, 5, dtype=torch.float64)

    def loss(gate):  # sum over positions of a dL/da is the derivative by a factor on the channel of one sample
        return float((layer(x) * gate - target).square().mean().detach())

    total = 0.0
    for n in range(4):
        for c in range(3):
            step = torch.zeros(4, 3, 1, 1, dtype=torch.float64)
            step[n, c] = 1e-5
            total += ((loss(1 + step) - loss(1 - step)) / 2e-5) ** 2
    assert score(layer, x, "fisher", loss=lambda y, _: (y - target).square().mean()) == pytest.approx(total / 8)


def smooth():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False)).double()


def test_grasp_is_that_of_the_full_hessian():
    model, x = smooth(), noise(5, 3, dtype=torch.float64)
    start = torch.cat([p.detach().flatten() for p in model.parameters()])

    def objective(flat):
        return square(torch.tanh(x @ flat[:12].view(4, 3).T) @ flat[12:].view(3, 4).T, (x,))

    hessian, g = torch.autograd.functional.hessian(objective, start), torch.func.grad(objective)(start)
    found = score(model, x, "grasp", loss=square)
    assert found == pytest.approx(-float(start @ hessian @ g), rel=1e-9)
    # Half the first-order change of the squared gradient norm when all weights shrink towards zero.
    step = 1e-6
    change = (torch.func.grad(objective)(start * (1 - step)).square().sum() - g.square().sum()) / step
    assert found == pytest.approx(float(change) / 2, rel=1e-4)


def correlation_score(jacobian):
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(jacobian)) + 1e-5
    return -np.sum(np.log(eigenvalues) + 1 / eigenvalues)


def test_jacov_by_finite_differences():
    model, x = smooth(), noise(5, 3, dtype=torch.float64)
    jacobian = np.zeros((5, 3))
    for place in np.ndindex(5, 3):
        step = torch.zeros(5, 3, dtype=torch.float64)
        step[place] = 1e-6
        jacobian[place] = float((model(x + step) - model(x - step)).detach().sum()) / 2e-6
    assert score(model, x, "jacov") == pytest.approx(correlation_score(jacobian), rel=1e-4)


def test_jacov_is_best_for_unlike_samples():
    """Correlations of +1 and -1 only, for a network of one direction; a diverse one comes near -N(1 + k)."""
    line = nn.Sequential(nn.Linear(4, 1), nn.Tanh())
    alike = score(line, noise(8, 4), "jacov")
    assert alike == pytest.approx(-(7 * (math.log(1e-5) + 1e5) + math.log(8) + 1 / 8), rel=1e-4)
    torch.manual_seed(0)
    diverse = nn.Sequential(nn.Linear(400, 900), nn.ReLU(), nn.Linear(900, 1))
    assert alike < score(diverse, noise(8, 400), "jacov") < -8


def test_jacov_without_dependence_on_the_input():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones_like(x)

    with pytest.raises(InputError, match="proxy 'jacov' has no finite score"):
        score(Constant(), noise(4, 3), "jacov")


def zico_by_hand(halves):
    total = 0.0
    for layer in zip(*halves, strict=True):
        absolute = np.abs(np.stack(layer))
        mean, deviation = absolute.mean(0), absolute.std(0)
        if (deviation > 0).any():
            total += np.log((mean[deviation > 0] / deviation[deviation > 0]).sum())
    return total


@pytest.mark.parametrize("n", [8, 9])
def test_zico_by_hand(n):
    torch.manual_seed(0)
    model, x = two_layers().double(), noise(n, 4, dtype=torch.float64)
    halves = [backward(model, x[part])[1] for part in (slice(4), slice(4, 8))]
    assert score(model, x, "zico") == pytest.approx(zico_by_hand(halves), rel=1e-9)


def test_zico_leaves_out_what_does_not_vary():
    model, half = two_layers().double(), noise(4, 4, dtype=torch.float64)
    assert score(model, torch.cat([half, half]), "zico") == 0  # both halves say the same
    x = noise(8, 4, dtype=torch.float64)
    x[:, 1] = 0  # no gradient for a column of weights
    halves = [backward(model, x[part])[1] for part in (slice(4), slice(4, 8))]
    assert score(model, x, "zico") == pytest.approx(zico_by_hand(halves), rel=1e-9)


def naive_synflow(layers, size):
    """log sum |w| dR/d|w| in float64 through convolutions and rectifiers alone."""
    weights = [layer.weight.detach().double().abs().requires_grad_() for layer in layers]
    x = torch.ones(1, *size, dtype=torch.float64)
    for layer, w in zip(layers, weights, strict=True):
        operator = F.conv_transpose2d if isinstance(layer, nn.ConvTranspose2d) else F.conv2d
        x = F.relu(operator(x, w, None, layer.stride, layer.padding))
    grads = torch.autograd.grad(x.sum(), weights)
    return math.log(sum(float((w * g).abs().sum().detach()) for w, g in zip(weights, grads, strict=True)))


@pytest.mark.parametrize("mode", [True, False])
def test_synflow_is_the_definition_without_norms_biases_and_tanh(mode):
    torch.manual_seed(0)
    convs = [nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, 2, bias=False), nn.ConvTranspose2d(8, 3, 4, 2)]
    norms = [nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.InstanceNorm2d(3, affine=True)]
    stages = [module for conv, norm in zip(convs, norms, strict=True) for module in (conv, norm, nn.ReLU(inplace=True))]
    model = nn.Sequential(*stages, nn.Tanh()).train(mode)
    expected = naive_synflow(convs, (3, 9, 9))
    for scale in (1.0, 7.0):  # of the input, which does not matter
        assert score(model, scale * noise(4, 3, 9, 9), "synflow") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("gain", "depth"),
    [
        (0.1, 1),
        (0.1, 20),
        (0.1, 75),
        (0.5, 150),
        (1.0, 150),
        (1.7, 20),
        (1.7, 150),
        (10.0, 60),
        (10.0, 150),
        (1e3, 130),
    ],
)
def test_synflow_of_constant_layers_has_a_closed_form(gain, depth):
    """Each layer of width 2 with weights of gain / 2 multiplies by the gain, and has all of the flow."""
    layers = [nn.Linear(2, 2) for _ in range(depth)]
    for layer in layers:
        nn.init.constant_(layer.weight, -gain / 2)
    expected = math.log(2 * depth) + depth * math.log(gain)
    for end in (nn.Identity(), nn.Tanh()):  # however large what enters the tanh
        assert score(nn.Sequential(*layers, end), noise(2, 2), "synflow") == pytest.approx(expected, abs=2e-4)


def test_synflow_is_exact_at_the_end_of_float32():
    """Between the range of float32 and that of float64 no sum of subnormal numbers is taken for the flow."""
    for exponent in np.linspace(-45, 45, 31):
        model = nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 300))
        nn.init.constant_(model[0].weight, 10.0 ** (exponent / 3))
        nn.init.constant_(model[1].weight, 10.0 ** (2 * exponent / 3))
        expected = math.log(2 * 300**3) + exponent * math.log(10)
        assert score(model, noise(2, 300), "synflow") == pytest.approx(expected, abs=2e-4), exponent


def test_synflow_without_flow_or_beyond_all_numbers():
    dead = nn.Linear(3, 3)
    nn.init.zeros_(dead.weight)
    with pytest.raises(InputError, match="proxy 'synflow' has no finite score"):
        score(dead, noise(2, 3), "synflow")
    vast = nn.Sequential(*(nn.Linear(2, 2) for _ in range(200)))
    for layer in vast:
        nn.init.constant_(layer.weight, 1e4)
    with pytest.raises(InputError, match="proxy 'synflow' has no finite score"):
        score(vast, noise(2, 2), "synflow")


def test_synflow_of_a_functional_network_by_keyword():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3)

        def forward(self, x):
            x = F.layer_norm(input=self.a(x), normalized_shape=(4, 6, 6))
            return torch.tanh(input=self.b(F.relu(input=x))), self.a(x[:, :3]).sigmoid()

    single = nn.Sequential(Net())
    flow = [p.detach().double().abs() for p in (single[0].a.weight, single[0].b.weight)]
    w, v = (p.requires_grad_() for p in flow)
    x = F.conv2d(torch.ones(1, 3, 8, 8, dtype=torch.float64), w)
    total = F.conv2d(x, v).sum() + F.conv2d(x[:, :3], w).sum()
    grads = torch.autograd.grad(total, [w, v])
    expected = math.log(float(((w * grads[0]).sum() + (v * grads[1]).sum()).detach()))
    assert score(single, noise(2, 3, 8, 8), "synflow") == pytest.approx(expected, rel=1e-6)


def test_synflow_counts_weights_that_no_layer_takes_as_they_are():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.mixing, self.map = nn.Parameter(torch.rand(4, 3)), nn.Parameter(torch.rand(6, 6))
            self.layer = nn.Linear(6, 2, bias=False)

        def forward(self, x):
            x = F.linear(x, 0.5 * self.mixing.repeat(1, 2))  # made of a weight
            x = (torch.cat([x, x[:, :2]], 1) @ self.map).mul_(2.0)
            return self.layer(x).mul_(3.0)  # overwrites what the layer gave

    model = Net()
    weights = [p.detach().double().abs().requires_grad_() for p in model.parameters()]
    mixing, table, layer = weights
    x = F.linear(torch.ones(1, 6, dtype=torch.float64), 0.5 * mixing.repeat(1, 2))
    total = (3 * F.linear(2 * (torch.cat([x, x[:, :2]], 1) @ table), layer)).sum()
    found = torch.autograd.grad(total, weights)
    expected = math.log(sum(float((w * g).detach().sum()) for w, g in zip(weights, found, strict=True)))
    assert expected == pytest.approx(math.log(3 * float(total.detach())))  # each of three layers carries all of it
    assert score(model, noise(2, 6), "synflow") == pytest.approx(expected, rel=1e-6)


def test_synflow_of_full_size_networks_tells_them_apart():
    space = get_space("transnas-macro", image_size=64, base_width=16, decoder_divisor=4)
    found = {
        a: score(space.build(space.parse(a)), space.inputs(batch_size=2), "synflow")
        for a in ("64-1234-basic", "64-431212-basic")
    }
    assert all(map(math.isfinite, found.values()))
    assert len(set(found.values())) == 2


@pytest.mark.parametrize("kernels", [(1, 3), (3,), (2,), (4,), (3, 5)])
def test_eznas_determinants_are_those_of_numpy(kernels):
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Conv2d(3, 3, k, padding=k // 2) for k in kernels), nn.Flatten(), nn.LazyLinear(4))
    x = noise(4, 3, 8, 8)
    loss = F.l1_loss(model(x), torch.zeros(4, 4))
    convs = [model[i].weight for i in range(len(kernels))]
    layers = []
    for g in torch.autograd.grad(loss, convs):
        determinants = np.abs(np.round(np.linalg.det(np.sign(array(g)))))
        with np.errstate(divide="ignore"):
            layers.append(np.linalg.norm(1 / (1 + np.exp(-np.log(determinants)))))
    assert score(model, x, "eznas") == pytest.approx(np.mean(layers), rel=1e-6)


def test_eznas_without_square_kernels():
    with pytest.raises(InputError, match="proxy 'eznas' has no finite score"):
        score(nn.Sequential(nn.Conv2d(3, 3, (1, 3)), nn.Flatten()), noise(4, 3, 8, 8), "eznas")


def test_dead_layers_add_nothing():
    model, x = two_layers(), noise(8, 4)
    with torch.no_grad():
        model[0].bias.fill_(-100)
    for name in ("grad_norm", "snip", "plain", "grasp", "zico"):
        with pytest.raises(InputError, match="zero for every weight, which ranks nothing"):
            score(model, x, name)
    y = array(model[2].bias)
    assert score(model, x, "fisher") == pytest.approx(sum((y**2) / 16**2 / 16 * 8 / 4), rel=1e-5)
