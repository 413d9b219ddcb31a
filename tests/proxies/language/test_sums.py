import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autogas.errors import InputError
from autogas.proxies.language.expression import Proxy, Sum, measured_prefixes, parse_proxy
from autogas.proxies.language.parts import PARTS
from autogas.proxies.score import score, score_many

FIRST, SECOND = "softmax > covariance > eigenvalue_floor > log", "convolutions@late > gram > trace > log > max"


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Tanh()), torch.randn(6, 3, 9, 9)


@pytest.mark.parametrize(
    ("text", "factors"),
    [
        (f"{FIRST} + {SECOND}", (1, 1)),
        (f"{FIRST} - 2 * {SECOND}", (1, -2)),
        (f"0.5 * {FIRST} + {SECOND} - {FIRST}", (0.5, 1, -1)),
        (f"-{SECOND}", (-1,)),
        (f"-3 * {SECOND} + {FIRST}", (-3, 1)),
    ],
)
def test_a_sum_is_the_sum_of_its_terms(text, factors):
    model, x = network()
    proxy = parse_proxy(text)
    assert tuple(factor for factor, _ in proxy.terms) == factors
    each = [score(model, x, term) for _, term in proxy.terms]
    assert score(model, x, proxy) == pytest.approx(np.dot(factors, each), rel=1e-12)
    assert str(parse_proxy(str(proxy))) == str(proxy)


def test_spaces_around_signs_and_stars_are_free():
    assert parse_proxy("2*gram>trace  -  swish>gram>trace") == parse_proxy("2 * gram > trace - swish > gram > trace")


def test_one_term_without_a_coefficient_is_no_sum():
    assert isinstance(parse_proxy("gram > trace"), Proxy)
    assert isinstance(parse_proxy("2 * gram > trace"), Sum)


def test_terms_share_a_pass_and_their_prefixes():
    proxy = parse_proxy("swish > gram > trace + activations@late > swish > pearson > slogdet")
    assert [str(prefix) for prefix in measured_prefixes([proxy])] == ["activations > swish"]
    model, x = network()
    assert set(score_many(model, x, [str(proxy), "params"])) == {str(proxy), "params"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gram > trace + ", "a term is missing"),
        ("gram > trace + gram", "ends in a matrix"),
        ("x * gram > trace", r"'x' before \*: expected numbers other than zero"),
        ("0 * gram > trace", "other than zero"),
        ("nan * gram > trace", "other than zero"),
        (" + ".join(["gram > trace"] * 6), "6 terms; expected at most 5"),
    ],
)
def test_what_is_no_sum(text, message):
    with pytest.raises(InputError, match=message):
        parse_proxy(text)


TERMS = st.builds(
    lambda layers, part, rest: f"{layers}{part} > {rest}",
    st.sampled_from(["activations", "convolutions", "normalisations", "all"]),
    st.sampled_from(["", *(f"@{part}" for part in PARTS)]),
    st.sampled_from(
        ["gram > trace", "softmax > deviation > eigenvalue_floor > log > min", "swish > cosine > frobenius"]
    ),
)


@given(st.lists(st.tuples(st.sampled_from([-2.0, -1.0, 0.5, 1.0]), TERMS), min_size=1, max_size=3))
def test_text_and_sum_are_each_others_inverse(terms):
    proxy = Sum(tuple((factor, parse_proxy(text)) for factor, text in terms))
    read = parse_proxy(str(proxy))
    assert read.terms == proxy.terms


def test_equal_sums_have_one_canonical_form():
    first, second = parse_proxy(f"{FIRST} - 2 * {SECOND}"), parse_proxy(f"-2 * {SECOND} + {FIRST}")
    assert first.canonical() == second.canonical()
    assert first.complexity == second.complexity
