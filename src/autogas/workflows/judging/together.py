"""Several benchmarks that choose together: what they must not share, and which architectures choose and which test."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from autogas.benchmarks import Benchmark
from autogas.benchmarks.benchmark import Split
from autogas.code import digest_of
from autogas.errors import InputError
from autogas.workflows.judging.across import WITHIN, AcrossSettings
from autogas.workflows.judging.correlations import strata

COLUMNS = ("iteration", "proxy", "fitness", "front")
"""Of the table of candidates, beside one for each benchmark."""
FEWEST_EQUAL = 0.1
"""Share of pairs that must be of equal counts, for the order within counts to be known."""


def check_together(benches: Mapping[str, Benchmark]) -> None:
    """Refuse benchmarks that workers, columns or tables could not tell apart.

    Raises:
        InputError: different spaces of one name, names that are one in the run folder, or the name of another's
            order within equal counts.
    """
    for name in benches:
        if name.endswith(WITHIN):
            raise InputError(f"a benchmark of the name {name!r}: expected one that does not end with {WITHIN!r}")
    for (first, one), (second, other) in itertools.combinations(benches.items(), 2):
        if one.space.name == other.space.name and digest_of(one.space.makers) != digest_of(other.space.makers):
            raise InputError(f"benchmarks {first} and {second} have different spaces of the name {one.space.name!r}")
        if first.replace("/", "-") == second.replace("/", "-"):
            raise InputError(f"benchmarks {first} and {second}: their tables would have one name; expected others")
    for name in benches.keys() & set(COLUMNS):
        raise InputError(f"a benchmark of the name {name!r}: expected any other than {', '.join(COLUMNS)}")


def splits_of(benches: Mapping[str, Benchmark], s: AcrossSettings) -> dict[str, Split]:
    """As many architectures of each side as were asked for, or all; none tests that chooses on another benchmark.

    Raises:
        InputError: fewer than three are left to test.
    """
    splits = {name: _split_of(bench, s) for name, bench in benches.items()}
    networks = {name: _networks(bench) for name, bench in benches.items()}
    choosing = {networks[name][i] for name, split in splits.items() for i in split.validation}
    found = {}
    for name, split in splits.items():
        kept = [i for i in split.test if networks[name][i] not in choosing]
        if len(kept) < 3:
            raise InputError(f"benchmark {name}: {len(kept)} test architectures that chose on no other one; expected 3")
        found[name] = Split(split.validation, np.array(kept, dtype=np.intp))
    return found


def counts_of(bench: Benchmark, chosen: NDArray[np.intp]) -> NDArray[np.intp]:
    """A number for each chosen architecture ``[chosen]``, the same for those of equal traits."""
    labels = strata(bench.space, [bench.archs[i] for i in chosen])
    return np.unique(labels, return_inverse=True)[1].astype(np.intp)


def with_equal_counts(benches: Mapping[str, Benchmark], splits: Mapping[str, Split], s: AcrossSettings) -> list[str]:
    """Benchmarks of which a tenth of the pairs that choose are of equal counts, so that an order within these is known.

    None where it is not asked for. A space without traits has none to be equal in.

    Raises:
        InputError: it is asked for and no benchmark has it, or not one that has a target for it.
    """
    if not s.within_counts:
        return []
    found = []
    for name, bench in benches.items():
        sizes = np.bincount(counts_of(bench, splits[name].validation))
        pairs = (sizes * (sizes - 1)).sum() / max(sizes.sum() * (sizes.sum() - 1), 1)
        if len(sizes) > 1 and pairs >= FEWEST_EQUAL:
            found.append(name)
    wanted = [name for name in benches if f"{name}{WITHIN}" in s.targets]
    for name in wanted if found else benches:
        if name not in found:
            raise InputError(f"within counts: architectures of {name} have no counts, or hardly any equal ones")
    return found


def _networks(bench: Benchmark) -> list[tuple[str, str]]:
    """What tells the networks of a benchmark apart from those of others."""
    code = digest_of(bench.space.makers)
    return [(code, str(arch)) for arch in bench.archs]


def _split_of(bench: Benchmark, s: AcrossSettings) -> Split:
    whole = bench.split(validation=None, test=None, seed=s.seed)
    return Split(whole.validation[: s.validation], whole.test[: s.test])
