"""How exact a written network must be."""

import pytest
import torch
from torch import nn

from autogas.errors import InputError
from autogas.training.interchange import _checked


class Cancels(nn.Module):
    """Its output in float32 is a hundredth off, since it is the difference of two large numbers."""

    def forward(self, x):
        return (x * 3.0 + 1e5) - 1e5


def test_a_network_is_held_to_its_own_rounding():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    own = float((Cancels()(x) - 3 * x).abs().max() / Cancels()(x).abs().max())
    assert own > 1e-4
    assert 1e-4 < _checked(Cancels(), (x,), 3 * x, "onnx") < 1.01 * own
    with pytest.raises(InputError, match=r"^onnx: outputs differ from the network's by "):
        _checked(Cancels(), (x,), 3 * x + 0.5, "onnx")


def test_others_are_held_to_the_tolerance():
    x = torch.randn(2, 3, 8, 8)
    with pytest.raises(InputError, match=r"expected 1e-04$"):
        _checked(nn.Identity(), (x,), x * 1.001, "torchscript")
