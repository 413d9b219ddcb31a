"""Scores of fixed networks, one expression for each primitive; run as a script, this file writes them anew."""

import csv
from pathlib import Path

import pytest
import torch

from autogas.proxies.evaluate import Evaluator
from autogas.proxies.expression import parse_proxy
from autogas.proxies.primitives import REGISTRY, Stage
from autogas.proxies.statistics import measure
from autogas.spaces import get_space

TABLE = Path(__file__).with_name("golden_scores.csv")
SMALL = {"base_width": 8, "decoder_divisor": 16, "stem_stride": 1, "image_size": 32}
ARCHS = ("64-1234-basic", "64-431212-basic", "64-41414-1_23_012", "64-41414-3_02_231")
# The rest of an expression around one word of each stage.
AROUND = {
    Stage.LAYERS: "{} > pearson > frobenius",
    Stage.TRANSFORM: "{} > gram > frobenius",
    Stage.BINARISER: "swish > {} > cosine > slogdet",
    Stage.KERNEL: "tanh > above_mean > {} > entry_std",
    Stage.REDUCTION: "swish > above_mean > gram > {}",
    Stage.AUGMENT: "pearson > slogdet > {}",
    Stage.AGGREGATE: "cosine > abslog > {}",
}


def expressions():
    return {AROUND[stage].format(word): (stage, word) for stage in Stage for word in REGISTRY[stage]}


def compute():
    """Score of every expression on every network."""
    proxies = {text: parse_proxy(text) for text in expressions()}
    prefixes = list(dict.fromkeys(proxy.prefix.canonical() for proxy in proxies.values()))
    space = get_space("transnas", **SMALL)
    networks = [
        measure(space.build(space.parse(arch), seed=0), space.inputs(batch_size=16, seed=0), prefixes) for arch in ARCHS
    ]
    evaluator = Evaluator(networks)
    return {text: dict(zip(ARCHS, evaluator.scores(proxy), strict=True)) for text, proxy in proxies.items()}


def stored():
    if not TABLE.exists():
        return {}
    with TABLE.open(newline="") as file:
        return {row.pop("expression"): {arch: float(v) for arch, v in row.items()} for row in csv.DictReader(file)}


STORED = stored()


@pytest.fixture(scope="module")
def scores():
    return compute()


def test_every_primitive_is_in_the_table():
    assert set(STORED) == set(expressions())


def test_networks_of_the_table():
    assert all(tuple(row) == ARCHS for row in STORED.values())


@pytest.mark.parametrize("text", expressions())
def test_score(text, scores):
    assert scores[text] == pytest.approx(STORED[text], rel=1e-4)


@pytest.mark.parametrize("text", expressions())
def test_score_tells_networks_apart(text):
    assert len(set(STORED[text].values())) == len(ARCHS)


def main():
    torch.set_num_threads(1)
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["expression", *ARCHS])
        writer.writerows([text, *(f"{value:.8g}" for value in row.values())] for text, row in compute().items())


if __name__ == "__main__":
    main()
