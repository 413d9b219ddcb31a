"""The feature bank: sufficient statistics on disk, so that a network is built and run once for all proxies."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import time
from collections.abc import Collection, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autogas import spaces
from autogas.code import digest_of
from autogas.files import checksum, replacing, write_json
from autogas.paths import home
from autogas.proxies.language.expression import Prefix, parse_term
from autogas.proxies.language.grammar import default_prefixes
from autogas.proxies.named import named_prefixes
from autogas.proxies.statistics.measure import Statistics, measure
from autogas.runs import Failure, parallel_map
from autogas.spaces import Space, shared_space

FORMAT = 15
"""Raise when statistics of the same network change, be it by a rounding: old and new ones must not be mixed."""


def code_of(space: Space[Any]) -> str:
    """Digest of the code that makes the networks of a space: of the package's spaces, and of a user's own."""
    return checksum([_code_of_package(), digest_of(space.makers)])


@functools.cache
def _code_of_package() -> str:
    return checksum(file.read_bytes() for file in sorted(Path(spaces.__file__).parent.rglob("*.py")))


class FeatureBank:
    """Statistics of the architectures of one space, with one input and one set of prefixes.

    A file ends with a checksum of its content, its architecture and the bank's key; one that is damaged or was made
    with another key is measured again. Processors of one kind share a bank although they round differently: networks
    run with one thread, and the instruction set is not part of the key.

    Args:
        space: where architectures come from; its settings and the code that builds its networks are part of the key.
        prefixes: what is kept of each layer (canonical), and with it the code of words that are a user's. The default
            is all of the default grammar and of the expressions that have a name.
        batch_size: samples of noise.
        seed: of weights and noise.
        device: where networks run; part of the key, since devices round differently.
        root: folder of all banks; default ``<home>/features``.
        code: digest of the code that builds networks, part of the key; default ``code_of``.
    """

    def __init__(
        self,
        space: Space[Any],
        *,
        prefixes: Sequence[Prefix] | None = None,
        batch_size: int = 16,
        seed: int = 0,
        device: str = "cpu",
        root: Path | None = None,
        code: str | None = None,
    ) -> None:
        self.space = space
        given = (*default_prefixes(), *named_prefixes()) if prefixes is None else prefixes
        self.prefixes = tuple(dict.fromkeys(prefix.measured for prefix in given))
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.root = root or home() / "features"
        self.key = {
            "space": space.name,
            "settings": dict(space.settings),
            "inputs": [list(shape) for shape in space.input_shapes],
            "prefixes": [str(prefix) for prefix in self.prefixes],
            "batch_size": batch_size,
            "seed": seed,
            "device": torch.device(device).type,
            "torch": torch.__version__,
            "code": code or code_of(space),
            "words": digest_of(word.function for prefix in self.prefixes for word in prefix.primitives),
            "format": FORMAT,
        }
        digest = hashlib.blake2b(json.dumps(self.key, sort_keys=True).encode(), digest_size=8).hexdigest()
        self.folder = self.root / f"{space.name}-{digest}"

    def path(self, arch: Hashable) -> Path:
        """File of one architecture."""
        name = str(arch)
        if len(name) > 100 or not name.replace("-", "").replace("_", "").isalnum():
            name = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        return self.folder / f"{name}.npz"

    def load(self, arch: Hashable, prefixes: Collection[Prefix] | None = None) -> Statistics | None:
        """The statistics of one architecture, or None when they are not banked (or the file is damaged).

        Args:
            arch: the architecture.
            prefixes: what is read of them; default all.
        """
        try:
            content = self.path(arch).read_bytes()
        except OSError:
            return None
        end = -len(self._seal(arch, b""))
        whole = self._seal(arch, memoryview(content)[:end]) == content[end:]
        return _unpacked(content, self.prefixes if prefixes is None else prefixes) if whole else None

    def store(self, arch: Hashable, statistics: Statistics) -> None:
        """Bank what was measured of one architecture."""
        content = _packed(statistics)
        with replacing(self.path(arch)) as temporary, temporary.open("wb") as file:
            file.write(content)
            file.write(self._seal(arch, content))

    def _seal(self, arch: Hashable, content: bytes | memoryview) -> bytes:
        return checksum([json.dumps(self.key, sort_keys=True), str(arch), content]).encode()

    def measure(self, arch: Hashable) -> Statistics:
        """Build and run one network; nothing is stored."""
        start = time.perf_counter()
        model = self.space.build(arch, seed=self.seed)
        inputs = self.space.inputs(batch_size=self.batch_size, seed=self.seed)
        if self.device != "cpu":
            model, inputs = model.to(self.device), tuple(x.to(self.device) for x in inputs)
        build = time.perf_counter() - start
        statistics = measure(model, inputs, self.prefixes, seed=self.seed)
        return dataclasses.replace(statistics, seconds={"build": build, **statistics.seconds})

    def fill(self, archs: Sequence[Hashable], *, jobs: int | None = None) -> dict[str, str]:
        """Measure what is missing, in parallel; returns the architectures that could not be measured, with reasons."""
        missing = list(dict.fromkeys(str(arch) for arch in archs if not self.path(arch).exists()))
        if not missing:
            return {}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "key.json", self.key)  # for people
        task = functools.partial(_measure_and_store, bank=self._specification())
        failed = {}
        for arch, result in parallel_map(task, missing, jobs=jobs, description="features"):
            if isinstance(result, Failure):
                failed[arch] = result.reason
        return failed

    def load_all(
        self, archs: Sequence[Hashable], *, prefixes: Collection[Prefix] | None = None, jobs: int | None = None
    ) -> list[Statistics]:
        """Statistics of all ``archs`` in order, measuring what is missing; one that fails has a reason instead.

        Args:
            archs: architectures of the space.
            prefixes: what is read of them (all of the bank's are measured); default all.
            jobs: processes, see ``autogas.runs.processes``.
        """
        failed = self.fill(archs, jobs=jobs)
        found = [None if str(arch) in failed else self.load(arch, prefixes) for arch in archs]
        damaged = [arch for arch, one in zip(archs, found, strict=True) if one is None and str(arch) not in failed]
        for arch in damaged:
            self.path(arch).unlink(missing_ok=True)
        failed |= self.fill(damaged, jobs=jobs)
        return [
            one
            or self.load(arch, prefixes)
            or _failed(failed.get(str(arch), "the feature bank could not be read"), self.prefixes)
            for arch, one in zip(archs, found, strict=True)
        ]

    def _specification(self) -> dict[str, Any]:
        return {
            "space": (self.space.name, dict(self.space.settings)),
            "prefixes": self.prefixes,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "device": self.device,
            "root": self.root,
            "code": self.key["code"],
        }


def _measure_and_store(text: str, bank: dict[str, Any]) -> None:
    name, settings = bank["space"]
    opened = FeatureBank(shared_space(name, json.dumps(settings)), **{k: v for k, v in bank.items() if k != "space"})
    arch = opened.space.parse(text)
    opened.store(arch, opened.measure(arch))


def _failed(reason: str, prefixes: Sequence[Prefix]) -> Statistics:
    layers = {prefix.layers for prefix in prefixes}
    live = {word: np.zeros(0, dtype=bool) for word in layers}
    return Statistics({}, {}, {}, live, {word: np.zeros(0, dtype=np.int64) for word in layers}, reason, {})


def _packed(statistics: Statistics) -> bytes:
    """One array a quantity and kind of layers: a file of a few members reads ten times faster than one of a hundred."""
    arrays: dict[str, Any] = {}
    prefixes: dict[str, list[str]] = {}
    for layers, live in statistics.live.items():
        chosen = [prefix for prefix in statistics.gram if prefix.layers == layers]
        prefixes[layers] = [str(prefix) for prefix in chosen]
        gram = np.stack([statistics.gram[prefix] for prefix in chosen])
        rows, columns = np.triu_indices(gram.shape[-1])
        arrays[f"{layers}|G"] = gram[..., rows, columns]
        arrays[f"{layers}|s"] = np.stack([statistics.sums[prefix] for prefix in chosen])
        arrays[f"{layers}|D"] = np.stack([statistics.sizes[prefix] for prefix in chosen])
        arrays[f"{layers}|live"] = live
        arrays[f"{layers}|positions"] = statistics.positions[layers]
    meta = {"prefixes": prefixes, "failure": statistics.failure, "seconds": statistics.seconds}
    arrays["meta"] = np.array(json.dumps(meta))
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _unpacked(content: bytes, wanted: Collection[Prefix]) -> Statistics:
    gram, sums, sizes, live, positions = {}, {}, {}, {}, {}
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        meta = json.loads(str(arrays["meta"]))
        for layers, texts in meta["prefixes"].items():
            packed, s, D = (arrays[f"{layers}|{part}"] for part in "GsD")
            live[layers] = arrays[f"{layers}|live"]
            positions[layers] = arrays[f"{layers}|positions"]
            n = s.shape[-1]
            rows, columns = np.triu_indices(n)
            known = [(i, prefix) for i, prefix in enumerate(map(_prefix, texts)) if prefix in wanted]
            chosen = packed[[i for i, _ in known]]
            full = np.empty((*chosen.shape[:2], n, n), dtype=packed.dtype)
            full[..., rows, columns] = chosen
            full[..., columns, rows] = chosen
            for (i, prefix), G in zip(known, full, strict=True):
                gram[prefix], sums[prefix], sizes[prefix] = G, s[i].copy(), D[i].copy()
    return Statistics(gram, sums, sizes, live, positions, meta["failure"], meta["seconds"])


@functools.cache
def _prefix(text: str) -> Prefix:
    return parse_term(f"{text} > gram > trace").prefix
