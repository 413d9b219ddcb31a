"""A benchmark: architectures of one space with the quality that each reached after real training."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autogas.code import digest_of
from autogas.errors import InputError
from autogas.files import checksum
from autogas.seeding import numpy_generator
from autogas.spaces import Arch, Space

VALIDATION_SHARE = 4 / 7
"""The paper splits a benchmark 4:3 into validation and test."""


@dataclass(frozen=True)
class Split:
    """Disjoint positions in a benchmark: what discovery may see, and what it is judged on."""

    validation: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True)
class Benchmark:
    """Architectures with measured quality.

    Attributes:
        name: how it is loaded.
        space: the search space, with the settings at which proxies are scored.
        archs: architectures, distinct, in the order of the table.
        quality: measured quality as recorded, ``[len(archs)]``.
        metric: its name.
        higher_is_better: its direction; ``goodness`` is always bigger-is-better.
        provenance: where the numbers come from.
        repeats: quality of the same architectures trained with other seeds, columns ``arch``, ``seed`` and the metric.
    """

    name: str
    space: Space[Any]
    archs: tuple[Any, ...]
    quality: NDArray[np.float64]
    metric: str
    higher_is_better: bool = True
    provenance: Mapping[str, Any] = field(default_factory=dict)
    repeats: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.archs)

    @property
    def goodness(self) -> NDArray[np.float64]:
        """Quality turned so that bigger is better."""
        return self.quality if self.higher_is_better else -self.quality

    @property
    def digest(self) -> str:
        """Of all that a ranking says: space, with a user's own code, architectures, quality by seed, direction."""
        space = f"{self.space.name} {json.dumps(dict(self.space.settings), sort_keys=True)}"
        about = f"{self.metric} {self.higher_is_better}"
        code = digest_of(self.space.makers)
        own = [code, str(self.space.input_shapes)] if code else []
        others = [] if self.repeats is None else [self.repeats[["arch", "seed", self.metric]].to_csv(index=False)]
        quality = np.ascontiguousarray(self.quality).tobytes()
        return checksum([space, about, *own, *map(str, self.archs), quality, *others])

    def split(self, *, validation: int | None = 50, test: int | None = 200, seed: int = 0) -> Split:
        """Shuffle, divide 4:3, and draw from each side.

        Args:
            validation: architectures from the first four sevenths; None takes all of them.
            test: architectures from the rest; None takes all.
            seed: of the shuffle.

        Raises:
            InputError: fewer architectures than asked.
        """
        order = numpy_generator("split", seed).permutation(len(self))
        cut = round(len(self) * VALIDATION_SHARE)
        pools = {"validation": order[:cut], "test": order[cut:]}
        chosen = {}
        for part, count in (("validation", validation), ("test", test)):
            available = len(pools[part])
            if count is not None and not 3 <= count <= available:
                raise InputError(
                    f"--{part} {count}: benchmark {self.name} has {available} {part} architectures "
                    f"({len(self)} in all, split 4:3); expected 3 to {available}"
                )
            chosen[part] = pools[part][:count]
        return Split(chosen["validation"], chosen["test"])

    def subset(self, space: Space[Arch]) -> Benchmark:
        """The architectures that ``space`` holds, as a benchmark of that space."""
        keep = [i for i, arch in enumerate(self.archs) if space.holds(str(arch))]
        if not keep:
            raise InputError(f"benchmark {self.name} has no architecture of space {space.name}")
        short = space.name.rpartition("-")[2]
        return replace(
            self,
            name=f"{self.name}/{short}",
            space=space,
            archs=tuple(space.parse(str(self.archs[i])) for i in keep),
            quality=self.quality[keep],
        )

    def noise_ceiling(self) -> tuple[float, int] | None:
        """Mean tau-b between pairs of training seeds, and over how many architectures; None without repeats.

        A pair of seeds is compared on the architectures that have both, and counts as many times. A second training
        reaches this as a scorer of the first; one that knew the expected quality has no noise of its own and would
        reach more, above all where quality is a mean over seeds.
        """
        wide = self._by_seed(self.metric)
        pairs = itertools.combinations(wide.columns, 2)
        tau = _mean_tau([wide[[a, b]].dropna().to_numpy().T for a, b in pairs])
        return None if tau is None else (tau, len(wide))

    def learning_curve(self) -> dict[int, float]:
        """How well quality after fewer steps ranks: what a short training is worth as a scorer.

        Returns:
            From steps to the mean tau-b between quality then with one seed and at the end with another, over
            all ordered pairs of seeds; empty where it was measured only at the end or nothing has two seeds.
        """
        if self.repeats is None:
            return {}
        end = self._by_seed(self.metric)
        found = {}
        for column in self.repeats.columns:
            _, at, step = str(column).partition(f"{self.metric}_at_")
            if not (at and step.isdecimal()):
                continue
            early = self._by_seed(column)
            pairs = itertools.permutations(early.columns.intersection(end.columns), 2)
            tau = _mean_tau([pd.concat([early[a], end[b]], axis=1).dropna().to_numpy().T for a, b in pairs])
            if tau is not None:
                found[int(step)] = tau
        return dict(sorted(found.items()))

    def _by_seed(self, column: str) -> pd.DataFrame:
        """A column of the repeated trainings: a row for each architecture of two seeds or more, a column a seed."""
        if self.repeats is None:
            return pd.DataFrame()
        names = {str(arch) for arch in self.archs}
        rows = self.repeats[self.repeats["arch"].isin(names)]
        rows = rows.assign(**{column: pd.to_numeric(rows[column], errors="coerce").astype(float)})
        return rows.pivot(index="arch", columns="seed", values=column).dropna(thresh=2)


def _mean_tau(pairs: list[NDArray[np.float64]]) -> float | None:
    """Mean tau-b over pairs of qualities ``[2, n]``, weighed by n; None if none has any, as of one value."""
    from autogas.benchmarks.correlation import kendall_many

    taus = [(float(kendall_many(first, second)[0]), len(first)) for first, second in pairs if len(first) >= 3]
    defined = [(tau, n) for tau, n in taus if math.isfinite(tau)]  # of a seed that reached one quality there is none
    return sum(tau * n for tau, n in defined) / sum(n for _, n in defined) if defined else None
