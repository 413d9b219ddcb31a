"""Milliseconds a step of GAN training, with and without CUDA graphs, and of several trainings on one GPU at once.

    python perf/training.py --device cuda --at-once 16 --profile

EAGAN's published generator on images of noise: the published CIFAR-10 recipe, and one of width 64.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable

import torch

from autogas.datasets import Images
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


def new_task(name: str) -> GANTask:
    """EAGAN's generator under a recipe, on noise."""
    width, recipe = RECIPES[name]
    pixels = torch.randint(0, 256, (2000, 3, 32, 32), dtype=torch.uint8, generator=torch_generator("noise", 0))
    space = EAGANGenerator(width=width)
    return gan_task(space, space.parse("eagan-best"), Images(pixels, "noise"), recipe)


def stepper(machine: Machine, name: str) -> Callable[[int], None]:
    """Takes one step, on networks that are on the device and warm."""
    task = new_task(name)
    prepare(task, machine)

    def step(number: int) -> None:
        task.step(number, torch_generator("train", 0, number), machine)

    for number in range(WARM_UP if machine.device.type == "cuda" else 1):
        step(number)
    synchronize(machine)
    return step


def synchronize(machine: Machine) -> None:
    """Wait for the device."""
    if machine.device.type == "cuda":
        torch.cuda.synchronize()


def milliseconds(machine: Machine, name: str, seconds: float) -> float:
    """A step's, over at least so many seconds."""
    step = stepper(machine, name)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(10 if machine.device.type == "cuda" else 1):
            step(done)
            done += 1
        synchronize(machine)
    return (time.perf_counter() - start) / done * 1e3


def steps_a_second(name: str, seconds: float, device: str) -> float:
    """Of a training beside others."""
    torch.set_num_threads(1)
    return 1e3 / launch(milliseconds, name, seconds, device=device)


def table(machine: Machine, name: str, rows: int) -> str:
    """The operations of three steps that take most of the time."""
    return profiled(new_task(name), machine, steps=3, rows=rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=5.0, help="each measurement")
    parser.add_argument("--at-once", type=int, default=0, help="trainings of width 64 beside each other")
    parser.add_argument("--profile", type=int, default=0, help="rows of a table of where the time goes")
    options = parser.parse_args()
    cuda = options.device.startswith("cuda")
    print(torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads", torch.__version__)
    print(f"{'recipe':<12}{'precision':<12}{'graphs':<8}{'ms a step':>10}")
    precisions: tuple[Precision, ...] = ("32-true", "bf16-mixed") if cuda else ("32-true",)
    both: tuple[Graphs, ...] = ("off", "on") if cuda else ("off",)
    for name in RECIPES:
        for precision in precisions:
            for graphs in both:
                took = launch(
                    milliseconds, name, options.seconds, device=options.device, precision=precision, graphs=graphs
                )
                print(f"{name:<12}{precision:<12}{graphs:<8}{took:>10.2f}", flush=True)
    if options.at_once:
        work = options.at_once * [("width 64", 2 * options.seconds, options.device)]
        with multiprocessing.get_context("spawn").Pool(options.at_once) as pool:
            rates = pool.starmap(steps_a_second, work)
        print(f"{options.at_once} trainings of width 64 at once: {sum(rates):,.0f} steps a second in all")
    if options.profile:
        for name in RECIPES:
            print(name, launch(table, name, options.profile, device=options.device, graphs="off"), sep="\n")


if __name__ == "__main__":
    main()
