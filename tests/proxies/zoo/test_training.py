import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

from autogas import InputError, score


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def trained(model, x, loss, steps=10):
    """Adam by its definition (Kingma & Ba, 2015, algorithm 1)."""
    model = copy.deepcopy(model)
    parameters = list(model.parameters())
    first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    for t in range(1, steps + 1):
        grads = torch.autograd.grad(loss(model(x), x), parameters)
        for p, g, m, v in zip(parameters, grads, first, second, strict=True):
            m.mul_(0.9).add_(0.1 * g)
            v.mul_(0.999).add_(0.001 * g**2)
            p.data -= 1e-3 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    return model


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(True), nn.Conv2d(8, 3, 3, padding=1))


@pytest.mark.parametrize(("n", "cut"), [(8, 6), (16, 12), (9, 7)])
def test_the_loss_after_ten_steps(n, cut):
    model, x = network(), noise(n, 3, 8, 8)
    after = trained(model, x[:cut], F.l1_loss)
    assert score(model, x, "short_training") == pytest.approx(
        -float(F.l1_loss(after(x[cut:]), x[cut:]).detach()), rel=1e-5
    )


@pytest.mark.parametrize("n", [2, 4, 7])
def test_few_samples_are_seen_and_held_out(n):
    model, x = network(), noise(n, 3, 8, 8)
    after = trained(model, x, F.l1_loss)
    assert score(model, x, "short_training") == pytest.approx(-float(F.l1_loss(after(x), x).detach()), rel=1e-5)


def test_the_mode_of_the_network_is_kept():
    model, x = network().eval(), noise(8, 3, 8, 8)
    after = trained(model, x[:6], F.l1_loss)
    assert not after.training
    assert score(model, x, "short_training") == pytest.approx(-float(F.l1_loss(after(x[6:]), x[6:]).detach()), rel=1e-5)


def test_training_helps():
    model, x = network(), noise(16, 3, 8, 8)
    assert score(model, x, "short_training") > -float(F.l1_loss(model(x[12:]), x[12:]).detach())


def test_seed_of_dropout():
    model, x = nn.Sequential(network(), nn.Dropout(0.3)), noise(8, 3, 8, 8)
    found = [score(model, x, "short_training", seed=seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_the_loss_is_the_callers():
    model, x = network(), noise(8, 3, 8, 8)
    after = trained(model, x[:6], F.mse_loss)
    found = score(model, x, "short_training", loss=lambda output, inputs: F.mse_loss(output, inputs[0]))
    assert found == pytest.approx(-float(F.mse_loss(after(x[6:]), x[6:]).detach()), rel=1e-5)


class Ends(nn.Module):
    """A convolution, whose activations become the output as ``end`` says."""

    def __init__(self, end):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.end = nn.Conv2d(3, 8, 3, padding=1), end

    def forward(self, x):
        return self.end(self.conv(x).relu(), x)


@pytest.mark.parametrize(
    "end",
    [
        lambda h, x: h * 0,
        lambda h, x: (None, h * 0),
        lambda h, x: x,
        lambda h, x: torch.ones(len(x), 2),
        lambda h, x: h.detach(),
    ],
)
def test_a_network_that_learns_nothing_is_refused(end):
    with pytest.raises(InputError, match="the network learns nothing"):
        score(Ends(end), noise(8, 3, 8, 8), "short_training")


@pytest.mark.parametrize("proxy", ["short_training", "snip", "zico", "jacov", "synflow"])
@pytest.mark.parametrize(("end", "kind"), [(lambda h, x: h.argmax(1), "int64"), (lambda h, x: h > 0, "bool")])
def test_outputs_without_a_derivative_are_named(proxy, end, kind):
    with pytest.raises(InputError, match=f"the output of the network is {kind}: expected floating-point numbers"):
        score(Ends(end), noise(8, 3, 8, 8), proxy)


@pytest.mark.parametrize("proxy", ["short_training", "snip", "zico", "jacov"])
def test_labels_beside_an_image_are_passed_over(proxy):
    x = noise(8, 3, 8, 8)
    both = Ends(lambda h, x: (torch.arange(len(x)), h))
    assert score(both, x, proxy) == score(Ends(lambda h, x: h), x, proxy)


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        torch.manual_seed(0)
        self.inside, self.reentrant = (
            nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
            reentrant,
        )
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        if self.reentrant is None:
            return self.last(self.inside(x))
        return self.last(checkpoint(self.inside, x, use_reentrant=self.reentrant))


def test_checkpoints_change_nothing():
    x = noise(8, 3, 8, 8)
    assert len({score(Checkpointed(reentrant), x, "short_training") for reentrant in (None, False, True)}) == 1


def test_weights_that_are_made_of_others_are_trained():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    pruned = copy.deepcopy(plain)
    prune.identity(pruned[0], "weight")
    x = noise(8, 3, 8, 8)
    assert score(pruned, x, "short_training") == pytest.approx(score(plain, x, "short_training"), rel=1e-6)
    assert "weight_orig" in dict(pruned[0].named_parameters())


def test_the_network_is_as_it_was_after_a_training():
    model, x = network(), noise(8, 3, 8, 8)
    before = copy.deepcopy(model.state_dict())
    score(model, x, "short_training")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
