"""What users give to be scored, as a network and a tuple of tensors of which the first is a batch."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader

from autogas.errors import InputError

Inputs: TypeAlias = Tensor | Sequence[Any] | Mapping[str, Any]
"""What ``model`` takes: a tensor, its arguments in order, or its arguments by name."""
QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
ACCEPTED = "expected a tensor [N, …], a tuple of a network's arguments, or a mapping of them by name"


class Bound(nn.Module):
    """A network whose arguments are put where they belong: some by name, some that are no tensors.

    Args:
        model: the network.
        names: of each tensor, a position or a keyword.
        others: arguments that are no tensors, likewise.
    """

    def __init__(self, model: nn.Module, names: Sequence[int | str], others: Mapping[int | str, Any]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)
        self.others = dict(others)
        self.training = model.training

    def forward(self, *tensors: Tensor) -> Any:
        """What the network gives."""
        given = {**self.others, **dict(zip(self.names, tensors, strict=True))}
        args = [given[place] for place in sorted(name for name in given if isinstance(name, int))]
        return self.model(*args, **{name: value for name, value in given.items() if isinstance(name, str)})


def bind(model: Any, inputs: Any) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A network and the tensors that it takes: those of two or more dimensions, then vectors, then single numbers.

    A network that is wrapped for several devices is unwrapped.

    Raises:
        InputError: something else was given, which the line names.
    """
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    _check(model, inputs)
    given: dict[int | str, Any] = dict(inputs) if isinstance(inputs, Mapping) else dict(enumerate(_tuple_of(inputs)))
    found = {name: value for name, value in given.items() if isinstance(value, Tensor)}
    if not found:
        raise InputError(f"inputs without a tensor: {ACCEPTED}")
    tensors = dict(sorted(found.items(), key=lambda item: -_dimensions(item[1])))
    first = next(iter(tensors.values()))
    if not first.dim() or not len(first):
        raise InputError(f"inputs of {'a single number' if not first.dim() else 'no samples'}: {ACCEPTED}")
    if list(tensors) == list(range(len(given))):
        return model, tuple(tensors.values())
    others = {name: value for name, value in given.items() if name not in tensors}
    return Bound(model, list(tensors), others), tuple(tensors.values())


def _dimensions(x: Tensor) -> int:
    """2 for whatever has two or more; a column of one number a sample is a vector."""
    return min(x.dim(), 2) if not x.dim() or x.numel() > len(x) else 1


def _tuple_of(inputs: Tensor | Sequence[Any]) -> Sequence[Any]:
    return (inputs,) if isinstance(inputs, Tensor) else inputs


def _check(model: Any, inputs: Any) -> None:
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise InputError(f"the class {model.__name__} in place of a network: expected an instance, {model.__name__}(…)")
    if isinstance(inputs, nn.Module):
        raise InputError("a network in place of inputs: expected score(network, inputs), in this order")
    if not isinstance(model, nn.Module):
        raise InputError(f"{_a(model)} in place of a network: expected a torch.nn.Module")
    packed = [module for module in model.modules() if type(module).__module__.startswith(QUANTIZED)]
    if packed:
        raise InputError(
            f"the network is quantized: the weights of its {type(packed[0]).__name__} are packed and not seen"
        )
    lazy = any(isinstance(module, LazyModuleMixin) for module in model.modules())
    if lazy or any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        raise InputError("the network has lazy layers that have no weights yet: run it once on the inputs first")
    if isinstance(inputs, np.ndarray):
        raise InputError("a numpy array in place of inputs: expected a tensor, torch.from_numpy(…)")
    if isinstance(inputs, DataLoader):
        raise InputError("a DataLoader in place of inputs: expected one batch, next(iter(loader))[0]")
    if not isinstance(inputs, Tensor | Mapping | list | tuple):
        raise InputError(f"{_a(inputs)} in place of inputs: {ACCEPTED}")
    if isinstance(inputs, list | tuple):
        _check_arguments(model, inputs)


def _check_arguments(model: nn.Module, inputs: Sequence[Any]) -> None:
    """Samples in a list are easily taken for arguments."""
    most = _positional(model)
    if most is not None and len(inputs) > most:
        like = len({tuple(x.shape) for x in inputs if isinstance(x, Tensor)}) == 1
        hint = "; if they are samples, torch.stack them" if like else ""
        raise InputError(f"{len(inputs)} inputs to a network that takes {most}: expected its arguments{hint}")


def _positional(model: nn.Module) -> int | None:
    """How many arguments ``forward`` takes by position; None where any number, or nobody knows."""
    try:
        parameters: Iterable[inspect.Parameter] = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = [parameter.kind for parameter in parameters]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return None
    return sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)


def _a(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def hidden(model: nn.Module) -> int:
    """How many scripted modules a network has, whose layers nobody sees."""
    return sum(isinstance(module, torch.jit.ScriptModule) for module in model.modules())
