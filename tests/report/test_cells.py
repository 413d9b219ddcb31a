import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from autogas.report.cells import drawn
from autogas.spaces import get_space
from autogas.spaces.diagram import SIZE

SPACES = ("eagan-generator", "eagan-discriminator")
SVG = "{http://www.w3.org/2000/svg}"
OPS = ("none", "skip", "conv 1x1", "conv 3x3", "conv 5x5", "dilated 3x3", "dilated 5x5")
UPS = ("nearest", "bilinear", "transposed")
DOWNS = ("avg pool", "max pool", "conv 3x3", "conv 5x5", "dilated 3x3", "dilated 5x5")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def drawings(name, seed=0, count=20):
    space, rng = get_space(name), np.random.default_rng(seed)
    for arch in (*space.published.values(), *(space.sample(rng) for _ in range(count))):
        for place, (genes, text) in enumerate(zip(arch.cells, map(drawn, space.diagrams(arch)), strict=True)):
            yield place, genes, ElementTree.fromstring(text)


def texts(svg):
    return sorted(node.text for node in svg.iter(f"{SVG}text"))


def test_generator_shows_every_operation_once():
    for place, genes, svg in drawings("eagan-generator"):
        labels = [UPS[op] for op in genes[:2]] + [OPS[op] for op in genes[2:] if op]
        earlier = [f"cell {i}, conv 1x1" for i in range(1, place + 1)]
        assert texts(svg) == sorted(["in", "0", "1", "2", "out", *labels, *earlier])
        assert len(arrows(svg)) == len(labels) + len(earlier)


def test_discriminator_shows_every_operation_once():
    for _, genes, svg in drawings("eagan-discriminator"):
        downs = ["same size" if op == -1 else DOWNS[op] for op in genes[5:]]
        labels = [OPS[op] for op in genes[:5] if op] + downs
        assert texts(svg) == sorted(["in", "1", "2", "3", "out", *labels])
        assert len(arrows(svg)) == len(labels)


def arrows(svg):
    """Start of every arrow and tip of its head."""
    paths = [
        np.array(NUMBER.findall(path.get("d")), dtype=float).reshape(-1, 2).tolist() for path in svg.iter(f"{SVG}path")
    ]
    return [(curve[0], head[0]) for curve, head in zip(paths[::2], paths[1::2], strict=True)]


def nodes(svg):
    circles = list(svg.iter(f"{SVG}circle"))
    names = [node.text for node in svg.iter(f"{SVG}text") if node.get("x") is not None]
    return {name: (float(c.get("cx")), float(c.get("cy"))) for name, c in zip(names, circles, strict=False)}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "eagan-generator",
            "[[1,1,1,0,0,3,1],[0,0,1,1,1,1,1],[0,0,1,1,1,1,1]]",
            {("in", "0"), ("in", "1"), ("0", "2"), ("1", "out"), ("2", "out")},
        ),
        (
            "eagan-generator",
            "[[2,0,0,4,5,0,0],[0,0,1,1,1,1,1],[0,0,1,1,1,1,1]]",
            {("in", "0"), ("in", "1"), ("1", "2"), ("0", "out")},
        ),
        (
            "eagan-discriminator",
            "[[3,0,3,0,2,0,0],[1,1,1,1,1,-1,-1],[1,1,1,1,1,-1,-1]]",
            {("in", "1"), ("1", "2"), ("in", "3"), ("2", "out"), ("3", "out")},
        ),
        (
            "eagan-discriminator",
            "[[3,4,0,5,0,-1,-1],[1,1,1,1,1,-1,-1],[1,1,1,1,1,-1,-1]]",
            {("in", "1"), ("in", "2"), ("1", "3"), ("2", "out"), ("3", "out")},
        ),
    ],
)
def test_arrows_join_the_nodes_of_their_edges(name, text, expected):
    space = get_space(name)
    svg = ElementTree.fromstring(drawn(space.diagrams(space.parse(text))[0]))
    places = nodes(svg)

    def nearest(point):
        return min(places, key=lambda node: np.hypot(*np.subtract(places[node], point)))

    assert {(nearest(start), nearest(tip)) for start, tip in arrows(svg)} == expected


@pytest.mark.parametrize("name", SPACES)
def test_everything_lies_inside_the_drawing(name):
    for _, _, svg in drawings(name):
        assert svg.get("viewBox") == f"0 0 {SIZE[0]:g} {SIZE[1]:g}"
        points = list(itertools.chain.from_iterable(arrows(svg)))
        for node in svg.iter(f"{SVG}text"):
            shift = NUMBER.findall(node.get("transform") or "") or [node.get("x"), 0]
            points.append((float(shift[0]), float(shift[1]) + float(node.get("y")) - 10))
            points.append((float(shift[0]), float(shift[1]) + float(node.get("y")) + 3))
        assert (np.array(points) > 0).all()
        assert (np.array(points) < SIZE).all()


def test_other_spaces_have_no_drawings():
    space = get_space("transnas-macro")
    assert space.diagrams(space.parse("64-1234-basic")) == []


def test_drawing_is_small_and_needs_nothing_else():
    for name in SPACES:
        space = get_space(name)
        for text in map(drawn, space.diagrams(next(iter(space.published.values())))):
            assert len(text) < 4000
            assert not re.search(r"class=|href|url\(|<style|id=", text)
