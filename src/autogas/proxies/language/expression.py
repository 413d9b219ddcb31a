"""Proxies as expressions: parse, check, print.

``swish > above_mean > gram > slogdet > pow2`` is read left to right. Kinds flow FEATURE to MATRIX to LAYERS (one value
a layer) to SCORE. Without a word for the layers, the inputs of all activations are taken; without an aggregate, the
mean over layers closes the expression: the paper's defaults.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from autogas.errors import InputError, unknown
from autogas.proxies.language.parts import WHOLE, get_part
from autogas.proxies.primitives import REGISTRY, Kind, Primitive, Stage, stages_of, words_after
from autogas.proxies.primitives.encodings import zero_one

SEPARATOR = " > "
DEFAULT_LAYERS = "activations"
DEFAULT_AGGREGATE = "mean"
MAX_TRANSFORMS = 2
MAX_AUGMENTS = 2
MAX_TERMS = 5
TERM_SIGN = re.compile(r"\s+([+-])(?:\s+|$)")


@dataclass(frozen=True, slots=True)
class Prefix:
    """The part of a proxy that looks at features: what sufficient statistics are kept for."""

    layers: str = DEFAULT_LAYERS
    transforms: tuple[str, ...] = ()
    binariser: str | None = None
    part: str = WHOLE

    def __str__(self) -> str:
        return SEPARATOR.join((self.source, *self.transforms, *filter(None, [self.binariser])))

    @property
    def source(self) -> str:
        """Layers and part of the network, as the text form has them."""
        return f"{self.layers}@{self.part}" if self.part else self.layers

    @property
    def primitives(self) -> list[Primitive]:
        """What its words stand for."""
        words = [(Stage.LAYERS, self.layers), *((Stage.TRANSFORM, word) for word in self.transforms)]
        words += [(Stage.BINARISER, self.binariser)] if self.binariser else []
        return [REGISTRY[stage][word] for stage, word in words]

    @property
    def measured(self) -> Prefix:
        """What statistics are kept for: those of a part are among those of the whole network."""
        return dataclasses.replace(self, part=WHOLE).canonical()

    def canonical(self) -> Prefix:
        """The simplest prefix with equal statistics (up to rounding of single entries at a threshold).

        Signs survive a transform that keeps them, and a median survives a strictly increasing one.
        """
        transforms = list(self.transforms)
        words = REGISTRY[Stage.TRANSFORM]
        binariser = self.binariser
        if binariser in ("above_zero", "sign"):
            while transforms and words[transforms[-1]].keeps_sign:
                transforms.pop()
        elif binariser == "above_mean":
            while transforms and words[transforms[-1]].affine:
                transforms.pop()
        elif binariser == "above_median":
            while transforms and words[transforms[-1]].increasing:
                transforms.pop()
        if binariser in ("above_zero", "sign") and transforms and transforms[-1] in ("relu", "sqrt"):
            return Prefix(self.layers, tuple(transforms[:-1]), "above_zero", self.part).canonical()
        return Prefix(self.layers, tuple(transforms), binariser, self.part)

    @property
    def constant(self) -> bool:
        """Whether every entry is known to be one, so that only the size of the layer is left."""
        words = REGISTRY[Stage.TRANSFORM]
        above_zero = self.binariser in ("above_zero", "sign")
        return above_zero and bool(self.transforms) and words[self.transforms[-1]].positive


@dataclass(frozen=True, slots=True)
class Proxy:
    """A training-free proxy as an expression; hashable, and ``str(proxy)`` parses back to it."""

    prefix: Prefix
    kernel: str
    reduction: str
    augments: tuple[str, ...] = ()
    aggregate: str = DEFAULT_AGGREGATE
    after: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = [w for w in (self.prefix.source,) if w != DEFAULT_LAYERS]
        words += [*self.prefix.transforms, *filter(None, [self.prefix.binariser]), self.kernel, self.reduction]
        words += self.augments
        if self.after or self.aggregate != DEFAULT_AGGREGATE:
            words += [self.aggregate, *self.after]
        return SEPARATOR.join(words)

    @property
    def primitives(self) -> list[Primitive]:
        """What its words stand for, in the order of execution, defaults included."""
        words = [(Stage.KERNEL, self.kernel), (Stage.REDUCTION, self.reduction)]
        words += [(Stage.AUGMENT, word) for word in self.augments]
        words += [(Stage.AGGREGATE, self.aggregate), *((Stage.AUGMENT, word) for word in self.after)]
        return [*self.prefix.primitives, *(REGISTRY[stage][word] for stage, word in words)]

    @property
    def terms(self) -> tuple[tuple[float, Proxy], ...]:
        """The expression as a sum of one term."""
        return ((1.0, self),)

    @property
    def complexity(self) -> int:
        """Words in the text form."""
        return len(str(self).split(SEPARATOR)) + bool(self.prefix.part)

    def canonical(self) -> Proxy:
        """The simplest expression that ranks alike: equal statistics, and no strictly increasing last step."""
        augments, after = _simplify(self.augments), self.after
        if self.aggregate in ("mean", "sum", "last") and augments[-1:] == ("neg",):
            augments, after = augments[:-1], ("neg", *after)
        after = _simplify_score(after)
        return Proxy(self.prefix.canonical(), self.kernel, self.reduction, augments, self.aggregate, after)


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum of expressions with coefficients: ``str(sum)`` parses back to it.

    Logarithms in the terms make it a product or a quotient.
    """

    terms: tuple[tuple[float, Proxy], ...]

    def __str__(self) -> str:
        text = ""
        for coefficient, term in self.terms:
            sign = "-" if coefficient < 0 else "+"
            size = "" if abs(coefficient) == 1 else f"{abs(coefficient):g} * "
            text += f" {sign} {size}{term}" if text else f"{'-' if sign == '-' else ''}{size}{term}"
        return text

    @property
    def complexity(self) -> int:
        """Words in the text form, of all terms, and a sign between two."""
        return sum(term.complexity + (abs(factor) != 1) for factor, term in self.terms) + len(self.terms) - 1

    def canonical(self) -> Sum:
        """The same sum with each term's prefix in its simplest form; terms in order of their text."""
        simple = [(factor, dataclasses.replace(term, prefix=term.prefix.canonical())) for factor, term in self.terms]
        return Sum(tuple(sorted(simple, key=lambda pair: str(pair[1]))))


Expression: TypeAlias = Proxy | Sum


def measured_prefixes(expressions: Iterable[Expression]) -> list[Prefix]:
    """What sufficient statistics some expressions need, each once."""
    terms = (term for expression in expressions for _, term in expression.terms)
    return list(dict.fromkeys(term.prefix.measured for term in terms))


def parts_read(expressions: Iterable[Expression]) -> dict[str, frozenset[str]]:
    """Which parts of a network some expressions read, by word for layers; see ``autogas.proxies.language.parts``."""
    read: dict[str, set[str]] = {}
    for expression in expressions:
        for _, term in expression.terms:
            read.setdefault(term.prefix.layers, set()).add(term.prefix.part)
    return {layers: frozenset(parts) for layers, parts in read.items()}


# What a pair of augments comes to, where it is one augment or none.
_PAIRS: dict[tuple[str, str], tuple[str, ...]] = {
    ("neg", "neg"): (),
    **{("neg", even): (even,) for even in ("abs", "pow2", "sqrt", "log")},
    **{("abs", even): (even,) for even in ("abs", "pow2", "sqrt", "log")},
    ("pow2", "abs"): ("pow2",),
    ("sqrt", "abs"): ("sqrt",),
    ("pow2", "sqrt"): ("abs",),
    ("sqrt", "pow2"): ("abs",),
    ("neg", "log1p"): ("log1p", "neg"),
}


def _simplify(words: tuple[str, ...]) -> tuple[str, ...]:
    for i in range(len(words) - 1):
        pair = (words[i], words[i + 1])
        if pair in _PAIRS and _PAIRS[pair] != pair:
            return _simplify(words[:i] + _PAIRS[pair] + words[i + 2 :])
    return words


def _simplify_score(words: tuple[str, ...]) -> tuple[str, ...]:
    """At the end only the order counts: every function that increases with the magnitude is ``abs``."""
    words = _simplify(words)
    turned = ("neg",) if words[-1:] == ("neg",) else ()
    body = words[: len(words) - len(turned)]
    if body and REGISTRY[Stage.AUGMENT][body[-1]].increasing:
        return _simplify_score(body[:-1] + turned)
    if body and body[-1] in ("pow2", "sqrt", "log"):
        return _simplify_score((*body[:-1], "abs", *turned))
    return words


def parse_proxy(text: str) -> Expression:
    """Read a proxy expression: a term, or a sum of up to five with coefficients, such as ``A > … - 2 * B > …``.

    Raises:
        InputError: an unknown word (with the nearest known one), kinds that do not fit, or too many of a stage.

    Examples:
        >>> str(parse_proxy("swish>above_mean>gram>slogdet>pow2"))
        'swish > above_mean > gram > slogdet > pow2'
        >>> parse_proxy("gram > tanh")
        Traceback (most recent call last):
        ...
        autogas.errors.InputError: proxy 'gram > tanh': 'tanh' (transform) cannot follow 'gram': a reduction must
    """
    if not isinstance(text, str):
        raise InputError(f"proxy {text!r}: expected the text of an expression")
    pieces = TERM_SIGN.split(text.strip())
    if len(pieces) > 1 and not all(piece.strip() for piece in pieces):
        raise InputError(f"proxy {text!r}: a term is missing; expected TERM, or TERM + TERM - TERM …")
    terms = []
    for sign, piece in zip(["+", *pieces[1::2]], pieces[::2], strict=True):
        factor, body = _coefficient(piece, text)
        terms.append((-factor if sign == "-" else factor, parse_term(body)))
    if len(terms) > MAX_TERMS:
        raise InputError(f"proxy {text!r}: {len(terms)} terms; expected at most {MAX_TERMS}")
    return terms[0][1] if len(terms) == 1 and terms[0][0] == 1 else Sum(tuple(terms))


NUMBER = re.compile(r"[0-9.eE+-]+")


def _coefficient(piece: str, text: str) -> tuple[float, str]:
    """The number before ``*``, and the term after it."""
    negative = piece.startswith("-")
    number, star, body = piece.removeprefix("-").strip().rpartition("*")
    if not star:
        return (-1.0 if negative else 1.0), body
    try:
        value = float(number) if NUMBER.fullmatch(number.strip()) else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value == 0:
        raise InputError(f"proxy {text!r}: {number.strip()!r} before *: expected numbers other than zero")
    return (-value if negative else value), body


def parse_term(text: str) -> Proxy:
    """Read one term; raises ``InputError`` as ``parse_proxy`` does."""
    words = [word.strip() for word in text.split(SEPARATOR.strip())]
    if not all(words):
        raise InputError(f"proxy {text!r}: an empty stage; expected PRIMITIVE > PRIMITIVE > …")
    found: dict[Stage, list[str]] = {stage: [] for stage in Stage}
    after: list[str] = []
    words[0], at, part = (piece.strip() for piece in words[0].partition("@"))
    if at:
        get_part(part)  # which says what there is
        if words[0] not in REGISTRY[Stage.LAYERS]:
            raise InputError(f"proxy {text!r}: {words[0]!r} before @: expected {', '.join(REGISTRY[Stage.LAYERS])}")
    kind = Kind.NETWORK if words[0] in REGISTRY[Stage.LAYERS] else Kind.FEATURE
    previous = "the start"
    for word in words:
        step = words_after(kind).get(word)
        if step is None:
            raise _misfit(text, word, previous, kind)
        if step.needs == "binary" and not any(map(zero_one, found[Stage.BINARISER])):
            accepted = ", ".join(filter(zero_one, REGISTRY[Stage.BINARISER]))
            raise InputError(f"proxy {text!r}: {word!r} needs a binary feature; put one of {accepted} before it")
        (after if kind is Kind.SCORE else found[step.stage]).append(word)
        kind = Kind.SCORE if kind is Kind.SCORE else step.stage.gives
        previous = repr(word)
    if kind not in (Kind.LAYERS, Kind.SCORE):
        raise InputError(f"proxy {text!r} ends in a {kind.value}: {_next_stages(kind)} must follow")
    transforms = found[Stage.TRANSFORM]
    if len(transforms) > MAX_TRANSFORMS:
        raise InputError(f"proxy {text!r}: {len(transforms)} transforms; expected at most {MAX_TRANSFORMS}")
    if len(found[Stage.AUGMENT]) + len(after) > MAX_AUGMENTS:
        raise InputError(
            f"proxy {text!r}: {len(found[Stage.AUGMENT]) + len(after)} augments; expected at most {MAX_AUGMENTS}"
        )
    return Proxy(
        Prefix(
            (found[Stage.LAYERS] or [DEFAULT_LAYERS])[0],
            tuple(transforms),
            found[Stage.BINARISER][0] if found[Stage.BINARISER] else None,
            part,
        ),
        found[Stage.KERNEL][0],
        found[Stage.REDUCTION][0],
        tuple(found[Stage.AUGMENT]),
        (found[Stage.AGGREGATE] or [DEFAULT_AGGREGATE])[0],
        tuple(after),
    )


def _next_stages(kind: Kind) -> str:
    labels = [stage.label for stage in Stage if kind in stage.takes]
    named = [("an " if label[0] in "aeiou" else "a ") + label for label in labels]
    return " or ".join(named)


def _misfit(text: str, word: str, previous: str, kind: Kind) -> InputError:
    stages = stages_of(word)
    if stages:
        return InputError(
            f"proxy {text!r}: {word!r} ({stages[0].label}) cannot follow {previous}: {_next_stages(kind)} must"
        )
    here = words_after(kind)
    near = difflib.get_close_matches(word, here, n=1)
    everywhere = {name for words in REGISTRY.values() for name in words}
    error = unknown("primitive", word, near or everywhere)
    return InputError(f"proxy {text!r}: {error}")
