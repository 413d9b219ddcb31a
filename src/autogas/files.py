"""Files that are read back: replaced as a whole, and checked by a checksum that they carry."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from autogas.errors import InputError

CHECKSUM = "checksum"
HEADER = b"autogas"
"""Key of the metadata of a Parquet file under which it says what it is."""


def checksum(parts: Iterable[bytes | memoryview | str]) -> str:
    """A digest of texts and bytes, 32 hexadecimal digits.

    Examples:
        >>> checksum(["ab", b"c"]) == checksum(["abc"])
        False
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(content) if isinstance(content, bytes) else content.nbytes}:".encode())
        digest.update(content)
    return digest.hexdigest()


def damaged(path: Path, reason: str, way_out: str = "") -> InputError:
    """Error for a file that autogas wrote and that is no longer what it wrote."""
    return InputError(f"{str(path)!r} is damaged ({reason})" + (f": {way_out}" if way_out else ""))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and vanishes otherwise."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON with a checksum; a reader sees the old file or the whole new one."""
    sealed = {**value, CHECKSUM: _of_json(value)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(sealed, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, way_out: str = "") -> dict[str, Any]:
    """Read what :func:`write_json` wrote.

    Args:
        path: the file.
        way_out: what the user can do when it is damaged.

    Raises:
        InputError: the file is damaged, or is of another program.
        OSError: the file is not there or cannot be read.
    """
    try:
        value = json.loads(path.read_bytes())
        given = value.pop(CHECKSUM)
        fits = given == _of_json(value)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise damaged(path, f"it is no JSON object with a {CHECKSUM}", way_out) from None
    if not fits:
        raise damaged(path, f"its {CHECKSUM} does not fit", way_out)
    found: dict[str, Any] = value
    return found


def _of_json(value: Mapping[str, Any]) -> str:
    return checksum([json.dumps(value, sort_keys=True, allow_nan=False)])


def write_table(path: Path, table: pd.DataFrame, about: Mapping[str, Any] | None = None) -> None:
    """Write a table as Parquet, with JSON about it and a checksum of both in the file's own metadata."""
    content = pa.Table.from_pandas(table, preserve_index=False)
    header = json.dumps(dict(about or {}), sort_keys=True, allow_nan=False)
    sealed = json.dumps({"about": header, CHECKSUM: _of_table(content, header)})
    content = content.replace_schema_metadata({**(content.schema.metadata or {}), HEADER: sealed.encode()})
    with replacing(path) as temporary:
        parquet.write_table(content, temporary, compression="zstd")


def read_table(path: Path, way_out: str = "") -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table that :func:`write_table` wrote, and what it said about it.

    Args:
        path: the file.
        way_out: what the user can do when it is damaged.

    Raises:
        InputError: the file is damaged, or is of another program.
        OSError: the file is not there or cannot be read.
    """
    content = path.read_bytes()
    try:
        table = parquet.read_table(pa.BufferReader(content))
        sealed = json.loads(table.schema.metadata[HEADER])
        about: dict[str, Any] = json.loads(sealed["about"])
        fits = sealed[CHECKSUM] == _of_table(table, sealed["about"])
        frame = table.to_pandas()
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise damaged(path, f"it is no table of autogas: {reason}", way_out) from None
    if not fits:
        raise damaged(path, f"its {CHECKSUM} does not fit", way_out)
    return frame, about


def _of_table(table: pa.Table, header: str) -> str:
    columns = zip(table.schema.names, table.schema.types, table.columns, strict=True)
    pandas = (table.schema.metadata or {}).get(b"pandas", b"")
    return checksum([header, pandas, *(f"{name}\n{kind}\n{column.to_pylist()!r}" for name, kind, column in columns)])
