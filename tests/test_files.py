import io
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from autogas import files
from autogas.errors import InputError
from autogas.files import check_zip_size, read_table, record_batches, write_table


@pytest.fixture
def table():
    return pd.DataFrame({"text": ["a", None, "ä"], "number": [0.1 + 0.2, -0.0, 3.0], "flag": [True, False, True]})


def sealed(content, path):
    """A table that was not written by autogas, with a checksum that fits."""
    buffer = io.BytesIO()
    metadata = {files.HEADER: b"{}", b"seal": files.SEAL + files.BLANK}
    parquet.write_table(content.replace_schema_metadata(metadata), buffer, compression="zstd")
    path.write_bytes(files._sealed(buffer.getvalue()))
    return path


def test_a_table_comes_back_with_what_is_said_of_it(tmp_path, table):
    write_table(tmp_path / "t.parquet", table, {"b": [1, {"c": None}]})
    found, about = read_table(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(found, table)
    assert about == {"b": [1, {"c": None}]}


@pytest.mark.parametrize("rows", [0, 1, files.BATCH, files.BATCH + 1])
def test_a_table_of_any_length_comes_back(tmp_path, rows):
    table = pd.DataFrame({"a": np.arange(rows), "b": np.linspace(0, 1, rows)})
    write_table(tmp_path / "t.parquet", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet")[0], table)


def test_a_table_without_columns_comes_back(tmp_path):
    write_table(tmp_path / "t.parquet", pd.DataFrame())
    assert read_table(tmp_path / "t.parquet")[0].shape == (0, 0)


BOMBS = {
    "numbers": lambda: pa.table({"a": np.zeros(1_000_000)}),
    "missing numbers": lambda: pa.table({"a": pa.nulls(1_000_000)}),
    "one text many times": lambda: pa.table({"a": ["x" * 1_000_000] * 100}),
    "one long text": lambda: pa.table({"a": ["x" * 10_000_000]}),
    "a list": lambda: pa.table({"a": [[0] * 1_000_000]}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_table_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(files, "LARGEST_TABLE", 2_000_000)
    path = sealed(BOMBS[name](), tmp_path / "t.parquet")
    assert path.stat().st_size < 50_000
    before = pa.total_allocated_bytes()
    with pytest.raises(InputError, match=r"bytes in memory: expected at most 2,000,000"):
        read_table(path)
    assert pa.total_allocated_bytes() <= before


@pytest.mark.parametrize("change", ["bit", "cut", "zeros", "longer"])
def test_a_damaged_table_is_refused_before_it_is_read(tmp_path, table, change, monkeypatch):
    """Arrow may end the whole process on a damaged file."""
    path = tmp_path / "t.parquet"
    write_table(path, table)
    whole = path.read_bytes()
    monkeypatch.setattr(files.parquet, "ParquetFile", None)
    for place in range(0, len(whole), 7):
        before, after = whole[:place], whole[place + 1 :]
        path.write_bytes(
            {
                "bit": before + bytes([whole[place] ^ 4]) + after,
                "cut": before,
                "zeros": before + bytes(30) + whole[place + 30 :] + bytes(max(0, 30 - len(after))),
                "longer": before + b"!" + whole[place:],
            }[change]
        )
        with pytest.raises(InputError, match=f"is damaged .*{files.CHECKSUM}") as error:
            read_table(path)
        assert len(str(error.value).splitlines()) == 1


def test_a_table_of_another_program_is_refused(tmp_path, table):
    table.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"no table with a checksum.*: go away$"):
        read_table(tmp_path / "t.parquet", "go away")


def test_a_text_like_a_checksum_is_a_text(tmp_path):
    text = (files.SEAL + files.BLANK).decode()
    write_table(tmp_path / "t.parquet", pd.DataFrame({text: [text, "b"]}), {text: text})
    found, about = read_table(tmp_path / "t.parquet")
    assert found[text].tolist() == [text, "b"]
    assert about == {text: text}


def test_batches_are_small_where_values_may_be_large(tmp_path):
    parquet.write_table(pa.table({"a": ["x" * 100_000] * 50, "b": range(50)}), tmp_path / "t.parquet")
    for columns, largest in ((["a"], 300_000), (["b"], 500)):
        with parquet.ParquetFile(tmp_path / "t.parquet") as file:
            sizes = [batch.nbytes for batch in record_batches(tmp_path, file, columns, limit=300_000)]
        assert len(sizes) == (25 if columns == ["a"] else 1)
        assert max(sizes) <= largest


def test_a_list_that_would_fill_the_memory_is_refused(tmp_path):
    parquet.write_table(pa.table({"a": [[0] * 1_000_000], "b": [1]}), tmp_path / "t.parquet")
    with parquet.ParquetFile(tmp_path / "t.parquet") as file:
        with pytest.raises(InputError, match=r"16,000,000 bytes in memory"):
            next(record_batches(tmp_path, file, limit=1_000_000))
        assert next(record_batches(tmp_path, file, ["b"], limit=1_000_000)).num_rows == 1


def test_a_zip_that_would_fill_the_memory_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros(100_000), b=np.zeros(100_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match="1,600,"):
        check_zip_size(path, limit=1_500_000)
    check_zip_size(path, limit=1_700_000)


def test_no_zip_is_none(tmp_path):
    (tmp_path / "a").write_bytes(b"PK")
    with pytest.raises(zipfile.BadZipFile):
        check_zip_size(tmp_path / "a")
