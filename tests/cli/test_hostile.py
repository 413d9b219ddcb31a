"""Whatever the user's code, terminal or options do, the answer is one document or one line."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from autogas.cli.parsing import parse_settings
from autogas.cli.printing import printable
from autogas.errors import InputError

COMMAND = str(Path(sys.executable).with_name("autogas"))
BLOCK = "def block():\n    from torch import nn\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "blocks.py").write_text(BLOCK)
    return tmp_path


@pytest.fixture
def score(autogas, folder):
    def run(code, *options, name="make", file="gen.py"):
        (folder / file).write_text(code)
        return autogas("score", "--module", f"{folder / file}:{name}", "--json", *options)

    return run


MAKES = "from blocks import block\ndef make():\n    return block()\n"


@pytest.mark.parametrize("file", ["gen.py", "my gen.py", "gen-2.py", "random.py", "torch.py"])
def test_a_module_imports_its_neighbours_whatever_it_is_called(score, file):
    code, out, err = score(MAKES, file=file)
    assert (code, err) == (0, "")
    assert set(json.loads(out)) == {"concord"}


def test_a_module_of_a_package_imports_relatively(autogas, folder):
    package = folder / "nets_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text(BLOCK)
    (package / "gen.py").write_text("from .parts import block\ndef make():\n    return block()\n")
    code, out, _ = autogas("score", "params", "--module", f"{package / 'gen.py'}:make", "--json")
    assert (code, json.loads(out)) == (0, {"params": 112.0})


RAISES = {
    "exit": ("raise SystemExit(0)", "SystemExit at gen.py:3"),
    "error of any type": ("raise KeyError('no such layer')", "KeyError at gen.py:3: 'no such layer'"),
    "error that cannot be shown": (
        "raise type('Odd', (BaseException,), {'__str__': lambda self: 1 / 0})()",
        "Odd at gen.py:3: it cannot be shown",
    ),
    "endless recursion": ("return make()", "RecursionError at gen.py:"),
    "no memory": ("raise MemoryError", "MemoryError at gen.py:3"),
    "nothing": ("return None", "made a NoneType, expected a torch.nn.Module"),
    "a pair": ("return block(), 1", "made a tuple"),
}


@pytest.mark.parametrize("kind", RAISES)
def test_what_a_factory_raises_is_one_line(score, kind):
    statement, message = RAISES[kind]
    code, out, err = score(f"from blocks import block\ndef make():\n    {statement}\n")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", ["exit", "error of any type", "error that cannot be shown", "no memory"])
def test_what_a_forward_raises_is_one_line(score, kind):
    statement, message = RAISES[kind]
    code, out, err = score(
        f"from blocks import block\n\n\ndef hook(*_):\n    {statement}\n\n\n"
        "def make():\n    net = block()\n    net.register_forward_hook(hook)\n    return net\n"
    )
    assert (code, out) == (2, "")
    assert message.replace(":3", ":5") in err
    assert "on input of shape (16, 3, 32, 32)" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("code", ["raise SystemExit", "1 +", "import nowhere_at_all"])
def test_a_module_that_cannot_be_loaded_is_one_line(score, code):
    code, out, err = score(code)
    assert (code, out) == (2, "")
    assert "at gen.py:1" in err
    assert err.count("\n") == 1


def test_names_that_are_there_are_said(score):
    assert "no function or class 'mkae' there; it has block, make" in score(MAKES, name="mkae")[2]


LOUD = """
import os
from blocks import block
print("loading")
def make():
    print("making")
    os.write(1, b"from below\\n")
    net = block()
    net.register_forward_hook(lambda *_: print("running"))
    return net
"""


def test_stdout_holds_one_document_whatever_the_module_prints(folder):
    (folder / "gen.py").write_text(LOUD)
    done = subprocess.run(
        [COMMAND, "score", "--module", "gen.py:make", "--json"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert set(json.loads(done.stdout)) == {"concord"}
    assert [word in done.stderr for word in ("loading", "making", "from below", "running")] == [True] * 4


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ASCII = {"PYTHONIOENCODING": "ascii"}


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        *(([words, "--help"], ASCII) for words in ("rank", "score")),
        *((words, variables) for words in (["--help"], ["list"]) for variables in (C_LOCALE, ASCII)),
        (["bench", "import", "--help"], C_LOCALE),
        (["-h"], {"PYTHONIOENCODING": "latin-1"}),
    ],
)
def test_a_terminal_without_unicode_gets_an_answer(words, variables):
    environment = {**os.environ, **variables}
    done = subprocess.run([COMMAND, *words], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_reader_that_goes_away_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run([COMMAND, "list"], stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert done.returncode in (1, 141)
    assert done.stderr == b""


@pytest.mark.parametrize(
    "words",
    [
        ["--shape", "3,100000,100000"],
        ["--shape", "3,32,32", "--batch-size", "1000000000"],
        ["--shape", "3,99999999999999999999,2"],
        ["--shape", "3,-1,2"],
        ["--shape", "3,nan,2"],
        ["--shape", "3,0,2"],
        ["--shape", ""],
    ],
)
def test_inputs_beyond_memory_or_reason_are_refused_before_anything_runs(score, words):
    code, out, err = score("raise RuntimeError('was loaded')", *words)
    assert (code, out) == (2, "")
    assert "was loaded" not in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["width=" + "9" * 5000], "not a value|expected values of up to"),
        (["width=" + "9" * 1999], "^$"),
        (["width=" + "[" * 1900], "not a value|^$"),
        (["width=" + "x" * 5_000_000], "expected values of up to 2000 characters"),
        (["width=1", "width=2"], "width is given twice"),
        (["width=NaN"], "^$"),
    ],
)
def test_values_of_settings_are_bounded(pairs, message):
    found = ""
    try:
        parse_settings(pairs)
    except InputError as error:
        found = str(error)
    assert len(found) < 300
    assert re.search(message, found)


def test_what_a_terminal_would_obey_is_spelled_out():
    text = "a\x1b[31mred\x1b]0;title\x07 \u202eback\u2066 \x9b2J\ttab\nline é τ 漢"
    assert printable(text) == "a\\x1b[31mred\\x1b]0;title\\x07 \\u202eback\\u2066 \\x9b2J\ttab\nline é τ 漢"


@pytest.mark.parametrize("words", [["score", "--arch", "\x1b[31mx"], ["rank", "--benchmark", "\x1b]0;x\x07"]])
def test_names_in_messages_are_harmless(autogas, words):
    code, out, err = autogas(*words)
    assert (code, out) == (2, "")
    assert "\x1b" not in err
    assert "x1b" in err


@pytest.mark.parametrize("verb", ["score", "rank", "discover", "search", "train", "evaluate", "report"])
def test_names_beyond_what_a_file_system_takes_are_one_line(autogas, verb):
    long = "x" * 300
    words = {
        "score": ["--module", f"{long}.py:make"],
        "rank": ["params", "--out", long, "--benchmark", long],
        "discover": ["--benchmark", long],
        "search": [long],
        "train": [long],
        "evaluate": ["--images", long, "--reference", long],
        "report": [long],
    }[verb]
    code, out, err = autogas(verb, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_the_version_is_printed(autogas):
    assert autogas("--version")[1].startswith("autogas 0.")


def test_a_space_beside_a_module_is_refused(score):
    assert score(MAKES, "--space", "nowhere")[1:] == (
        "",
        "autogas: --space 'nowhere' is of --arch: a module has none\n",
    )


def test_a_flag_is_no_number(autogas, image_folder):
    code, _, err = autogas("train", "eagan-best", "--images", image_folder, "--recipe", "steps=true")
    assert code == 2
    assert "steps" in err
    assert "expected a number" in err


@pytest.mark.usefixtures("toy")
def test_too_much_memory_is_one_line(autogas, monkeypatch):
    monkeypatch.setattr("autogas.workflows.rank.scoring_inputs", lambda *_: (torch.empty(10**15),))
    code, out, err = autogas("rank", "snip", "--benchmark", "toy", "--all", "--jobs", 1)
    assert (code, out) == (2, "")
    assert err.startswith("autogas: not enough memory")
    assert err.count("\n") == 1


def test_sizes_have_ends(autogas, image_folder):
    for words in (
        ["evaluate", "--images", image_folder, "--reference", image_folder, "--size", 10**8],
        ["evaluate", "--images", image_folder, "--reference", image_folder, "--batch-size", 10**23],
        ["data", "make", "edges2photo", "e2p", "--images", image_folder, "--size", 10**7],
        [
            "train",
            "64-1234-basic",
            "--space",
            "transnas-macro",
            "--images",
            image_folder,
            "--set",
            "image_size=6400000",
        ],
    ):
        code, _, err = autogas(*words)
        assert (code, err.count("\n")) == (2, 1)


@pytest.mark.parametrize("name", [b"caf\xe9.png", "café.png".encode()])
def test_names_of_pictures_are_whatever_they_are(autogas, image_folder, here, name):
    folder = here / "named"
    shutil.copytree(image_folder, folder)
    os.rename(folder / sorted(os.listdir(folder))[0], os.path.join(os.fsencode(folder), name))
    words = ["--reference", image_folder, "--splits", 1, "--size", 16, "--out", "run"]
    code, _, err = autogas("evaluate", "--images", folder, *words)
    assert (code, err) == (0, "")


def test_a_refused_evaluation_keeps_the_statistics_that_were_there(autogas, image_folder):
    words = [
        "evaluate",
        "--images",
        image_folder,
        "--splits",
        1,
        "--size",
        16,
        "--save-reference",
        "k.npz",
        "--out",
        "run",
    ]
    assert autogas(*words, "--reference", image_folder)[0] == 0
    before = Path("k.npz").read_bytes()
    assert autogas(*words, "--reference", "dead-leaves", "--reference-samples", 20)[0] == 2
    assert Path("k.npz").read_bytes() == before


def test_more_splits_than_samples_name_the_option(autogas, image_folder):
    words = ["--reference", image_folder, "--size", 16, "--splits", 13, "--samples", 12]
    assert "--splits 13" in autogas("evaluate", "--images", "dead-leaves", *words)[2]


def test_a_damaged_table_of_pictures_is_named(autogas, image_folder, here):
    rows = [{"bytes": file.read_bytes(), "path": file.name} for file in sorted(image_folder.iterdir())] * 20
    pq.write_table(pa.table({"image": rows}), "good.parquet")
    content = bytearray(Path("good.parquet").read_bytes())
    content[100:300] = bytes(200)
    Path("bad.parquet").write_bytes(content)
    code, _, err = autogas("evaluate", "--images", "bad.parquet", "--reference", image_folder, "--size", 16)
    assert code == 2
    assert "bad.parquet" in err


def test_settings_that_a_strategy_does_not_have_are_refused(autogas, here):
    for words, said in (
        (("discover", "--strategy", "enumerate", "--iterations", 3), "iterations=3 with strategy enumerate"),
        (("discover", "--strategy", "random", "--top-k", 2), "top_k=2 with strategy random"),
        (("search", "eagan-generator", "--objectives", "score,macs", "--top-k", 2), "top_k=2 with several objectives"),
        (("reproduce", "table5", "--images", "cifar10"), "images='cifar10' with table5"),
        (("reproduce", "table7", "--batch-size", 4), "batch_size=4 with table7"),
        (("reproduce", "table2", "--population", 4), "population=4 with table2"),
    ):
        code, _, err = autogas(*words)
        assert code == 2
        assert err == f"autogas: {said}, which does not use it: leave it out\n"
        assert list(here.iterdir()) == []


@pytest.mark.parametrize(("words", "code"), [(["list"], 0), (["score", "params", "--arch", "64-1234-basic"], 0)])
def test_a_closed_stream_is_no_error(words, code):
    command = ["sh", "-c", '"$0" "$@" >&-', COMMAND, *words]
    done = subprocess.run(command, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (code, b"")


def test_a_closed_stream_for_errors_keeps_the_exit_code():
    done = subprocess.run(["sh", "-c", '"$0" "$@" 2>&-', COMMAND, "list", "nope"], stdout=subprocess.PIPE, check=False)
    assert done.returncode == 2


def test_a_formula_may_begin_with_a_minus(autogas):
    code, out, err = autogas("score", "-gram > slogdet", "--arch", "64-1234-basic", "--json")
    assert (code, err) == (0, "")
    _, plain, _ = autogas("score", "gram > slogdet", "--arch", "64-1234-basic", "--json")
    assert json.loads(out) == {"-gram > slogdet": -json.loads(plain)["gram > slogdet"]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "eagan-best", "--width", 8, "--set", "width=16"], "--width 8 and --set width=16: expected one"),
        (
            ["search", "eagan-generator", "--width", 8, "--scored-at", "width=16"],
            "--width 8 and --scored-at width=16: expected one",
        ),
        (
            ["discover", "--benchmark", "mini-gan", "--benchmark", "mini-gan-2", "--target", "mini-gan=true"],
            "expected a number",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(autogas, words, message):
    code, out, err = autogas(*words, "--out", "run")
    assert (code, out) == (2, "")
    assert message in err
    assert not Path("run").exists()
