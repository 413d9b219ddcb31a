import json
import re
import shlex

import pytest

from autogas import get_space

SMALL = [
    "--set",
    "width=4",
    "--width",
    "2",
    "--population",
    "3",
    "--iterations",
    "2",
    "--sample",
    "4",
    "--agreement",
    "3",
]
WORDS = ["search", "eagan-generator", *SMALL, "--batch-size", "4", "--jobs", "1"]


def test_search_then_train_its_winner(autogas, here):
    code, out, _ = autogas(*WORDS, "--out", "run", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["evaluated"] == 6
    get_space("eagan-generator").parse(document["winner"]["arch"])
    code, out, err = autogas("train", "run", "--images", "nowhere")
    assert (code, out) == (2, "")
    assert "nowhere" in err  # past the reading of the winner


def test_what_is_printed_and_drawn(autogas, here):
    code, out, _ = autogas(*WORDS, "--out", "run", "--max-macs", "5e6")
    assert code == 0
    assert re.search(r"^6 architectures of 6 asked for, 0 without a score$", out, re.MULTILINE)
    for word in (
        "winner",
        "largest seen inside the budget",
        "random",
        "Spearman of score with macs over the random ones",
    ):
        assert word in out
    page = (here / "run" / "report.html").read_text()
    assert page.count("<figcaption>cell ") == 3
    assert "largest seen inside the budget" in page
    assert (here / "run" / "figures" / "search.png").exists()


def test_the_command_on_the_page_repeats_the_run(autogas, here):
    given = [
        *WORDS,
        "--objectives",
        "score,macs",
        "--max-params",
        "60000",
    ]
    autogas(*given, "--out", "run")
    page = (here / "run" / "report.html").read_text()
    command = page.partition('<h2>Repeat it</h2>\n<pre class="copy"><code>')[2].partition("</code>")[0]
    words = shlex.split(command.replace("&#39;", "'"))
    assert words[:3] == ["autogas", "search", "eagan-generator"]
    code, _, err = autogas(*words[1:], "--out", "again")
    assert (code, err) == (0, "")
    assert (here / "again" / "results.json").read_bytes() == (here / "run" / "results.json").read_bytes()
    assert "no other candidate scores higher" in page


def test_full_size_needs_no_agreement(autogas, here):
    code, out, _ = autogas(
        "search",
        "eagan-generator",
        "--set",
        "width=2",
        "--full-size",
        *SMALL[4:],
        "--batch-size",
        "4",
        "--out",
        "run",
        "--json",
    )
    assert code == 0
    assert json.loads(out)["sample"]["agreement"] is None
    assert "--full-size" in (here / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], "say where to search"),
        (["eagan-generatr"], "did you mean 'eagan-generator'"),
        (["eagan-generator", "--proxy", "swich > gram > trace"], "swish"),
        (["eagan-generator", "--full-size", "--width", "8"], "expected one of them"),
        (["eagan-generator", "--objectives", "score,speed"], "objectives"),
        (["eagan-generator", "--objectives", "macs"], "expected score, score,macs"),
        (["eagan-generator", "--max-macs", "0"], "--max-macs 0.0"),
        (["eagan-generator", "--max-params", "inf"], "--max-params inf"),
        (["eagan-generator", "--width", "0"], "width=0"),
        (
            ["resnet-translation", "--max-macs", "1e6"],
            "no architecture of resnet-translation is inside the budget (at most 1e+06 MACs): the smallest seen has 1.",
        ),
        (
            ["eagan-generator", "--population", "2", "--max-macs", "1e9", "--max-params", "1000"],
            "no architecture of eagan-generator is inside the budget (at most 1000 parameters, at most 1e+09 MACs): "
            "the smallest seen has ",
        ),
        (["eagan-generator", "--dataset", "mnist"], "mnist"),
        (["eagan-discriminator", "--images", "nowhere"], "nowhere"),
        (["resnet-translation", "--width", "8"], "width"),
        (["--resume", "nowhere"], "'nowhere'"),
    ],
)
def test_bad_input_is_one_line(autogas, here, monkeypatch, given, named):
    monkeypatch.setattr("autogas.workflows.searching.budget.DRAWS", 40)
    code, out, err = autogas("search", *given)
    assert (code, out) == (2, "")
    assert named in err
    assert err.startswith("autogas: ")
    assert err.count("\n") == 1
    assert list(here.iterdir()) == []


def test_two_data_sets_are_refused(autogas):
    code, _, err = autogas("search", "eagan-generator", "--dataset", "stl10", "--set", "dataset=cifar10")
    assert code == 2
    assert err == "autogas: --dataset 'stl10' and --set dataset=cifar10: expected one\n"
