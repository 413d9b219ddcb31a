"""Checkpoints: one safetensors file, whose header holds JSON and a checksum.

It is replaced as a whole, and nothing is unpickled.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from autogas.errors import InputError
from autogas.files import CHECKSUM, checksum, damaged, replacing

HEADER = "autogas"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors by name, and JSON about them; a reader sees the old file or the whole new one.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            # One entry: those of a header come in no fixed order.
            save_file(plain, temporary, metadata={HEADER: json.dumps({**about, CHECKSUM: _checksum(plain, about)})})
        except SafetensorError as error:  # which hides what the system said
            raise OSError(errno.ENOSPC, str(error), str(path)) from None


def _checksum(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """Of everything that a file says, whatever the order of its tensors."""

    def content() -> Iterator[str | memoryview]:
        yield json.dumps(about)
        for name, tensor in sorted(tensors.items()):
            yield f"{name} {tensor.dtype} {tuple(tensor.shape)}"
            yield tensor.reshape(-1).view(torch.uint8).numpy().data

    return checksum(content())


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_tensors`` wrote.

    Raises:
        InputError: the file cannot be read, is damaged, or is of another program.
    """
    try:
        with safe_open(path, "pt") as file:
            about: dict[str, Any] = dict(**json.loads((file.metadata() or {})[HEADER]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        fits = about.pop(CHECKSUM) == _checksum(tensors, about)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        foreign = isinstance(error, KeyError)
        reason = "its header is another's" if foreign else (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"checkpoint {str(path)!r}: expected a safetensors file of autogas ({reason})") from None
    if not fits:
        raise damaged(path, f"its {CHECKSUM} does not fit", "there is no other copy: start again without it")
    return tensors, about


def state_tensors(
    modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """Everything that training has changed: ``modules/<name>/<entry>`` and ``optimizers/<name>/<weight>/<entry>``."""
    tensors = {
        f"modules/{name}/{entry}": tensor
        for name, module in modules.items()
        for entry, tensor in module.state_dict().items()
    }
    for name, optimizer in optimizers.items():
        for weight, entries in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizers/{name}/{weight}/{entry}": tensor for entry, tensor in entries.items()}
    return tensors


def restore_state(
    tensors: Mapping[str, Tensor],
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> None:
    """The inverse of ``state_tensors``, in place.

    Raises:
        InputError: tensors of other networks.
    """
    for name, module in modules.items():
        prefix = f"modules/{name}/"
        own = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            raise InputError(f"the checkpoint is of another {name}: {str(error).splitlines()[-1].strip()}") from None
    for name, optimizer in optimizers.items():
        _restore_optimizer(tensors, f"optimizers/{name}/", optimizer)


def _restore_optimizer(tensors: Mapping[str, Tensor], prefix: str, optimizer: torch.optim.Optimizer) -> None:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(prefix):
            number, entry = key.removeprefix(prefix).split("/")
            weight = weights[int(number)]
            # In the memory layout that training gave it, so that sums run in the same order.
            value = torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor
            state.setdefault(int(number), {})[entry] = value.detach()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
