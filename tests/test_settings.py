import dataclasses
import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

import autogas
from autogas.errors import InputError
from autogas.runs import processes
from autogas.settings import SettingError, described, takes, validated
from autogas.workflows.searching.settings import SearchSettings


class Inner(BaseModel, extra="forbid"):
    steps: int = Field(3, ge=1)


class Outer(BaseModel, extra="forbid"):
    name: str
    recipe: Inner = Inner()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "name: needed, and not given"),
        ({"name": "x", "recipe": {"steps": 0}}, "recipe.steps=0: Input should be greater than or equal to 1"),
        ({"name": "x", "recipe": {"stepz": 1}}, "unknown setting 'recipe.stepz': did you mean 'recipe.steps'?"),
        ({"name": "x", "recipy": {}}, "unknown setting 'recipy': did you mean 'recipe'?"),
    ],
)
def test_the_first_problem_is_one_line(given, line):
    with pytest.raises(InputError) as caught:
        validated(Outer, given)
    assert str(caught.value) == line


def test_an_error_passes_between_processes():
    error = pickle.loads(pickle.dumps(SettingError("seed", -1, "too small")))
    assert (str(error), error.name) == ("seed=-1: too small", "seed")


def test_python_says_what_the_command_line_says():
    with pytest.raises(InputError, match=r"^unknown setting 'populations': did you mean 'population'\?$"):
        autogas.search("eagan-generator", populations=3)


@pytest.mark.parametrize("name", ["search", "rank", "discover", "discover_across", "evaluate", "train"])
def test_functions_show_their_settings(name):
    parameters = inspect.signature(getattr(autogas, name)).parameters
    assert not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    assert "seed" in parameters or name in ("evaluate_translation",)


def test_a_signature_has_the_defaults_of_the_fields():
    parameters = inspect.signature(autogas.search).parameters
    for field in ("top_k", "sample", "strategy", "objectives"):
        assert parameters[field].default == SearchSettings.model_fields[field].get_default(call_default_factory=True)
    assert list(parameters)[:2] == ["space", "proxy"]

    @takes(Outer)
    def function(recipe=None, **settings):
        """What is declared stays."""

    assert list(inspect.signature(function).parameters) == ["recipe", "name"]


def test_keywords_for_type_checkers_are_those_of_the_settings():
    code = "from autogas.workflows.typed import page; print(page(), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    written = (Path(autogas.__file__).parent / "workflows" / "keywords.py").read_text()
    assert written == done.stdout, "due: python -m autogas.workflows.typed"


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5", "1025", "99999999999999"])
def test_a_bad_number_of_processes_in_the_environment_is_one_line(monkeypatch, jobs):
    monkeypatch.setenv("AUTOGAS_JOBS", jobs)
    with pytest.raises(InputError, match=f"^AUTOGAS_JOBS='{jobs}': expected a number of processes, 1 to 1024$"):
        processes()


def test_processes_are_as_asked_as_in_the_environment_or_one_a_core(monkeypatch):
    assert processes(3) == 3
    monkeypatch.setenv("AUTOGAS_JOBS", "2")
    assert processes() == 2
    assert processes(5) == 5
    monkeypatch.delenv("AUTOGAS_JOBS")
    assert processes() == len(os.sched_getaffinity(0))


def test_what_a_search_leaves_open_is_the_spaces_own():
    translators = SearchSettings(space="spade-translation")
    assert (translators.population, translators.iterations, translators.batch_size) == (10, 500, 4)
    assert SearchSettings(space="transnas-micro", population=None).population == 32
    known = described(SearchSettings, {"space": "spade-translation", "space_settings": {}})
    assert (known["batch_size"]["default"], described(SearchSettings)["batch_size"]["default"]) == (4, None)


@pytest.mark.parametrize(
    ("function", "given", "said"),
    [
        ("search", {"space": 5}, "space 5: expected a name or a Space"),
        ("search", {"space": "eagan-generator", "space_settings": 5}, "space_settings=5: expected settings by name"),
        (
            "search",
            {"space": "transnas-micro", "space_settings": {"size": 1}},
            "unknown setting of space transnas-micro",
        ),
        ("search", {"space": "transnas-micro", "proxy": 5}, "proxy=5: "),
        ("train", {"arch": "eagan-best", "space": 3}, "space 3: expected a name or a Space"),
        ("train", {"arch": "eagan-best", "space_settings": [1]}, "space_settings="),
        ("rank", {"benchmark": 3}, "benchmark 3: expected a name or a Benchmark"),
        ("rank", {"benchmark": "mini-gan", "proxies": 7}, "proxies=7: "),
        ("discover", {"benchmark": None}, "benchmark None: expected a name or a Benchmark"),
        ("discover_across", {"benchmarks": "mini-gan"}, "benchmarks="),
        ("discover_across", {"benchmarks": ["mini-gan", 4]}, "benchmark 4: expected a name or a Benchmark"),
    ],
)
def test_what_is_not_of_the_right_kind_is_one_line(function, given, said):
    with pytest.raises(InputError) as caught:
        getattr(autogas, function)(**given)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_expressions_may_be_given_as_they_are(tmp_path):
    given = [autogas.parse_proxy("gram > trace"), "params"]
    run = autogas.rank("mini-gan", given, out=str(tmp_path / "run"), test=5)
    assert run.settings["proxies"] == ["gram > trace", "params"]


@pytest.mark.parametrize(
    ("function", "given"),
    [
        ("search", {"space": "transnas-micro"}),
        ("rank", {"benchmark": "mini-gan"}),
        ("train", {"arch": "eagan-best"}),
        ("discover", {}),
    ],
)
def test_an_unknown_device_is_one_line(function, given):
    with pytest.raises(InputError, match=r"^device='nope': ") as caught:
        getattr(autogas, function)(**given, device="nope")
    assert "\n" not in str(caught.value)


def test_a_run_goes_on_where_it_is(tmp_path):
    autogas.rank("mini-gan", "params", out=str(tmp_path / "run"), test=5)
    with pytest.raises(InputError, match="expected one"):
        autogas.rank(resume=str(tmp_path / "run"), out=str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("out", ["", 5])
def test_a_folder_needs_a_name(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected the name of a folder"):
        autogas.rank("mini-gan", "params", out=out, test=5)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_images_is_no_folder_for_a_run(tmp_path):
    (tmp_path / "one.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds images, such as one\.png"):
        autogas.rank("mini-gan", "params", out=str(tmp_path), test=5)
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]


def test_a_benchmark_that_is_too_small_to_rank_is_said_at_once(tmp_path):
    few = autogas.load_benchmark("mini-gan").subset(autogas.get_space("eagan-generator", width=16))
    few = dataclasses.replace(few, archs=few.archs[:2], quality=few.quality[:2])
    with pytest.raises(InputError, match="of its 2 architectures, expected 3 or more"):
        autogas.rank(few, "params", everything=True, out=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
