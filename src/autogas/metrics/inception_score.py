"""Inception Score (Salimans et al., NeurIPS 2016, arXiv:1606.03498), with torch-fidelity's splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from autogas.errors import InputError, must_be_whole

SHUFFLE_SEED = 2020


@dataclass(frozen=True)
class InceptionScore:
    """Mean and population standard deviation over the splits, between 1 and the number of classes; higher is better."""

    mean: float
    std: float


def inception_score(logits: torch.Tensor, *, splits: int = 10) -> InceptionScore:
    r"""``exp(E_x KL(p(y|x) || p(y)))``, on each split of the images, in float64.

    Images are shuffled once, with numpy's legacy generator of seed 2020, then cut so that split ``i`` of ``s`` holds
    places ``floor(i n / s)`` up to ``floor((i + 1) n / s)``: every image counts once, and the value is that of
    torch-fidelity.

    Args:
        logits: of a classifier, ``[n, classes]``.
        splits: parts that are scored apart, 10 in the paper.

    Raises:
        InputError: fewer images than splits, or logits that are not finite.

    Examples:
        >>> score = inception_score(100 * torch.eye(4), splits=1)
        >>> round(score.mean, 6), score.std
        (4.0, 0.0)
    """
    if not isinstance(logits, torch.Tensor):
        raise InputError(f"logits of type {type(logits).__name__}: expected a tensor [n, classes]")
    must_be_whole(0, splits=splits)
    if logits.dim() != 2 or not 1 <= splits <= len(logits):
        raise InputError(
            f"logits of shape {tuple(logits.shape)} in {splits} splits: expected 1 to n splits of [n, classes]"
        )
    if not bool(logits.isfinite().all()):
        raise InputError("logits: some are not finite")
    count = len(logits)
    order = np.random.RandomState(SHUFFLE_SEED).permutation(count)  # torch-fidelity's order
    log_p = logits.detach()[torch.from_numpy(order).to(logits.device)].double().log_softmax(1)
    scores = []
    for i in range(splits):
        part = log_p[i * count // splits : (i + 1) * count // splits]
        marginal = part.logsumexp(0) - np.log(len(part))
        scores.append(float((part.exp() * (part - marginal)).sum(1).mean().exp()))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))
