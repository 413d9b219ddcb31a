import pytest

from autogas.report.phrases import against_random, against_trivial, best_trivial, headline, interval, signed, unbroken


def estimate(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def row(name, b, a=None, within=None, expression=""):
    return {
        "name": name,
        "expression": expression,
        "count": 9,
        "kendall_b": estimate(b, *(() if b is None else (b - 0.1, b + 0.1))),
        "kendall_a": estimate(b if a is None else a),
        "within": within,
    }


BENCHMARK = {"name": "tiny", "metric": "ssim", "higher_is_better": True}


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.500"), (-0.0001, "0.000"), (-0.5, "−0.500"), (None, "–")])
def test_signed(value, text):
    assert signed(value) == text


def test_an_interval_may_be_unknown():
    assert interval(None) == interval(estimate(0.5)) == ""


def test_the_best_trivial_scorer_has_a_defined_tau():
    assert best_trivial([row("num_skips", None), row("params", -0.5), row("macs", -0.2)])["name"] == "macs"
    assert best_trivial([row("autogas", 0.9), row("num_skips", None)]) is None


def test_headline_without_others():
    assert headline([row("discovered", 0.5)], BENCHMARK, "discovered", "it", "") == (
        "On 9 architectures of tiny, it ranks ssim with Kendall’s τ-b 0.500 (0.400 to 0.600)."
    )
    assert headline([], BENCHMARK, "discovered", "it", "") == ""


def test_headline_says_when_lower_is_better():
    lower = {"name": "tiny", "metric": "fid", "higher_is_better": False}
    assert "ranks fid (lower is better) with" in headline([row("discovered", 0.5)], lower, "discovered", "it", "")


def test_headline_of_a_constant():
    assert "undefined (all its scores are equal)" in headline(
        [row("discovered", None)], BENCHMARK, "discovered", "it", ""
    )


@pytest.mark.parametrize(
    ("mine", "trivial", "said"),
    [
        (
            (0.5,),
            (0.55,),
            "A trivial scorer is better than it: params, which runs no network, has the higher τ-b, but the intervals",
        ),
        ((0.5,), (0.9,), "and the intervals are apart"),
        ((0.9,), (0.5,), "No trivial scorer ranks better by τ-b: it is ahead of params, and the intervals are apart."),
        ((0.5,), (0.5,), "A trivial scorer is as good as it: params"),
        ((0.6, 0.4), (0.5, 0.5), "By τ-a, which gives no credit for ties, params is ahead (0.500 against 0.400)."),
        ((0.5, 0.5), (0.6, 0.4), "By τ-a, which gives no credit for ties, it is ahead (0.500 against 0.400)."),
        ((None,), (0.5,), "It has no ranking of its own here"),
    ],
)
def test_verdict_against_the_trivial_scorer(mine, trivial, said):
    (text,) = against_trivial([row("discovered", *mine), row("params", *trivial)], "discovered", "it")
    assert said in text


@pytest.mark.parametrize(
    ("within", "said"),
    [
        (estimate(0.2, -0.1, 0.4), "may know nothing"),
        (estimate(0.2, 0.1, 0.4), "it knows something"),
        (estimate(-0.2, -0.4, -0.1), "wrong way round"),
        (estimate(0.2), "is 0.200."),
    ],
)
def test_what_is_left_within_strata(within, said):
    assert said in against_trivial([row("discovered", 0.5, within=within), row("params", 0.4)], "discovered", "it")[1]


@pytest.mark.parametrize(
    ("control", "said"),
    [
        (row("random search", 0.6, expression="b"), "as well or better, 0.600"),
        (row("random search", 0.4, expression="b"), "of lower τ-b, 0.400"),
        (row("random search", 0.5, expression="a"), "found the same expression"),
    ],
)
def test_verdict_against_random_search(control, said):
    (text,) = against_random([row("discovered", 0.5, expression="a"), control])
    assert said in text


def test_no_verdict_without_something_to_compare():
    assert against_trivial([row("discovered", 0.5)], "discovered", "it") == []
    assert against_random([row("discovered", 0.5)]) == []
    assert against_random([row("discovered", None), row("random search", 0.4)]) == []


def test_sentences_are_escaped():
    assert unbroken("<τ-b>") == '&lt;<span class="kept">τ-b</span>&gt;'
