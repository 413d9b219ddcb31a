"""Multiply-accumulate operations of any network, from the operators that it runs."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from autogas.errors import InputError

aten = torch.ops.aten
ONE_AT_A_TIME = threading.RLock()
"""What is switched off and patched meanwhile is one for the whole process."""


def count_macs(run: Callable[[], Any]) -> float:
    """Multiply-accumulates of what ``run`` does: convolutions, matrix products, attention, recurrent layers.

    Attention and encoder layers run without torch's fused kernels for inference, whose insides cannot be counted.
    """
    with ONE_AT_A_TIME:
        return _count(run)


def _count(run: Callable[[], Any]) -> float:
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _Counter() as counter, _of_samples_alone(counter):
            run()
    except NotImplementedError as error:
        called = re.search(r"HigherOrderOperator '?(\w+)", str(error))
        if "HigherOrderOperator" not in str(error):
            raise
        name = f" {called[1]}" if called else ""
        raise InputError(f"the network calls a higher-order operator{name}, whose insides cannot be counted") from None
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return float(counter.macs)


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Scores and their weighted sum, ``[..., L, E]`` queries on ``[..., S, E]`` keys."""
    return query.numel() * key.shape[-2] + query.numel() // query.shape[-1] * key.shape[-2] * value.shape[-1]


def _bilinear(x: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    """``x' W y`` for each output, as ``_trilinear(x, W, y)`` gets it before it expands their dimensions."""
    return x.numel() // x.shape[-1] * weight.numel()


def _lstm(x: Tensor, *weights: Any, **_: Any) -> int:
    """One layer and direction: four gates from the input and from the state, at each step."""
    per_step: int = weights[0].numel() + weights[1].numel()
    return x.numel() // x.shape[-1] * per_step


def _cudnn_rnn(x: Tensor, weights: Sequence[Tensor], *_: Any, **__: Any) -> int:
    """All matrices at each step; biases are vectors."""
    return x.numel() // x.shape[-1] * sum(w.numel() for w in weights if w.dim() > 1)


def _first(x: Tensor, *_: Any, **__: Any) -> int:
    """A matrix, or a stack of vectors, times vectors: one product an entry that is kept."""
    return x.numel() if x.layout is torch.strided else int(x._nnz())


def _second(_: Tensor, x: Tensor, *__: Any, **___: Any) -> int:
    return x.numel()


def _addbmm(_: Tensor, x: Tensor, y: Tensor, *__: Any, **___: Any) -> int:
    """A sum of matrix products."""
    return x.numel() * y.shape[-1]


def _columns(x: Tensor, y: Tensor, *_: Any, **__: Any) -> int:
    """Rows times a matrix, also where each has one of several."""
    return x.numel() * y.shape[-1]


def _distances(x: Tensor, y: Tensor, *_: Any, **__: Any) -> int:
    """Between all rows of ``[…, P, D]`` and ``[…, R, D]``."""
    return x.numel() * y.shape[-2]


def _conv_tbc(x: Tensor, weight: Tensor, _: Tensor, pad: int = 0, **__: Any) -> int:
    """A convolution of ``[T, N, C]`` by ``[k, C, D]``."""
    return (x.shape[0] + 2 * pad - weight.shape[0] + 1) * x.shape[1] * weight.numel()


def _sparse(x: Tensor, y: Tensor) -> int | None:
    """Of a matrix product: one multiplication a column for each entry that is kept; None where both are dense."""
    if x.layout is not torch.strided:
        return int(x._nnz()) * y.shape[-1]
    return int(y._nnz()) * x.shape[0] if y.layout is not torch.strided else None


def _deformed(x: Tensor, weight: Tensor, offset: Tensor, *_: Any, **__: Any) -> int:
    """A convolution at the positions of its offsets ``[N, 2 g k k, H, W]``."""
    return len(x) * weight.numel() * offset.shape[-1] * offset.shape[-2]


OWN: Mapping[Any, Callable[..., int]] = {
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_fused_attention_overrideable: _attention,
    aten._scaled_dot_product_flash_attention: _attention,
    aten._scaled_dot_product_efficient_attention: _attention,
    aten._scaled_dot_product_cudnn_attention: _attention,
    aten._trilinear: _bilinear,
    aten.mv: _first,
    aten.dot: _first,
    aten.vdot: _first,
    aten.addmv: _second,
    aten.addbmm: _addbmm,
    aten.conv_tbc: _conv_tbc,
    aten._grouped_mm: _columns,
    aten._int_mm: _columns,
    aten._cdist_forward: _distances,
    aten._euclidean_dist: _distances,
    aten.mkldnn_rnn_layer: _lstm,
    aten._cudnn_rnn: _cudnn_rnn,
}
"""What torch's own counter does not know, or not everywhere."""
PRODUCTS = {aten.mm: 0, aten.addmm: 1, aten._sparse_addmm: 1, aten.bmm: 0}
"""Where the matrices of products stand that may be sparse."""
BY_NAME: Mapping[str, Callable[..., int]] = {"torchvision::deform_conv2d": _deformed}
"""Of libraries that need not be loaded."""


@contextlib.contextmanager
def _of_samples_alone(counter: _Counter) -> Iterator[None]:
    """Leave out what torch's parametrisations compute of weights, such as singular vectors: no part of a sample."""
    here = threading.get_ident()

    def uncounted(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            before = counter.macs
            try:
                return function(*args, **kwargs)
            finally:
                if threading.get_ident() == here:
                    counter.macs = before

        return called

    with contextlib.ExitStack() as stack:
        for owner, name in ((ParametrizationList, "forward"), (SpectralNorm, "compute_weight")):
            stack.enter_context(mock.patch.object(owner, name, uncounted(getattr(owner, name))))
        yield


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if any(isinstance(x, Tensor) and x.is_nested for x in args):
            raise InputError("the network computes with nested tensors, whose products cannot be counted")
        operator = func._overloadpacket
        counted = operator in OWN or operator in PRODUCTS or operator in flop_registry
        if not counted and func is not torch.ops.prim.device.default:
            with self:  # what is made of others, as matmul is in inference mode
                made_of = func.decompose(*args, **kwargs)
            if made_of is not NotImplemented:
                return made_of
        out = func(*args, **kwargs)
        count = OWN.get(operator) or BY_NAME.get(func._schema.name)
        place = PRODUCTS.get(operator)
        sparse = None if place is None else _sparse(args[place], args[place + 1])
        if sparse is not None:
            self.macs += sparse
        elif count is not None:
            self.macs += count(*args, **kwargs)
        elif operator in flop_registry:
            self.macs += flop_registry[operator](*args, **kwargs, out_val=out) / 2
        return out
