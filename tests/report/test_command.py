import shlex
import sys

import pytest

from autogas.cli import build, discover, rank, search
from autogas.cli.main import main
from autogas.cli.parsing import parse_settings
from autogas.report import command as module
from autogas.report.command import setting_rows
from autogas.settings import described
from autogas.training.kinds.autoencoder import AutoencoderSettings
from autogas.training.kinds.base import joined
from autogas.training.kinds.gan import GeneratorSettings
from autogas.workflows.build import BuildSettings
from autogas.workflows.discover import DiscoverSettings
from autogas.workflows.judging.across import AcrossSettings
from autogas.workflows.rank import RankSettings
from autogas.workflows.searching.settings import SearchSettings

Autoencoders = joined(BuildSettings, AutoencoderSettings)
Generators = joined(BuildSettings, GeneratorSettings)


def command(workflow, settings):
    return module.command(workflow, settings.model_dump(mode="json"), described(type(settings)))


def test_defaults_are_not_repeated():
    assert command("discover", DiscoverSettings(benchmark="tiny")) == "autogas discover --benchmark tiny"
    assert command("rank", RankSettings(benchmark="tiny")).startswith("autogas rank ")


def test_what_differs_is_given_in_the_order_of_the_settings():
    s = DiscoverSettings(benchmark="tiny", controls=False, iterations=2, strategy="random", population=5, test=60)
    shuffled = dict(sorted(s.model_dump(mode="json").items()))
    assert module.command("discover", shuffled, described(DiscoverSettings)) == (
        "autogas discover --benchmark tiny --strategy random --population 5 --iterations 2 --test 60 --no-controls"
    )


def test_a_recipe_is_always_given():
    assert command("build", Autoencoders(space="transnas")) == (
        "autogas bench build --space transnas --recipe steps=300 --recipe batch_size=32 --recipe learning_rate=0.01"
        " --recipe beta1=0.9"
    )


def test_proxies_are_arguments_and_quoted():
    s = RankSettings(benchmark="a b", proxies=["params", "gram > trace"], everything=True)
    parts = shlex.split(command("rank", s))
    assert parts == ["autogas", "rank", "params", "gram > trace", "--benchmark", "a b", "--all"]


class AskedError(BaseException):
    """Carries what a workflow was called with."""


@pytest.mark.parametrize(
    ("workflow", "module", "settings"),
    [
        (
            "discover",
            discover,
            DiscoverSettings(benchmark="b", controls=False, iterations=2, strategy="random", seed=7),
        ),
        ("discover", discover, DiscoverSettings(benchmark="b", population=3, sampling_ratio=0.5, validation=9, test=8)),
        ("discover", discover, DiscoverSettings(benchmark="b", validation=None, population=9, fitness="kendall_b")),
        ("discover-across", discover, AcrossSettings(benchmarks=["b", "c"], terms=2, objective="mean", validation=8)),
        ("rank", rank, RankSettings(benchmark="b", proxies=["gram > trace", "macs"], batch_size=4, everything=True)),
        ("rank", rank, RankSettings(benchmark="b", test=60, space_settings={"width": 8, "name": "a b"})),
        (
            "search",
            search,
            SearchSettings(space="transnas-macro", objectives=["score", "macs"], max_macs=2.5e9, scored_at={}),
        ),
        (
            "search",
            search,
            SearchSettings(space="eagan-generator", scored_at={"width": 3}, space_settings={"dataset": "stl10"}),
        ),
        (
            "build",
            build,
            Autoencoders(space="transnas-macro", count=5, repeats=0, images="a folder", held_out="b", train_images=9),
        ),
        (
            "build",
            build,
            Autoencoders(space="s", recipe={"steps": 7, "learning_rate": 0.1}, space_settings={"x": None}),
        ),
        (
            "build",
            build,
            Generators(space="s", samples=9, recipe={"clip": 2.5, "linear_decay": True}),
        ),
    ],
)
def test_the_command_line_reads_the_command_as_the_settings(workflow, module, settings, monkeypatch):
    def asked(*args, **options):
        raise AskedError(*args, options)

    for name in ("workflow", "discover_across"):
        monkeypatch.setattr(module, name, asked, raising=False)
    monkeypatch.setattr(sys, "argv", shlex.split(command(workflow, settings)))
    with pytest.raises(AskedError) as caught:
        main()
    *names, given = caught.value.args
    where = {"benchmarks": names[0]} if names else {}
    given = {name: value for name, value in given.items() if name not in ("out", "resume", "jobs")}
    assert type(settings).model_validate({**where, **given}) == settings


@pytest.mark.parametrize(
    ("value", "text"),
    [(64, "64"), (True, "true"), (None, "null"), ("wide", "wide"), ("64", '"64"'), ([1, 2], "[1, 2]")],
)
def test_space_settings_are_read_back_as_they_were(value, text):
    s = DiscoverSettings(benchmark="tiny", space_settings={"width": value})
    parts = shlex.split(command("discover", s))
    assert parts[-2:] == ["--set", f"width={text}"]
    assert parse_settings(parts[-1:]) == {"width": value}


def test_settings_are_listed_with_what_they_mean():
    settings = DiscoverSettings(benchmark="tiny", seed=4).model_dump()
    rows = {row.name: row for row in setting_rows(settings, described(DiscoverSettings))}
    assert list(rows) == list(DiscoverSettings.model_fields)
    assert rows["seed"].changed
    assert not rows["population"].changed
    assert rows["controls"].value == "yes"
    assert rows["test"].value == "not set"
    assert "architectures that candidates are judged on" in rows["validation"].meaning


def test_settings_of_another_version_are_kept():
    settings = {"benchmark": "tiny", "zeal": 9}
    fields = described(DiscoverSettings)
    assert module.command("discover", settings, fields) == "autogas discover --benchmark tiny --zeal 9"
    assert [(row.name, row.value) for row in setting_rows(settings, fields)] == [
        ("benchmark", "tiny"),
        ("zeal", "9"),
    ]
