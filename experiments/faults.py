"""Break runs on purpose and see that nothing is lost, mixed or silently wrong.

    python experiments/faults.py                 # everything: about 40 minutes on two cores
    python experiments/faults.py damage --count 20

Four kinds of fault, one table each:

* ``kills``: every workflow is killed with ``kill -9`` at random moments. No process of it may live five seconds later,
  and ``--resume`` must end in the files of an undisturbed run, byte for byte.
* ``damage``: every kind of file that is read back is damaged at random: a flipped bit, a lost end, a zeroed page,
  a repeated piece. It must be refused in one line, or repaired, or read as what was written.
* ``disks``: runs write to a file system that is full at different moments (needs root, to mount one in memory). The
  message is one line, and after room is made the run continues to the files of an undisturbed one.
* ``writers``: two processes write one run folder or one benchmark at the same moment. One of them is refused.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from autogas.files import read_table

GRACE = 5.0
"""Seconds that processes of a killed run may go on."""
IMAGES = "IMAGES"
"""Stands in commands for a folder of small images."""
MARK = "AUTOGAS_FAULTS"
"""Environment variable by which all processes of one command are found."""
GAN = "[[1,1,1,0,2,3,1],[0,1,0,1,2,1,0],[2,0,1,1,1,0,1]]"
RECIPE = "discriminator_width=16 discriminator_batch=8 generator_batch=8 critic_steps=1".split()
TINY = [word for setting in RECIPE for word in ("--recipe", setting)]


@dataclass(frozen=True)
class Workflow:
    """A command that takes some seconds, and the files that must be equal however it was disturbed."""

    name: str
    command: list[str]
    files: tuple[str, ...] = ("results.json",)
    needs: tuple[str, ...] = field(default=())


DISCOVER = "discover --iterations 8 --validation 24 --test 24 --jobs 2".split()
WORKFLOWS = [
    Workflow("discover", DISCOVER, ("results.json", "candidates.parquet", "scores.parquet")),
    Workflow("rank", "rank params nwot synflow autogas --test 40 --jobs 2".split(), ("results.json", "scores.parquet")),
    Workflow(
        "search, autoencoders",
        "search transnas-micro --iterations 3 --population 8 --sample 4 --agreement 0 --jobs 2".split(),
    ),
    Workflow(
        "search, GANs", "search eagan-generator --iterations 3 --population 6 --sample 4 --agreement 0 --jobs 2".split()
    ),
    Workflow(
        "train, a GAN",
        [
            *f"train {GAN} --width 8 --images IMAGES --recipe steps=60 --samples 64 --checkpoint-every 6".split(),
            *"--checkpoint-samples 64 --log-every 1".split(),
            *TINY,
        ],
        ("results.json", "generator.safetensors", "losses.jsonl"),
    ),
    Workflow(
        "bench build",
        [
            *"bench build --space eagan-generator --images IMAGES --set width=8 --count 6 --repeats 2".split(),
            *"--seeds 2 --recipe steps=10 --samples 64 --jobs 2".split(),
            *TINY,
        ],
        ("results.json", "trained.parquet"),
    ),
    Workflow("evaluate", "evaluate --images IMAGES --reference IMAGES --samples 200".split()),
    Workflow("reproduce", "reproduce table2 --batch-size 4 --jobs 2".split()),
]


class Bench:
    """A folder for one experiment, with undisturbed runs to compare with."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        self.undisturbed: dict[str, tuple[Path, float]] = {}
        self._numbers = iter(range(10**6))
        images = self.folder / IMAGES
        images.mkdir()
        noise = np.random.default_rng(0)
        for number in range(256):
            pixels = noise.integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((32, 32)).save(images / f"{number}.png")

    def place(self) -> Path:
        """A folder that nothing else uses."""
        path = self.folder / str(next(self._numbers))
        path.mkdir()
        return path

    def reference(self, workflow: Workflow) -> tuple[Path, float]:
        """Folder and seconds of an undisturbed run."""
        if workflow.name not in self.undisturbed:
            place = self.place()
            start = time.monotonic()
            done = run(workflow.command, place)
            if done.returncode:
                raise SystemExit(f"{workflow.name}: {done.stderr[-500:]}")
            self.undisturbed[workflow.name] = place / "run", time.monotonic() - start
        return self.undisturbed[workflow.name]

    def differing(self, workflow: Workflow, place: Path) -> list[str]:
        """Files that differ from those of the undisturbed run."""
        whole, _ = self.reference(workflow)
        return [name for name in workflow.files if content(place / "run" / name) != content(whole / name)]


def content(path: Path) -> object:
    """What a file holds, without measured seconds; None where there is none."""
    if not path.is_file():
        return None
    if path.suffix != ".parquet":
        return path.read_bytes()
    table = read_table(path)[0]
    return table.drop(columns=[name for name in table if "seconds" in name]).to_csv()


def start(command: Sequence[str], place: Path, out: Path | None = None) -> subprocess.Popen[str]:
    """``autogas`` with a home, a store and a run folder below ``place``."""
    words = [*command] if "--resume" in command else [*command, "--out", str(out or place / "run")]
    words = [str(place.parent / IMAGES) if word == IMAGES else word for word in words]
    environment = os.environ | {"AUTOGAS_HOME": str(place / "home"), MARK: str(place), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "autogas", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(command: Sequence[str], place: Path, out: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The same to its end."""
    process = start(command, place, out)
    stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def resumed(workflow: Workflow, place: Path) -> subprocess.CompletedProcess[str]:
    """Continue a run, or start it where nothing was written yet."""
    if not (place / "run" / "settings.json").exists():
        return run(workflow.command, place)
    verb = workflow.command[:2] if workflow.command[0] == "bench" else workflow.command[:1]
    return run([*verb, "--resume", str(place / "run")], place)


def survivors(place: Path) -> list[int]:
    """Processes that belong to the commands of a place."""
    mark = f"{MARK}={place}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def one_line(stderr: str) -> bool:
    """Whether a message is one line, without a traceback."""
    return "Traceback" not in stderr and len(stderr.strip().splitlines()[-1:]) == 1


def kills(bench: Bench, count: int) -> Iterator[list[object]]:
    """Kill every workflow in turn, at a moment that is uniform over its time."""
    yield ["workflow", "killed", "process left after 5 s", "resumed to equal files", "other"]
    tally: dict[str, Counter[str]] = {workflow.name: Counter() for workflow in WORKFLOWS}
    for number in range(count):
        workflow = WORKFLOWS[number % len(WORKFLOWS)]
        counts = tally[workflow.name]
        _, seconds = bench.reference(workflow)
        place = bench.place()
        process = start(workflow.command, place)
        time.sleep(bench.rng.uniform(0.3, 1.0) * seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(GRACE)
        counts["killed"] += 1
        counts["left"] += bool(survivors(place))
        done = resumed(workflow, place)
        wrong = bench.differing(workflow, place)
        counts["equal"] += done.returncode == 0 and not wrong
        if done.returncode or wrong:
            print(f"  {workflow.name}: exit {done.returncode}, {wrong}, {done.stderr[-300:]}", file=sys.stderr)
        shutil.rmtree(place)
    for name, counts in tally.items():
        if counts["killed"]:
            yield [name, counts["killed"], counts["left"], counts["equal"], counts["killed"] - counts["equal"]]


def damaged_copy(content: bytes, rng: random.Random) -> bytes:
    """One of four kinds of damage, never nothing."""
    while True:
        data = bytearray(content)
        at = rng.randrange(len(data))
        kind = rng.randrange(4)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            length = min(rng.choice([16, 512, 4096]), len(data) - at)
            data[at : at + length] = bytes(length)
        else:
            piece = data[at : at + rng.choice([1, 64, 1024])]
            data[at:at] = piece
        if data != content:
            return bytes(data)


def readers(bench: Bench) -> dict[str, tuple[Path, Callable[[], Any]]]:
    """Every kind of file that is read back: an example, and what reads it."""
    from autogas import get_space, load_benchmark
    from autogas.benchmarks.store import save_benchmark
    from autogas.files import read_json
    from autogas.metrics.frechet import FeatureStatistics
    from autogas.proxies.language.expression import Prefix
    from autogas.proxies.statistics.bank import FeatureBank
    from autogas.runs import Run
    from autogas.training.checkpoint import load_tensors
    from autogas.training.export import load_generator

    found = {workflow.name: bench.reference(workflow)[0] for workflow in WORKFLOWS[:5]}
    discovery, training = found["discover"], found["train, a GAN"]
    os.environ["AUTOGAS_HOME"] = str(bench.place())
    mini = load_benchmark("mini-autoencoder")
    rows = {"arch": [str(arch) for arch in mini.archs], mini.metric: mini.quality}
    stored = save_benchmark(
        "stored",
        pd.DataFrame(rows),
        space=mini.space.name,
        space_settings=mini.space.settings,
        metric=mini.metric,
        provenance={},
    )
    bank = FeatureBank(get_space("transnas-macro", image_size=64), batch_size=4, prefixes=[Prefix()])
    arch = bank.space.parse("64-1234-basic")
    bank.fill([arch])
    statistics = bench.place() / "reference.npz"
    run([*"evaluate --images IMAGES --reference IMAGES --samples 64".split(),
         "--save-reference", str(statistics)], statistics.parent)  # fmt: skip

    def table(name: str) -> Callable[[], Any]:
        return lambda: Run.open(discovery).read_table(name).to_csv()

    def tensors(path: Path) -> Callable[[], Any]:
        return lambda: {name: tensor.numpy().tobytes() for name, tensor in load_tensors(path)[0].items()}

    def generator() -> Any:
        network = load_generator(training / "generator.safetensors").network
        return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}

    def banked() -> Any:
        (one,) = bank.load_all([arch])
        return {str(prefix): gram.tobytes() for prefix, gram in one.gram.items()}

    def stored_rows() -> Any:
        one = load_benchmark("stored")
        return [str(arch) for arch in one.archs], one.quality.tobytes(), one.metric, one.higher_is_better

    def moments() -> Any:
        one = FeatureStatistics.load(statistics)
        return one.mu.tobytes(), one.sigma.tobytes(), one.count

    return {
        "settings of a run": (discovery / "settings.json", lambda: read_json(discovery / "settings.json")),
        "results of a run": (discovery / "results.json", lambda: Run.open(discovery).results),
        "costs of a run": (discovery / "costs.json", lambda: Run.open(discovery).costs),
        "table of a run": (discovery / "candidates.parquet", table("candidates")),
        "record of a run": (discovery / "record.sqlite", lambda: dict(Run.open(discovery).record)),
        "checkpoint": (training / "checkpoint.safetensors", tensors(training / "checkpoint.safetensors")),
        "generator": (training / "generator.safetensors", generator),
        "benchmark": (stored, stored_rows),
        "feature bank": (bank.path(arch), banked),
        "statistics of images": (statistics, moments),
    }


def damage(bench: Bench, count: int) -> Iterator[list[object]]:
    """Damage every kind of file and read it."""
    from autogas.errors import InputError

    yield ["file", "damaged", "refused in one line", "right or repaired", "silently other", "traceback"]
    for name, (path, read) in readers(bench).items():
        content = path.read_bytes()
        whole = read()
        tally: Counter[str] = Counter()
        for _ in range(count):
            path.write_bytes(damaged_copy(content, bench.rng))
            try:
                tally["right" if read() == whole else "other"] += 1
            except InputError as error:
                tally["refused" if "\n" not in str(error) else "traceback"] += 1
            except Exception as error:  # noqa: BLE001 - what this script looks for
                tally["traceback"] += 1
                print(f"  {name}: {type(error).__name__}: {error}", file=sys.stderr)
            for beside in path.parent.glob(path.name + "-*"):
                beside.unlink()
        path.write_bytes(content)
        yield [name, count, tally["refused"], tally["right"], tally["other"], tally["traceback"]]


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Callable[[int], None]]:
    """A file system of so many kilobytes; gives a function that makes it another size."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], check=True)
    try:
        yield lambda size: subprocess.run(
            ["mount", "-o", f"remount,size={size}k", str(folder)], check=True, stdout=subprocess.DEVNULL
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def disks(bench: Bench, count: int) -> Iterator[list[object]]:
    """Run into a full disk, make room, and go on."""
    yield ["workflow", "full disks", "one line and exit 2", "resumed to equal files", "other"]
    tally: dict[str, Counter[str]] = {}
    number = tried = 0
    while number < count and tried < 4 * count:
        workflow = WORKFLOWS[tried % len(WORKFLOWS)]
        tried += 1
        whole, _ = bench.reference(workflow)
        needed = sum(file.stat().st_blocks for file in whole.rglob("*") if file.is_file()) // 2
        place = bench.place()
        (place / "home").mkdir()
        with small_disk(place / "disk", max(int(needed * bench.rng.uniform(0.1, 0.9)), 8)) as resize:
            (place / "run").symlink_to(place / "disk" / "run")
            done = run(workflow.command, place, place / "disk" / "run")
            if done.returncode == 0:
                continue
            number += 1
            counts = tally.setdefault(workflow.name, Counter())
            counts["full"] += 1
            polite = done.returncode == 2 and one_line(done.stderr)
            counts["polite"] += polite
            resize(10 * needed + 1024)
            again = resumed(workflow, place) if (place / "run").exists() else None
            if again is None:
                again = run(workflow.command, place, place / "disk" / "run")
            wrong = bench.differing(workflow, place)
            counts["equal"] += again.returncode == 0 and not wrong
            if not polite or again.returncode or wrong:
                print(f"  {workflow.name}: {done.returncode} {done.stderr[-300:]}\n  then {again.returncode} {wrong} "
                      f"{again.stderr[-300:]}", file=sys.stderr)  # fmt: skip
    for name, counts in tally.items():
        yield [name, counts["full"], counts["polite"], counts["equal"], counts["full"] - counts["equal"]]


def writers(bench: Bench) -> Iterator[list[object]]:
    """Two processes at once, in pairs."""
    yield ["pair", "exit codes", "the refusal is one line", "files equal an undisturbed run's"]
    by_name = {workflow.name: workflow for workflow in WORKFLOWS}
    discover, gan, build = by_name["discover"], by_name["train, a GAN"], by_name["bench build"]
    ranked = by_name["rank"]
    stopped = bench.place()
    process = start(gan.command, stopped)
    while not (stopped / "run" / "checkpoint.safetensors").exists():
        time.sleep(0.05)
    process.kill()
    process.wait()
    resume = ["train", "--resume", str(stopped / "run")]
    pairs: list[tuple[str, Workflow, Sequence[str], Sequence[str], Path]] = [
        ("discover, discover", discover, discover.command, discover.command, bench.place()),
        ("discover, another seed", discover, discover.command, [*discover.command, "--seed", "1"], bench.place()),
        ("discover, rank", discover, discover.command, ranked.command, bench.place()),
        ("train --resume, twice", gan, resume, resume, stopped),
        ("bench build, bench build", build, build.command, build.command, bench.place()),
    ]
    for name, workflow, first, second, place in pairs:
        processes = [start(first, place), start(second, place)]
        ended = [(process.communicate()[1], process.returncode) for process in processes]
        codes = [code for _, code in ended]
        refusals = [text for text, code in ended if code]
        if codes == [2, 0] and second != first:  # the other one came first
            whole = bench.place()
            run(second, whole)
            equal = (whole / "run" / "results.json").read_bytes() == (place / "run" / "results.json").read_bytes()
        else:
            equal = not bench.differing(workflow, place)
        yield [name, " and ".join(map(str, codes)), all(map(one_line, refusals)) and len(refusals) == 1, equal]


def main() -> None:
    """Print one table a kind of fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=["kills", "damage", "disks", "writers"])
    parser.add_argument("--count", type=int, help="kills, files of each kind, full disks; default 30, 300 and 14")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    makers: dict[str, tuple[Callable[..., Iterator[list[object]]], int | None]] = {
        "kills": (kills, 30),
        "damage": (damage, 300),
        "disks": (disks, 14),
        "writers": (writers, None),
    }
    with tempfile.TemporaryDirectory(prefix="autogas-faults-") as folder:
        bench = Bench(Path(folder), random.Random(given.seed))
        for kind in given.kinds:
            make, count = makers[kind]
            print(f"\n{kind}\n")
            rows = make(bench, given.count or count) if count else make(bench)
            for number, row in enumerate(rows):
                print("| " + " | ".join(map(str, row)) + " |", flush=True)
                if not number:
                    print("|" + "---|" * len(row))


if __name__ == "__main__":
    main()
