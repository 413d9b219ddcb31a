"""Read a table of text (CSV) as people, spreadsheets and R write it."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from autogas.errors import InputError

SEPARATORS = ",;\t"
MISSING = ("", "-", "na", "n/a", "nan", "none", "null")
"""What stands for a missing value, in any case."""
ARCH = "arch"
"""The column that holds no numbers, whatever they look like."""
THOUSANDS = r"[+-]?[1-9]\d{0,2},\d{3}"
"""What a comma may also stand for."""
DECIMAL_COMMA = r"^([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)$"
MOST_COLUMNS = 1000
SHOWN, SHOWN_CHARACTERS = 10, 40


def read_text_table(path: Path) -> pd.DataFrame:
    """A table with names of columns in its first line, separated by comma, semicolon or tab.

    Blanks around names and entries do not count, nor do blank lines and columns without a name (an index). A column is
    of numbers when all of its entries are numbers or missing, else of texts; a missing entry is NaN.

    Raises:
        InputError: no text in UTF-8 (or UTF-16 with a byte order mark), a quote that is not closed, a line with more
            entries than the header, or two columns of one name.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{str(path)!r} is not text in UTF-8 (byte {error.start + 1}): save it as such") from None
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        lines = [(reader.line_num, entries) for row in reader if any(entries := [entry.strip() for entry in row])]
    except csv.Error as error:
        raise InputError(f"{str(path)!r} is not a readable CSV (line {reader.line_num}: {error})") from None
    if not lines:
        raise InputError(f"{str(path)!r} is empty")
    names, rows = lines[0][1], [entries for _, entries in lines[1:]]
    if rows and all(len(row) == len(names) + 1 and row[-1] for row in rows):
        names = ["", *names]  # R numbers the rows and gives that column no name
    for line, row in lines[1:]:
        if any(row[len(names) :]):
            raise InputError(f"{str(path)!r} line {line} has {len(row)} entries: its header has {len(names)}")
    named = [(i, name) for i, name in enumerate(names) if name and not re.fullmatch(r"Unnamed: \d+", name)]
    if len(names) > MOST_COLUMNS:
        raise InputError(f"{str(path)!r} has {len(names)} columns: expected at most {MOST_COLUMNS}")
    twice = [name for name, count in Counter(name for _, name in named).items() if count > 1]
    if twice:
        raise InputError(f"{str(path)!r} has columns of one name: {some(twice)}")
    return pd.DataFrame(
        {name: _column(name, [row[i] if i < len(row) else "" for row in rows], separator) for i, name in named}
    )


def _separator(text: str) -> str:
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(SEPARATORS, key=re.sub(r'"[^"]*"', "", header).count)


def _column(name: str, entries: list[str], separator: str) -> pd.Series:
    texts = pd.Series([None if entry.lower() in MISSING else entry for entry in entries], dtype=object)
    between_commas = separator == "," and texts.str.fullmatch(THOUSANDS).any()  # where one inside of a number is quoted
    if name.casefold() != ARCH and not between_commas:
        texts = texts.str.replace(DECIMAL_COMMA, r"\1.\2", regex=True)
    numbers = pd.to_numeric(texts, errors="coerce")
    return numbers if (numbers.notna() | texts.isna()).all() else texts


def find_column(table: pd.DataFrame, name: str) -> str | None:
    """The column of that name, or else the only one that differs from it in case alone."""
    if name in table:
        return name
    alike = [str(column) for column in table if str(column).casefold() == name.strip().casefold()]
    return alike[0] if len(alike) == 1 else None


def some(names: Iterable[object]) -> str:
    """The first few of a list that may be long, for a message."""
    texts = [str(name) for name in names]
    shown = [text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…" for text in texts[:SHOWN]]
    return ", ".join(shown + ["…"] * (len(texts) > SHOWN)) or "none"
