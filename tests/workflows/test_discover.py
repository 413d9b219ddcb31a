import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from toys import DISCOVER, SMALL, recorded

from autogas import get_space, load_benchmark, score
from autogas.errors import InputError
from autogas.proxies.language.expression import Prefix
from autogas.proxies.language.grammar import Grammar, default_prefixes
from autogas.proxies.named import named_prefixes
from autogas.proxies.statistics.bank import FeatureBank
from autogas.runs import Run
from autogas.workflows import discover as module
from autogas.workflows.discover import discover
from autogas.workflows.rank import rank

FILES = {"settings.json", "record.sqlite", "results.json", "costs.json", "candidates.parquet", "scores.parquet"}


@pytest.fixture(scope="module")
def undisturbed(shared_home, tmp_path_factory):
    """A discovery from start to end in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGAS_HOME", str(shared_home))
        return discover("toy", out=str(tmp_path_factory.mktemp("undisturbed")), **DISCOVER)


@pytest.fixture
def small_grammar(monkeypatch):
    """Controls enumerate the grammar: let it be a small one."""

    def small():
        grammar = Grammar([Prefix(), Prefix(binariser="above_mean")])
        grammar.kernels, grammar.reductions = ("gram", "hamming"), ("trace", "slogdet")
        grammar.tails = grammar.tails[::4]
        return grammar

    monkeypatch.setattr(module, "Grammar", small)
    return small()


def same(first, second):
    """Whether two finished runs found the same, byte by byte."""
    assert (first.path / "results.json").read_bytes() == (second / "results.json").read_bytes()
    for name in ("candidates", "scores"):
        pd.testing.assert_frame_equal(first.read_table(name), pd.read_parquet(second / f"{name}.parquet"))
    return True


def table_of(run):
    return {row["name"]: row for row in run.results["test"]}


def test_a_run_leaves_these_files(undisturbed):
    assert {path.name for path in undisturbed.path.iterdir()} == {*FILES, ".lock"}


def test_another_process_finds_the_same(undisturbed, elsewhere):
    assert same(undisturbed, elsewhere / "discover")


def test_two_jobs_find_the_same(undisturbed, fresh_home, tmp_path):
    assert same(undisturbed, discover("toy", out=str(tmp_path), jobs=2, **DISCOVER).path)


def test_another_seed_is_another_search(undisturbed, tmp_path):
    other = discover("toy", out=str(tmp_path), **DISCOVER, seed=1)
    assert set(other.results["validation"]) != set(undisturbed.results["validation"])
    assert set(other.read_table("candidates")["proxy"]) != set(undisturbed.read_table("candidates")["proxy"])


def test_a_killed_run_is_continued(undisturbed, killed, tmp_path, calls):
    code = f"""
import time
from autogas.workflows import discover as module
judge = module.Fitness.__call__
module.Fitness.__call__ = lambda self, proxy: (time.sleep(0.05), judge(self, proxy))[1]
module.discover("toy", out={str(tmp_path / "run")!r}, **{DISCOVER!r})
"""
    done = killed(code, rows=6)
    assert 6 <= done < 24
    known = set(Run.open(tmp_path / "run").record)
    judged = calls(module.Fitness, "__call__", lambda judge, proxy: str(proxy))
    run = discover("toy", resume=str(tmp_path / "run"))
    assert same(undisturbed, run.path)
    finalists = {row["expression"] for row in run.results["test"]}  # their fitness is asked for once more
    assert len(set(judged) - known - finalists) <= 24 - done
    assert set(judged) & known <= finalists
    assert recorded(tmp_path / "run") == 24


def test_a_finished_run_may_be_resumed(undisturbed, tmp_path):
    run = discover("toy", out=str(tmp_path / "run"), **DISCOVER)
    assert same(undisturbed, discover("toy", resume=str(run.path)).path)


def test_resuming_keeps_the_settings_of_the_run(undisturbed, tmp_path):
    run = discover("toy", out=str(tmp_path / "run"), **DISCOVER)
    with pytest.raises(InputError, match=r"seed=5 beside --resume: the run has 0, which stays"):
        discover("toy", resume=str(run.path), seed=5)
    with pytest.raises(InputError, match=r"benchmark='unknown' beside --resume: the run has 'toy'"):
        discover("unknown", resume=str(run.path))
    again = discover("toy", resume=str(run.path), seed=run.settings["seed"])
    assert again.settings == undisturbed.settings
    assert same(undisturbed, again.path)


def test_validation_and_test_are_disjoint(monkeypatch, tmp_path):
    """Candidates see the first, the report the second, nothing both."""
    asked, judged = [], []
    load_all, judge = FeatureBank.load_all, module.Fitness.__init__

    def spy_load(self, archs, **options):
        asked.append([str(arch) for arch in archs])
        return load_all(self, archs, **options)

    def spy_judge(self, statistics, goodness, fitness):
        judged.append(list(goodness))
        judge(self, statistics, goodness, fitness)

    monkeypatch.setattr(FeatureBank, "load_all", spy_load)
    monkeypatch.setattr(module.Fitness, "__init__", spy_judge)
    run = discover("toy", out=str(tmp_path), **DISCOVER)
    validation, test = asked
    bench = load_benchmark("toy")
    quality = dict(zip(map(str, bench.archs), bench.quality, strict=True))
    assert len(validation) == len(test) == 8
    assert not set(validation) & set(test)
    assert run.results["validation"] == validation
    assert judged == [[quality[arch] for arch in validation]]
    reported = run.read_table("scores")
    assert reported["arch"].tolist() == test
    assert reported["ssim"].tolist() == [quality[arch] for arch in test]


def test_the_winner_is_the_best_candidate_on_validation(undisturbed):
    candidates = undisturbed.read_table("candidates")
    best = candidates.loc[candidates["fitness"].idxmax()]
    winner = undisturbed.results["winner"]
    assert (winner["proxy"], winner["validation_tau"]) == (best["proxy"], best["fitness"])
    space = get_space("transnas-macro", **SMALL)
    inputs = space.inputs(batch_size=4)
    bench = load_benchmark("toy")
    quality = dict(zip(map(str, bench.archs), bench.quality, strict=True))
    archs = undisturbed.results["validation"]
    scores = [score(space.build(space.parse(arch)), inputs, winner["proxy"]) for arch in archs]
    tau = stats.kendalltau([quality[arch] for arch in archs], scores).statistic
    assert winner["validation_tau"] == pytest.approx(tau)


def test_scores_in_the_report_are_those_of_the_networks(undisturbed):
    table = undisturbed.read_table("scores")
    space = get_space("transnas-macro", **SMALL)
    inputs = space.inputs(batch_size=4)
    for _, row in table.iloc[:3].iterrows():
        model = space.build(space.parse(row["arch"]))
        for name in ("discovered", "autogas"):
            expression = table_of(undisturbed)[name]["expression"]
            assert row[name] == pytest.approx(score(model, inputs, expression), rel=1e-5)
        assert row["params"] == sum(p.numel() for p in model.parameters())


def test_correlations_in_the_report_are_those_of_scipy(undisturbed):
    table = undisturbed.read_table("scores")
    rows = table_of(undisturbed)
    assert set(rows) == {"discovered", "concord", "autogas", "params", "macs", "num_downsamples", "num_skips"}
    for name, row in rows.items():
        if name != "num_skips":  # the same for all
            assert row["kendall_b"]["value"] == pytest.approx(stats.kendalltau(table["ssim"], table[name]).statistic)
            assert row["spearman"]["value"] == pytest.approx(stats.spearmanr(table["ssim"], table[name]).statistic)
    assert rows["num_skips"]["kendall_b"]["value"] is None
    assert {row["count"] for row in rows.values()} == {8}


def test_candidates_are_all_told_in_order(undisturbed):
    candidates = undisturbed.read_table("candidates")
    assert candidates["iteration"].tolist() == np.repeat(range(4), 6).tolist()
    assert set(candidates["strategy"]) == {"evolution"}
    assert candidates["proxy"].is_unique
    assert ((candidates["reason"] == "") == candidates["fitness"].notna()).all()
    assert undisturbed.results["evaluated"] == {"evolution": 24}


def test_a_metric_that_falls_is_turned(undisturbed, tmp_path):
    bench = load_benchmark("toy")
    loss = replace(bench, quality=-bench.quality, higher_is_better=False)
    run = discover(loss, out=str(tmp_path), **DISCOVER)
    about = run.results["benchmark"]
    assert about == {**undisturbed.results["benchmark"], "higher_is_better": False}
    assert {**run.results, "benchmark": {}} == {**undisturbed.results, "benchmark": {}}


def test_controls_are_run_next_to_the_search(small_grammar, tmp_path):
    run = discover("toy", out=str(tmp_path), **{**DISCOVER, "controls": True})
    results, candidates = run.results, run.read_table("candidates")
    assert results["evaluated"] == {"evolution": 24, "random": 24}
    best = candidates.groupby("strategy")["fitness"].max()
    assert results["winner"]["validation_tau"] == best["evolution"]
    enumeration = results["enumeration"]
    assert enumeration["expressions"] == len(small_grammar) == len(list(small_grammar.enumerate()))
    assert enumeration["optimum"]["validation_tau"] >= candidates["fitness"].max()
    assert sum(enumeration["histogram"]["counts"]) == enumeration["distinct_rankings"]
    assert enumeration["optimum"] == enumeration["top"][0]
    rows = table_of(run)
    for name, strategy in (("discovered", "evolution"), ("random search", "random")):
        proxies = candidates[(candidates["strategy"] == strategy) & (candidates["fitness"] == best[strategy])]["proxy"]
        assert rows[name]["expression"] == proxies.iloc[0]
    assert rows["enumeration optimum"]["expression"] == enumeration["optimum"]["proxy"]
    assert enumeration["winner_place"] == 1 or best["evolution"] < enumeration["optimum"]["validation_tau"]


def test_enumeration_alone_finds_the_optimum(small_grammar, tmp_path):
    settings = {name: value for name, value in DISCOVER.items() if name not in ("iterations", "population")}
    run = discover("toy", out=str(tmp_path), **settings, strategy="enumerate")
    results = run.results
    assert results["winner"] == results["enumeration"]["optimum"]
    assert results["enumeration"]["winner_place"] == 1
    assert results["evaluated"] == {}
    assert "enumeration optimum" not in table_of(run)


def test_ties_earn_no_credit_by_tau_a(undisturbed, tmp_path):
    run = discover("toy", out=str(tmp_path), **DISCOVER, fitness="kendall_a")
    candidates = run.read_table("candidates")
    both = candidates.merge(undisturbed.read_table("candidates"), on="proxy", suffixes=("", "_b")).dropna()
    assert run.results["fitness"] == "kendall_a"
    assert run.results["winner"]["validation_tau"] == candidates["fitness"].max()
    assert len(both) > 0
    assert (both["fitness"].abs() <= both["fitness_b"].abs() + 1e-12).all()


def test_random_search_alone(tmp_path):
    run = discover("toy", out=str(tmp_path), **DISCOVER, strategy="random")
    assert run.results["evaluated"] == {"random": 24}
    assert run.results["enumeration"] is None
    assert set(run.read_table("candidates")["strategy"]) == {"random"}


def test_every_prefix_of_the_grammar_is_banked(undisturbed, shared_home):
    keys = [json.loads(path.read_text()) for path in (shared_home / "features").glob("*/key.json")]
    wanted = dict.fromkeys(map(str, (*default_prefixes(), *named_prefixes())))
    assert list(wanted) in [key["prefixes"] for key in keys]


def test_costs_are_kept_apart(undisturbed):
    assert undisturbed.costs["networks"]["count"] == 16
    assert {"validation_features", "search", "test_features"} <= undisturbed.costs["seconds"].keys()
    assert all(seconds >= 0 for seconds in undisturbed.costs["seconds"].values())


@pytest.mark.parametrize(
    ("benchmark", "settings", "named"),
    [
        ("tooy", {}, "did you mean 'toy'"),
        ("toy/macro", {}, "macro"),
        ("toy", {"validation": 15}, "--validation 15"),
        ("toy", {"test": 11}, "--test 11"),
        ("toy", {"validation": 2}, "validation"),
        ("toy", {"population": 0}, "population"),
        ("toy", {"iterations": -1}, "iterations"),
        ("toy", {"strategy": "evolve"}, "strategy"),
        ("toy", {"sampling_ratio": 0}, "sampling_ratio"),
        ("toy", {"top_k": 0}, "top_k"),
        ("toy", {"batch_size": 1}, "batch_size"),
        ("toy", {"seed": -1}, "seed"),
        ("toy", {"depth": 3}, "depth"),
        ("toy", {"space_settings": {"depth": 3}}, "depth"),
        ("toy", {"space_settings": {"image_size": 17}}, "image_size=17"),
    ],
)
def test_bad_input_leaves_no_folder(tmp_path, benchmark, settings, named):
    with pytest.raises(ValueError, match=named):  # InputError or pydantic's error, both of them ValueErrors
        discover(benchmark, out=str(tmp_path / "run"), **{**DISCOVER, **settings})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_run_is_not_overwritten(undisturbed):
    before = (undisturbed.path / "results.json").read_bytes()
    with pytest.raises(InputError, match="holds a run already"):
        discover("toy", out=str(undisturbed.path), **DISCOVER, seed=9)
    assert (undisturbed.path / "results.json").read_bytes() == before


def test_only_a_discovery_is_resumed(tmp_path):
    rank("toy", ["params"], out=str(tmp_path / "run"))
    with pytest.raises(InputError, match="a run of rank, not of discover"):
        discover("toy", resume=str(tmp_path / "run"))
    with pytest.raises(InputError, match="not a run folder"):
        discover("toy", resume=str(tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()
