"""What scoring costs against a bare forward pass: processor seconds for networks of TransNAS-Bench-101 and EAGAN.

    python perf/engine.py [--networks 5] [--repeats 5] [--threads 1]

Columns: build the network; one bare forward pass under no_grad; forward with the statistics of one proxy; forward with
that of the default proxy; with those of every prefix of the default grammar; these three as multiples of the bare
forward. Each is the fastest of the repeats. Networks are of the published size, batch 16, drawn uniformly.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from autogas import DEFAULT_PROXY, get_proxy, get_space
from autogas.memory import keep_freed_memory
from autogas.proxies.language.expression import measured_prefixes, parts_read
from autogas.proxies.language.grammar import default_prefixes
from autogas.proxies.statistics.measure import measure
from autogas.seeding import numpy_generator


def fastest(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
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
    default = [get_proxy(DEFAULT_PROXY)]
    read, parts = measured_prefixes(default), parts_read(default)
    every = default_prefixes()
    print(f"{options.threads} thread(s), {len(every)} prefixes, torch {torch.__version__}")
    columns = ("build", "forward", "one", "default", "all", "one/fwd", "def/fwd", "all/fwd")
    print(f"{'network':<20} {' '.join(f'{name:>7}' for name in columns)}")
    for name in ("transnas-macro", "transnas-micro", "eagan-generator"):
        space = get_space(name)
        for arch in space.sample_distinct(options.networks, numpy_generator("engine benchmark")):
            build = fastest(lambda arch=arch, space=space: space.build(arch), 2)
            model, inputs = space.build(arch), space.inputs()
            with torch.no_grad():
                model(*inputs)
                forward = fastest(lambda model=model, inputs=inputs: model(*inputs), options.repeats)
            single = fastest(lambda model=model, inputs=inputs: measure(model, inputs, one), options.repeats)
            own = fastest(lambda m=model, x=inputs: measure(m, x, read, parts=parts), options.repeats)
            full = fastest(lambda model=model, inputs=inputs: measure(model, inputs, every), options.repeats)
            seconds = " ".join(f"{spent:>7.3f}" for spent in (build, forward, single, own, full))
            ratios = " ".join(f"{spent / forward:>7.2f}" for spent in (single, own, full))
            print(f"{str(arch)[:20]:<20} {seconds} {ratios}", flush=True)


if __name__ == "__main__":
    main()
