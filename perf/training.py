"""Milliseconds a step of GAN training by what is done for speed, and of several trainings on one GPU at once.

    python perf/training.py --device cuda --at-once 16 --images cifar10

EAGAN's published generator: the published CIFAR-10 recipe, and one of width 64. All trainings are made ready beside
each other, which compiling takes a minute for, and take 200 steps with each of two seeds; then each is timed alone.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier, Lock

import torch

from autogas.datasets import Images, load_images
from autogas.seeding import torch_generator
from autogas.spaces.eagan import EAGANGenerator
from autogas.training.gan import GANRecipe, GANTask, gan_task
from autogas.training.loop import prepare
from autogas.training.machine import Graphs, Machine, Precision, launch
from autogas.training.profiling import profiled

RECIPES = {
    "published": (256, GANRecipe()),
    "width 64": (64, GANRecipe(generator_batch=64, discriminator_batch=64, critic_steps=1, discriminator_width=64)),
}
WARM_UP = 8
COMPARED = 200


@dataclass(frozen=True)
class Way:
    """How a training is run.

    Attributes:
        recipe: of ``RECIPES``.
        precision: see ``launch``.
        graphs: see ``launch``.
        compile: see ``launch``.
    """

    recipe: str
    precision: Precision = "32-true"
    graphs: Graphs = "off"
    compile: bool = False

    def __str__(self) -> str:
        made = "compiled" if self.compile else ""
        return f"{self.recipe:<12}{self.precision:<12}{self.graphs:<8}{made:<10}"


@dataclass(frozen=True)
class Asked:
    """What is measured.

    Attributes:
        device: where.
        images: trained on; None: noise.
        seconds: at least so long.
        compared: steps whose losses are shown.
    """

    device: str
    images: str | None
    seconds: float
    compared: int


def ways(device: str) -> list[Way]:
    """Those that exist on a device."""
    if not device.startswith("cuda"):
        return [Way(recipe) for recipe in RECIPES]
    precisions: tuple[Precision, ...] = ("32-true", "bf16-mixed")
    how: tuple[tuple[Graphs, bool], ...] = (("off", False), ("on", False), ("on", True))
    return [Way(r, p, graphs, made) for r in RECIPES for p in precisions for graphs, made in how]


def new_task(recipe: str, images: str | None = None, seed: int = 0) -> GANTask:
    """EAGAN's generator under a recipe."""
    width, how = RECIPES[recipe]
    noise = torch.randint(0, 256, (2000, 3, 32, 32), dtype=torch.uint8, generator=torch_generator("noise", 0))
    shown = Images(noise, "noise") if images is None else load_images(images, size=32)
    space = EAGANGenerator(width=width)
    return gan_task(space, space.parse("eagan-best"), shown, how, seed=seed)


def synchronize(machine: Machine) -> None:
    """Wait for the device."""
    if machine.device.type == "cuda":
        torch.cuda.synchronize()


def losses(machine: Machine, way: Way, asked: Asked, seed: int) -> list[float]:
    """Of both networks, over the second half of the compared steps."""
    task = new_task(way.recipe, asked.images, seed)
    prepare(task, machine)
    seen = [task.step(step, torch_generator("train", seed, step), machine) for step in range(asked.compared)]
    half = seen[len(seen) // 2 :]
    return [float(torch.stack([row[name] for row in half]).mean()) for name in half[0]]


def measured(
    machine: Machine, way: Way, asked: Asked, barrier: Barrier, alone: contextlib.AbstractContextManager[object]
) -> tuple[float, list[list[float]]]:
    """Milliseconds a step, and losses with two seeds."""
    found = [losses(machine, way, asked, seed) for seed in range(2)] if asked.compared else []
    task = new_task(way.recipe, asked.images)
    prepare(task, machine)

    def take(steps: int) -> None:
        for number in range(steps):
            task.step(number, torch_generator("train", 0, number), machine)
        synchronize(machine)

    cuda = machine.device.type == "cuda"
    take(WARM_UP if cuda else 1)
    barrier.wait()
    with alone:
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < asked.seconds:
            take(10 if cuda else 1)
            done += 10 if cuda else 1
        return (time.perf_counter() - start) / done * 1e3, found


def process(way: Way, asked: Asked, barrier: Barrier, lock: Lock | None, tell: Callable[[object], None]) -> None:
    """One training, in a process of its own; ``lock``: it is timed alone."""
    if lock is None or asked.device != "cpu":
        torch.set_num_threads(1)
    alone = contextlib.nullcontext() if lock is None else lock
    try:
        found = launch(
            measured,
            way,
            asked,
            barrier,
            alone,
            device=asked.device,
            precision=way.precision,
            graphs=way.graphs,
            compile=way.compile,
        )
        tell((way, found))
    except BaseException as error:
        tell((way, RuntimeError(repr(error))))
        barrier.abort()
        raise


def beside(these: list[Way], asked: Asked, *, alone: bool) -> list[tuple[Way, tuple[float, list[list[float]]]]]:
    """Measure trainings that are made ready beside each other, and timed alone or at once."""
    context = multiprocessing.get_context("spawn")
    barrier, lock, queue = context.Barrier(len(these)), context.Lock() if alone else None, context.SimpleQueue()
    started = [context.Process(target=process, args=(way, asked, barrier, lock, queue.put)) for way in these]
    for one in started:
        one.start()
    found = [queue.get() for _ in these]
    for one in started:
        one.join()
    for way, result in found:
        if isinstance(result, BaseException):
            raise SystemExit(f"{way}: {result}")
    return sorted(found, key=lambda row: these.index(row[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", help="as of `autogas train`; noise without")
    parser.add_argument("--seconds", type=float, default=3.0, help="each measurement")
    parser.add_argument("--compared", type=int, default=COMPARED, help="steps whose losses are shown")
    parser.add_argument("--at-once", type=int, default=0, help="trainings of width 64 beside each other")
    parser.add_argument("--profile", type=int, default=0, help="rows of a table of where the time goes")
    options = parser.parse_args()
    cuda = options.device.startswith("cuda")
    print(torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads", torch.__version__)
    asked = Asked(options.device, options.images, options.seconds, options.compared if cuda else 0)
    print(f"{'recipe':<12}{'precision':<12}{'graphs':<8}{'':<10}{'ms a step':>10}  losses with two seeds")
    for way, (took, found) in beside(ways(options.device), asked, alone=True):
        shown = "; ".join(", ".join(f"{loss:.3f}" for loss in each) for each in found)
        print(f"{way}{took:>10.2f}  {shown}", flush=True)
    if options.at_once:
        fast: Precision = "bf16-mixed" if cuda else "32-true"
        for way in dict.fromkeys([Way("width 64", graphs="auto"), Way("width 64", fast, "auto", cuda)]):
            rates = beside(options.at_once * [way], Asked(options.device, None, 2 * options.seconds, 0), alone=False)
            total = sum(1e3 / took for _, (took, _) in rates)
            print(f"{options.at_once} at once: {way} {total:,.0f} steps a second in all", flush=True)
    if options.profile:
        for name in RECIPES:
            print(name, launch(table, name, options.profile, device=options.device), sep="\n")


def table(machine: Machine, name: str, rows: int) -> str:
    """The operations of three steps that take most of the time."""
    return profiled(new_task(name), machine, steps=3, rows=rows)


if __name__ == "__main__":
    main()
