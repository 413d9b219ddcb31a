import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from autogas.report.scale import Axis, axis_over, plotted, short_number


def test_ends_of_an_axis():
    axis = Axis(2.0, 4.0)
    assert [axis.place(v) for v in (2.0, 3.0, 4.0)] == [0.0, 0.5, 1.0]
    assert Axis(1.0, 100.0, log=True).place(10.0) == pytest.approx(0.5)


def test_an_axis_over_one_value_is_not_empty():
    for value in (0.0, 3.0, -1e9):
        axis = axis_over([value, value])
        assert axis.place(value) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("scores", "how"),
    [
        ([1.0, 2.0, 3.0], "linear"),
        ([1.0, 10.0, 100.0], "log"),
        ([-1.0, 10.0, 100.0], "linear"),
        ([-1.0, *np.linspace(0, 1, 50), 1e9], "rank"),
        ([0.0] * 30 + [1.0, 2.0], "linear"),
        ([np.nan, np.inf, 1.0, 2.0], "linear"),
        ([np.nan, np.nan], "linear"),
    ],
)
def test_how_scores_are_drawn(scores, how):
    assert plotted(np.array(scores))[1] == how


any_score = st.floats(-1e150, 1e150) | st.sampled_from([np.nan, np.inf, -np.inf])


@given(arrays(np.float64, st.integers(1, 40), elements=any_score))
def test_drawing_keeps_the_order_and_stays_in_the_box(scores):
    values, how = plotted(scores)
    finite = np.isfinite(scores)
    assert (np.isfinite(values) == finite).all()
    if not finite.any():
        return
    order = np.argsort(scores[finite], kind="stable")
    assert (np.diff(values[finite][order]) >= 0).all()
    axis = axis_over(values, log=how == "log")
    places = [axis.place(v) for v in values[finite]]
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)


@given(st.floats(1e-12, 1e12), st.floats(1.5, 1e9))
def test_ticks_of_a_logarithmic_axis_are_inside(low, factor):
    axis = Axis(low, low * factor, log=True)
    assert all(axis.low <= value <= axis.high for value, _ in axis.ticks())
    assert len(axis.ticks()) <= 6


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e9))
def test_ticks_of_a_linear_axis_are_inside_and_differ(low, length):
    ticks = Axis(low, low + length).ticks()
    assert all(low <= value <= low + length for value, _ in ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.25, "0.25"),
        (9999.0, "9999"),
        (12_000.0, "12k"),
        (-2.5e6, "−2.5M"),
        (3.4e9, "3.4G"),
        (1e20, "1e20"),
    ],
)
def test_short_numbers(value, text):
    assert short_number(value) == text
