import math

import numpy as np
import pytest
import torch
from torch import nn

from autogas import InputError, score
from autogas.seeding import torch_generator


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.PReLU(4, init=0.3), nn.Conv2d(4, 5, 1, bias=False), nn.BatchNorm2d(5),
        nn.LeakyReLU(0.2, True), nn.Conv2d(5, 2, 1), nn.LeakyReLU(0.5, True), nn.Tanh(),
    )  # fmt: skip


def pointwise(w, x):
    return np.einsum("oi,nihw->nohw", w, x)


def zen_by_hand(seed, shape, running=None):
    """Algorithm 1 in float64 for ``net``, on the same draws: weights in order, the input, its change."""
    generator = torch_generator("scorer", seed)

    def draw(*size):
        return torch.empty(size).normal_(generator=generator).double().numpy()

    weights = [draw(4, 3, 1, 1), draw(5, 4, 1, 1), draw(2, 5, 1, 1)]
    x = draw(*shape)
    other = x + np.float32(0.01) * draw(*shape)
    outputs, scales = [], []
    for a in (x, other):
        scale = 0.0
        for i, (w, slope) in enumerate(zip(weights, (0.3, 0.2, None), strict=True)):
            a = pointwise(w[..., 0, 0], a)
            if slope is None:
                break
            mean, variance = a.mean((0, 2, 3)), a.var((0, 2, 3))
            if running is not None:
                mean, variance = running[i]
            scale += 0.5 * np.log(variance.mean())
            a = (a - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
            a = np.where(a > 0, a, slope * a)
        outputs.append(a)
        scales.append(scale)
    return np.log(np.abs(outputs[0] - outputs[1]).mean()) + scales[0]


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("n", [2, 6])
def test_zen_by_hand(seed, n):
    shape = (n, 3, 6, 6)
    assert score(net(), noise(*shape), "zen", seed=seed) == pytest.approx(zen_by_hand(seed, shape), abs=2e-3)


def test_zen_in_evaluation_mode_has_the_running_scales():
    model = net().eval()
    model[1].running_mean.fill_(0.5)
    model[1].running_var.copy_(torch.tensor([1.0, 4, 9, 2]))
    model[4].running_var.fill_(100.0)
    running = [(np.full(4, 0.5), np.array([1.0, 4, 9, 2])), (np.zeros(5), np.full(5, 100.0))]
    assert score(model, noise(4, 3, 6, 6), "zen") == pytest.approx(zen_by_hand(0, (4, 3, 6, 6), running), abs=2e-3)


def test_zen_does_not_depend_on_weights_scales_and_data():
    model = net()
    first = score(model, noise(4, 3, 6, 6), "zen")
    with torch.no_grad():
        for parameter in (model[0].weight, model[0].bias, model[1].weight, model[1].bias):
            parameter.mul_(3).add_(1)
    assert score(model, 5 * noise(4, 3, 6, 6) + 1, "zen") == first


def test_zen_of_a_linear_network_has_a_closed_form():
    """E|sum of k products of normals| * 0.01, within the spread of a million draws."""
    width = 1000
    found = score(nn.Linear(width, width), noise(1000, width), "zen")
    assert found == pytest.approx(math.log(0.01 * math.sqrt(width) * math.sqrt(2 / math.pi)), abs=0.01)


def test_zen_grows_with_depth_and_batch_norms_do_not_hide_it():
    def deep(depth, norm):
        layers = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), norm(), nn.ReLU()) for _ in range(depth)]
        return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *layers, nn.Conv2d(8, 3, 3, padding=1))

    x = noise(8, 3, 12, 12)
    for depth in (1, 4):
        plain, normalised = (score(deep(depth, norm), x, "zen") for norm in (nn.Identity, lambda: nn.BatchNorm2d(8)))
        assert normalised == pytest.approx(plain, abs=0.5 + 0.25 * depth)
    assert score(deep(4, nn.Identity), x, "zen") > score(deep(1, nn.Identity), x, "zen") + 3 * 1.5


def test_zen_draws_one_dropout_for_both_inputs():
    model = nn.Sequential(nn.Linear(50, 50), nn.Dropout(0.5), nn.Linear(50, 50))
    with_dropout = score(model, noise(100, 50), "zen")
    assert with_dropout == pytest.approx(score(model.eval(), noise(100, 50), "zen") + 0.5 * math.log(2), abs=0.1)


def test_zen_without_a_layer():
    with pytest.raises(InputError, match="no convolution and no linear layer"):
        score(nn.ReLU(), noise(4, 3), "zen")


def test_zen_of_a_constant_batch_norm():
    class Dead(nn.Module):
        def forward(self, x):
            return x * 0

    with pytest.raises(InputError, match="proxy 'zen' has no finite score"):
        score(
            nn.Sequential(nn.Conv2d(3, 4, 1), Dead(), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)), noise(4, 3, 6, 6), "zen"
        )


def test_zen_leaves_whole_numbers_as_they_are():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))
    with pytest.raises(InputError, match="proxy 'zen' has no finite score"):  # nothing to perturb
        score(model, torch.arange(9), "zen")
