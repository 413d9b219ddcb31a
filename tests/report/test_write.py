import math
import re
import struct
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest

from autogas.errors import InputError
from autogas.report import write_report
from autogas.report.charts import NAMED_POINTS
from autogas.report.data import read
from autogas.report.page import render
from autogas.runs import Run

WORKFLOWS = ("discover", "rank", "build")
FIGURES = {"discover": ["evolution", "scatter"], "rank": ["scatter"], "build": ["distribution", "seeds"]}
HOSTILE = ["<script>alert(1)</script>", "a&b;\"'", "{{ 7 * 7 }}", "$x_{$ ]]> \\", "−τ 漢"]


def page(run):
    return render(read(run))


def tree(text):
    assert text.startswith("<!DOCTYPE html>")
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>"))


def words(text):
    """What a reader sees."""
    root = tree(text)
    for parent in root.iter():
        for child in [c for c in parent if c.tag in ("style", "script", "title")]:
            parent.remove(child)
    for cell in root.iter():
        if cell.tag in ("td", "th", "dt", "dd", "p"):
            cell.tail = f" {cell.tail or ''}"
    return " ".join("".join(root.itertext()).split())


def titles(text):
    return [title.text for circle in tree(text).iter("circle") for title in circle.iter("title")]


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_files_are_written_where_they_belong(make_run, workflow):
    run = make_run(workflow)
    path = write_report(run)
    assert path == run.path / "report.html"
    assert path.read_text(encoding="utf-8") == page(run)
    figures = sorted((run.path / "figures").iterdir())
    assert [file.name for file in figures] == [f"{name}.png" for name in FIGURES[workflow]]
    for file in figures:
        content = file.read_bytes()
        width, height = struct.unpack(">II", content[16:24])
        assert content.startswith(b"\x89PNG")
        assert min(width, height) > 300


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_page_is_well_formed_and_loads_nothing(make_run, workflow):
    text = page(make_run(workflow))
    root = tree(text)
    assert "://" not in text
    assert not re.search(r"url\(|@import|@font-face|fetch\(|XMLHttpRequest", text)
    for element in root.iter():
        assert element.tag not in ("link", "img", "iframe", "object", "embed")
        assert not {"src", "href", "srcset", "action"} & set(element.attrib)
    assert root.find("head/title").text
    assert root.find(".//meta[@name='viewport']") is not None
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_equal_runs_give_equal_bytes(make_run, workflow):
    def contents(run):
        write_report(run)
        return [file.read_bytes() for file in [run.path / "report.html", *sorted((run.path / "figures").iterdir())]]

    run = make_run(workflow)
    first = contents(run)
    assert contents(run) == first
    assert contents(make_run(workflow, folder="other")) == first


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_every_architecture_has_a_name_under_the_pointer(make_run, workflow):
    run = make_run(workflow)
    shown = titles(page(run))
    table = run.read_table("scores") if workflow != "build" else run.read_table("trained").query("seed == 1")
    panels = {"discover": 5, "rank": 3, "build": 2}[workflow]
    for arch in table["arch"]:
        assert sum(title.startswith(f"{arch}: ") for title in shown) == panels


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_hostile_names_are_only_text(make_run, workflow):
    more = {} if workflow == "build" else {"metric": "<b>q</b>", "benchmark": "<img src=x> $(rm)"}
    run = make_run(workflow, archs=HOSTILE, **more)
    text = write_report(run).read_text(encoding="utf-8")
    root = tree(text)
    assert len(list(root.iter("script"))) == 1
    assert not list(root.iter("img"))
    shown = titles(text)
    for name in HOSTILE[:3]:
        assert any(title.startswith(f"{name}: ") for title in shown)
    if more:
        assert "<img src=x> $(rm)" in root.find(".//h1").text
        assert "--benchmark '<img src=x> $(rm)'" in words(text)


@pytest.mark.parametrize("workflow", ["discover", "rank"])
def test_an_unfinished_run_is_refused(tmp_path, workflow):
    run = Run.start(workflow, {"benchmark": "tiny"}, tmp_path / "run")
    with pytest.raises(InputError, match="did not finish"):
        write_report(run)
    assert not (run.path / "report.html").exists()
    run.record.close()


def test_an_unknown_workflow_is_refused(tmp_path):
    run = Run.start("bake", {}, tmp_path / "run")
    run.finish({})
    with pytest.raises(InputError, match="a run of bake: expected runs of discover, discover-across, rank, reproduce"):
        write_report(run)
    run.record.close()


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("scores", None, "no readable scores.parquet"),
        ("candidates", pd.DataFrame({"proxy": ["a"]}), "candidates.parquet without strategy, fitness, reason"),
    ],
)
def test_a_bad_table_is_named(make_run, name, table, message):
    run = make_run("discover")
    (run.path / f"{name}.parquet").unlink()
    if table is not None:
        run.write_table(name, table)
    with pytest.raises(InputError, match=re.escape(message)):
        write_report(run)


def test_results_that_lack_a_part_are_named(make_run):
    run = make_run("rank", lambda settings, results, costs, tables: results.pop("test"))
    with pytest.raises(InputError, match=r"results\.json without test"):
        write_report(run)


def test_a_build_without_a_training_is_refused(make_run):
    run = make_run("build", lambda settings, results, costs, tables: tables.update(trained=pd.DataFrame()))
    with pytest.raises(InputError, match="no training that ended well"):
        write_report(run)


def test_matplotlib_is_left_as_it_was(make_run):
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 31, "lines.linewidth": 9}):
        custom = write_report(make_run("discover")).parent / "figures"
        assert matplotlib.rcParams["font.size"] == 31
    plain = write_report(make_run("discover", folder="other")).parent / "figures"
    assert (custom / "evolution.png").read_bytes() == (plain / "evolution.png").read_bytes()
    assert dict(matplotlib.rcParams) == before


# What the pages say


def test_discover_says_plainly_that_a_trivial_scorer_is_better(make_run):
    shown = words(page(make_run("discover")))
    assert "the discovered proxy ranks ssim with Kendall’s τ-b 0.700 (0.600 to 0.800)" in shown
    assert "the paper’s proxy reaches 0.600 (0.500 to 0.700)" in shown
    assert "num_downsamples (minus the number of stages that halve the resolution), 0.800 (0.700 to 0.900)" in shown
    assert "A trivial scorer is better than the discovered proxy: num_downsamples" in shown
    assert "By τ-a, which gives no credit for ties, the discovered proxy is ahead (0.700 against 0.500)" in shown
    assert "the interval holds 0, so it may know nothing beyond the trivial scores" in shown


def test_discover_shows_what_the_files_hold(make_run):
    text = page(make_run("discover"))
    shown = words(text)
    for part in (
        "12,345",
        "training 12 of the architectures again with another seed ranks them with τ-b 0.910",
        "Failed candidates: 2, of 4 by evolution and 2 by random",
        "on which every expression fails: 1.",
        "inf on 3 of 5 networks",
        "constant on all networks",
        "1 of 5",
        "2 min",
        "90 min",
        "the paper’s proxy: 0.500",
        "autogas discover --benchmark tiny --population 4 --seed 3",
    ):
        assert part in shown
    assert "first on number" not in shown
    undefined = [span.get("title") for span in tree(text).iter("span") if span.text == "–"]
    assert "undefined: all scores are equal" in undefined
    assert "undefined: no two architectures of equal trivial score differ in this score" in undefined


def test_discover_draws_one_line_for_each_stage(make_run):
    root = tree(page(make_run("discover")))
    drawn = [svg.get("aria-label") for svg in root.iter("svg") if svg.get("class") == "math"]
    assert [latex.split(" = ")[0] for latex in drawn] == ["F", "A", "K", "r", "u", "a", r"\mathrm{score}"]
    assert all(svg.find("path").get("d").startswith("M") for svg in root.iter("svg") if svg.get("class") == "math")


def test_discover_without_controls_or_costs(make_run):
    def change(settings, results, costs, tables):
        settings["controls"] = False
        results.update(enumeration=None, noise_ceiling=None)
        results["test"] = [row for row in results["test"] if row["name"] != "random search"]
        tables["candidates"] = tables["candidates"].query("strategy == 'evolution'")
        costs.clear()

    shown = words(page(make_run("discover", change)))
    assert "--no-controls" in shown
    assert "Noise ceiling: unknown" in shown
    assert "Not recorded." in shown
    assert "enumerated" not in shown
    assert "random search is" not in shown


def test_discover_by_enumeration_has_no_curve(make_run):
    def change(settings, results, costs, tables):
        settings["strategy"] = "enumerate"
        tables["candidates"] = pd.DataFrame()

    run = make_run("discover", change)
    assert "the winner is the best expression of the whole grammar" in words(page(run))
    write_report(run)
    assert [file.name for file in (run.path / "figures").iterdir()] == ["scatter.png"]


def test_a_winner_of_another_version_is_shown_as_text(make_run):
    run = make_run("discover", lambda s, results, c, t: results["winner"].update(proxy="wobble > gram > trace"))
    shown = words(page(run))
    assert "wobble > gram > trace" in shown
    assert "so it is not drawn" in shown


def test_rank_lists_what_has_no_score(make_run):
    text = page(make_run("rank"))
    shown = words(text)
    assert "Without a score: 1." in shown
    assert "64-2-basic the output ignores the input" in shown
    assert "autogas rank autogas 'swish > above_mean > gram > slogdet > pow2' params --benchmark tiny --all" in shown
    failed = [c for c in tree(text).iter("circle") if "failed" in c.get("class")]
    assert [circle.find("title").text for circle in failed] == ["64-2-basic: ssim 0.4200, no score"]


def test_many_points_lose_their_names_but_are_drawn(make_run):
    count = NAMED_POINTS // 3 + 1

    def change(settings, results, costs, tables):
        rng = np.random.default_rng(0)
        columns = {name: rng.normal(size=count) for name in tables["scores"].columns}
        tables["scores"] = pd.DataFrame({**columns, "arch": [f"arch-{i}" for i in range(count)]})

    text = page(make_run("rank", change))
    assert "the names are in scores.parquet" in words(text)
    assert not titles(text)
    dots = [path.get("d") for path in tree(text).iter("path") if "dots" in path.get("class", "")]
    assert sum(path.count("M") for path in dots) == 3 * count
    assert len(text) < 200_000


def test_all_scores_may_have_failed(make_run):
    def change(settings, results, costs, tables):
        tables["scores"]["autogas"] = math.nan
        results["test"][0] |= {name: {"value": None, "low": None, "high": None} for name in ("kendall_b", "within")}
        results["test"][0]["failed"] = 5

    shown = words(page(make_run("rank", change)))
    assert "5 of 5" in shown
    assert "The paper’s proxy has no ranking of its own here" in shown


def test_build_shows_trainings_and_provenance(make_run):
    shown = words(page(make_run("build")))
    assert "11 trainings of 5 architectures ended well and 1 failed" in shown
    assert "between 0.310 and 0.650" in shown
    assert "64-9-basic/seed0 out of memory" in shown
    assert "torch 2.6.0" in shown
    assert "autogas bench build --space transnas --train-images 9 --recipe steps=30 --recipe batch_size=32" in shown
    assert "--count 6" in shown
    assert "10 min" in shown


def test_rank_says_what_scorers_know_beyond_size(make_run):
    top = {count: {"quality": 0.5, "percentile": 97.25, "usual": 91.5, "random": 50.0} for count in ("1", "10")}
    row = {"name": "autogas", "partial": 0.125, "within_macs": None, "top": top}
    text = page(make_run("rank", lambda s, results, c, t: results.update(beyond_size=[row])))
    assert "autogas 0.125 – 0.5 97.2 91.5 50 0.5 97.2 91.5 50" in words(text)
