"""What users give to be scored, as a network and a tuple of tensors of which the first is a batch."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from torch.utils.data import DataLoader

from autogas.errors import InputError
from autogas.proxies.passes.liveness import all_tensors

Inputs: TypeAlias = Tensor | Sequence[Any] | Mapping[str, Any]
"""What ``model`` takes: a tensor, its arguments in order, or its arguments by name."""
QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
SHARDED = frozenset(("DTensor", "FlatParameter", "FullyShardedDataParallel"))
"""Classes of weights and modules of networks that are spread over processes."""
ACCEPTED = "expected a tensor [N, …], a tuple of a network's arguments, or a mapping of them by name"


class Bound(nn.Module):
    """A network whose arguments are put where they belong: some by name, some that are no tensors, some nested.

    Args:
        model: the network.
        given: its arguments as they were given, all parts of them in a row.
        spec: how these parts make the arguments, by position or keyword.
        places: of each tensor that it takes, among the parts.
        by_name: whether the arguments were given by name.
    """

    def __init__(
        self, model: nn.Module, given: Sequence[Any], spec: TreeSpec, places: Sequence[int], *, by_name: bool
    ) -> None:
        super().__init__()
        self.model = model
        self.spec = spec
        self.places = tuple(places)
        self.others = [None if isinstance(part, Tensor) else part for part in given]
        self.by_name = by_name
        self.training = model.training

    def forward(self, *tensors: Tensor) -> Any:
        """What the network gives."""
        given = self._arguments(tensors)
        args = [value for place, value in given.items() if isinstance(place, int)]
        return self.model(*args, **{name: value for name, value in given.items() if isinstance(name, str)})

    def as_given(self, tensors: Sequence[Tensor]) -> Any:
        """Its arguments, as whoever gives a network and inputs arranged them: a tuple, or a mapping by name."""
        given = self._arguments(tensors)
        return given if self.by_name else tuple(given.values())

    def _arguments(self, tensors: Sequence[Tensor]) -> dict[int | str, Any]:
        parts = list(self.others)
        for place, tensor in zip(self.places, tensors, strict=True):
            parts[place] = tensor
        found: dict[int | str, Any] = tree_unflatten(parts, self.spec)
        return found


def own(model: nn.Module, tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Those of these tensors that are not inside a network's arguments, such as a dataclass, and so may be samples."""
    given = set(map(id, all_tensors(model.others))) if isinstance(model, Bound) else ()
    return (tensor for tensor in tensors if id(tensor) not in given)


def bind(model: Any, inputs: Any) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A network and the tensors that it takes, also those inside lists, tuples and dictionaries.

    The first of two or more dimensions says how many samples there are. It comes first, after tensors of floating-point
    numbers of three or more dimensions with as many samples, which are rather images than labels or tokens; then others
    of two or more dimensions, vectors, single numbers. A network that is wrapped for several devices is unwrapped.

    Raises:
        InputError: something else was given, which the line names.
    """
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        model = model.module
    _check(model, inputs)
    given: dict[int | str, Any] = dict(inputs) if isinstance(inputs, Mapping) else dict(enumerate(_tuple_of(inputs)))
    parts, spec = tree_flatten(given)
    places = [place for place, part in enumerate(parts) if isinstance(part, Tensor)]
    if not places:
        raise InputError(f"inputs without a tensor: {ACCEPTED}")
    for part in parts:
        if isinstance(part, Tensor) and (part.is_nested or part.layout is not torch.strided):
            kind = "nested" if part.is_nested else str(part.layout).removeprefix("torch.")
            raise InputError(f"a {kind} tensor among the inputs: expected dense ones")
    images = [part for part in given.values() if isinstance(part, list | tuple) and _are_images(part)]
    if images and not any(isinstance(part, Tensor) for part in given.values()):
        raise InputError(
            f"a list of {len(images[0])} images: expected one tensor of images of one shape, as of torch.stack"
        )
    first = parts[max(places, key=lambda place: _dimensions(parts[place]))]
    if not first.dim() or not len(first):
        raise InputError(f"inputs of {'a single number' if not first.dim() else 'no samples'}: {ACCEPTED}")
    places.sort(key=lambda place: -_dimensions(parts[place], len(first)))
    tensors = tuple(parts[place] for place in places)
    if [id(value) for value in given.values()] == list(map(id, tensors)) and not isinstance(inputs, Mapping):
        return model, tensors
    return Bound(model, parts, spec, places, by_name=isinstance(inputs, Mapping)), tensors


def _are_images(parts: Sequence[Any]) -> bool:
    """Whether these are samples apart, ``[C, H, W]``, whose channels would be taken for samples."""
    if not parts or not all(
        isinstance(part, Tensor) and part.is_floating_point() and part.dim() == 3 for part in parts
    ):
        return False
    channels = {len(part) for part in parts}
    return len({part.shape for part in parts}) == 1 or (len(channels) == 1 and channels <= CHANNELS)


CHANNELS = {1, 3, 4}
"""Of images, which tells images of several sizes from maps of several resolutions."""


def _dimensions(x: Tensor, samples: int | None = None) -> int:
    """2 for whatever has two or more, 3 for images of so many samples; a column of one number a sample is a vector."""
    if not x.dim() or x.numel() <= len(x):
        return min(x.dim(), 1)
    images = x.dim() > 2 and x.is_floating_point() and len(x) == samples
    return 3 if images else min(x.dim(), 2)


def _tuple_of(inputs: Tensor | Sequence[Any]) -> Sequence[Any]:
    return (inputs,) if isinstance(inputs, Tensor) else inputs


def _check(model: Any, inputs: Any) -> None:
    if isinstance(inputs, nn.Module):
        raise InputError("a network in place of inputs: expected score(network, inputs), in this order")
    _check_network(model)
    for kind, named, expected in IN_PLACE_OF_INPUTS:
        if isinstance(inputs, kind):
            raise InputError(f"{named} in place of inputs: expected {expected}")
    if isinstance(inputs, Mapping) and not all(isinstance(name, str) for name in inputs):
        name = next(name for name in inputs if not isinstance(name, str))
        raise InputError(f"inputs with the name {name!r}: expected names of arguments, which are texts")
    if not isinstance(inputs, Tensor | Mapping | list | tuple):
        raise InputError(f"{_a(inputs)} in place of inputs: {ACCEPTED}")
    if isinstance(inputs, list | tuple):
        _check_arguments(model, inputs)


IN_PLACE_OF_INPUTS = (
    (np.ndarray, "a numpy array", "a tensor, torch.from_numpy(…)"),
    (DataLoader, "a DataLoader", "one batch, next(iter(loader))[0]"),
    (PackedSequence, "a PackedSequence", "a padded tensor, pad_packed_sequence(…)[0]"),
)


def _check_network(model: Any) -> None:
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise InputError(f"the class {model.__name__} in place of a network: expected an instance, {model.__name__}(…)")
    if not isinstance(model, nn.Module):
        raise InputError(f"{_a(model)} in place of a network: expected a torch.nn.Module")
    called = type(model).__call__ is not nn.Module.__call__
    if not called and getattr(getattr(model, "forward", None), "__name__", "") == "_forward_unimplemented":
        raise InputError(f"{_a(model)} in place of a network: it has no forward pass")
    packed = [module for module in model.modules() if type(module).__module__.startswith(QUANTIZED)]
    if packed:
        raise InputError(
            f"the network is quantized: the weights of its {type(packed[0]).__name__} are packed and not seen"
        )
    held = [tensor for _, tensor in (*model.named_parameters(), *model.named_buffers())]
    sharded = {type(one).__name__ for one in (*held, *model.modules())} & SHARDED
    if sharded:
        raise InputError(
            f"the weights of the network are sharded ({sharded.pop()}): expected the network before it was sharded"
        )
    waiting = (
        isinstance(module, LazyModuleMixin) and hasattr(module, "_initialize_hook") for module in model.modules()
    )
    if any(waiting) or any(map(is_lazy, held)):
        raise InputError("the network has lazy layers that have no weights yet: run it once on the inputs first")


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
    """How many modules a network has that are scripted or call a scripted function, whose layers nobody sees."""
    return sum(isinstance(module, torch.jit.ScriptModule) or _calls_scripted(module) for module in model.modules())


def _calls_scripted(module: nn.Module) -> bool:
    """Whether a forward pass names a scripted function: an attribute, a global, or one that it closes over."""
    forward = getattr(module, "forward", None)
    forward = getattr(forward, "__func__", forward)
    if not isinstance(forward, types.FunctionType):
        return False
    cells = (cell.cell_contents for cell in forward.__closure__ or () if cell != types.CellType())
    named = (forward.__globals__.get(name) for name in forward.__code__.co_names)
    return any(type(one) is torch.jit.ScriptFunction for one in (*vars(module).values(), *named, *cells))
