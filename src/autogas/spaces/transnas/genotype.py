"""Genotypes of TransNAS-Bench-101 (Duan et al., CVPR 2021): strings as ``64-1234-basic`` and ``64-41414-1_23_012``.

Each digit of the middle part is a module: 1 keeps, 2 doubles the channels, 3 halves the resolution, 4 does both.
The last part is ``basic`` (residual basic block) or the six edge operations of a cell, written ``a_bc_def``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from autogas.errors import InputError

PUBLISHED_WIDTH = 64
MICRO_MODULES = (4, 1, 4, 1, 4)
# Edges (from node, to node) in string order: a_bc_def.
CELL_EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

_PATTERN = re.compile(r"64-([1-4]+)-(?:(basic)|([0-3])_([0-3]{2})_([0-3]{3}))")


@dataclass(frozen=True, slots=True)
class TransNASArch:
    """One architecture.

    Attributes:
        modules: module digits, each 1 to 4.
        cell: six edge operations (0 zero, 1 skip, 2 conv 1x1, 3 conv 3x3) or ``None`` for the basic block.
    """

    modules: tuple[int, ...]
    cell: tuple[int, ...] | None = None

    def __str__(self) -> str:
        if self.cell is None:
            tail = "basic"
        else:
            digits = "".join(map(str, self.cell))
            tail = f"{digits[0]}_{digits[1:3]}_{digits[3:]}"
        return f"{PUBLISHED_WIDTH}-{''.join(map(str, self.modules))}-{tail}"

    @property
    def num_downsamples(self) -> int:
        """Number of modules that halve the resolution."""
        return sum(digit > 2 for digit in self.modules)

    @property
    def num_doublings(self) -> int:
        """Number of modules that double the channels."""
        return sum(digit in (2, 4) for digit in self.modules)


def parse(text: str) -> TransNASArch:
    """Read a benchmark string; raises ``InputError`` when it is not of the benchmark's form."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise InputError(
            f"architecture {text!r}: expected 64-XXXX-basic (digits 1 to 4) and 64-41414-a_bc_def (digits 0 to 3)"
        )
    modules, basic, *cell = match.groups()
    return TransNASArch(tuple(map(int, modules)), None if basic else tuple(map(int, "".join(cell))))


def in_macro(arch: TransNASArch) -> bool:
    """Whether the macro space holds ``arch``: 4 to 6 modules, 1 to 4 down-samplings, 1 to 3 doublings, basic block."""
    return (
        arch.cell is None
        and 4 <= len(arch.modules) <= 6
        and 1 <= arch.num_downsamples <= 4
        and 1 <= arch.num_doublings <= 3
    )


def in_micro(arch: TransNASArch) -> bool:
    """Whether the micro space holds ``arch``: any of the 4^6 cells in the fixed macro skeleton 41414."""
    return arch.cell is not None and arch.modules == MICRO_MODULES


def enumerate_macro() -> Iterator[TransNASArch]:
    """All 3,256 macro architectures, shortest first, then by digits."""
    for length in (4, 5, 6):
        for modules in itertools.product((1, 2, 3, 4), repeat=length):
            arch = TransNASArch(modules)
            if in_macro(arch):
                yield arch


def enumerate_micro() -> Iterator[TransNASArch]:
    """All 4,096 micro architectures in the order of their digits."""
    for cell in itertools.product(range(4), repeat=len(CELL_EDGES)):
        yield TransNASArch(MICRO_MODULES, cell)
