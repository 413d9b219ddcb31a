import re

import pytest

from autogas.proxies.language.expression import Prefix, Proxy, parse_proxy
from autogas.proxies.primitives import REGISTRY, Stage
from autogas.report.formula import ARGUMENT, draw, lines, simple

PRIMITIVES = [
    pytest.param(step, id=f"{stage.label}-{word}") for stage in Stage for word, step in REGISTRY[stage].items()
]
WHERE = {
    Stage.LAYERS: lambda word: Proxy(Prefix(word), "gram", "trace"),
    Stage.TRANSFORM: lambda word: Proxy(Prefix(transforms=(word, word)), "gram", "trace"),
    Stage.BINARISER: lambda word: Proxy(Prefix(binariser=word), "gram", "trace"),
    Stage.KERNEL: lambda word: Proxy(Prefix(binariser="sign"), word, "trace"),
    Stage.REDUCTION: lambda word: Proxy(Prefix(), "gram", word),
    Stage.AUGMENT: lambda word: Proxy(Prefix(), "gram", "trace", (word,), after=(word,)),
    Stage.AGGREGATE: lambda word: Proxy(Prefix(), "gram", "trace", aggregate=word),
}


def fits(drawing):
    """Whether all of a drawing is inside its frame."""
    numbers = [float(number) for number in re.findall(r"[-\d.]+", re.search(r' d="([^"]+)"', drawing)[1])]
    width, height = map(float, re.search(r'viewBox="-1 -1 ([\d.]+) ([\d.]+)"', drawing).groups())
    return min(numbers) >= -1.5 and max(numbers) <= max(width, height) + 1


@pytest.mark.parametrize("step", PRIMITIVES)
def test_every_primitive_can_be_drawn_within_a_proxy(step):
    proxy = WHERE[step.stage](step.name)
    stages = lines(proxy)
    assert [stage.word for stage in stages] == [primitive.name for primitive in proxy.primitives]
    symbols = [stage.latex.split(" = ")[0] for stage in stages]
    assert len(set(symbols)) == len(symbols)
    assert symbols[-1] == r"\mathrm{score}"
    for stage in stages:
        assert not ARGUMENT.search(stage.latex)
        assert stage.note
        assert draw(stage.latex).startswith("<svg")
    assert fits(draw(simple(step.formula)))


def test_the_paper_in_formulas():
    assert [line.latex for line in lines(parse_proxy("swish > above_mean > gram > slogdet > pow2"))] == [
        "F",
        r"A = F\,\sigma(F)",
        r"S = [A>\bar A]",
        r"K = S S^{\mathsf{T}}",
        r"r = \ln|\det K|",
        "u = r^2",
        r"\mathrm{score} = \frac{1}{L}\,\sum_l\,u_l",
    ]


def test_two_transforms_and_two_last_steps_have_names_of_their_own():
    latex = [line.latex for line in lines(parse_proxy("exp > tanh > gram > trace > max > abs > neg"))]
    assert latex == [
        "F",
        "A = e^F",
        r"B = \tanh A",
        r"K = B B^{\mathsf{T}}",
        r"r = \mathrm{tr}\,K",
        r"a = \max_l r_l",
        "u = |a|",
        r"\mathrm{score} = -u",
    ]


def test_symbols_that_a_formula_does_not_define_are_explained():
    notes = {line.word: line.note for line in lines(parse_proxy("swish > gram > eigenvalue_entropy"))}
    assert notes["swish"].endswith("σ: logistic function")
    assert notes["eigenvalue_entropy"].endswith("λ: eigenvalues of K")
    assert notes["mean"].endswith("L: number of layers")


@pytest.mark.parametrize(
    ("latex", "plain"),
    [
        (r"\tfrac12", r"\frac{1}{2}"),
        (r"\tfrac{x}{y}", r"\frac{x}{y}"),
        (r"\dfrac 1 N", r"\frac{1}{N}"),
        (r"\lVert x\rVert_2", r"\Vert x\Vert_2"),
        (r"x^\top", r"x^{\mathsf{T}}"),
        (r"\mathrm{sgn}(x)\ln y", r"\mathrm{sgn}(x)\,\ln y"),
    ],
)
def test_latex_becomes_what_mathtext_draws(latex, plain):
    assert simple(latex) == plain
    assert draw(plain)


def test_what_cannot_be_drawn_is_an_error():
    with pytest.raises(ValueError, match="Unknown symbol"):
        draw(r"\nonsense")


def test_the_label_is_escaped():
    assert 'aria-label="[x&gt;0]"' in draw("[x>0]")
