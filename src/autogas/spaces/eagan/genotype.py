"""Genotypes of EAGAN (Ying et al., ECCV 2022): three cells of seven genes, as ``[[1,1,1,0,2,3,1],[…],[…]]``.

A generator cell is ``[u0, u1, a, b, c, d, e]``: two up-samplings, the edges into node 2 (from nodes 0 and 1), the edges
into the output (from nodes 0, 1 and 2). A discriminator cell is ``[c0, c1, c2, c3, c4, d0, d1]``: the edge into node 1,
those into node 2 (from the input and node 1), those into node 3 (from node 1 and the input), and the down-samplings of
nodes 2 and 3, both -1 in a cell that keeps its resolution.

Rules bind genes only inside a *block* of neighbouring genes, so a space is a product of blocks, and every operator
works block by block on the list of what is legal.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autogas.errors import InputError

NUM_CELLS = 3
GENES_PER_CELL = 7
KEEP = -1
"""Down-sampling gene of a cell that keeps its resolution; both genes have it or neither."""

NORMAL_OPS = ("none", "skip", "conv 1x1", "conv 3x3", "conv 5x5", "dilated 3x3", "dilated 5x5")
UP_OPS = ("nearest", "bilinear", "transposed")
DOWN_OPS = ("avg pool", "max pool", "conv 3x3", "conv 5x5", "dilated 3x3", "dilated 5x5")

Genes = tuple[int, ...]
Block = tuple[Genes, ...]
"""Every legal value of some neighbouring genes."""


def _edges(count: int) -> Block:
    """Edges into one node: any operations, but not all absent."""
    return tuple(genes for genes in itertools.product(range(len(NORMAL_OPS)), repeat=count) if any(genes))


_UP: Block = tuple((op,) for op in range(len(UP_OPS)))
_FIRST: Block = tuple((op,) for op in range(1, len(NORMAL_OPS)))
_DOWN: Block = ((KEEP, KEEP), *itertools.product(range(len(DOWN_OPS)), repeat=2))

GENERATOR_CELL: tuple[Block, ...] = (_UP, _UP, _edges(2), _edges(3))
DISCRIMINATOR_CELL: tuple[Block, ...] = (_FIRST, _edges(2), _edges(2), _DOWN)


@dataclass(frozen=True, slots=True)
class EAGANArch:
    """One generator or discriminator.

    Attributes:
        cells: three cells of seven genes, in the order of execution.
    """

    cells: tuple[Genes, ...]

    def __str__(self) -> str:
        rows = ("[" + ",".join(map(str, cell)) + "]" for cell in self.cells)
        return "[" + ",".join(rows) + "]"


PUBLISHED: Mapping[str, Mapping[str, EAGANArch]] = {
    "eagan-generator": {
        "eagan-best": EAGANArch(((1, 1, 1, 0, 2, 3, 1), (1, 1, 0, 1, 3, 0, 5), (0, 1, 0, 3, 0, 0, 3))),
    },
    "eagan-discriminator": {
        "eagan-best-cifar10": EAGANArch(((3, 0, 3, 0, 2, 0, 0), (1, 0, 3, 0, 1, -1, -1), (3, 0, 3, 0, 1, -1, -1))),
        "eagan-best-stl10": EAGANArch(((3, 0, 3, 0, 2, 0, 0), (4, 0, 4, 0, 1, -1, -1), (3, 0, 3, 0, 1, -1, -1))),
    },
}
"""The winners that EAGAN's authors released, by space and name; one generator serves both data sets."""

_ROW = r"\s*\[\s*" + r"\s*,\s*".join(["(-1|[0-6])"] * GENES_PER_CELL) + r"\s*\]\s*"
_PATTERN = re.compile(r"\s*\[" + ",".join([_ROW] * NUM_CELLS) + r"\]\s*")


def parse(text: str) -> EAGANArch:
    """Read three rows of seven genes; raises ``InputError`` for any other form. White space between tokens is free."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise InputError(f"architecture {text!r}: expected three rows of seven genes as [[1,1,1,0,2,3,1],[…],[…]]")
    return join([tuple(map(int, match.groups()))])


def join(parts: Iterable[Genes]) -> EAGANArch:
    """The architecture whose genes, one cell after the other, are those of ``parts``."""
    genes = tuple(itertools.chain.from_iterable(parts))
    return EAGANArch(tuple(genes[i : i + GENES_PER_CELL] for i in range(0, len(genes), GENES_PER_CELL)))


def split(arch: EAGANArch, cell: Sequence[Block]) -> list[Genes]:
    """The parts of all cells that belong to the blocks of a cell; the inverse of ``join``."""
    parts = []
    for genes in arch.cells:
        rest = iter(genes)
        parts += [tuple(itertools.islice(rest, len(block[0]))) for block in cell]
    return parts


def neighbours(block: Block, genes: Genes, place: int) -> list[Genes]:
    """Legal values of a block that differ from ``genes`` in the gene at ``place`` only.

    Down-samplings come and go in pairs, so there the other gene changes as well.
    """
    return [
        other
        for other in block
        if other[place] != genes[place]
        and (
            KEEP in other + genes
            or all(a == b for i, (a, b) in enumerate(zip(other, genes, strict=True)) if i != place)
        )
    ]


def mixes(block: Block, first: Genes, second: Genes) -> list[Genes]:
    """Legal ways to take each gene from one of two parents, equal ones as often as they come about."""
    return [genes for genes in itertools.product(*zip(first, second, strict=True)) if genes in block]
