import pytest

from autogas.errors import InputError, unknown

NAMES = ["transnas", "transnas-macro", "transnas-micro"]


def test_input_error_is_a_value_error():
    with pytest.raises(ValueError, match=r"^bad$"):
        raise InputError("bad")


def test_unknown_suggests_the_nearest_name_first():
    assert str(unknown("space", "transnas-macroo", NAMES)).startswith(
        "unknown space 'transnas-macroo': did you mean 'transnas-macro'"
    )


def test_unknown_suggests_two_names_at_most():
    names = [f"name{i}" for i in range(10)]
    assert str(unknown("thing", "name", names)).count("'name") == 3  # what was given and two suggestions


def test_unknown_lists_every_name_when_none_is_near():
    assert str(unknown("space", "qqqq", reversed(NAMES))) == (
        "unknown space 'qqqq': expected transnas, transnas-macro, transnas-micro"
    )


def test_unknown_repeats_no_more_than_the_beginning_of_a_long_name():
    assert len(str(unknown("space", "x" * 5_000_000, NAMES))) < 300


def test_unknown_takes_an_iterator():
    assert "'alpha'" in str(unknown("thing", "alphaa", iter(["alpha", "beta"])))


def test_unknown_without_any_accepted_name():
    assert str(unknown("space", "x", [])) == "unknown space 'x': expected none"


@pytest.mark.parametrize("given", ["two\nlines", "transnas-\nmacro", ""])
def test_unknown_is_one_line(given):
    assert len(str(unknown("space", given, NAMES)).splitlines()) == 1
