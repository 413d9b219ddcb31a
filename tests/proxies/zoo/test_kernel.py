import numpy as np
import pytest
import torch
from torch import nn

from autogas import InputError, score


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        nn.LeakyReLU(0.1, True),
        nn.Conv2d(5, 9, 3, 2),
        nn.BatchNorm2d(9),
        nn.ReLU(inplace=True),
        nn.Conv2d(9, 2, 3),
    )


def features(model, x, kinds):
    """What enters rectifiers, or what leaves convolutions, in float64."""
    out = []
    for module in model:
        before, x = x, module(x.clone())
        if isinstance(module, kinds):
            out.append((before if kinds is not nn.Conv2d else x).detach().double().numpy())
    return out


RECTIFIERS = (nn.LeakyReLU, nn.ReLU)


@pytest.mark.parametrize("n", [2, 7, 16])
def test_nwot_counts_equal_signs(n):
    x = noise(n, 3, 9, 9)
    kernel = np.zeros((n, n))
    for feature in features(network(), x, RECTIFIERS):
        on = feature.reshape(n, -1) > 0
        kernel += [[np.count_nonzero(a == b) for b in on] for a in on]
    assert score(network(), x, "nwot") == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-12)


def test_nwot_of_samples_that_switch_alike():
    x = noise(4, 3, 9, 9)
    x[1] = x[0]
    with pytest.raises(InputError, match="proxy 'nwot' has no finite score"):
        score(network().eval(), x, "nwot")


@pytest.mark.parametrize("n", [2, 5, 16, 20, 21, 40])
def test_swap_counts_patterns(n):
    x = noise(n, 3, 9, 9)
    patterns = {
        tuple(neuron > 0) for feature in features(network(), x, RECTIFIERS) for neuron in feature.reshape(n, -1).T
    }
    assert score(network(), x, "swap") == len(patterns)


@pytest.mark.parametrize("n", [4, 30])
def test_swap_of_the_extremes(n):
    with pytest.raises(InputError, match="no rectifier and no layer of the network was seen"):
        score(nn.Tanh(), noise(n, 3), "swap")
    assert score(nn.ReLU(), noise(n, 3).abs(), "swap") == 1


def test_swap_of_all_patterns():
    grid = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 5).T  # [5, 32]
    assert score(nn.ReLU(), grid.repeat(1, 3), "swap") == 2**5


def smallest_eigenvalues(model, x):
    total = 0.0
    for feature in features(model, x, nn.Conv2d):
        channels = feature[0].reshape(feature.shape[1], -1)
        total += np.linalg.eigvalsh(np.corrcoef(channels))[0]
    return total


def test_meco_is_the_smallest_eigenvalue_of_numpy():
    x = noise(4, 3, 9, 9)  # 81 positions of 5 channels, 16 of 9, 4 of 2
    assert score(network(), x, "meco") == pytest.approx(smallest_eigenvalues(network(), x), rel=1e-5)


def test_meco_of_fewer_positions_than_channels_is_zero():
    torch.manual_seed(0)
    model, x = nn.Conv2d(3, 9, 3), noise(4, 3, 5, 5)  # 9 positions of 9 channels
    assert score(model, x, "meco") == 0
    assert smallest_eigenvalues(nn.Sequential(model), x) == pytest.approx(0, abs=1e-9)


def test_meco_of_one_channel_and_of_linear_layers():
    assert score(nn.Conv2d(3, 1, 3), noise(4, 3, 5, 5), "meco") == pytest.approx(1)
    with pytest.raises(InputError, match="no layer with positions"):
        score(nn.Linear(4, 3), noise(4, 4), "meco")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_meco_of_constant_channels(dtype):
    """They are uncorrelated with every other, also with each other, whatever rounding of the mean leaves of them."""
    torch.manual_seed(0)
    model, x = nn.Conv2d(3, 4, 3).to(dtype), noise(4, 3, 9, 9).to(dtype)
    two = model.weight.detach()[:2].clone()
    constants = torch.tensor([0.3, 0.6], dtype=dtype)
    with torch.no_grad():
        model.weight[2:] = 0
        model.bias[2:] = constants
    varying = torch.conv2d(x[:1], two)[0].flatten(1).double().numpy()
    correlation = abs(np.corrcoef(varying)[0, 1])
    assert score(model, x, "meco") == pytest.approx(1 - correlation, rel=1e-6)


def test_meco_reads_the_first_sample():
    x, y = noise(4, 3, 9, 9), noise(4, 3, 9, 9, seed=1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3))
    assert score(model, torch.cat([x[:1], y[1:]]), "meco") == pytest.approx(score(model, x, "meco"), rel=1e-6)
    assert score(model, y, "meco") != pytest.approx(score(model, x, "meco"), rel=1e-3)
