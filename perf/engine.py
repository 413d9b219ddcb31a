"""What scoring costs against a bare forward pass: seconds for five macro and five micro networks of TransNAS-Bench-101.

    python perf/engine.py [--networks 5] [--repeats 5] [--threads 1]

Columns: build the network; one bare forward pass under no_grad; forward with the statistics of one proxy; forward with
those of every prefix of the default grammar; the latter two as multiples of the bare forward. Each is the fastest of
the repeats. Networks are the published size on 64-pixel noise, batch 16, drawn uniformly.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from autogas import get_proxy, get_space
from autogas.memory import keep_freed_memory
from autogas.proxies.language.grammar import default_prefixes
from autogas.proxies.statistics.measure import measure
from autogas.seeding import numpy_generator


def fastest(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    keep_freed_memory()  # as every workflow does
    torch.set_num_threads(options.threads)
    one = [get_proxy("autogas").prefix.canonical()]
    every = default_prefixes()
    print(f"{options.threads} thread(s), {len(every)} prefixes, torch {torch.__version__}")
    print(f"{'network':<20} {'build':>7} {'forward':>8} {'one':>7} {'all':>7} {'one/fwd':>8} {'all/fwd':>8}")
    for name in ("transnas-macro", "transnas-micro"):
        space = get_space(name)
        for arch in space.sample_distinct(options.networks, numpy_generator("engine benchmark")):
            build = fastest(lambda arch=arch, space=space: space.build(arch), 2)
            model, inputs = space.build(arch), space.inputs()
            with torch.no_grad():
                model(*inputs)
                forward = fastest(lambda model=model, inputs=inputs: model(*inputs), options.repeats)
            single = fastest(lambda model=model, inputs=inputs: measure(model, inputs, one), options.repeats)
            full = fastest(lambda model=model, inputs=inputs: measure(model, inputs, every), options.repeats)
            ratios = f"{single / forward:>8.2f} {full / forward:>8.2f}"
            print(f"{arch!s:<20} {build:>7.3f} {forward:>8.3f} {single:>7.3f} {full:>7.3f} {ratios}")


if __name__ == "__main__":
    main()
