"""Files that are read back: replaced as a whole, and checked by a checksum that they carry."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import math
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from autogas.errors import InputError

CHECKSUM = "checksum"
HEADER = b"autogas"
"""Key of the metadata of a Parquet file under which it says what it is."""
SEAL = b"autogas-checksum:"
BLANK = b"0" * 32
LARGEST = 1 << 30
"""Bytes that a compressed file may become in memory; a few hundred bytes can hold that they are billions."""
LARGEST_TABLE = 1 << 28
"""Bytes of a table that is read whole."""
BATCH = 1024


def checksum(parts: Iterable[bytes | memoryview | str]) -> str:
    """A digest of texts and bytes, 32 hexadecimal digits.

    Examples:
        >>> checksum(["ab", b"c"]) == checksum(["abc"])
        False
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        content = part.encode(errors="surrogateescape") if isinstance(part, str) else part
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
    except OSError as error:
        if error.filename is None:  # as of a full disk
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def or_none(value: float) -> float | None:
    """The number for JSON, which has none that are not finite: None instead."""
    return float(value) if math.isfinite(value) else None


def or_nan(value: float | None) -> float:
    """What ``or_none`` was given, as far as it says: NaN for None."""
    return math.nan if value is None else float(value)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON with a checksum; a reader sees the old file or the whole new one."""
    sealed = {**value, CHECKSUM: _of_json(value)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(sealed, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, way_out: str = "") -> dict[str, Any]:
    """Read what ``write_json`` wrote.

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


def too_large(path: Path, size: int, limit: int) -> InputError:
    """Error for a file that would take more memory than ``limit`` bytes."""
    return InputError(f"{str(path)!r} would be {size:,} bytes in memory: expected at most {limit:,}")


def check_zip_size(path: Path, limit: int = LARGEST) -> None:
    """Refuse a zip (also ``.npz`` and ``.pth``) that says that it holds more than ``limit`` bytes.

    Raises:
        InputError: it says so.
        zipfile.BadZipFile, OSError: it is no zip, or cannot be read.
    """
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > limit:
        raise too_large(path, size, limit)


def record_batches(
    path: Path, file: parquet.ParquetFile, columns: Sequence[str] | None = None, limit: int = LARGEST
) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file, in batches that take at most about ``limit`` bytes each.

    Repeated values take next to no room in the file, so a batch is as small as the largest value that may hide in a
    column demands; a single value may be as large as its column is before decompression.

    Args:
        path: for the message.
        file: the opened file.
        columns: names of those to read (all by default).
        limit: bytes.

    Raises:
        InputError: one row may hold a list that would take more than ``limit``, or a damaged file.
    """
    largest = 1  # bytes of a value
    for group, index in itertools.product(range(file.metadata.num_row_groups), range(file.metadata.num_columns)):
        column = file.metadata.row_group(group).column(index)
        if columns is not None and column.path_in_schema.split(".")[0] not in columns:
            continue
        value = column.total_uncompressed_size if "BYTE_ARRAY" in column.physical_type else 16
        if file.schema.column(index).max_repetition_level and column.num_values * value > limit:
            raise too_large(path, column.num_values * value, limit)
        largest = max(largest, value)
    try:
        yield from file.iter_batches(batch_size=max(1, min(BATCH, limit // largest)), columns=columns)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(f"{str(path)!r}: a damaged Parquet file ({' '.join(str(error).split())})") from None


def write_table(path: Path, table: pd.DataFrame, about: Mapping[str, Any] | None = None) -> None:
    """Write a table as Parquet, with JSON about it and a checksum of the whole file in the file's own metadata."""
    content = pa.Table.from_pandas(table, preserve_index=False)
    header = json.dumps(dict(about or {}), sort_keys=True, allow_nan=False).encode()
    content = content.replace_schema_metadata({HEADER: header, CHECKSUM: SEAL + BLANK})
    buffer = io.BytesIO()
    parquet.write_table(content, buffer, compression="zstd")
    with replacing(path) as temporary:
        temporary.write_bytes(_sealed(buffer.getvalue()))


def read_table(path: Path, way_out: str = "") -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table that ``write_table`` wrote, and what it said about it.

    Args:
        path: the file.
        way_out: what the user can do when it is damaged.

    Raises:
        InputError: the file is damaged, is of another program, or is a table of more than ``LARGEST_TABLE`` bytes.
        OSError: the file is not there or cannot be read.
    """
    content = path.read_bytes()
    if SEAL not in content:
        raise damaged(path, f"it is no table with a {CHECKSUM}, as this version writes", way_out)
    if _sealed(content) != content:  # before anything is read: Arrow ends the process on some damaged files
        raise damaged(path, f"its {CHECKSUM} does not fit", way_out)
    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
        about: dict[str, Any] = json.loads(file.schema_arrow.metadata[HEADER])
        return _read_parquet(path, file).to_pandas(ignore_metadata=True), about
    except InputError:
        raise
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, (str(error).splitlines() or [type(error).__name__])[0], way_out) from None


def _sealed(content: bytes) -> bytes:
    """A file with the checksum of what stands before and after it."""
    start = content.rindex(SEAL) + len(SEAL)
    before, after = content[:start], content[start + len(BLANK) :]
    return before + checksum([before, after]).encode() + after


def _read_parquet(path: Path, file: parquet.ParquetFile) -> pa.Table:
    about = file.metadata
    declared = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    size = max(declared, 8 * about.num_rows * about.num_columns)
    if size > LARGEST_TABLE:
        raise too_large(path, size, LARGEST_TABLE)
    batches = []
    for batch in record_batches(path, file, limit=LARGEST_TABLE):
        batches.append(batch)
        size += batch.nbytes
        if size > 2 * LARGEST_TABLE:
            raise too_large(path, size, LARGEST_TABLE)
    return pa.Table.from_batches(batches, schema=file.schema_arrow)
