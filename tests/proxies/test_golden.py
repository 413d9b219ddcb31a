"""Scores of fixed networks by each primitive and each scorer; run as a script, this file writes the tables anew."""

import csv
from pathlib import Path

import pytest
import torch

from autogas.proxies.language.expression import measured_prefixes, parse_proxy
from autogas.proxies.language.parts import PARTS
from autogas.proxies.named import DEFAULT_PROXY, EXPRESSIONS
from autogas.proxies.primitives import REGISTRY, Stage
from autogas.proxies.score import score_many
from autogas.proxies.scorer import SCORERS
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.proxies.statistics.measure import measure
from autogas.spaces import get_space

TABLE = Path(__file__).with_name("golden_scores.csv")
ZOO_TABLE = Path(__file__).with_name("golden_zoo.csv")
LARGEST_SENSITIVITY = 0.03
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
    around = {AROUND[stage].format(word): (stage, word) for stage in Stage for word in REGISTRY[stage]}
    in_parts = {f"convolutions@{part} > pearson > frobenius": ("part", part) for part in PARTS}
    return (
        around
        | in_parts
        | {
            EXPRESSIONS[name]: (word, name)
            for word, name in (("default", DEFAULT_PROXY), ("ours", "separation"), ("ours", "common"))
        }
    )


def networks(draw=None):
    """The networks with their inputs, or those that amplify most with inputs that are another rounding of the same."""
    space = get_space("transnas", **SMALL)
    for arch in ARCHS if draw is None else ARCHS[2:]:
        (x,) = space.inputs(batch_size=16, seed=0)
        if draw is not None:
            noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(draw)) * 2 - 1
            x = x * (1 + torch.finfo(x.dtype).eps * noise)
        yield arch, space.build(space.parse(arch), seed=0), (x,)


def compute(draw=None):
    """Score of every expression on every network."""
    proxies = {text: parse_proxy(text) for text in expressions()}
    prefixes = measured_prefixes(proxies.values())
    found = {arch: measure(model, inputs, prefixes) for arch, model, inputs in networks(draw)}
    names, evaluator = list(found), Evaluator(list(found.values()))
    return {text: dict(zip(names, evaluator.scores(proxy), strict=True)) for text, proxy in proxies.items()}


def compute_zoo(draw=None):
    """Score of every network by every scorer that a module has and that can differ: their decoders are one."""
    names = [name for name in SCORERS if name not in ("num_downsamples", "num_skips", "num_transposed")]
    found = {arch: score_many(model, inputs, names, seed=0) for arch, model, inputs in networks(draw)}
    return {name: {arch: scores[name] for arch, scores in found.items()} for name in names}


def tolerances(found):
    """Other processors round otherwise, which some scores amplify: five times what the last bit of the inputs does."""
    other = compute(draw=0) | compute_zoo(draw=0)
    sensitivity = {
        name: max(abs(value / found[name][arch] - 1) for arch, value in row.items()) for name, row in other.items()
    }
    assert max(sensitivity.values()) < LARGEST_SENSITIVITY
    return {name: max(5 * value, 5e-4) for name, value in sensitivity.items()}


def stored(table):
    if not table.exists():
        return {}
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    return {name: dict(zip(rows[0][1:], map(float, values), strict=True)) for name, *values in rows[1:]}


STORED, STORED_ZOO = stored(TABLE), stored(ZOO_TABLE)


def test_every_primitive_is_in_the_table():
    assert set(STORED) == set(expressions())


def test_every_scorer_is_in_the_table():
    assert set(STORED_ZOO) == set(SCORERS) - {"num_downsamples", "num_skips", "num_transposed"}


def test_networks_of_the_tables():
    assert all(tuple(row) == ARCHS for row in [*STORED.values(), *STORED_ZOO.values()])


def test_scores_are_those_of_the_tables():
    found, known = compute() | compute_zoo(), STORED | STORED_ZOO
    tolerance = tolerances(found)
    other = {
        name: (found[name], row)
        for name, row in known.items()
        if found[name] != pytest.approx(row, rel=tolerance[name])
    }
    assert not other


def test_scores_tell_networks_apart():
    assert not [name for name, row in {**STORED, **STORED_ZOO}.items() if len(set(row.values())) < len(ARCHS)]


def write(table, first, rows):
    with table.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([first, *ARCHS])
        writer.writerows([text, *(f"{value:.8g}" for value in row.values())] for text, row in rows.items())


def main():
    torch.set_num_threads(1)
    write(TABLE, "expression", compute())
    write(ZOO_TABLE, "scorer", compute_zoo())


if __name__ == "__main__":
    main()
