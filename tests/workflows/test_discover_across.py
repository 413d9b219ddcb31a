import html
import itertools
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import autogas
from autogas import load_benchmark
from autogas.cli.printing import shown_across
from autogas.errors import InputError
from autogas.proxies.language.expression import parse_proxy
from autogas.report import write_report
from autogas.runs import Run
from autogas.workflows import discover_across as module
from autogas.workflows.discover_across import AcrossFitness, AcrossSettings, Ground, discover_across
from autogas.workflows.judging import together

SETTINGS = {"population": 8, "iterations": 3, "top_k": 4, "batch_size": 4, "terms": 2}
WITHOUT_PARENTS = {name: value for name, value in SETTINGS.items() if name != "top_k"}
ASCENT = {"strategy": "ascent", "batch_size": 4, "terms": 2}


def interrupt():
    raise KeyboardInterrupt


class TinyGrammar(module.SumGrammar):
    """A few terms, so that their enumeration is quick."""

    def __init__(self, terms):
        super().__init__(terms, layers=("activations",), transforms=((),))

    @property
    def genes(self):
        layers, parts, transforms, kernels, reductions, aggregates = super().genes
        return layers, parts[:2], transforms, kernels[:2], reductions[::3], aggregates[:2]


@pytest.fixture(scope="module")
def benches(shared_home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGAS_HOME", str(shared_home))
        toy = load_benchmark("toy")
    shuffled = np.random.default_rng(3).permutation(toy.quality)
    return [toy, replace(toy, name="other", quality=shuffled)]


@pytest.fixture(autouse=True)
def small(monkeypatch, shared_home):
    monkeypatch.setenv("AUTOGAS_HOME", str(shared_home))
    monkeypatch.setattr(module, "SumGrammar", TinyGrammar)


@pytest.fixture(scope="module")
def run(benches, shared_home, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGAS_HOME", str(shared_home))
        patch.setattr(module, "SumGrammar", TinyGrammar)
        return discover_across(benches, out=str(tmp_path_factory.mktemp("across")), **SETTINGS)


def test_fitness_is_the_share_on_a_space_less_the_penalty(run):
    table = run.read_table("candidates")
    reachable = run.results["reachable"]
    for _, row in table[table["fitness"].notna()].iterrows():
        share = np.mean([row[name] / reachable[name] for name in ("toy", "other")])
        words = parse_proxy(row["proxy"]).complexity
        assert row["fitness"] == pytest.approx(share - 0.002 * words)


def test_targets_are_what_counts_as_one(benches, tmp_path):
    found = discover_across(benches, out=str(tmp_path / "run"), **ASCENT, top_k=2, targets={"toy": 0.5})
    row = found.read_table("candidates").iloc[0]
    assert found.results["reachable"]["toy"] == 0.5 != found.results["reachable"]["other"]
    share = np.mean([row["toy"] / 0.5, row["other"] / found.results["reachable"]["other"]])
    assert row["fitness"] == pytest.approx(share - 0.002 * parse_proxy(row["proxy"]).complexity)


def test_later_rounds_climb_from_crossings_and_go_on_to_equal_results(benches, tmp_path, monkeypatch):
    settings = ASCENT | {"top_k": 3, "rounds": 3}
    found = discover_across(benches, out=str(tmp_path / "whole"), **settings)
    table = found.read_table("candidates")
    assert table.groupby("iteration").size().index.tolist() == [0, 1, 2]
    best = table.groupby("iteration")["fitness"].max().cummax()
    assert found.results["winner"]["fitness"] == pytest.approx(best.iloc[-1])
    climbs, real = [], module.Ascent.climb

    def stopping(ascent, start):
        climbs.append(start)
        return real(ascent, start) if len(climbs) < 5 else interrupt()

    monkeypatch.setattr(module.Ascent, "climb", stopping)
    with pytest.raises(KeyboardInterrupt):
        discover_across(benches, out=str(tmp_path / "stopped"), **settings, jobs=1)
    monkeypatch.setattr(module.Ascent, "climb", real)
    again = discover_across(benches, resume=str(tmp_path / "stopped"), jobs=2)
    assert (again.path / "results.json").read_bytes() == (found.path / "results.json").read_bytes()


def test_an_ascent_climbs_from_given_starts_too_and_stays_where_another_ended(benches, tmp_path):
    alone = discover_across(benches, out=str(tmp_path / "alone"), **ASCENT, top_k=1)
    end = alone.results["winner"]["proxy"]
    found = discover_across(
        benches, out=str(tmp_path / "run"), **ASCENT, top_k=1, starts=[end, "-3 * gram > eigenvalue_entropy"]
    )
    given, other, single = found.read_table("candidates")["proxy"]
    assert given == single == end
    assert parse_proxy(other).terms


def test_the_winner_is_the_best_candidate(run):
    table = run.read_table("candidates")
    assert run.results["winner"]["proxy"] == table.loc[table["fitness"].idxmax(), "proxy"]


def test_the_test_table_is_of_unseen_architectures(run, benches):
    for bench in benches:
        scores = run.read_table(f"scores-{bench.name}")
        split = bench.split(validation=None, test=None, seed=0)
        assert set(scores["arch"]) == {str(bench.archs[i]) for i in split.test}
        rows = {row["name"]: row for row in run.results["test"][bench.name]}
        assert {"discovered", "best single term", "concord", "autogas", "params"} <= rows.keys()
        expected = stats.kendalltau(scores[bench.metric], scores["discovered"], variant="b").statistic
        assert rows["discovered"]["kendall_b"]["value"] == pytest.approx(expected)
        fall = run.results["validation_tau_a"]["discovered"][bench.name] - rows["discovered"]["kendall_a"]["value"]
        assert run.results["fall"][bench.name] == pytest.approx(fall)


def test_its_report_shows_every_benchmark(run, benches):
    page = write_report(run).read_text()
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert run.results["winner"]["proxy"] in text
    for bench in benches:
        assert f"On {bench.name}" in text
        assert (run.path / "figures" / f"scatter-{bench.name}.png").exists()
    assert "autogas discover --benchmark" in text


def test_a_stopped_run_resumes_to_equal_results(run, benches, tmp_path, monkeypatch):
    judged = itertools.count()
    stop = (2 + 6) * len(TinyGrammar(2)) + 40  # single terms are on record, and the search has begun
    real = module.Ground.tau
    with monkeypatch.context() as patch:
        patch.setattr(module.Ground, "tau", lambda *given: real(*given) if next(judged) < stop else interrupt())
        with pytest.raises(KeyboardInterrupt):
            discover_across(benches, out=str(tmp_path / "run"), **SETTINGS)
    assert len(Run.open(tmp_path / "run").record) > 0
    discover_across(benches, resume=str(tmp_path / "run"))
    assert (tmp_path / "run" / "results.json").read_bytes() == (run.path / "results.json").read_bytes()


def within(labels, quality, scores):
    """Kendall's tau-a of pairs of equal label, by hand."""
    pairs = [(i, j) for i, j in itertools.combinations(range(len(labels)), 2) if labels[i] == labels[j]]
    return np.mean([np.sign(scores[i] - scores[j]) * np.sign(quality[i] - quality[j]) for i, j in pairs])


def test_the_order_within_equal_counts_counts_too(benches, tmp_path, monkeypatch):
    def coarse(space, arch):
        return {"num_downsamples": float(len(str(arch)) % 2)}

    monkeypatch.setattr(type(benches[0].space), "traits", coarse)
    asked = {"within_counts": True, "targets": {"toy:within": 0.9}}
    run = discover_across(benches, out=str(tmp_path / "run"), **SETTINGS, **asked)
    table = run.read_table("candidates").dropna(subset=["fitness"])
    assert set(run.results["reachable"]) == {"toy", "toy:within", "other", "other:within"}
    assert run.results["reachable"]["toy:within"] == 0.9
    for _, row in table.head(4).iterrows():
        shares = [
            np.mean([row[f"{n}{end}"] / run.results["reachable"][f"{n}{end}"] for n in ("toy", "other")])
            for end in ("", ":within")
        ]
        assert row["fitness"] == pytest.approx(min(shares) - 0.002 * parse_proxy(row["proxy"]).complexity)
        chosen = benches[0].split(validation=None, test=None, seed=0).validation
        archs = [benches[0].archs[i] for i in chosen]
        scores = [
            autogas.score_architecture(benches[0].space, arch, [row["proxy"]], batch_size=4)[row["proxy"]]
            for arch in archs
        ]
        labels = [coarse(None, arch)["num_downsamples"] for arch in archs]
        assert row["toy:within"] == pytest.approx(within(labels, benches[0].goodness[chosen], scores))
    unseen = run.read_table("scores-toy")
    labels = [len(arch) % 2 for arch in unseen["arch"]]
    test = within(labels, unseen[benches[0].metric].to_numpy(), unseen["discovered"].to_numpy())
    before = run.results["validation_tau_a"]["discovered"]["toy:within"]
    assert run.results["test_tau_a"]["toy:within"] == pytest.approx(test)
    assert run.results["fall"]["toy:within"] == pytest.approx(before - test)
    assert "tau-a within equal counts fell by" in shown_across(run.results)
    assert "toy:within" in write_report(run).read_text()
    climbed = discover_across(benches, out=str(tmp_path / "climbed"), **ASCENT, top_k=2, **asked, scoring_seeds=2)
    assert climbed.read_table("candidates")["toy:within"].between(-1, 1).all()
    front = discover_across(
        benches, out=str(tmp_path / "front"), **WITHOUT_PARENTS, objective="pareto", within_counts=True
    )
    best = front.results["front"][0]
    assert f"other:within {best['other:within']:.3f}" in shown_across(front.results)
    assert '<th scope="col">other:within</th>' in write_report(front).read_text()


def test_an_order_within_counts_needs_equal_counts(benches, tmp_path, monkeypatch):
    monkeypatch.setattr(type(benches[0].space), "traits", lambda space, arch: {})
    with pytest.raises(InputError, match="architectures of toy have no counts, or hardly any equal ones"):
        discover_across(benches, out=str(tmp_path / "run"), **SETTINGS, within_counts=True)
    ending = [benches[0], replace(benches[1], name="other:within")]
    with pytest.raises(InputError, match="does not end with ':within'"):
        discover_across(ending, out=str(tmp_path / "run"), **SETTINGS)
    with pytest.raises(ValueError, match="'toy:within' is accepted with within_counts"):
        discover_across(benches, out=str(tmp_path / "run"), **SETTINGS, targets={"toy:within": 0.5})


def test_a_benchmark_of_hardly_any_equal_counts_stands_without(benches, tmp_path, monkeypatch):
    def counts(bench, chosen):
        return np.arange(len(chosen)) if bench.name == "other" else np.arange(len(chosen)) % 2

    for place in (module, together):
        monkeypatch.setattr(place, "counts_of", counts)
    run = discover_across(benches, out=str(tmp_path / "run"), **SETTINGS, within_counts=True)
    assert "toy:within" in run.results["fall"]
    assert "other:within" not in run.results["fall"]
    assert shown_across(run.results).count("no order within these counted") == 1
    asked = {"within_counts": True, "targets": {"other:within": 0.5}}
    with pytest.raises(InputError, match="architectures of other have no counts, or hardly any equal ones"):
        discover_across(benches, out=str(tmp_path / "other"), **SETTINGS, **asked)


@pytest.fixture(scope="module")
def opposed(benches):
    return [benches[0], replace(benches[0], name="other", quality=1 - benches[0].quality)]


@pytest.fixture(scope="module")
def pareto(opposed, shared_home, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGAS_HOME", str(shared_home))
        patch.setattr(module, "SumGrammar", TinyGrammar)
        return discover_across(
            opposed,
            out=str(tmp_path_factory.mktemp("front")),
            **(WITHOUT_PARENTS | {"objective": "pareto"}),
        )


def test_the_front_holds_what_nothing_beats_everywhere(pareto):
    table = pareto.read_table("candidates").dropna(subset=["fitness"]).drop_duplicates("proxy")
    reachable = pareto.results["reachable"]
    words = table["proxy"].map(lambda text: parse_proxy(text).complexity)
    shares = np.stack([table[name] / reachable[name] - 0.002 * words for name in ("toy", "other")], axis=1)
    beaten = [((shares >= row).all(1) & (shares > row).any(1)).any() for row in shares]
    expected = set(table["proxy"][~np.array(beaten)])
    assert {row["proxy"] for row in pareto.results["front"]} == expected
    assert len(expected) > 1
    assert pareto.results["winner"]["proxy"] == table.loc[table["fitness"].idxmax(), "proxy"]


def test_a_front_is_printed_and_drawn(pareto):
    best = pareto.results["front"][0]
    assert best["proxy"] in shown_across(pareto.results)
    page = html.unescape(write_report(pareto).read_text())
    assert all(row["proxy"] in page for row in pareto.results["front"])


def test_a_stopped_front_resumes_to_equal_results(pareto, opposed, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(pareto.path, copy)
    before = (copy / "results.json").read_bytes()
    (copy / "results.json").unlink()
    discover_across(opposed, resume=str(copy))
    assert (copy / "results.json").read_bytes() == before


def test_a_changed_benchmark_is_noticed(run, benches):
    changed = replace(benches[0], quality=1 - benches[0].quality)
    with pytest.raises(InputError, match="contents of benchmark toy are not those"):
        discover_across([changed, benches[1]], resume=str(run.path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "best"}, "objective"),
        ({"terms": 6}, "terms"),
        ({"targets": {"toys": 0.5}}, "'toys' is no benchmark of this run"),
        ({"targets": {"toy": 0}}, "targets.toy"),
        ({"starts": ["gram > trace"], "strategy": "ascent"}, "'gram > trace' is no term of this grammar"),
        ({"starts": ["autogas"], "strategy": "ascent"}, "is no term of this grammar"),
        ({"starts": ["concord"]}, "starts"),
        ({"objective": "pareto", "strategy": "ascent"}, "accepted with evolution"),
    ],
)
def test_bad_settings(settings, message, benches, tmp_path):
    with pytest.raises((InputError, ValueError), match=message):
        discover_across(benches, out=str(tmp_path / "run"), **settings)
    assert not (tmp_path / "run").exists()


def test_one_benchmark_is_not_several(benches, tmp_path):
    with pytest.raises((InputError, ValueError), match="benchmarks"):
        discover_across(benches[:1], out=str(tmp_path / "run"))


class Evaluates:
    """Scores by expression, of networks that never were."""

    def __init__(self, scores):
        self.given = scores

    def scores(self, term):
        return self.given[str(term)]


FIRST, SECOND = "gram > trace", "gram > slogdet"


def judge(objective, **other):
    quality = np.arange(40.0)
    rng = np.random.default_rng(0)
    good, noise = quality + rng.normal(size=40), rng.normal(size=40)
    grounds = {
        "one": Ground(Evaluates({FIRST: good, SECOND: noise}), quality),
        "two": Ground(Evaluates({FIRST: noise, SECOND: good}), quality, reachable=0.5),
    }
    settings = AcrossSettings(benchmarks=["one", "two"], objective=objective, penalty=0, **other)
    return AcrossFitness(grounds, settings), good, noise, quality


@pytest.mark.parametrize("objective", ["worst", "mean", "balanced", "pareto"])
def test_objectives(objective):
    judged, good, noise, quality = judge(objective)
    fitness, taus = judged(parse_proxy(f"{FIRST} - 2 * {SECOND}"))
    expected = {
        "one": stats.kendalltau(quality, good - 2 * noise).statistic,
        "two": stats.kendalltau(quality, noise - 2 * good).statistic,
    }
    assert taus == pytest.approx(expected)
    shares = [expected["one"], expected["two"] / 0.5]
    combined = {"mean": np.mean(shares), "balanced": min(shares) + np.mean(shares) / 4}
    assert fitness == pytest.approx(combined.get(objective, min(shares)))


def test_a_hopeless_candidate_leaves_the_race():
    judged, *_ = judge("worst")
    calls = []
    for ground in judged.grounds.values():
        ground.tau = lambda scores, count=None: calls.append(count) or -1.0
    judged(parse_proxy(FIRST), bar=0.9)
    assert calls == [25, 25]


@pytest.mark.parametrize(("after_25", "looked_at"), [(-0.1, 6), (-0.4, 2)])
def test_a_candidate_as_good_as_the_bar_stays_in_the_race(after_25, looked_at):
    """The standard error of tau on 25 architectures is 0.09, of a share of 0.5 of it 0.18: twice that is the margin."""
    judged, *_ = judge("worst")
    calls = []
    for ground in judged.grounds.values():
        ground.tau = lambda scores, count=None: calls.append(count) or (after_25 if count == 25 else 0.1)
    judged(parse_proxy(FIRST), bar=0.1)
    assert len(calls) == looked_at


def test_a_front_that_is_resumed_judges_nothing_again(benches, tmp_path, monkeypatch):
    run = discover_across(benches, out=str(tmp_path / "run"), objective="pareto", **WITHOUT_PARENTS)
    before = (run.path / "results.json").read_bytes()
    finalists = len(run.results["finalists"])
    judged = []
    real = AcrossFitness.__call__
    monkeypatch.setattr(AcrossFitness, "__call__", lambda *given: judged.append(given[1]) or real(*given))
    assert (discover_across(benches, resume=str(run.path)).path / "results.json").read_bytes() == before
    assert len(judged) <= finalists + 1


def test_parts_of_benchmarks_have_tables_too(benches, tmp_path):
    parts = [replace(bench, name=f"{bench.name}/part") for bench in benches]
    run = discover_across(parts, out=str(tmp_path / "run"), **SETTINGS)
    assert sorted(file.name for file in run.path.glob("scores-*")) == [
        "scores-other-part.parquet",
        "scores-toy-part.parquet",
    ]
    assert "other/part" in write_report(run).read_text()


def test_a_constant_quality_is_said(benches, tmp_path):
    constant = replace(benches[1], quality=np.ones(len(benches[1])))
    with pytest.raises(InputError, match="other"):
        discover_across([benches[0], constant], out=str(tmp_path / "run"), **SETTINGS)


def test_a_metric_that_a_scorer_has_is_refused(benches, tmp_path):
    with pytest.raises(InputError, match="its metric has the name 'macs' of a scorer"):
        discover_across([benches[0], replace(benches[1], metric="macs")], out=str(tmp_path / "run"), **SETTINGS)
    assert not (tmp_path / "run").exists()


def test_networks_without_a_score_rank_last():
    ground = Ground(Evaluates({}), np.array([1.0, 2.0, 3.0, 4.0]))
    assert ground.tau(np.array([np.nan, 1.0, 2.0, 3.0])) == pytest.approx(1.0)
    assert ground.tau(np.array([1.0, 2.0, 3.0, np.nan])) == pytest.approx(0.0)


def test_every_seed_counts_as_another_network(benches, tmp_path):
    found = discover_across(benches, out=str(tmp_path / "run"), **SETTINGS | {"iterations": 1}, scoring_seeds=2)
    row = found.read_table("candidates").dropna(subset=["fitness"]).iloc[0]
    for bench in benches:
        chosen = bench.split(validation=None, test=None, seed=0).validation
        scores = [
            autogas.score_architecture(bench.space, bench.archs[i], [row["proxy"]], batch_size=4, seed=seed)[
                row["proxy"]
            ]
            for seed in range(2)
            for i in chosen
        ]
        quality = np.tile(bench.goodness[chosen], 2)
        pairs = itertools.combinations(range(len(scores)), 2)
        signs = [np.sign(scores[i] - scores[j]) * np.sign(quality[i] - quality[j]) for i, j in pairs]
        assert row[bench.name] == pytest.approx(np.mean(signs))


def test_the_folder_is_of_its_own_workflow(run):
    assert Run.open(run.path).workflow == "discover-across"
    assert json.loads((run.path / "settings.json").read_text())["settings"]["benchmarks"] == ["toy", "other"]


def test_ascent_starts_from_single_terms_and_resumes(benches, tmp_path, monkeypatch):
    settings = ASCENT | {"top_k": 3}
    whole = discover_across(benches, out=str(tmp_path / "whole"), **settings)
    table = whole.read_table("candidates")
    assert len(table) == 3
    assert any(len(parse_proxy(text).terms) == 2 for text in table["proxy"])
    assert whole.results["winner"]["proxy"] == table.loc[table["fitness"].idxmax(), "proxy"]
    climbs = itertools.count()
    real = module.Ascent.climb
    with monkeypatch.context() as patch:
        patch.setattr(module.Ascent, "climb", lambda *given: real(*given) if next(climbs) < 2 else interrupt())
        with pytest.raises(KeyboardInterrupt):
            discover_across(benches, out=str(tmp_path / "run"), **settings)
    assert len(Run.open(tmp_path / "run").record) == 2
    discover_across(benches, resume=str(tmp_path / "run"))
    assert (tmp_path / "run" / "results.json").read_bytes() == (whole.path / "results.json").read_bytes()


def test_ascent_leaves_networks_without_a_score_out(benches, tmp_path, monkeypatch):
    real = module.FeatureBank.load_all

    def one_fails(self, archs, **options):
        found = real(self, archs, **options)
        return [replace(found[0], failure="ignores its input"), *found[1:]]

    monkeypatch.setattr(module.FeatureBank, "load_all", one_fails)
    settings = ASCENT | {"top_k": 2}
    run = discover_across(benches, out=str(tmp_path / "run"), **settings)
    assert any(len(parse_proxy(text).terms) == 2 for text in run.read_table("candidates")["proxy"])


def test_benchmarks_of_one_name_are_refused(benches, tmp_path):
    other = replace(benches[1], name="toy")
    with pytest.raises(InputError, match="two benchmarks have the name 'toy'"):
        discover_across([benches[0], other], out=str(tmp_path / "run"), **SETTINGS)


def test_a_finalist_that_is_constant_has_no_tau(benches, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "known_expressions", lambda: {"autogas": parse_proxy("cosine > trace > mean")})
    run = discover_across(benches, out=str(tmp_path / "run"), **SETTINGS)
    assert set(run.results["validation_tau_a"]["autogas"].values()) == {None}
    assert run.results["winner"]["proxy"] in shown_across(run.results)
    assert write_report(run).exists()


def test_what_chooses_on_one_benchmark_is_no_test_on_another(benches, tmp_path):
    """Two qualities of the same networks, split differently."""
    other = replace(benches[1], archs=benches[1].archs[::-1], quality=benches[1].quality[::-1])
    seen = [bench.split(validation=None, test=None, seed=0) for bench in (benches[0], other)]
    chosen = {
        str(bench.archs[i]) for bench, split in zip((benches[0], other), seen, strict=True) for i in split.validation
    }
    run = discover_across([benches[0], other], out=str(tmp_path / "run"), **SETTINGS)
    for bench in (benches[0], other):
        tested = set(run.read_table(f"scores-{bench.name}")["arch"])
        assert tested
        assert not tested & chosen


@pytest.mark.parametrize("names", [("toy/a", "toy-a"), ("toy", "fitness"), ("proxy", "toy"), ("front", "toy")])
def test_benchmarks_have_columns_and_tables_of_their_own(names, benches, tmp_path):
    named = [replace(bench, name=name) for bench, name in zip(benches, names, strict=True)]
    with pytest.raises(InputError, match="name"):
        discover_across(named, out=str(tmp_path / "run"), **SETTINGS)
    assert not (tmp_path / "run").exists()


def test_a_report_needs_no_costs(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    (copy / "costs.json").unlink()
    assert "What it cost" in write_report(Run.open(copy)).read_text()
