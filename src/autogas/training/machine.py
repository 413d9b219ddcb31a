"""Where training runs: one CPU or GPU, or several, and at what precision, by Lightning Fabric."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import torch
from torch import Tensor
from torch.multiprocessing.spawn import ProcessRaisedException

from autogas.errors import InputError
from autogas.training.graph import Graph, Update

if TYPE_CHECKING:
    from lightning_fabric import Fabric

R = TypeVar("R")
Precision = Literal["32-true", "bf16-mixed"]
Graphs = Literal["auto", "on", "off"]


class Machine:
    """The devices of a training; every process has one of them and sees its share of each batch.

    Gradients are averaged over processes before a step, so that networks stay equal everywhere. That is all that data
    parallelism needs; networks are not wrapped, since a GAN's are run and differentiated in turns.

    Attributes:
        device: where this process computes.
        main: whether this process is the one that writes files.
        graphs: whether updates become CUDA graphs, see ``captured``.
        compile: whether ``torch.compile`` makes kernels for the networks in training.
    """

    def __init__(self, fabric: Fabric, graphs: Graphs = "off", *, compile: bool = False) -> None:
        self.compile = compile
        self._fabric = fabric
        self.device: torch.device = fabric.device
        self.main: bool = fabric.is_global_zero
        self.graphs = graphs != "off" and self.device.type == "cuda" and fabric.world_size == 1
        self._insisted = graphs == "on"

    def share(self, batch: Tensor) -> Tensor:
        """The part of a batch ``[n, …]``, the same in all processes, that falls to this one; n should divide evenly."""
        return batch[self._fabric.global_rank :: self._fabric.world_size]

    def put(self, tensor: Tensor) -> Tensor:
        """The tensor on this process' device, or on its way there while the CPU goes on."""
        if self.device.type == "cuda" and not tensor.is_cuda:
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def captured(self, update: Update, *, usual: bool = True) -> Update:
        """The update as a ``Graph``, or as it is where there are none.

        Args:
            update: what a step does on the device.
            usual: make a graph without being asked; else only where ``graphs`` is ``on``.
        """
        return Graph(update) if self.graphs and (usual or self._insisted) else update

    def tune(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """Let Adam run as one kernel that a graph can hold, where this is a GPU; elsewhere as it is."""
        if self.device.type != "cuda":
            return
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            rate = torch.tensor(float(group["lr"]), device=self.device)
            group.update(fused=True, capturable=True, foreach=False, lr=rate)

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Context of forward passes, at the chosen precision."""
        return self._fabric.autocast()

    def minimise(self, loss: Tensor, optimizer: torch.optim.Optimizer, *, clip: float | None = None) -> None:
        """One step of an optimiser against a scalar loss; no other weights get gradients.

        Args:
            loss: mean over this process' share.
            optimizer: whose weights change.
            clip: largest norm of all gradients together; None leaves them.
        """
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        optimizer.zero_grad()
        loss.backward(inputs=weights)
        if self._fabric.world_size > 1:
            for weight in weights:
                if weight.grad is not None:
                    weight.grad = self.mean(weight.grad)
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(weights, clip)
        optimizer.step()

    def mean(self, values: Tensor) -> Tensor:
        """Mean over processes."""
        return cast("Tensor", self._fabric.all_reduce(values, reduce_op="mean"))

    def wait(self) -> None:
        """Wait for the other processes."""
        self._fabric.barrier()


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set it for all weights, without a new tensor where a graph reads it from one."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def check_machine(device: str, devices: int = 1, graphs: Graphs = "auto", *, compile: bool = False) -> None:
    """Raise ``InputError`` for what ``launch`` cannot do here; ``compile`` makes a kernel to see whether it can."""
    kind = torch.device(device)
    if devices > 1 and kind.index is not None:
        raise InputError(f"--devices {devices} of {device!r}: accepted for {kind.type!r}")
    if kind.type == "cuda" and devices > torch.cuda.device_count():
        raise InputError(f"--devices {devices}: expected up to {torch.cuda.device_count()} here")
    if graphs == "on" and (kind.type != "cuda" or devices > 1):
        raise InputError(f"--graphs on with {devices} of {device!r}: expected one CUDA device")
    if compile:
        try:
            torch.compile(torch.nn.Hardtanh(), dynamic=False)(torch.ones(1, device=kind))
        except Exception as error:  # noqa: BLE001 - the compiler's own
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InputError(f"--compile: no kernels can be made here: {reason}") from None


def launch(
    function: Callable[..., R],
    *args: Any,
    device: str = "cpu",
    devices: int = 1,
    precision: Precision = "32-true",
    graphs: Graphs = "auto",
    compile: bool = False,
) -> R:
    """Call ``function(machine, *args)``, in this process on one device, in new ones on several.

    Args:
        function: importable by name where there are several devices.
        args: what else it takes.
        device: ``cpu``, ``cuda``, or ``cuda:1`` for a certain one.
        devices: how many; results are those of the first.
        precision: ``32-true``, or ``bf16-mixed``: bfloat16 where it is safe.
        graphs: ``auto`` makes CUDA graphs of updates on one GPU, ``on`` insists on one, ``off`` makes none.
        compile: let ``torch.compile`` make kernels for the networks, which takes a minute or more.

    Raises:
        InputError: more devices than there are or where one was named, graphs without a GPU or on several, or what the
            function raised of it.
    """
    from lightning_fabric import Fabric  # takes a second, which whoever reads a report need not wait

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells every process' precision
    check_machine(device, devices, graphs)
    kind = torch.device(device)
    wanted: int | list[int] = devices if kind.index is None else [kind.index]
    strategy = "ddp_spawn" if devices > 1 else "auto"
    fabric = Fabric(
        accelerator=kind.type,
        devices=wanted,
        strategy=strategy,
        precision=precision,
    )
    try:
        result: R = fabric.launch(
            functools.partial(
                _on_machine, function=function, arguments=args, how={"graphs": graphs, "compile": compile}
            )
        )
    except ProcessRaisedException as error:
        reason = re.fullmatch(r"autogas[\w.]*: (.*)", str(error).rstrip().splitlines()[-1])
        if reason is None:
            raise
        raise InputError(reason[1]) from None
    return result


def _on_machine(fabric: Fabric, function: Callable[..., R], arguments: Sequence[Any], how: Mapping[str, Any]) -> R:
    try:
        with _fast_kernels(fabric.device):
            return function(Machine(fabric, **how), *arguments)
    finally:
        if fabric.world_size > 1:  # a process that ends with its group open may be aborted by the group's threads
            torch.distributed.destroy_process_group()


@contextlib.contextmanager
def _fast_kernels(device: torch.device) -> Iterator[None]:
    """TF32 in all products, and the fastest of cuDNN's convolutions by trial, on a GPU and while the block lasts."""
    if device.type != "cuda":
        yield
        return
    products, trial = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.benchmark = trial
