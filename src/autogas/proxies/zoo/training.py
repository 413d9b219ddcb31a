"""The control that every training-free scorer must be held against: a little real training."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from autogas.proxies.isolation import same_randomness
from autogas.proxies.probe import Probe, gradients
from autogas.proxies.scorer import scorer
from autogas.seeding import seed_everything

STEPS = 10
LEARNING_RATE = 1e-3
HELD_OUT = 4


@scorer()
def short_training(probe: Probe) -> float:
    """Minus the loss on held-out samples after ten steps of training.

    A copy of the network takes 10 steps of Adam (learning rate 1e-3, betas 0.9 and 0.999) on the objective over three
    quarters of the batch; the score is minus the objective on the last quarter, with the statistics of that quarter in
    batch norms that train. Bigger is better. What it takes beside a forward pass is in the costs of `autogas rank`.
    """
    cut = len(probe.inputs[0]) - max(len(probe.inputs[0]) // HELD_OUT, 1)
    seen, held_out = probe.samples(slice(cut)), probe.samples(slice(cut, None))
    if len(seen[0]) < 2 or len(held_out[0]) < 2:  # batch norm needs two
        seen = held_out = probe.inputs
    model = copy.deepcopy(probe.model)

    def objective(inputs: tuple[Tensor, ...]) -> Tensor:
        return probe.loss_of(model(*(x.clone() for x in inputs)), inputs)

    trained = [p.requires_grad_() for p in model.parameters() if p.is_floating_point()]
    with same_randomness(probe.inputs):
        seed_everything(probe.seed, probe.inputs)
        if trained:
            optimizer = torch.optim.Adam(trained, lr=LEARNING_RATE)
            for _ in range(STEPS):
                with torch.enable_grad():
                    found = gradients(objective(seen), trained, retain_graph=False)
                for p, g in zip(trained, found, strict=True):
                    p.grad = g
                optimizer.step()
        return -float(objective(held_out))
