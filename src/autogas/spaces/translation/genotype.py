"""Genotypes of GAN Compression (Li et al., CVPR 2020): eight widths, written ``16_16_32_16_32_32_16_16``."""

from __future__ import annotations

import re
from dataclasses import dataclass

NUM_WIDTHS = 8


@dataclass(frozen=True, slots=True)
class TranslationArch:
    """One architecture.

    Attributes:
        widths: eight base widths; a layer has a fixed multiple of its own (1, 2 or 4 in ResNet generators, 1 to 16 in
            SPADE generators).
    """

    widths: tuple[int, ...]

    def __str__(self) -> str:
        return "_".join(map(str, self.widths))


ORIGINAL = TranslationArch((64,) * NUM_WIDTHS)
"""Widths of the uncompressed generators (ngf 64)."""


def read_widths(text: str) -> tuple[int, ...] | None:
    """Numbers of a string such as ``24_24_24_32_20_16``; ``None`` for anything else."""
    return tuple(map(int, text.split("_"))) if re.fullmatch(r"[0-9]{1,9}(_[0-9]{1,9})*", text) else None


def expand_six(widths: tuple[int, ...]) -> tuple[int, ...]:
    """The eight widths of the older form of six, in which all nine residual blocks share the fourth.

    Examples:
        >>> expand_six((24, 24, 24, 32, 20, 16))
        (24, 24, 24, 32, 32, 32, 20, 16)
    """
    return (*widths[:3], *(widths[3],) * 3, *widths[4:])
