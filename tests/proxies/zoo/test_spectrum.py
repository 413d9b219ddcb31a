import numpy as np
import pytest
import torch
from torch import nn

from autogas import InputError, score, score_many


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Diagonal(nn.Module):
    """Entry by entry, so that the Hessian of a sum of squares is diagonal."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 5), 0.7, dtype=torch.float64))

    def forward(self, x):
        return self.weight * x


def energy(output, inputs):
    return output.square().sum()


@pytest.mark.parametrize("seed", [0, 1])
def test_trace_of_a_diagonal_hessian_is_exact(seed):
    x = noise(6, 5, dtype=torch.float64)
    found = score(Diagonal(), x, "hessian_trace", loss=energy, seed=seed)
    assert found == pytest.approx(2 * float(x.square().sum()), rel=1e-12)


def test_trace_is_right_on_average():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False)).double()
    x = noise(5, 3, dtype=torch.float64)

    def objective(flat):
        return energy(torch.tanh(x @ flat[:12].view(4, 3).T) @ flat[12:].view(3, 4).T, None)

    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    trace = float(torch.autograd.functional.hessian(objective, flat).trace())
    draws = [score(model, x, "hessian_trace", loss=energy, seed=seed) for seed in range(100)]
    error = np.std(draws) / np.sqrt(len(draws))
    assert 0 < error < 0.2 * trace
    assert abs(np.mean(draws) - trace) < 3 * error


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2, True), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 2, 3), nn.Flatten(),
        nn.Linear(128, 5),
    )  # fmt: skip


def outputs(model, x):
    out = []
    for module in model:
        x = module(x.clone())
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            out.append(x.detach().double().numpy())
    return out


def test_norm_of_weights_without_biases_and_norms():
    weights = [network()[i].weight.detach().double().numpy() for i in (0, 3, 5)]
    found = score(network(), noise(4, 3, 8, 8), "l2_norm")
    assert found == pytest.approx(sum(np.sqrt((w**2).sum()) for w in weights), rel=1e-6)


def test_variance_and_entropy_of_features():
    x = noise(4, 3, 8, 8)
    variances = [f.var() for f in outputs(network(), x)]
    assert len(variances) == 3
    found = score_many(network(), x, ["variance", "entropy"])
    gaussian = [0.5 * np.log(2 * np.pi * np.e * v) for v in variances]
    assert found == pytest.approx({"variance": np.mean(variances), "entropy": np.mean(gaussian)}, rel=1e-5)


def test_entropy_leaves_out_layers_that_do_not_vary():
    model, x = network(), noise(4, 3, 8, 8)
    with torch.no_grad():
        model[5].weight.zero_()
        model[5].bias.fill_(0.5)
    variances = [f.var() for f in outputs(model, x)][:2]
    found = score_many(model, x, ["variance", "entropy"])
    assert found["variance"] == pytest.approx(sum(variances) / 3, rel=1e-5)
    assert found["entropy"] == pytest.approx(np.mean([0.5 * np.log(2 * np.pi * np.e * v) for v in variances]), rel=1e-5)


@pytest.mark.parametrize("name", ["variance", "entropy"])
def test_no_convolution(name):
    with pytest.raises(InputError, match=f"proxy '{name}' has no finite score"):
        score(nn.ReLU(), noise(4, 3), name)
