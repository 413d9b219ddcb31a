import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import autogas
from autogas.errors import InputError
from autogas.runs import Record

WRITER = """
import sys
from pathlib import Path
from autogas.runs import Record
record = Record(Path(sys.argv[1]))
for i in range(100_000):
    record.put([(f"{i}/a", {"score": i / 7}), (f"{i}/b", {"text": "x" * 20_000})])
    print(i, flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "record.sqlite"


@pytest.fixture
def record(path):
    record = Record(path)
    yield record
    record.close()


@pytest.mark.parametrize(
    "value",
    [{}, {"score": 0.1 + 0.2, "n": 2**60}, {"text": "é \n ' \"", "none": None, "list": [1, {"deep": True}]}],
)
def test_a_value_comes_back_equal(record, value):
    record.put([("key", value)])
    assert record["key"] == value


def test_nan_and_infinity_come_back(record):
    record.put([("key", {"nan": float("nan"), "inf": float("inf")})])
    back = record["key"]
    assert back["nan"] != back["nan"]
    assert back["inf"] == float("inf")


def test_another_connection_reads_a_row_at_once(path, record):
    reader = Record(path)
    record.put([("key", {"score": 1})])
    assert reader["key"] == {"score": 1}
    reader.close()


def test_a_row_outlives_its_connection(path):
    first = Record(path)
    first.put([("key", {"score": 1})])
    first.close()
    second = Record(path)
    assert dict(second) == {"key": {"score": 1}}
    second.close()


def test_plain_sqlite_reads_the_file(path, record):
    record.put([("key", {"score": 1})])
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT key, value FROM evaluations").fetchall() == [("key", '{"score": 1}')]
    connection.close()


def test_rows_survive_kill_9(path):
    env = {**os.environ, "PYTHONPATH": str(Path(autogas.__file__).parents[1])}
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as writer:
        for line in writer.stdout:
            if int(line) == 25:
                break
        os.kill(writer.pid, signal.SIGKILL)  # most likely in the middle of the next write
        told = [25, *map(int, writer.stdout.read().split())][-1]
    assert writer.returncode == -signal.SIGKILL
    record = Record(path)
    for i in range(told + 1):
        assert record[f"{i}/a"] == {"score": i / 7}
        assert record[f"{i}/b"] == {"text": "x" * 20_000}
    # A write that was not told of is there as a whole or not at all.
    assert len(record) in (2 * told + 2, 2 * told + 4)
    record.put([("after", {})])
    assert "after" in record
    record.close()


def test_put_replaces(record):
    record.put([("key", {"score": 1, "old": True})])
    record.put([("key", {"score": 2})])
    assert dict(record) == {"key": {"score": 2}}


def test_the_last_of_two_equal_keys_wins(record):
    record.put([("key", {"n": 1}), ("key", {"n": 2})])
    assert dict(record) == {"key": {"n": 2}}


def test_keys_are_sorted_whatever_the_order_of_writing(record):
    keys = ["b", "a/seed1", "c", "a/seed0", "é"]
    record.put((key, {}) for key in keys)
    assert list(record) == sorted(keys)


def test_len_counts_rows(record):
    assert len(record) == 0
    record.put((str(i), {"i": i}) for i in range(10))
    assert len(record) == 10


def test_a_missing_key(record):
    record.put([("key", {})])
    assert "other" not in record
    assert record.get("other", {"d": 1}) == {"d": 1}
    with pytest.raises(KeyError, match=r"^'other'$"):
        record["other"]


@pytest.mark.parametrize("key", ["", "a b", "'; DROP TABLE evaluations; --", "%", "64-41414-0_12_301/seed0"])
def test_any_text_is_a_key(record, key):
    record.put([(key, {"n": 1})])
    assert record[key] == {"n": 1}
    assert list(record) == [key]


def test_a_bad_value_writes_nothing_of_its_batch(record):
    with pytest.raises(TypeError):
        record.put([("good", {"n": 1}), ("bad", {"n": object()})])
    assert len(record) == 0


def test_an_iterator_that_raises_writes_nothing_of_its_batch(record):
    def items():
        yield "good", {"n": 1}
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        record.put(items())
    assert len(record) == 0


def test_a_database_error_rolls_the_batch_back(record):
    record.put([("kept", {"n": 1})])
    abort = "BEGIN SELECT RAISE(ABORT, 'no such luck'); END"
    record.writer().execute(f"CREATE TRIGGER refuse BEFORE INSERT ON evaluations WHEN NEW.key = 'bad' {abort}")
    with pytest.raises(InputError, match="no such luck"):
        record.put([("kept", {"n": 2}), ("bad", {"n": 3})])
    assert dict(record) == {"kept": {"n": 1}}


def test_reading_while_writing(path, record):
    record.put((str(i), {}) for i in range(5))
    reader = Record(path)
    keys = iter(reader)
    first = next(keys)
    assert [first, *keys] == list("01234")
    record.put([("5", {})])
    assert len(reader) == 6
    reader.close()


def test_a_file_without_a_table_is_an_empty_record(tmp_path):
    """A disk that was full when the table was made."""
    path = tmp_path / "record.sqlite"
    sqlite3.connect(path).execute("PRAGMA user_version = 1").connection.close()
    assert path.exists()
    record = Record(path)
    assert dict(record) == {}
    record.put([("key", {"value": 1})])
    assert dict(record) == {"key": {"value": 1}}


def test_a_damaged_key_is_said(tmp_path):
    path = tmp_path / "record.sqlite"
    record = Record(path)
    record.put([("softmax > gram", {"value": 1})])
    record.close()
    path.write_bytes(path.read_bytes().replace(b"softmax > gram", b"softmax > gran"))
    with pytest.raises(InputError, match="does not fit its checksum"):
        list(Record(path))
