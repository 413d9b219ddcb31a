"""Score architectures of a space with many scorers at once: the unit of work that rankings and searches share."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import nn

from autogas.datasets import load_images
from autogas.errors import InputError
from autogas.proxies.language.expression import Expression, Prefix, measured_prefixes, parts_read
from autogas.proxies.named import get_proxy
from autogas.proxies.probe import Probe
from autogas.proxies.scorer import Scorer
from autogas.proxies.statistics.bank import FeatureBank
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.proxies.statistics.measure import Statistics, measure
from autogas.proxies.telling import as_number
from autogas.runs import Failure, attempt
from autogas.settings import Device, ScoredBatch, Settings, validated
from autogas.spaces import Arch, Space, by_name, get_space, shared_space


class Scoring(Settings):
    """With what, and on what, networks are scored."""

    proxies: list[str] = Field(min_length=1, description="scorers")
    batch_size: ScoredBatch = Field(16, description="samples that networks are scored on")
    images: str | None = Field(None, description="score on images of this source; None: on the space's own input")
    seed: int = Field(0, ge=0, description="of weights and noise")
    device: Device = "cpu"
    code: str | None = Field(None, description="digest of the code that builds networks; None: looked up each time")


def space_key(space: Space[Any]) -> tuple[str, str]:
    """Name and settings of a space, for a worker to make it again."""
    return space.name, json.dumps(dict(space.settings))


def functions_of(proxies: Iterable[str]) -> list[object]:
    """The functions that proxies are made of, by name or text."""
    found: list[object] = []
    for proxy in map(get_proxy, proxies):
        if isinstance(proxy, Scorer):
            found += [proxy.of_network, proxy.of_architecture]
        else:
            found += [primitive.function for _, term in proxy.terms for primitive in term.primitives]
    return found


def unscored(reason: str) -> dict[str, Any]:
    """The record of an architecture that could not be scored at all."""
    return {"scores": {}, "reason": reason, "failures": {}, "seconds": {}, "costs": {}}


def score_architecture(
    space: str | Space[Arch],
    arch: Arch | str,
    proxies: str | Sequence[str],
    *,
    batch_size: int = 16,
    images: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    failures: dict[str, str] | None = None,
) -> dict[str, float]:
    """Scores of an architecture by name or text of each proxy: expressions, scorers, and what only counts.

    The network is built once, and not at all where no proxy needs it.

    Args:
        space: the search space, or its name.
        arch: an architecture of it, or its text.
        proxies: names or expressions, or one of them.
        batch_size: samples that the network is scored on.
        images: score on images of this source; None: on the space's own input.
        seed: of weights and input.
        device: where the network runs.
        failures: gets the reasons of proxies that have no score, which are left out; None: the first is an error.

    Raises:
        InputError: an unknown space or proxy, an architecture outside the space, or a score that is not finite, with
            the reason.

    Examples:
        >>> score_architecture("transnas-macro", "64-1234-basic", ["macs", "num_downsamples"])["num_downsamples"]
        -2.0
    """
    name, settings = by_name(space)
    here = get_space(name, **settings)
    names = [proxies] if isinstance(proxies, str) else proxies
    given = {"proxies": names, "batch_size": batch_size, "images": images, "seed": seed, "device": device}
    scoring = validated(Scoring, given)
    found = score_record(str(here.parse(str(arch))), space_key(here), scoring.model_dump_json())
    names = scoring.proxies
    reasons = {
        proxy: f"proxy {proxy!r} has no score on {arch}: {found['failures'].get(proxy, found['reason'])}"
        for proxy in names
        if found["scores"].get(proxy) is None
    }
    if failures is None:
        for reason in reasons.values():
            raise InputError(reason)
    else:
        failures |= reasons
    return {proxy: float(found["scores"][proxy]) for proxy in names if proxy not in reasons}


def score_record(text: str, space: tuple[str, str], scoring_json: str) -> dict[str, Any]:
    """Scores of one architecture by every proxy; the unit of work that the record keeps.

    The network is built once, and not at all where no scorer needs it. All expressions share one forward pass, or the
    feature bank, all other scorers the passes of one ``Probe``. What fails leaves the others alone.
    """
    s = Scoring.model_validate_json(scoring_json)
    subject = Subject(text, space, s)
    named = {name: get_proxy(name) for name in s.proxies}
    found = Scores({}, {}, {})
    reason = subject.by_expressions({n: p for n, p in named.items() if isinstance(p, Expression)}, found)
    for name, scorer in named.items():
        if isinstance(scorer, Scorer):
            subject.by_scorer(name, scorer, found)
    return {**vars(found), "reason": reason, "seconds": subject.seconds}


class Subject:
    """An architecture that is scored: its network, built when it is first needed, and the seconds of its passes."""

    def __init__(self, text: str, space: tuple[str, str], settings: Scoring) -> None:
        self.settings = settings
        self.space_key = space
        self.space = shared_space(*space)
        self.arch = self.space.parse(text)
        self.seconds: dict[str, float] = {}

    @functools.cached_property
    def network(self) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
        """It and what it is scored on."""
        s = self.settings
        start = time.perf_counter()
        model = self.space.build(self.arch, seed=s.seed).to(s.device)
        inputs = tuple(x.to(s.device) for x in scoring_inputs(self.space_key, s.images, s.batch_size, s.seed))
        self.seconds["build"] = time.perf_counter() - start
        return model, inputs

    @functools.cached_property
    def probe(self) -> Probe:
        """The passes that scorers share."""
        return Probe(*self.network, seed=self.settings.seed)

    def statistics(self, prefixes: Sequence[Prefix], parts: Mapping[str, frozenset[str]]) -> Statistics:
        """From the feature bank if it holds all that is needed, else from a pass."""
        s = self.settings
        if s.images is None:
            bank = FeatureBank(self.space, batch_size=s.batch_size, seed=s.seed, device=s.device, code=s.code)
            known = bank.load(self.arch, prefixes) if set(prefixes) <= set(bank.prefixes) else None
            if known is not None:
                return known
        return measure(*self.network, prefixes, seed=s.seed, parts=parts)

    def by_expressions(self, expressions: Mapping[str, Expression], found: Scores) -> str:
        """Note the scores of all expressions; returns why the network has none, or nothing."""
        if not expressions:
            return ""
        read = expressions.values()
        statistics = attempt(self.statistics, measured_prefixes(read), parts_read(read))
        if isinstance(statistics, Failure):
            for name in expressions:
                found.fail(name, statistics.reason)
            return statistics.reason
        self.seconds |= statistics.seconds
        evaluator = Evaluator([statistics])
        reason = evaluator.failures.get(0, "")
        cost = statistics.seconds["forward"] + statistics.seconds["statistics"]
        for name, proxy in expressions.items():
            value = attempt(evaluator.scores, proxy)
            if isinstance(value, Failure):
                found.fail(name, value.reason)
            else:
                found.put(name, value[0], cost, reason)
        return reason

    def by_scorer(self, name: str, scorer: Scorer, found: Scores) -> None:
        """Note the score of one scorer that is no expression."""
        result = attempt(self._measured, scorer)
        if isinstance(result, Failure):
            found.fail(name, result.reason)
        else:
            found.put(name, *result, scorer.undefined)

    def _measured(self, scorer: Scorer) -> tuple[float, float]:
        """A score and the seconds that it took, with the passes that it needs."""
        if scorer.of_architecture is None:
            return self._on_network(scorer)
        start = time.perf_counter()
        try:
            value = as_number(scorer.of_architecture(self.space, self.arch))
        except InputError as error:  # the space has no such count, but its networks may
            with contextlib.suppress(InputError):
                return self._on_network(scorer)
            raise error from None
        return value, time.perf_counter() - start

    def _on_network(self, scorer: Scorer) -> tuple[float, float]:
        found = self.probe.cost_of(scorer.of_network)
        if "recorded" in self.probe.seconds:
            self.seconds.setdefault("forward", self.probe.seconds["recorded"])
        return found


@dataclass(frozen=True)
class Scores:
    """Scores of one architecture by name, null where there is none, with what they cost and why they failed."""

    scores: dict[str, float | None]
    failures: dict[str, str]
    costs: dict[str, float]

    def put(self, name: str, value: float, seconds: float, reason: str = "") -> None:
        """Note a score; one that is not finite is a failure, for ``reason`` if there is one."""
        self.costs[name] = seconds
        if math.isfinite(value):
            self.scores[name] = float(value)
        else:
            self.fail(name, reason or f"the score is {value}")

    def fail(self, name: str, reason: str) -> None:
        """Note that there is no score."""
        self.scores[name], self.failures[name] = None, reason


def scoring_inputs(space: tuple[str, str], images: str | None, batch_size: int, seed: int) -> tuple[torch.Tensor, ...]:
    """What networks are scored on: noise, or the first images of a source."""
    return _inputs(shared_space(*space), images, batch_size, seed)


@functools.lru_cache(maxsize=1)
def _inputs(here: Space[Any], images: str | None, batch_size: int, seed: int) -> tuple[torch.Tensor, ...]:
    if images is None:
        return here.inputs(batch_size=batch_size, seed=seed)
    if here.input_shapes != ((3, here.image_size, here.image_size),):
        takes = " and ".join("x".join(map(str, shape)) for shape in here.input_shapes)
        raise InputError(
            f"--images {images!r}: networks of space {here.name} do not take an image of 3 channels, but {takes}"
        )
    found = load_images(images, size=here.image_size, limit=batch_size)
    if len(found) < batch_size:
        raise InputError(f"--images {images!r}: {len(found)} images are fewer than --batch-size {batch_size}")
    return (found.batch(torch.arange(batch_size)),)
