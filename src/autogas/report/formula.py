"""A proxy as mathematics: one line a stage, drawn as SVG paths by matplotlib's mathtext."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath, text_to_path

from autogas.proxies.language.expression import Expression, Proxy
from autogas.proxies.language.parts import get_part
from autogas.proxies.primitives import Primitive, Stage

SIZE = 20
FONT = FontProperties(size=SIZE, math_fontfamily="cm")
ARGUMENT = re.compile(r"(?<![A-Za-z\\])x(?![A-Za-z])")
COMMANDS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}
# Names for what each stage gives; the formulas keep c, d, h, i, j, l, n, w, C, D, H, L, N, W for themselves.
SYMBOLS: dict[Stage, tuple[str, ...]] = {
    Stage.LAYERS: ("F",),
    Stage.TRANSFORM: ("A", "B"),
    Stage.BINARISER: ("S",),
    Stage.KERNEL: ("K",),
    Stage.REDUCTION: ("r",),
    Stage.AUGMENT: ("u", "v", "y", "z"),
    Stage.AGGREGATE: ("a",),
}
SCORE = r"\mathrm{score}"
GLOSSARY = (
    (r"\lambda", "λ: eigenvalues of {}"),
    (r"\sigma(", "σ: logistic function"),
    (r"\frac{1}{L}", "L: number of layers"),
)


@dataclass(frozen=True)
class Line:
    """One stage of a proxy.

    Attributes:
        word: its name in the text form.
        latex: ``symbol = formula``.
        note: what it does, in words.
    """

    word: str
    latex: str
    note: str


def lines(proxy: Expression) -> list[Line]:
    """The stages of a proxy from the captured feature to the score; of a sum, term after term."""
    if len(proxy.terms) == 1 and proxy.terms[0][0] == 1:
        return term_lines(proxy.terms[0][1], SCORE)
    names = [rf"t_{number}" for number, _ in enumerate(proxy.terms, 1)]
    out = [line for name, (_, term) in zip(names, proxy.terms, strict=True) for line in term_lines(term, name)]
    total = ""
    for name, (factor, _) in zip(names, proxy.terms, strict=True):
        size = "" if abs(factor) == 1 else f"{abs(factor):g}\\,"
        total += ("-" if factor < 0 else "+" if total else "") + size + name
    return [*out, Line("sum", f"{SCORE} = {total}", "Weighted sum of the terms")]


def term_lines(term: Proxy, result: str) -> list[Line]:
    """The stages of a term, whose value has the symbol ``result``."""
    first, *rest = term.primitives
    note = summary(first)
    if term.prefix.part:
        note += "; " + (inspect.getdoc(get_part(term.prefix.part)) or "").rstrip(".").lower()
    out = [Line(term.prefix.source, "F", note)]
    free = {stage: list(symbols) for stage, symbols in SYMBOLS.items()}
    previous = "F"
    for i, step in enumerate(rest):
        symbol = result if i == len(rest) - 1 else free[step.stage].pop(0)
        formula = simple(ARGUMENT.sub(previous, step.formula))
        notes = [summary(step), *(text.format(previous) for sign, text in GLOSSARY if sign in formula)]
        out.append(Line(step.name, f"{symbol} = {formula}", "; ".join(notes)))
        previous = symbol
    return out


def summary(step: Primitive) -> str:
    """First line of a primitive's docstring, without the full stop."""
    return (inspect.getdoc(step.function) or step.name).splitlines()[0].replace("``", "").rstrip(".")


def simple(latex: str) -> str:
    r"""LaTeX in the part of the language that mathtext draws, with the thin spaces that it forgets.

    Examples:
        >>> print(simple(r"\tfrac1L\sum_l x_l"))
        \frac{1}{L}\,\sum_l\,x_l
    """
    latex = latex.replace(r"\lVert", r"\Vert").replace(r"\rVert", r"\Vert").replace(r"^\top", r"^{\mathsf{T}}")
    latex = re.sub(r"\\[td]frac\s*(\w)\s*(\w)", r"\\frac{\1}{\2}", latex)
    latex = re.sub(r"\\[td]frac(?![A-Za-z])", r"\\frac", latex)
    latex = re.sub(r"(?<=[)}])(?=\\(ln|sum)(?![A-Za-z]))", r"\\,", latex)
    return re.sub(r"\\sum_l\s*", r"\\sum_l\\,", latex)


def draw(latex: str) -> Markup:
    """LaTeX that is ``simple`` as inline SVG, in the colour and size of the text around it.

    Raises:
        ValueError: mathtext cannot draw it.
    """
    width, height, descent = text_to_path.get_text_width_height_descent(f"${latex}$", FONT, ismath=True)
    path = TextPath((0, 0), f"${latex}$", size=SIZE, prop=FONT)
    drawn = "".join(
        COMMANDS[np.uint8(code)]
        + ("" if code == Path.CLOSEPOLY else " ".join(_coordinates(vertices, height - descent)))
        for vertices, code in path.iter_segments(simplify=False, curves=True)
    )
    box = f"{width + 2:.1f} {height + 2:.1f}"
    shape = f"width:{(width + 2) / SIZE:.2f}em;height:{(height + 2) / SIZE:.2f}em"
    shape += f";vertical-align:{-(descent + 1) / SIZE:.2f}em"
    return Markup(
        '<svg class="math" role="img" aria-label="{}" viewBox="-1 -1 {}" style="{}"><path d="{}"/></svg>'
    ).format(latex, box, shape, drawn)


def _coordinates(vertices: np.ndarray[tuple[int, ...], np.dtype[np.float64]], ascent: float) -> list[str]:
    pairs = np.asarray(vertices).reshape(-1, 2)
    return [f"{x:.2f} {ascent - y:.2f}" for x, y in pairs]
