import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autogas import get_space, score, score_architecture, score_many
from autogas.proxies.scorer import SCORERS

# Parameters and multiply-accumulates by hand are in tests/proxies/test_score.py.


def test_rectifier_inputs_for_one_sample():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 7), nn.GELU(), nn.Tanh()
    )
    assert score(model, torch.ones(3, 3, 6, 6), "num_activations") == 4 * 4 * 4 + 7


@pytest.mark.parametrize("n", [1, 2, 5])
def test_counts_do_not_depend_on_the_batch(n):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    x = torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    found = score_many(model, x, ["params", "macs", "num_activations"])
    assert found == {"params": 108 + 4 + 8 + 8 + 2, "macs": 16 * (27 * 4 + 8), "num_activations": 64}


@pytest.mark.parametrize("n", [2, 4])
def test_macs_of_a_network_that_cannot_take_one_sample(n):
    model = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))
    assert score(model, torch.eye(5)[:n], "macs") == 15


@pytest.mark.parametrize("name", ["params", "macs"])
def test_architecture_of_a_space_of_latents(name):
    space = get_space("eagan-generator", width=8)
    arch = space.sample(np.random.default_rng(0))
    found = score(space.build(arch), space.inputs(batch_size=2), name)
    assert found == getattr(space.cost(arch), name) == SCORERS[name].of_architecture(space, arch)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
def test_transposed_convolutions_that_run_are_counted_by_whatever_name(mode):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 3, 2, 2)
            self.never = nn.ConvTranspose2d(3, 3, 2, 2)
            self.flat = nn.ConvTranspose1d(3, 3, 1)
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            x = self.conv(self.up(x))
            x = F.conv_transpose2d(x, self.up.weight, stride=2)
            return self.flat(self.flat(x.flatten(2)))

    with mode():
        assert score(Net(), torch.ones(3, 3, 4, 4), "num_transposed") == -4
    assert score(nn.Conv2d(3, 3, 1), torch.ones(3, 3, 4, 4), "num_transposed") == 0


def test_transposed_convolutions_of_a_generator_are_its_genes():
    space = get_space("eagan-generator", width=4)
    for arch in space.sample_distinct(5, np.random.default_rng(0)):
        genes = sum(gene == 2 for cell in arch.cells for gene in cell[:2])
        assert score_architecture(space, arch, "num_transposed") == {"num_transposed": -genes}
