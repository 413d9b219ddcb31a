"""What workflows share: opening runs, trivial scorers, correlation tables, seconds."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from autogas.benchmarks import Benchmark, Correlation, Estimate, correlate, load_benchmark
from autogas.code import digest_of
from autogas.datasets.images import DEAD_LEAVES, TORCHVISION
from autogas.datasets.pictures import IMAGE_SUFFIXES, files_of
from autogas.errors import InputError
from autogas.files import checksum
from autogas.proxies.named import TRIVIAL
from autogas.proxies.scorer import SCORERS
from autogas.proxies.statistics.measure import Statistics
from autogas.runs import Run
from autogas.settings import described, validated
from autogas.spaces import Space, by_name

S = TypeVar("S", bound=BaseModel)
PAPER_TEST = 200
DEFAULT_BENCHMARK = "mini-autoencoder"
PATHS = frozenset(
    (
        "images",
        "held_out",
        "data",
        "teacher",
        "reference",
        "inception_weights",
        "segmentation",
        "segmentation_weights",
        "segmentation_map",
        "vgg",
    )
)
"""Settings that may name a file or folder."""
OF_PICTURES = frozenset(("images", "held_out", "data", "reference"))
"""Those of them whose folders hold pictures."""


class Stopwatch:
    """Wall-clock seconds of the parts of a workflow, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        yield
        self.laps[name] = self.laps.get(name, 0.0) + time.perf_counter() - start


def name_of(benchmark: str | Benchmark) -> str:
    """A benchmark's name; raises ``InputError`` for what is neither a name nor a benchmark."""
    if isinstance(benchmark, str):
        return benchmark
    if not isinstance(benchmark, Benchmark):
        raise InputError(f"benchmark {benchmark!r}: expected a name or a Benchmark")
    return benchmark.name


def benchmark_at_hand(benchmark: str | Benchmark, name: str) -> Benchmark:
    """The benchmark that was given, its space known by its name to every process, or the one of this name."""
    if isinstance(benchmark, str):
        return load_benchmark(name)
    by_name(benchmark.space)
    return benchmark


def read_settings(workflow: str, model: type[S], given: Mapping[str, Any], resume: str | None) -> S:
    """The settings as given, or those of the run that is resumed, which no given one may contradict."""
    if resume is None:
        return validated(model, from_anywhere(given))
    return validated(model, resumed_settings(workflow, given, resume))


def resumed_settings(workflow: str, given: Mapping[str, Any], resume: str) -> dict[str, Any]:
    """The settings of a run; raises ``InputError`` for one that is given otherwise beside it."""
    saved = Run.open(resume, workflow).settings
    for name, value in from_anywhere(given).items():
        unsaid = name == "benchmark" and value == DEFAULT_BENCHMARK  # the default of Python's functions
        if value is not None and not unsaid and value not in (saved.get(name), {}):
            raise InputError(
                f"{name}={value!r} beside --resume: the run has {saved.get(name)!r}, which stays; "
                "leave it out, or start another run"
            )
    return saved


def from_anywhere(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose paths hold whatever the working folder is; names of data sets stay names."""
    found = {name: _absolute(value) if name in PATHS else value for name, value in given.items()}
    recipe = found.get("recipe")
    if isinstance(recipe, Mapping):
        found["recipe"] = {name: _absolute(value) if name in PATHS else value for name, value in recipe.items()}
    return found


def _absolute(value: Any) -> Any:
    known = (*TORCHVISION, DEAD_LEAVES)
    is_path = isinstance(value, str | Path) and value and str(value) not in known and Path(value).exists()
    return str(Path(value).absolute()) if is_path else value


def open_run(
    workflow: str,
    settings: BaseModel,
    *,
    out: str | None,
    resume: str | None,
    inputs: Mapping[str, str] | None = None,
    code: Iterable[object] = (),
) -> Run:
    """The run folder, locked as long as the block lasts; made only now, when everything has been checked.

    Args:
        workflow: its name.
        settings: what determines the result.
        out: folder to make.
        resume: folder to continue instead.
        inputs: digests of what settings only name; those of files and folders among the settings are added.
        code: functions and classes on which the result depends; what is a user's own may not change before a resume.
    """
    saved = settings.model_dump(mode="json")
    named = {**saved, **{name: value for name, value in (saved.get("recipe") or {}).items() if name in PATHS}}
    files = {name: digest for name in sorted(PATHS & named.keys()) if (digest := _digest(named[name], name))}
    own = digest_of(code)
    digests = {**(inputs or {}), **files, **({"your code": own} if own else {})}
    if resume is not None and out is not None:
        raise InputError(
            f"out={str(out)!r} beside resume={resume!r}: expected one of them; a run goes on in its folder"
        )
    if resume is not None:
        return Run.resume(resume, workflow, digests)
    return Run.start(workflow, saved, out, digests, described(type(settings), saved))


def _digest(source: object, name: str) -> str:
    """Digest of a file's content, or of the names, sizes and ends of a folder's files; empty for what is neither."""
    if not isinstance(source, str) or not Path(source).is_absolute():
        return ""
    path = Path(source)
    if path.is_file():
        with path.open("rb") as file:
            return checksum(iter(lambda: file.read(1 << 20), b""))
    files = list(files_of(path))
    if name in OF_PICTURES:  # nothing else in there is read
        files = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES] or files
    parts = (part for file in sorted(files) for part in (str(file.relative_to(path)), *_ends(file)))
    return checksum(parts) if files else ""


END = 1 << 19
"""Bytes at the beginning and at the end of a file by which images are told apart: all of them in most."""


def _ends(file: Path) -> tuple[str, bytes]:
    size = file.stat().st_size
    if not file.is_file():
        return str(size), b""
    with file.open("rb") as opened:
        first = opened.read(END)
        opened.seek(max(len(first), size - END))
        return str(size), first + opened.read(END)


def check_metric(bench: Benchmark, names: Iterable[str]) -> None:
    """Raise ``InputError`` for a metric that has the name of another column of a run's tables."""
    if bench.metric in ("arch", *names):
        raise InputError(
            f"benchmark {bench.name}: its metric has the name {bench.metric!r} of a scorer: expected another name"
        )


def about_benchmark(bench: Benchmark) -> dict[str, Any]:
    """What results say of the benchmark."""
    return {
        "name": bench.name,
        "metric": bench.metric,
        "higher_is_better": bench.higher_is_better,
        "architectures": len(bench),
    }


def enough(bench: Benchmark, count: int, least: int = 3) -> None:
    """Raise ``InputError`` for fewer architectures than a correlation needs."""
    if count < least:
        raise InputError(f"benchmark {bench.name}: {count} of its {len(bench)} architectures, expected {least} or more")


def default_test(bench: Benchmark, asked: int | None) -> int | None:
    """The number of test architectures: as asked, else the paper's 200, or all (None) where there are fewer."""
    if asked is not None:
        return asked
    everything = len(bench.split(validation=None, test=None).test)
    return PAPER_TEST if everything >= PAPER_TEST else None


def trivial_scores(space: Space[Any], archs: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
    """Scores of the trivial scorers that the space knows."""
    out = {}
    for name in TRIVIAL:
        of_architecture = SCORERS[name].of_architecture
        assert of_architecture is not None
        try:
            out[name] = np.array([of_architecture(space, arch) for arch in archs])
        except InputError:
            continue
    return out


def strata(space: Space[Any], archs: Sequence[Any]) -> list[str]:
    """Label of equal traits (equal trivial scores) for each architecture."""
    return [", ".join(f"{name}={float(value):.12g}" for name, value in space.traits(arch).items()) for arch in archs]


def correlation_table(
    bench: Benchmark,
    chosen: NDArray[np.intp],
    scores: Mapping[str, NDArray[np.float64]],
    about: Mapping[str, str],
) -> list[dict[str, Any]]:
    """One row a scorer: its correlations with quality on the chosen architectures, best tau-b first."""
    labels = strata(bench.space, [bench.archs[i] for i in chosen])
    rows = []
    for name, values in scores.items():
        finite = np.isfinite(values)
        result = correlate(bench.goodness[chosen], np.where(finite, values, np.nan), strata=labels)
        rows.append(
            {
                "name": name,
                "expression": about.get(name, ""),
                "failed": int(np.count_nonzero(~finite)),
                **as_json(result),
            }
        )
    undefined = -2.0
    taus = {row["name"]: row["kendall_b"]["value"] for row in rows}
    return sorted(rows, key=lambda row: -(undefined if taus[row["name"]] is None else taus[row["name"]]))


def as_json(result: Correlation) -> dict[str, Any]:
    """A correlation as JSON; undefined numbers are null."""

    def number(value: float) -> float | None:
        return float(value) if math.isfinite(value) else None

    def estimate(value: Estimate | None) -> dict[str, float | None] | None:
        if value is None:
            return None
        return {"value": number(value.value), "low": number(value.low), "high": number(value.high)}

    names = ("kendall_b", "kendall_a", "spearman", "pearson", "within")
    return {**{name: estimate(getattr(result, name)) for name in names}, "count": result.count}


def seconds_spent(statistics: Sequence[Statistics]) -> dict[str, float]:
    """Seconds over all networks, by what they went to: build, forward, statistics (on one core, when measured)."""
    keys = ("build", "forward", "statistics")
    return {"count": len(statistics), **{key: sum(s.seconds.get(key, 0.0) for s in statistics) for key in keys}}
