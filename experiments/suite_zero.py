"""Our scorers against the scores that NAS-Bench-Suite-Zero published for the same architectures.

    python experiments/suite_zero.py zc_transbench101_macro.json --images cifar10 --count 100 --out macro.csv

Prints Spearman's correlation with the published scores of *ours*, the scorers as we define and use them (small noise),
and of *theirs*, the definitions that Suite-Zero ran: images of 256 pixels, another batch for each architecture,
transposed convolutions left out, Fisher information counted once a weight. Either stands beside its correlation with
itself under another seed, and the published scores beside those published for the task ``normal`` (same networks, same
loss, other batches and targets): no other implementation can be expected to agree much better than that.

With ``--out``, rows are written as they come and are not computed again when the command is repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from torch import nn

from autogas.benchmarks.importers import read_suite_zero
from autogas.datasets import Images, load_images
from autogas.proxies.named import get_proxy
from autogas.proxies.probe import Probe
from autogas.proxies.scorer import Scorer
from autogas.seeding import torch_generator
from autogas.spaces import get_space

SCORERS = ("params", "macs", "nwot", "snip", "grad_norm", "jacov", "plain", "fisher", "grasp", "l2_norm", "zen")
THEIRS = ("snip", "grad_norm", "plain", "fisher", "l2_norm")
PUBLISHED_AS = {"macs": "flops"}
POOL = 512
Row = dict[str, str | float]


@dataclass(frozen=True)
class Settings:
    """What networks of a space are measured on: noise, or images."""

    space: str
    image_size: int
    batch_size: int
    images: Images | None = None
    seeds: int = 2


def our_scores(text: str, settings: Settings) -> Row:
    """Every scorer on one architecture as we define it, on noise, with several seeds of weights and noise."""
    torch.set_num_threads(1)
    space = get_space(settings.space, image_size=settings.image_size)
    arch = space.parse(text)
    out: Row = {"arch": text, "params": space.cost(arch).params, "macs": space.cost(arch).macs}
    for seed in range(settings.seeds):
        probe = Probe(space.build(arch, seed=seed), space.inputs(batch_size=settings.batch_size, seed=seed))
        for name in SCORERS[2:]:
            if seed == 0 or name != "zen":
                out[f"{name} ours {seed}"] = score(name, probe)
    return out


def their_scores(text: str, settings: Settings) -> Row:
    """The definitions of Suite-Zero, on a batch of images of its own for each architecture and seed."""
    torch.set_num_threads(1)
    assert settings.images is not None
    space = get_space(settings.space, image_size=settings.image_size)
    out: Row = {"arch": text}
    for seed in range(settings.seeds):
        model = space.build(space.parse(text), seed=seed)
        chosen = torch.randperm(len(settings.images), generator=torch_generator("batch", text, seed))
        probe = Probe(model, (settings.images.batch(chosen[: settings.batch_size]),))
        transposed = {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, nn.ConvTranspose2d)}
        probe.weights = [p for name, p in probe.parameters.items() if name not in transposed and p.dim() > 1]
        out |= {f"{name} theirs {seed}": score(name, probe) for name in THEIRS if name != "fisher"}
        out[f"fisher theirs {seed}"] = fisher_by_weight(model, probe)
    return out


def score(name: str, probe: Probe) -> float:
    """A scorer by name on a network under examination."""
    scorer = get_proxy(name)
    assert isinstance(scorer, Scorer)
    return probe.cost_of(scorer.of_network)[0]


def fisher_by_weight(model: nn.Module, probe: Probe) -> float:
    """Each channel counted once for each of its weights, transposed convolutions left out."""
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    total = 0.0
    features = zip(layers, probe.recorded.convolutions, probe.gradient.convolutions, strict=True)
    for layer, feature, gradient in features:
        if not isinstance(layer, nn.ConvTranspose2d):
            channels = (feature.detach() * gradient).flatten(2).sum(-1).square().sum(0) / (2 * len(feature))
            total += float(channels.sum()) * layer.weight[0].numel()
    return total


def measure(
    function: Callable[[str, Settings], Row], archs: list[str], settings: Settings, out: Path | None, jobs: int
) -> pd.DataFrame:
    """A row for each architecture, from ``out`` where it is there already."""
    done = pd.read_csv(out) if out is not None and out.exists() else pd.DataFrame({"arch": []})
    left = [arch for arch in archs if arch not in set(done["arch"])]
    rows = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(function)(arch, settings) for arch in left)
    for row in rows:
        done = pd.concat([done, pd.DataFrame([row])], ignore_index=True)
        if out is not None:
            done.to_csv(out, index=False)
    return done.set_index("arch").loc[archs]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="zc_transbench101_macro.json or _micro.json")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--ours", type=int, nargs=2, default=(64, 16), metavar=("PIXELS", "BATCH"))
    parser.add_argument("--theirs", type=int, nargs=2, default=(256, 32), metavar=("PIXELS", "BATCH"))
    parser.add_argument("--images", help="source of images for theirs; without it, ours only")
    parser.add_argument("--seeds", type=int, default=2, help="draws of weights and images for theirs")
    parser.add_argument("--only-theirs", action="store_true")
    parser.add_argument("--zen", type=Path, help="CSV with columns arch and zen_score")
    parser.add_argument("--out", type=Path, help="start of the names of two CSV files, continued where they exist")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    imported = read_suite_zero(arguments.file)
    published = pd.DataFrame(imported.rows).set_index("arch").iloc[: arguments.count]
    other = pd.DataFrame(read_suite_zero(arguments.file, imported.name, task="normal").rows).set_index("arch")
    if arguments.zen:
        published = published.join(pd.read_csv(arguments.zen).set_index("arch")[["zen_score"]])
    found = pd.DataFrame(index=published.index)
    parts: list[tuple[str, Callable[[str, Settings], Row], Settings]] = []
    if not arguments.only_theirs:
        parts.append(("ours", our_scores, Settings(imported.name, *arguments.ours)))
    if arguments.images:
        pixels, batch = arguments.theirs
        images = load_images(arguments.images, size=pixels, limit=POOL)
        parts.append(("theirs", their_scores, Settings(imported.name, pixels, batch, images, arguments.seeds)))
    for label, function, settings in parts:
        out = arguments.out and Path(f"{arguments.out}-{label}.csv")
        found = found.join(measure(function, list(published.index), settings, out, arguments.jobs))
    report(found, published, other.reindex(published.index))
    measured = "; ".join(f"{label} on {s.image_size} pixels, batches of {s.batch_size}" for label, _, s in parts)
    print(f"{imported.name}, {len(found)} architectures; {measured}")


def report(found: pd.DataFrame, published: pd.DataFrame, other: pd.DataFrame) -> None:
    """Spearman's correlation with the published scores, and of each with itself; ``mean`` is of theirs over seeds."""
    print(f"{'scorer':10}{'ours':>8}{'itself':>8}{'theirs':>8}{'itself':>8}{'mean':>8}{'normal':>8}")
    for name in SCORERS:
        column = f"{PUBLISHED_AS.get(name, name)}_score"
        if column not in published:
            continue
        target = published[column]
        ours, theirs = (found.filter(regex=rf"^{name} {label} ") for label in ("ours", "theirs"))
        if name in found:
            ours = found[[name]]
        cells: list[float | None] = []
        for table in (ours, theirs):
            cells.append(spearman(table.iloc[:, 0], target) if table.shape[1] else None)
            cells.append(spearman(table.iloc[:, 0], table.iloc[:, 1]) if table.shape[1] > 1 else None)
        cells.append(spearman(theirs.mean(axis=1), target) if theirs.shape[1] else None)
        cells.append(spearman(target, other[column]) if column in other else None)
        print(f"{name:10}" + "".join(f"{'' if c is None else f'{c:.3f}':>8}" for c in cells))


def spearman(first: object, second: object) -> float:
    """Spearman's correlation where both are finite."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    both = np.isfinite(a) & np.isfinite(b)
    return float(pd.Series(a[both]).corr(pd.Series(b[both]), method="spearman"))


if __name__ == "__main__":
    main()
