import json

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape
from scipy import stats

from autogas import load_benchmark
from autogas.benchmarks import published
from autogas.cli.printing import shown_tables
from autogas.errors import InputError
from autogas.proxies.named import get_proxy
from autogas.report import write_report
from autogas.workflows import reproduce as module
from autogas.workflows.rank import rank
from autogas.workflows.reproduce import reproduce
from autogas.workflows.tables import ablation, hyperparameters
from autogas.workflows.tables.ablation import claim_of_formulas, claim_of_searches, grammars

TABLE5 = {"repeats": 3, "population": 4, "iterations": 3, "validation": 3, "batch_size": 4}


@pytest.fixture(scope="module")
def figure1(shared_home, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGAS_HOME", str(shared_home))
        out = tmp_path_factory.mktemp("figure1")
        return reproduce("figure1", benchmarks=["toy"], out=str(out), batch_size=4)


@pytest.fixture(scope="module")
def table5(shared_home, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGAS_HOME", str(shared_home))
        return reproduce("table5", benchmarks=["toy"], out=str(tmp_path_factory.mktemp("table5")), **TABLE5)


@pytest.mark.parametrize(
    "rows", [published.TABLE_2, published.TABLE_5_I, published.TABLE_5_II, published.TABLE_5_III, published.TABLE_6]
)
def test_every_printed_row_has_a_proxy(rows):
    assert all(get_proxy(row.proxy) for row in rows)
    assert all(-1 <= value <= 1 for row in rows for value in row.values)


def test_rows_beyond_the_paper_are_not_in_its_table():
    assert not {row.proxy for row in published.TABLE_2} & set(published.BEYOND_TABLE_2)


def test_ours_is_what_rank_finds(figure1, tmp_path):
    (table,) = figure1.results["tables"]
    names = ["params", "synflow", "nwot", "autogas"]
    assert [row["proxy"] for row in table["rows"]] == names
    direct = rank("toy", names, out=str(tmp_path / "rank"), batch_size=4).results["test"]
    expected = {row["name"]: row["kendall_b"] for row in direct}
    assert {row["proxy"]: row["ours"]["kendall"] for row in table["rows"]} == expected


def test_the_printed_numbers_stand_beside(figure1):
    printed = {row["proxy"]: row["paper"] for row in figure1.results["tables"][0]["rows"]}
    assert printed["autogas"] == {"kendall": 0.6114, "spearman": 0.7932, "pearson": 0.8125}
    assert printed["params"]["kendall"] == -0.1297


def test_all_architectures_and_the_test_ones_come_from_one_ranking(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TABLE_2", published.FIGURE_1[:1])
    monkeypatch.setattr(module, "BEYOND_TABLE_2", ("num_downsamples",))
    run = reproduce("table2", benchmarks=["toy"], out=str(tmp_path), batch_size=4)
    some, every = run.results["tables"]
    bench = load_benchmark("toy")
    test = bench.split(validation=None, test=None).test
    scores = np.array([-arch.num_downsamples for arch in bench.archs])
    for table, chosen in ((some, test), (every, np.arange(24))):
        assert str(len(chosen)) in table["title"]
        row = table["rows"][-1]
        expected = stats.kendalltau(bench.quality[chosen], scores[chosen]).statistic
        assert row["method"] == "num_downsamples"
        assert row["ours"]["kendall"]["value"] == pytest.approx(expected)
        assert row["paper"] == {"kendall": None, "spearman": None, "pearson": None}
    assert len(list(tmp_path.glob("rank-*"))) == 1


def test_test_only(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TABLE_2", published.FIGURE_1[:1])
    monkeypatch.setattr(module, "BEYOND_TABLE_2", ())
    run = reproduce("table2", benchmarks=["toy"], out=str(tmp_path), everything=False, batch_size=4)
    assert len(run.results["tables"]) == 1


def test_resuming_gives_the_same(figure1, tmp_path):
    settings = json.loads((figure1.path / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    again = reproduce(resume=str(tmp_path))
    assert again.results == figure1.results


@pytest.mark.parametrize("which", ["figure1", "table5"])
def test_page(which, request):
    run = request.getfixturevalue(which)
    text = write_report(run).read_text()
    assert f"<h1>{which} of the Auto-GAS paper</h1>" in text
    assert all(str(escape(table["title"])) in text for table in run.results["tables"])
    assert f"autogas reproduce {which} --benchmark toy" in text
    drawn = list((run.path / "figures").glob("*.png"))
    assert len(drawn) == (which == "figure1")


def test_the_official_benchmark_is_preferred(monkeypatch):
    assert module.default_benchmarks() == module.EMBEDDED
    monkeypatch.setattr(module, "list_benchmarks", lambda: ["transnas-macro"])
    assert module.default_benchmarks() == module.EMBEDDED
    monkeypatch.setattr(module, "list_benchmarks", lambda: ["transnas-micro", "transnas-macro"])
    assert module.default_benchmarks() == module.OFFICIAL


def test_embedded_benchmarks_exist():
    assert all(len(load_benchmark(name)) == 150 for name in module.EMBEDDED)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "table3"}, "table2"),
        ({"name": "table2", "benchmarks": ["tooy"]}, "'toy'"),
        ({"name": "table5", "repeats": 1}, "repeats"),
    ],
)
def test_bad_settings(given, message, tmp_path):
    with pytest.raises((InputError, ValueError), match=message):
        reproduce(**{"benchmarks": ["toy"], "out": str(tmp_path / "run"), **given})
    assert not (tmp_path / "run").exists()


def test_grammars_leave_out_what_they_say():
    found = grammars()
    words = {
        name: {str(p) for p in list(grammar.enumerate())[:: max(1, len(grammar) // 50)]}
        for name, grammar in found.items()
    }
    assert all("gram > " in text for text in words["Gram-matrix"] | words["without Encoding"])
    assert all(" > pearson > " in f" > {text}" for text in words["Pearson"])
    assert all(" > hamming > " in text for text in words["Hamming"])
    assert not any(p.transforms for p in found["without Transform"].prefixes)
    assert not any(p.binariser for p in found["without Encoding"].prefixes)
    assert all(" > normalized_sum" in text for text in words["without Reduction"])
    assert all(not before and not after for before, _, after in found["without Augment"].tails)
    assert all(0 < len(grammar) < len(found["full"]) for name, grammar in found.items() if name != "full")


@pytest.mark.parametrize("name", grammars())
def test_every_grammar_samples_and_varies_its_own(name):
    grammar = grammars()[name]
    rng = np.random.default_rng(0)
    drawn = [grammar.sample(rng) for _ in range(20)]
    children = [grammar.mutate(p, rng) for p in drawn] + [grammar.crossover(p, drawn[0], rng) for p in drawn]
    for proxy in (*drawn, *children):
        assert proxy.kernel in grammar.kernels
        assert proxy.reduction in grammar.reductions
        assert (proxy.augments, proxy.aggregate, proxy.after) in grammar.tails


def test_claims_and_tables_of_table5(table5):
    titles = [table["title"].split(",")[0] for table in table5.results["tables"]]
    assert titles == ["table5 I", "table5 II", "table5 II", "table5 III", "table5 III", "table5 IV"]
    assert len(table5.results["claims"]) == 9
    last = table5.results["tables"][-1]
    record = [table5.record[f"toy/seed{seed}"] for seed in range(3)]
    for row, name in zip(last["rows"], ("full", "random"), strict=True):
        taus = [r[name]["test_tau"] for r in record]
        low, high = stats.t.interval(0.95, 2, np.mean(taus), stats.sem(taus))
        ours = row["ours"]["kendall"]
        assert ours["value"] == pytest.approx(np.mean(taus))
        assert (ours["low"], ours["high"]) == pytest.approx((max(low, -1), min(high, 1)))  # as far as a tau goes


def test_searches_see_no_test_architecture(shared_home, monkeypatch):
    seen = []
    load_all = ablation.FeatureBank.load_all
    monkeypatch.setattr(
        ablation.FeatureBank, "load_all", lambda self, archs, **o: seen.append(archs) or load_all(self, archs, **o)
    )
    settings = module.ReproduceSettings(name="table5", benchmarks=["toy"], **TABLE5).model_dump_json()
    for seed in (0, 1):
        ablation.search_all(seed, "toy", settings)
    first, test, second, again = map(set, seen)
    assert test == again
    assert not (first | second) & test
    assert first != second
    assert len(first) == len(second) == 3


def test_a_formula_that_ranks_perfectly_beats_noise():
    rng = np.random.default_rng(0)
    goodness = rng.normal(size=100)
    claim = claim_of_formulas("toy", "c", goodness, rng.normal(size=100), goodness)
    assert claim["held"]
    assert not claim_of_formulas("toy", "c", rng.normal(size=100), goodness, goodness)["held"]
    assert not claim_of_formulas("toy", "c", goodness, goodness, goodness)["held"]


def test_an_architecture_without_a_score_ranks_last_in_a_claim():
    goodness = np.arange(30.0)
    failed = goodness.copy()
    failed[0] = np.nan  # the worst one has no score, which is the right place for it
    claim = claim_of_formulas("toy", "c", failed, -goodness, goodness)
    assert claim["held"]
    assert "tau-b differs by 2.000" in claim["test"]


def test_wilcoxon_stands_behind_a_claim_of_searches():
    first, second = np.linspace(0.5, 0.9, 6), np.linspace(0.4, 0.7, 6)
    claim = claim_of_searches("toy", "c", first, second)
    assert claim["held"]
    assert f"p = {1 / 2**6:.3f}" in claim["test"]  # all six differences are positive: one of 64 sign patterns
    assert "6 of 6" in claim["test"]
    assert not claim_of_searches("toy", "c", second, first)["held"]
    assert not claim_of_searches("toy", "c", first, first)["held"]


def test_resumed_searches_are_not_repeated(table5, monkeypatch):
    monkeypatch.setattr(ablation, "search_all", lambda *_, **__: pytest.fail("searched again"))
    before = table5.results
    assert reproduce(resume=str(table5.path)).results == before


class Remembers(dict):
    """Scores that know which were asked for."""

    def __init__(self, scores):
        super().__init__(scores)
        self.asked = []

    def __getitem__(self, arch):
        self.asked.append(arch)
        return super().__getitem__(arch)


@pytest.mark.parametrize("setting", hyperparameters.SETTINGS.values(), ids=hyperparameters.SETTINGS)
def test_a_search_of_table7_scores_as_many_as_all_others_and_keeps_the_best(setting):
    bench = load_benchmark("mini-autoencoder/micro")
    scores = Remembers({str(arch): value for arch, value in zip(bench.archs, bench.goodness, strict=True)})
    best = hyperparameters.winner(bench, scores, setting, seed=1)
    assert len(scores.asked) == len(set(scores.asked)) == hyperparameters.budget(bench)
    assert best == max(scores.asked, key=dict(scores).get)
    first = list(scores.asked)
    hyperparameters.winner(bench, scores, setting, seed=2)
    assert scores.asked[len(first) :] != first


def test_table7_has_the_winners_quality_by_setting(tmp_path, monkeypatch):
    bench = load_benchmark("mini-autoencoder/micro")
    seen = []

    class Ranked:
        def read_table(self, _):
            return pd.DataFrame({"arch": list(map(str, bench.archs)), "autogas": bench.goodness})

    def fake(*_, batch_size, **__):
        seen.append(batch_size)
        return Ranked()

    monkeypatch.setattr(hyperparameters, "inner_rank", fake)
    run = reproduce("table7", benchmarks=[bench.name], repeats=4, out=str(tmp_path / "run"))
    assert seen == [16, 20, 40]
    (table,) = run.results["tables"]
    lines = {line["setting"]: line for line in table["lines"]}
    assert list(lines)[1:] == list(published.TABLE_7)
    for line in lines.values():  # here the score is the quality
        assert line["score"] == pytest.approx(line["quality"])
        assert line["low"] <= line["quality"] <= line["high"]
        assert line["percentile"] > 90
    assert "Number of Individuals (64)" in write_report(run).read_text()
    assert "IS 8.52, FID 12.28" in shown_tables(run.results)


def test_table7_refuses_a_benchmark_that_is_too_thin_to_search(tmp_path):
    with pytest.raises(InputError, match=r"mini-gan: it holds 100 of .* expected a hundredth or more"):
        reproduce("table7", benchmarks=["mini-gan"], out=str(tmp_path / "run"))


def test_a_claim_of_table7_is_held_by_what_is_better():
    bench = load_benchmark("mini-autoencoder/micro")
    qualities = {"many": np.arange(10.0) + 5, "few": np.arange(10.0)}
    assert hyperparameters.claim(bench, qualities, "many", "few")["held"]
    assert not hyperparameters.claim(bench, qualities, "few", "many")["held"]


def test_seeds_that_all_draw_the_same_are_refused(tmp_path):
    with pytest.raises(InputError, match="every seed draws its own of 86"):
        reproduce("table5", benchmarks=["mini-autoencoder/macro"], validation=86, out=str(tmp_path / "run"))
