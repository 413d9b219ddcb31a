import inspect
import pickle

import pytest
from pydantic import BaseModel, Field

import autogas
from autogas.errors import InputError
from autogas.settings import SettingError, takes, validated
from autogas.workflows.search_settings import SearchSettings


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
