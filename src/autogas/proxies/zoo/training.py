"""The control that every training-free scorer must be held against: a little real training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autogas.errors import InputError
from autogas.proxies.isolation.replacing import OnlyReplaced
from autogas.proxies.isolation.unchanged import unchanged
from autogas.proxies.probe import Probe
from autogas.proxies.scorer import scorer
from autogas.seeding import seed_everything

STEPS = 10
LEARNING_RATE = 1e-3
HELD_OUT = 4


@scorer()
def short_training(probe: Probe) -> float:
    """Minus the loss on held-out samples after ten steps of training.

    The network takes 10 steps of Adam (learning rate 1e-3, betas 0.9 and 0.999) on the objective over three quarters of
    the batch, and is put back; the score is minus the objective on the last quarter, with the statistics of it in
    batch norms that train. Parameters that are frozen stay so, unless all are. Bigger is better. What it takes beside a
    forward pass is in the costs of `autogas rank`.
    """
    probe.must_have_values()
    cut = len(probe.inputs[0]) - max(len(probe.inputs[0]) // HELD_OUT, 1)
    seen, held_out = probe.samples(slice(cut)), probe.samples(slice(cut, None))
    if len(seen[0]) < 2 or len(held_out[0]) < 2:  # batch norm needs two
        seen = held_out = probe.inputs

    def objective(inputs: tuple[Tensor, ...]) -> Tensor:
        with probe.on_a_part(len(inputs[0])), probe.as_called():
            output = probe.model(*(x.clone() for x in inputs))
        return probe.loss_of(output, inputs)

    own = [p for p in probe.model.parameters() if p.is_floating_point()]
    frozen = not any(p.requires_grad for p in own)  # as a whole, as networks are that are only used
    twins = {id(p): nn.Parameter(p.detach().clone(), requires_grad=frozen or p.requires_grad) for p in own}
    trained = [p for p in twins.values() if p.requires_grad]
    with (
        unchanged(probe.model, probe.inputs) as network,
        OnlyReplaced(p for p in probe.model.parameters() if id(p) in twins),
    ):
        network.replace(twins)
        seed_everything(probe.seed, probe.inputs)
        optimizer = torch.optim.Adam(trained or [torch.zeros(1)], lr=LEARNING_RATE)
        learns = False
        for _ in range(STEPS):
            optimizer.zero_grad()
            with torch.enable_grad():
                loss = objective(seen)
            if loss.requires_grad:
                loss.backward()
            for p in trained:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad.to_dense()
                learns = learns or bool(p.grad.any())
            optimizer.step()
        if not learns:
            raise InputError("the network learns nothing: the objective does not depend on any weight")
        with torch.enable_grad():  # so that the same output is read
            return -float(objective(held_out).detach())
