import math
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from autogas.errors import InputError
from autogas.files import read_json, replacing, write_json
from autogas.runs import Run

SETTINGS = {"space": "transnas", "count": 3, "nested": {"rate": 0.1, "none": None, "list": [1, 2]}}


def names(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture
def run(tmp_path):
    run = Run.start("build", SETTINGS, tmp_path / "run")
    yield run
    run.record.close()


# Atomic files


@pytest.mark.parametrize("value", [{}, {"é": [1, "é"]}, {"b": 1, "a": {"d": None, "c": 0.1}}])
def test_write_json_can_be_read_back(tmp_path, value):
    write_json(tmp_path / "file.json", value)
    assert read_json(tmp_path / "file.json") == value
    assert names(tmp_path) == ["file.json"]


def test_write_json_does_not_depend_on_the_order_of_keys(tmp_path):
    write_json(tmp_path / "one", {"a": 1, "b": {"c": 2, "d": 3}})
    write_json(tmp_path / "two", {"b": {"d": 3, "c": 2}, "a": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("value", [{"x": object()}, {"x": math.nan}, {"x": math.inf}])
def test_what_is_no_json_leaves_the_old_file(tmp_path, value):
    write_json(tmp_path / "file.json", {"old": True})
    with pytest.raises((TypeError, ValueError)):
        write_json(tmp_path / "file.json", value)
    assert read_json(tmp_path / "file.json") == {"old": True}
    assert names(tmp_path) == ["file.json"]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    write_json(tmp_path / "file.json", {"old": True})
    write_bytes = Path.write_bytes

    def half(path, text):
        write_bytes(path, text[: len(text) // 2].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="No space left"):
        write_json(tmp_path / "file.json", {"new": "x" * 1000})
    assert read_json(tmp_path / "file.json") == {"old": True}
    assert names(tmp_path) == ["file.json"]


def test_a_failed_rename_leaves_the_old_file(tmp_path, monkeypatch):
    write_json(tmp_path / "file.json", {"old": True})

    def fail(*_):
        raise OSError("rename")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="rename"):
        write_json(tmp_path / "file.json", {"new": True})
    assert read_json(tmp_path / "file.json") == {"old": True}
    assert names(tmp_path) == ["file.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_block_leaves_nothing(tmp_path, error):
    def interrupted():
        with replacing(tmp_path / "file") as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert names(tmp_path) == []


def test_a_reader_sees_the_old_file_until_the_block_ends(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path  # a rename is atomic within one file system only
    assert path.read_text() == "new"


# Start


def test_start_writes_workflow_and_settings(run):
    assert read_json(run.path / "settings.json") == {
        "workflow": "build",
        "settings": SETTINGS,
        "inputs": {},
        "fields": [],
    }
    assert (run.workflow, run.settings) == ("build", SETTINGS)
    assert len(run.record) == 0


def test_start_makes_missing_parents(tmp_path):
    Run.start("build", SETTINGS, tmp_path / "a" / "b").record.close()
    assert (tmp_path / "a" / "b" / "settings.json").is_file()


def test_start_takes_an_existing_folder_without_a_run(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    Run.start("build", SETTINGS, str(tmp_path)).record.close()
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_start_names_the_folder_after_workflow_and_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Run.start("rank", {})
    run.record.close()
    assert [folder.match("runs/rank-????????-??????") for folder in (tmp_path / "runs").iterdir()] == [True]
    assert (run.path / "settings.json").is_file()


def test_start_refuses_a_folder_that_holds_a_run(run):
    run.__exit__(None, None, None)
    before = (run.path / "settings.json").read_bytes()
    with pytest.raises(InputError, match=r"holds a run already.*--resume") as error:
        Run.start("build", {"other": 1}, run.path)
    assert repr(str(run.path)) in str(error.value)
    assert (run.path / "settings.json").read_bytes() == before


@pytest.mark.parametrize("out", ["file.txt", "file.txt/x", "file.txt/x/y"])
def test_start_refuses_a_folder_that_cannot_be_made(tmp_path, out):
    (tmp_path / "file.txt").write_text("mine")
    with pytest.raises(InputError, match="cannot be written") as error:
        Run.start("build", SETTINGS, tmp_path / out)
    assert len(str(error.value).splitlines()) == 1
    assert (tmp_path / "file.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["results.json", "record.sqlite", "costs.json", "a.parquet", "x.safetensors", "losses.jsonl", "report.html"]
)
def test_start_refuses_a_folder_of_others_that_a_run_would_overwrite(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"holds {name}, which no run here made"):
        Run.start("build", SETTINGS, tmp_path)
    assert (tmp_path / name).read_text() == "mine"
    assert not (tmp_path / "settings.json").exists()


@pytest.mark.parametrize("name", ["figures", "csv", "tensorboard"])
def test_start_refuses_folders_of_others_that_a_run_would_write_into(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"holds {name}, which no run here made"):
        Run.start("rank", SETTINGS, tmp_path)


def test_start_refuses_settings_of_another_program(tmp_path):
    (tmp_path / "settings.json").write_text('{"editor": "dark"}')
    with pytest.raises(InputError, match="holds a run already"):
        Run.start("build", SETTINGS, tmp_path)
    with pytest.raises(InputError, match="is not a run folder"):
        Run.resume(tmp_path, "build")
    assert (tmp_path / "settings.json").read_text() == '{"editor": "dark"}'


def test_start_refuses_a_name_that_is_too_long(tmp_path):
    with pytest.raises(InputError):
        Run.start("build", SETTINGS, tmp_path / ("x" * 300))


# Open


def test_open_sees_settings_and_rows(run):
    run.record.put([("key", {"score": 1})])
    again = Run.open(run.path, "build")
    assert (again.path, again.workflow, again.settings) == (run.path, "build", SETTINGS)
    assert dict(again.record) == {"key": {"score": 1}}
    again.record.close()


def test_open_without_a_workflow_takes_any(run):
    again = Run.open(str(run.path))
    assert again.workflow == "build"
    again.record.close()


def test_open_refuses_another_workflow(run):
    with pytest.raises(InputError, match=r"is a run of build, not of rank$"):
        Run.open(run.path, "rank")


@pytest.mark.parametrize("path", ["nowhere", ".", "file.txt", "file.txt/x"])
def test_open_refuses_what_is_no_run(tmp_path, path):
    (tmp_path / "file.txt").write_text("mine")
    with pytest.raises(InputError, match="is not a run folder") as error:
        Run.open(tmp_path / path)
    assert repr(str(tmp_path / path)) in str(error.value)
    assert names(tmp_path) == ["file.txt"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"null", b"{}", b'{"workflow": "build"}', b'{"settings": {}}', b"\xff\xfe"],
)
def test_open_refuses_broken_settings(tmp_path, content):
    (tmp_path / "settings.json").write_bytes(content)
    with pytest.raises(InputError, match="is not a run folder"):
        Run.open(tmp_path)
    assert names(tmp_path) == ["settings.json"]


@pytest.mark.parametrize("settings", ["5", "null", '"text"'])
def test_open_refuses_settings_that_are_no_mapping(tmp_path, settings):
    (tmp_path / "settings.json").write_text(f'{{"workflow": "build", "settings": {settings}}}')
    with pytest.raises(InputError, match="is not a run folder"):
        Run.open(tmp_path)


def test_open_refuses_a_broken_record(tmp_path):
    Run.start("build", SETTINGS, tmp_path).record.close()
    (tmp_path / "record.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match=r"record.sqlite' is damaged \(file is not a database\): start the run again"):
        len(Run.open(tmp_path).record)


# Results


def test_results_come_back(run):
    run.finish({"score": 0.5, "best": ["a"]})
    again = Run.open(run.path)
    assert again.results == {"score": 0.5, "best": ["a"]}
    again.record.close()


def test_results_of_an_unfinished_run(run):
    with pytest.raises(InputError, match=r"did not finish: continue it with --resume$"):
        _ = run.results


def test_equal_results_are_equal_files(run, tmp_path):
    other = Run.start("build", SETTINGS, tmp_path / "other")
    run.finish({"a": 1, "b": 0.1})
    other.finish({"b": 0.1, "a": 1})
    other.record.close()
    assert (run.path / "results.json").read_bytes() == (other.path / "results.json").read_bytes()


def test_a_table_comes_back(run):
    table = pd.DataFrame({"arch": ["a", "b"], "score": [0.1, math.nan], "seed": [1, 2]}, index=[5, 6])
    run.write_table("trained", table)
    pd.testing.assert_frame_equal(run.read_table("trained"), table.reset_index(drop=True))
    assert "trained.parquet" in names(run.path)


def test_a_failed_table_leaves_the_old_one(run):
    old = pd.DataFrame({"x": [1]})
    run.write_table("t", old)
    with pytest.raises(Exception, match="object"):
        run.write_table("t", pd.DataFrame({"x": [object()]}))
    pd.testing.assert_frame_equal(run.read_table("t"), old)
    assert [name for name in names(run.path) if name.endswith(".tmp")] == []


def test_costs_come_back_and_are_no_results(run):
    assert run.costs == {}
    run.finish({"score": 1})
    before = (run.path / "results.json").read_bytes()
    run.write_costs({"seconds": 1.5})
    assert run.costs == {"seconds": 1.5}
    assert (run.path / "results.json").read_bytes() == before


# Locks


def test_a_run_that_is_written_is_refused_to_others(run):
    with pytest.raises(InputError, match="is being written by another process"):
        Run.start("build", {"other": 1}, run.path)
    with pytest.raises(InputError, match="is being written by another process"):
        Run.resume(run.path, "build")
    assert Run.open(run.path).settings == SETTINGS  # which only reads
    run.__exit__(None, None, None)
    with Run.resume(run.path, "build") as again:
        assert again.settings == SETTINGS


def test_a_lock_does_not_outlive_an_exception(tmp_path):
    def fails():
        with Run.start("build", SETTINGS, tmp_path / "run") as run:
            run.record.put([("a", {"x": 1})])
            raise KeyError

    with pytest.raises(KeyError) as kept:  # with the frames that hold the run
        fails()
    with Run.resume(tmp_path / "run", "build") as run:
        assert dict(run.record) == {"a": {"x": 1}}
    assert kept.value is not None


RACE = """
import sys, time
from autogas.errors import InputError
from autogas.runs import Run
while time.time() < float(sys.argv[2]):
    pass
try:
    with Run.start("build", {"who": sys.argv[3]}, sys.argv[1]) as run:
        time.sleep(0.5)
        run.finish({"who": sys.argv[3]})
except InputError as error:
    print(error)
    sys.exit(2)
"""


def test_of_runs_started_at_the_same_moment_one_wins(tmp_path):
    start = time.time() + 4
    command = [sys.executable, "-c", RACE, str(tmp_path / "run"), str(start)]
    both = [subprocess.Popen([*command, who], stdout=subprocess.PIPE, text=True) for who in "ab"]
    printed = [process.communicate(timeout=60)[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    winner = "ab"[both[0].returncode != 0]
    assert any("is being written" in text or "holds a run already" in text for text in printed)
    run = Run.open(tmp_path / "run")
    assert (run.settings, run.results) == ({"who": winner}, {"who": winner})


def test_a_killed_writer_leaves_no_lock(tmp_path):
    command = f"""
import os
from autogas.runs import Run
run = Run.start("build", {{}}, {str(tmp_path / "run")!r})
run.record.put([("a", {{"x": 1}})])
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == -9
    with Run.resume(tmp_path / "run", "build") as run:
        assert dict(run.record) == {"a": {"x": 1}}


# Refused and damaged


def test_a_refused_run_leaves_no_folder(tmp_path):
    def refused():
        with Run.start("build", SETTINGS, tmp_path / "run"):
            raise InputError("too few images")

    with pytest.raises(InputError, match="too few images"):
        refused()
    assert not (tmp_path / "run").exists()
    Run.start("build", SETTINGS, tmp_path / "run").__exit__(None, None, None)


def test_a_run_that_fails_with_work_done_keeps_it(tmp_path):
    def fails():
        with Run.start("build", SETTINGS, tmp_path / "run") as run:
            run.record.put([("a", {"x": 1})])
            raise InputError("diverged")

    with pytest.raises(InputError, match="diverged"):
        fails()
    assert dict(Run.open(tmp_path / "run").record) == {"a": {"x": 1}}


def test_inputs_that_changed_are_refused(tmp_path):
    with Run.start("build", SETTINGS, tmp_path / "run", {"images": "abc", "benchmark": "def"}):
        pass
    with pytest.raises(InputError, match=r"the contents of images are not those that the run was started with"):
        Run.resume(tmp_path / "run", "build", {"images": "other", "benchmark": "def"})
    with Run.resume(tmp_path / "run", "build", {"images": "abc", "benchmark": "def"}) as run:
        assert run.inputs == {"images": "abc", "benchmark": "def"}


def test_flipped_bits_are_refused_or_change_nothing(tmp_path):
    with Run.start("build", SETTINGS, tmp_path / "run") as run:
        run.record.put((f"key {i}", {"score": i / 7, "reason": ""}) for i in range(50))
        run.write_table("scores", pd.DataFrame({"arch": list("abc"), "score": [0.1, 0.2, 0.3]}))
        run.write_costs({"seconds": 1.5})
        run.finish({"winner": "a", "score": 0.25})

    def seen():
        found = Run.open(tmp_path / "run")
        try:
            table = found.read_table("scores").to_dict()
            return found.settings, found.results, found.costs, table, dict(found.record)
        finally:
            found.record.close()

    expected, draw = seen(), random.Random(0)
    outcomes = Counter()
    for name in ("settings.json", "results.json", "costs.json", "scores.parquet", "record.sqlite"):
        file = tmp_path / "run" / name
        whole = file.read_bytes()
        for _ in range(40):
            damaged = bytearray(whole)
            damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
            file.write_bytes(damaged)
            try:
                assert seen() == expected
                outcomes["right"] += 1
            except InputError as error:
                message = str(error)
                outcomes["refused"] += name in message and len(message.splitlines()) == 1
            file.write_bytes(whole)
    assert outcomes["refused"] > 80


def refused(folder, rows):
    """A run that puts rows on record and then refuses its input."""

    def run():
        with Run.start("search", SETTINGS, folder) as started:
            started.record.put(rows)
            raise InputError("no architecture")

    with pytest.raises(InputError, match="no architecture"):
        run()


@pytest.mark.parametrize("kept", [(), ("notes.txt",)])
@pytest.mark.parametrize("rows", [[], [("latency of x", {"milliseconds": 1.0})]])
def test_a_folder_that_was_there_is_as_it_was_after_a_refusal(tmp_path, kept, rows):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in kept:
        (folder / name).write_text("mine")
    refused(folder, rows)
    assert names(folder) == sorted(kept)
    with Run.start("search", SETTINGS, folder) as run:
        run.finish({})
    assert set(kept) < set(names(folder))


def test_a_refusal_after_work_keeps_it(tmp_path):
    refused(tmp_path / "mine", [("latency of x", {}), ("x", {"score": 1.0})])
    assert "record.sqlite" in names(tmp_path / "mine")


def test_a_lock_of_somebody_else_stays(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / ".lock").write_text("mine")
    refused(folder, [])
    assert names(folder) == [".lock"]


def test_a_folder_that_is_gone_hides_no_error_and_keeps_no_lock(tmp_path):
    run = Run.start("rank", {}, tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(OSError, match="No space left"), run:
        raise OSError("No space left")
    assert run._lock is None
