import shlex

import pytest
import typer

from autogas.cli.main import app
from autogas.cli.options import parse_settings
from autogas.report.reproduce import command, python_only, setting_rows
from autogas.workflows.discover import DiscoverSettings
from autogas.workflows.rank import RankSettings
from autogas.workflows.trainings import AutoencoderBuildSettings, GANBuildSettings


def test_defaults_are_not_repeated():
    settings = DiscoverSettings(benchmark="tiny").model_dump(mode="json")
    assert command("discover", settings) == "autogas discover --benchmark tiny"
    assert command("rank", RankSettings(benchmark="tiny").model_dump(mode="json")) == "autogas rank --benchmark tiny"


def test_what_differs_is_given_in_the_order_of_the_settings():
    s = DiscoverSettings(benchmark="tiny", controls=False, top_k=2, strategy="random", sampling_ratio=0.5, test=60)
    assert command("discover", dict(sorted(s.model_dump(mode="json").items()))) == (
        "autogas discover --benchmark tiny --strategy random --sampling-ratio 0.5 --top-k 2 --test 60 --no-controls"
    )


def test_a_recipe_is_always_given():
    settings = AutoencoderBuildSettings().model_dump(mode="json")
    assert command("build", settings) == (
        "autogas bench build --space transnas --recipe steps=300 --recipe batch_size=32 --recipe learning_rate=0.01"
        " --recipe beta1=0.9"
    )
    assert python_only("build", settings) == []


def test_what_the_command_line_cannot_set_is_said():
    settings = AutoencoderBuildSettings(train_images=9).model_dump(mode="json")
    assert python_only("build", settings) == ["train_images=9"]
    assert "train" not in command("build", settings)


def test_proxies_are_arguments_and_quoted():
    s = RankSettings(benchmark="a b", proxies=["params", "gram > trace"], everything=True)
    parts = shlex.split(command("rank", s.model_dump(mode="json")))
    assert parts == ["autogas", "rank", "params", "gram > trace", "--benchmark", "a b", "--all"]


@pytest.mark.parametrize(
    ("workflow", "settings"),
    [
        (
            "discover",
            DiscoverSettings(benchmark="b", controls=False, top_k=2, strategy="random", seed=7, device="cuda:1"),
        ),
        (
            "discover",
            DiscoverSettings(benchmark="b", population=3, iterations=4, sampling_ratio=0.5, validation=9, test=8),
        ),
        ("discover", DiscoverSettings(benchmark="b", validation=None, population=9)),
        ("rank", RankSettings(benchmark="b", proxies=["gram > trace", "macs"], batch_size=4, everything=True)),
        ("rank", RankSettings(benchmark="b", test=60, space_settings={"width": 8, "name": "a b"})),
        (
            "build",
            AutoencoderBuildSettings(
                space="transnas-macro", count=5, repeats=0, images="a folder", held_out="b", seed=2
            ),
        ),
        ("build", AutoencoderBuildSettings(recipe={"steps": 7, "learning_rate": 0.1}, space_settings={"x": None})),
        ("build", GANBuildSettings(space="eagan-generator", samples=9, recipe={"clip": 2.5, "linear_decay": True})),
    ],
)
def test_the_command_line_reads_the_command_as_the_settings(workflow, settings):
    group, verbs = typer.main.get_command(app), shlex.split(command(workflow, settings.model_dump(mode="json")))[1:]
    while verbs[0] in getattr(group, "commands", {}):
        group = group.commands[verbs.pop(0)]
    given = group.make_context("autogas", verbs).params
    given |= {"everything": given.get("all_"), "space_settings": parse_settings(given["set_"])}
    expected = settings.model_dump(mode="json")
    if workflow == "discover":  # where an option that is not given is the workflow's own default
        (given["benchmark"],) = given["benchmark"]
        given["validation"] = None if given["validation"] == "all" else int(given["validation"] or 50)
        unsaid = {name: field.default for name, field in DiscoverSettings.model_fields.items()}
        given |= {name: unsaid[name] for name in ("population", "top_k", "fitness") if given[name] is None}
    if workflow == "build":
        given["recipe"] = parse_settings(given["recipe"], "--recipe")
    for name in ("train_images", "held_out_images"):
        expected.pop(name, None)
    if workflow == "rank" and not given["proxies"]:
        expected["proxies"] = given["proxies"]
    assert {name: given[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(64, "64"), (True, "true"), (None, "null"), ("wide", "wide"), ("64", '"64"'), ([1, 2], "[1, 2]")],
)
def test_space_settings_are_read_back_as_they_were(value, text):
    s = DiscoverSettings(benchmark="tiny", space_settings={"width": value})
    parts = shlex.split(command("discover", s.model_dump(mode="json")))
    assert parts[-2:] == ["--set", f"width={text}"]
    assert parse_settings(parts[-1:]) == {"width": value}


def test_settings_are_listed_with_what_they_mean():
    rows = {row.name: row for row in setting_rows("discover", DiscoverSettings(benchmark="tiny", seed=4).model_dump())}
    assert list(rows) == list(DiscoverSettings.model_fields)
    assert rows["seed"].changed
    assert not rows["population"].changed
    assert rows["controls"].value == "yes"
    assert rows["test"].value == "not set"
    assert "architectures that candidates are judged on" in rows["validation"].meaning


def test_settings_of_another_version_are_kept():
    settings = {"benchmark": "tiny", "zeal": 9}
    assert command("discover", settings) == "autogas discover --benchmark tiny --zeal 9"
    assert [(row.name, row.value) for row in setting_rows("discover", settings)] == [
        ("benchmark", "tiny"),
        ("zeal", "9"),
    ]
