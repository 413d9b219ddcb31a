"""What the named scorers cost: seconds for each on networks of TransNAS-Bench-101, and their ratio to a bare forward.

    python perf/scorers.py [--networks 3] [--repeats 3] [--threads 1]

First the passes that scorers share, each without those it needs; then what each scorer adds to them, and what it takes
alone, with all passes that it needs. Last the sum of all passes and scorers, without the dear ones. CPU seconds (other
processes do not count), the fewest of the repeats, averaged over networks of the published size on 64-pixel noise,
batch 16, drawn uniformly from the macro space.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from unittest import mock

import torch

from autogas import get_space
from autogas.proxies.named import SCORERS
from autogas.proxies.probe import Probe
from autogas.seeding import numpy_generator

OF_MODULE = [name for name in SCORERS if name not in ("num_downsamples", "num_skips")]
DEAR = ("grasp", "hessian_trace", "short_training")


def measure(space, arch, repeats):
    """Fewest seconds of the bare forward, of each pass, and of each scorer beside its passes and with them."""
    model, inputs = space.build(arch), space.inputs()
    fewest = defaultdict(lambda: float("inf"))

    def note(name, seconds):
        fewest[name] = min(fewest[name], seconds)

    with torch.no_grad():
        model(*inputs)
        for _ in range(repeats):
            start = time.process_time()
            model(*inputs)
            note("forward", time.process_time() - start)
    with mock.patch("time.perf_counter", time.process_time):
        for _ in range(repeats):
            probe = Probe(model, inputs)
            for name in OF_MODULE:
                _, alone = probe.cost_of(SCORERS[name].of_network)
                note(f"adds {name}", probe.seconds["score"])
                note(f"alone {name}", alone)
            for name, seconds in probe.seconds.items():
                if name != "score":
                    note(f"pass {name}", seconds)
    return fewest


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    space = get_space("transnas-macro")
    archs = space.sample_distinct(options.networks, numpy_generator("engine benchmark"))
    measured = [measure(space, arch, options.repeats) for arch in archs]
    seconds = {name: sum(m[name] for m in measured) / len(measured) for name in measured[0]}
    forward = seconds["forward"]
    print(f"{options.threads} thread(s), torch {torch.__version__}: {', '.join(map(str, archs))}")
    print(f"{'pass':<26} {'seconds':>8} {'forwards':>9}")
    for name, value in seconds.items():
        if name == "forward" or name.startswith("pass "):
            print(f"{name.removeprefix('pass '):<26} {value:>8.3f} {value / forward:>9.2f}")
    print(f"\n{'scorer':<26} {'adds':>8} {'forwards':>9} {'alone':>8} {'forwards':>9}")
    for name in OF_MODULE:
        adds, alone = seconds[f"adds {name}"], seconds[f"alone {name}"]
        print(f"{name:<26} {adds:>8.3f} {adds / forward:>9.2f} {alone:>8.3f} {alone / forward:>9.2f}")
    cheap = [f"adds {name}" for name in OF_MODULE if name not in DEAR]
    passes = [name for name in seconds if name.startswith("pass ") and name != "pass differentiable_gradient"]
    shared, total = sum(seconds[name] for name in passes), sum(seconds[name] for name in [*passes, *cheap])
    print(f"\n{'shared passes':<26} {shared:>8.3f} {shared / forward:>9.2f}")
    print(f"{'all but ' + ', '.join(DEAR)}: {total:.3f} seconds, {total / forward:.2f} forwards")


if __name__ == "__main__":
    main()
