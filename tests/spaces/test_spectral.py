import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from autogas.spaces.spectral import SpectralConv2d, SpectralLinear

LAYERS = [
    (
        lambda: SpectralConv2d(3, 5, 3, stride=2, padding=2, dilation=2),
        lambda: nn.Conv2d(3, 5, 3, 2, 2, 2),
        (4, 3, 8, 8),
    ),
    (lambda: SpectralLinear(6, 1, bias=False), lambda: nn.Linear(6, 1, bias=False), (4, 6)),
    (lambda: SpectralLinear(6, 4), lambda: nn.Linear(6, 4), (4, 6)),
]


def filled(make, seed=0):
    layer = make()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
        layer.reset_vectors(generator)
    return layer


@pytest.mark.parametrize(("ours", "theirs", "shape"), LAYERS)
def test_same_as_torch_over_training_and_evaluation(ours, theirs, shape):
    layer = filled(ours).double()
    plain = theirs().double()
    plain.load_state_dict({name: p.detach() for name, p in layer.named_parameters()})
    reference = spectral_norm(plain)
    norm = reference.parametrizations.weight[0]
    norm._u.copy_(layer.u)
    norm._v.copy_(layer.v)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        got, expected = layer(x), reference(x)
        torch.testing.assert_close(got, expected)
        got.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(layer.weight.grad, reference.parametrizations.weight.original.grad)
        with torch.no_grad():  # a training step
            layer.weight += 0.1
            reference.parametrizations.weight.original += 0.1
    layer.eval()
    reference.eval()
    before = layer.u.clone()
    torch.testing.assert_close(layer(x), reference(x))
    assert torch.equal(layer.u, before)


def test_two_passes_before_the_gradient():
    layer = filled(LAYERS[0][0])
    x = torch.ones(2, 3, 8, 8)
    (layer(x) + layer(2 * x)).sum().backward()
    assert bool(layer.weight.grad.isfinite().all())


@pytest.mark.parametrize(("ours", "theirs", "shape"), LAYERS)
def test_largest_singular_value_becomes_one(ours, theirs, shape):
    layer = filled(ours)

    def largest():
        return float(torch.linalg.matrix_norm(layer.normalised().detach().flatten(1), ord=2))

    assert 1 <= largest() + 1e-6 < 1.1  # the estimate u' W v never exceeds the true value
    for _ in range(300):
        layer.normalised()
    assert largest() == pytest.approx(1, rel=1e-5)


def test_vectors_depend_on_the_generator_alone():
    first, second, other = (filled(LAYERS[0][0], seed) for seed in (0, 0, 1))
    assert torch.equal(first.u, second.u)
    assert torch.equal(first.v, second.v)
    assert not torch.equal(first.u, other.u)


def test_the_norm_is_taken_in_full_precision():
    plain, mixed = filled(LAYERS[0][0]), filled(LAYERS[0][0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weight = mixed.normalised()
    assert weight.dtype == torch.float32
    assert torch.equal(weight, plain.normalised())
    assert torch.equal(mixed.u, plain.u)
