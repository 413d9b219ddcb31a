"""How EAGAN's cells are drawn; the places of the nodes are chosen by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autogas.spaces.diagram import Arrow, Diagram, Kind, Point
from autogas.spaces.eagan.genotype import DOWN_OPS, KEEP, NORMAL_OPS, UP_OPS, Genes
from autogas.spaces.eagan.network import DISCRIMINATOR_EDGES, GENERATOR_EDGES

GENERATOR_NODES = {"in": (30, 125), "0": (175, 65), "1": (175, 185), "2": (330, 125), "out": (490, 125)}
EARLIER_CELLS: tuple[Point, ...] = ((330, 62), (330, 188))
DISCRIMINATOR_NODES = {"in": (30, 125), "1": (165, 125), "2": (320, 65), "3": (320, 185), "out": (490, 125)}


SKIP: Kind = "skip"
CONVOLUTION: Kind = "convolution"


def generator_cell(genes: Genes, place: int) -> Diagram:
    """The cell ``place`` (from 0) of an EAGAN generator, with what it takes from earlier cells."""
    nodes = GENERATOR_NODES
    arrows = [Arrow(nodes["in"], nodes[str(i)], UP_OPS[op], "resize") for i, op in enumerate(genes[:2])]
    ends = {0: nodes["0"], 1: nodes["1"], 2: nodes["2"], 3: nodes["out"]}
    arrows += _edges(GENERATOR_EDGES, genes[2:], ends, {(0, 3): -64.0, (1, 3): 64.0})
    boxes = {f"cell {i + 1}, conv 1x1": point for i, point in enumerate(EARLIER_CELLS[:place])}
    arrows += [Arrow(point, nodes["2"], "", "cross-scale") for point in boxes.values()]
    return Diagram(f"Generator cell {place + 1}", nodes, arrows, boxes)


def discriminator_cell(genes: Genes, place: int) -> Diagram:
    """The cell ``place`` (from 0) of an EAGAN discriminator."""
    nodes = DISCRIMINATOR_NODES
    ends = {0: nodes["in"], 1: nodes["1"], 2: nodes["2"], 3: nodes["3"]}
    arrows = _edges(DISCRIMINATOR_EDGES, genes[:5], ends, {(0, 2): -60.0, (0, 3): 60.0})
    for start, op in zip(("2", "3"), genes[5:], strict=True):
        kept = Arrow(nodes[start], nodes["out"], "same size", "skip")
        arrows.append(kept if op == KEEP else Arrow(nodes[start], nodes["out"], DOWN_OPS[op], "resize"))
    return Diagram(f"Discriminator cell {place + 1}", nodes, arrows)


def _edges(
    edges: Sequence[tuple[int, int]],
    ops: Genes,
    nodes: Mapping[int, Point],
    bends: Mapping[tuple[int, int], float],
) -> list[Arrow]:
    return [
        Arrow(
            nodes[edge[0]],
            nodes[edge[1]],
            NORMAL_OPS[op],
            SKIP if NORMAL_OPS[op] == "skip" else CONVOLUTION,
            bends.get(edge, 0.0),
        )
        for edge, op in zip(edges, ops, strict=True)
        if op
    ]
