import io

import pytest
from rich.console import Console

from autogas.cli.printing import console_text, fitted

HEAD = ("scorer", "tau-b", "95 % interval", "tau-a", "Spearman", "Pearson", "within", "failed")
LINES = [
    ["a proxy whose text is long > gram > slogdet > mean", "0.712", "0.621 to 0.782", *["0.123"] * 4, "0"],
    ["params", "-0.148", "-0.249 to -0.053", *["-0.123"] * 4, "12"],
]


def drawn(width):
    file = io.StringIO()
    Console(file=file, width=width).print(fitted(HEAD, LINES, width))
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 50, 60, 80, 110])
def test_a_table_fits_and_its_numbers_are_whole(width):
    text = drawn(width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "-0.148" in text
    shown = [name for name in HEAD if name in text.splitlines()[1]]
    for name, cell in zip(HEAD, LINES[1], strict=True):
        if name in shown:
            assert cell in text


def test_a_wide_terminal_shows_everything():
    assert "not shown" not in drawn(110)
    assert all(name in drawn(110) for name in HEAD)


def test_what_gives_way_is_named():
    text = " ".join(drawn(60).split())
    assert "not shown here, in --json:" in text
    assert "failed" in text.split("--json:")[1]


@pytest.mark.parametrize("name", ["[/red]", "[red]", ":smile:", "[bold]x[/bold]"])
def test_names_are_printed_as_they_are(name):
    table = fitted(("scorer", "tau"), [[name, "0.5"]], 80)
    assert name in console_text(table)
