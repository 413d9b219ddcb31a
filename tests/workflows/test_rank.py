import contextlib
import math
import shutil
import sqlite3
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import stats
from torch import nn
from toys import DISCOVER, RANK, SMALL, recorded

from autogas import Benchmark, ChoiceSpace, get_space, list_proxies, load_benchmark, score, score_many
from autogas.errors import InputError
from autogas.proxies.named import TRIVIAL
from autogas.proxies.scorer import SCORERS, Scorer
from autogas.proxies.statistics.bank import FeatureBank
from autogas.spaces import TransNASMacro
from autogas.workflows import rank as module
from autogas.workflows.discover import discover
from autogas.workflows.judging.correlations import correlation_table, strata, trivial_scores
from autogas.workflows.rank import rank


@pytest.fixture(scope="module")
def undisturbed(shared_home, tmp_path_factory):
    """A ranking from start to end in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGAS_HOME", str(shared_home))
        return rank("toy", out=str(tmp_path_factory.mktemp("undisturbed")), **RANK)


@pytest.fixture(scope="module")
def bench(shared_home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGAS_HOME", str(shared_home))
        return load_benchmark("toy")


def same(first, second):
    """Whether two finished runs found the same, byte by byte."""
    assert (first.path / "results.json").read_bytes() == (second / "results.json").read_bytes()
    pd.testing.assert_frame_equal(first.read_table("scores"), pd.read_parquet(second / "scores.parquet"))
    return True


def table_of(run):
    return {row["name"]: row for row in run.results["test"]}


def fail_for(monkeypatch, bad):
    """Let the networks of some architectures not be buildable."""
    network = TransNASMacro.network

    def broken(self, arch):
        if str(arch) in bad:
            raise RuntimeError("out of memory\nand more lines")
        return network(self, arch)

    monkeypatch.setattr(TransNASMacro, "network", broken)


def test_another_process_finds_the_same(undisturbed, elsewhere):
    assert same(undisturbed, elsewhere / "rank")


def test_two_jobs_find_the_same(undisturbed, tmp_path):
    assert same(undisturbed, rank("toy", out=str(tmp_path), jobs=2, **RANK).path)


def test_scorers_beside_expressions_change_no_score(undisturbed, tmp_path):
    more = rank("toy", out=str(tmp_path / "rank"), **{**RANK, "proxies": [*RANK["proxies"], "nwot"]})
    scores = more.read_table("scores")
    pd.testing.assert_frame_equal(scores.drop(columns="nwot"), undisturbed.read_table("scores"))


def test_banked_features_give_what_fresh_ones_give(undisturbed, fresh_home, tmp_path):
    discover("toy", out=str(tmp_path / "discover"), **{**DISCOVER, "test": 10})
    measured = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureBank, "measure", lambda self, arch: measured.append(arch))
        assert same(undisturbed, rank("toy", out=str(tmp_path / "rank"), **RANK).path)
    assert measured == []


def test_a_killed_run_is_continued(undisturbed, killed, tmp_path, calls):
    code = f"""
import time
from autogas.workflows import rank as module
from autogas.workflows import scoring
score = module.score_record
module.score_record = lambda *args, **options: (time.sleep(0.3), score(*args, **options))[1]
module.rank("toy", out={str(tmp_path / "run")!r}, **{RANK!r})
"""
    done = killed(code, rows=3)
    assert 3 <= done < 10
    scored = calls(module, "score_record")
    assert same(undisturbed, rank("toy", resume=str(tmp_path / "run")).path)
    assert len(scored) == 10 - done
    assert recorded(tmp_path / "run") == 10


def test_resuming_keeps_the_settings_of_the_run(undisturbed, tmp_path):
    run = rank("toy", out=str(tmp_path / "run"), **RANK)
    with pytest.raises(InputError, match=r"proxies=\['params'\] beside --resume"):
        rank("toy", ["params"], resume=str(run.path))
    again = rank("toy", resume=str(run.path))
    assert again.settings == undisturbed.settings
    assert same(undisturbed, again.path)


def test_the_test_side_of_the_split_is_ranked(undisturbed, bench):
    expected = [str(bench.archs[i]) for i in bench.split(validation=None, test=None).test]
    assert undisturbed.read_table("scores")["arch"].tolist() == expected
    assert len(expected) == 10


@pytest.mark.parametrize("seed", [0, 1])
def test_discovery_and_ranking_with_a_seed_test_the_same_architectures(tmp_path, seed):
    found = discover("toy", out=str(tmp_path / "discover"), **DISCOVER, seed=seed)
    ranked = rank("toy", ["params"], out=str(tmp_path / "rank"), test=8, seed=seed)
    assert ranked.read_table("scores")["arch"].tolist() == found.read_table("scores")["arch"].tolist()
    assert not set(ranked.read_table("scores")["arch"]) & set(found.results["validation"])


def test_all_architectures_can_be_ranked(bench, tmp_path):
    run = rank("toy", ["num_downsamples"], out=str(tmp_path), everything=True)
    table = run.read_table("scores")
    assert table["arch"].tolist() == list(map(str, bench.archs))
    row = table_of(run)["num_downsamples"]
    scores = [-sum(digit in "34" for digit in arch.split("-")[1]) for arch in table["arch"]]
    assert row["kendall_b"]["value"] == pytest.approx(stats.kendalltau(bench.quality, scores).statistic)
    assert row["count"] == 24


@pytest.mark.parametrize("seed", [0, 3])
def test_scores_are_those_of_the_networks(tmp_path, seed):
    run = rank("toy", out=str(tmp_path), **RANK, test=3, seed=seed)
    space = get_space("transnas-macro", **SMALL)
    inputs = space.inputs(batch_size=4, seed=seed)
    for _, row in run.read_table("scores").iterrows():
        model = space.build(space.parse(row["arch"]), seed=seed)
        for name in ("autogas", "tanh > gram > trace"):
            assert row[name] == pytest.approx(score(model, inputs, name), rel=1e-9)


def test_correlations_are_those_of_scipy(undisturbed):
    table = undisturbed.read_table("scores")
    rows = table_of(undisturbed)
    assert set(rows) == set(RANK["proxies"])
    for name, row in rows.items():
        assert row["kendall_b"]["value"] == pytest.approx(stats.kendalltau(table["ssim"], table[name]).statistic)
        assert row["spearman"]["value"] == pytest.approx(stats.spearmanr(table["ssim"], table[name]).statistic)
        assert row["pearson"]["value"] == pytest.approx(stats.pearsonr(table["ssim"], table[name]).statistic)
    assert rows["num_downsamples"]["within"]["value"] is None


def test_within_is_among_architectures_of_equal_traits(undisturbed):
    table = undisturbed.read_table("scores")
    halvings = table["arch"].str.split("-").str[1].map(lambda modules: sum(digit in "34" for digit in modules))
    agree, total = 0, 0
    for _, group in table.groupby(halvings):
        x, y = group["ssim"].to_numpy(), group["autogas"].to_numpy()
        signs = np.sign(x[:, None] - x) * np.sign(y[:, None] - y)
        agree, total = agree + signs.sum(), total + np.count_nonzero(signs)
    assert table_of(undisturbed)["autogas"]["within"]["value"] == pytest.approx(agree / total)


def test_names_and_expressions_are_told_apart(undisturbed):
    rows = table_of(undisturbed)
    assert rows["autogas"]["expression"] == "swish > above_mean > gram > slogdet > pow2"
    assert rows["tanh > gram > trace"]["expression"] == "tanh > gram > trace"
    assert rows["num_downsamples"]["expression"] == ""


def test_default_proxies_are_ours_the_papers_and_the_trivial_ones(tmp_path):
    run = rank("toy", out=str(tmp_path), batch_size=4, test=3)
    assert set(table_of(run)) == {"concord", "autogas", "params", "macs", "num_downsamples", "num_skips"}


def test_a_proxy_that_is_named_twice_is_ranked_once(tmp_path):
    run = rank("toy", ["params", "macs", "params"], out=str(tmp_path))
    assert sorted(row["name"] for row in run.results["test"]) == ["macs", "params"]


def test_one_architecture_that_fails_does_not_stop_the_others(undisturbed, monkeypatch, tmp_path):
    archs = undisturbed.read_table("scores")["arch"].tolist()
    fail_for(monkeypatch, archs[4])
    run = rank("toy", out=str(tmp_path), **{**RANK, "batch_size": 3})
    assert run.results["unscored"] == {archs[4]: "RuntimeError: out of memory"}
    table = run.read_table("scores")
    assert np.flatnonzero(table["autogas"].isna()).tolist() == [4]
    last = table["autogas"].fillna(table["autogas"].min() - 1)
    row = table_of(run)["autogas"]
    assert row["failed"] == 1
    assert row["kendall_b"]["value"] == pytest.approx(stats.kendalltau(table["ssim"], last).statistic)


def test_an_architecture_that_ignores_its_input_has_a_reason(undisturbed, monkeypatch, tmp_path):
    archs = undisturbed.read_table("scores")["arch"].tolist()
    initialise = TransNASMacro.build

    def dead(self, arch, *, seed=0):
        model = initialise(self, arch, seed=seed)
        if str(arch) == archs[0]:
            for parameter in model.parameters():
                parameter.data.zero_()
        return model

    monkeypatch.setattr(TransNASMacro, "build", dead)
    run = rank("toy", out=str(tmp_path), **{**RANK, "batch_size": 3})
    assert list(run.results["unscored"]) == [archs[0]]
    rows = table_of(run)
    assert (rows["autogas"]["failed"], rows["num_downsamples"]["failed"]) == (1, 0)


def test_what_failed_is_on_record(undisturbed, monkeypatch, tmp_path):
    archs = undisturbed.read_table("scores")["arch"].tolist()
    fail_for(monkeypatch, archs)
    run = rank("toy", out=str(tmp_path), **{**RANK, "batch_size": 3})
    assert {run.record[arch]["reason"] for arch in archs} == {"RuntimeError: out of memory"}
    rows = [row for row in run.results["test"] if row["name"] not in TRIVIAL]
    assert {row["kendall_b"]["value"] for row in rows} == {None}
    assert {row["failed"] for row in rows} == {10}


def test_a_metric_that_falls_is_turned(undisturbed, bench, tmp_path):
    loss = replace(bench, quality=-bench.quality, higher_is_better=False)
    results = rank(loss, out=str(tmp_path), **RANK).results
    assert results["benchmark"] == {**undisturbed.results["benchmark"], "higher_is_better": False}
    for row in results["beyond_size"]:
        for top in row["top"].values():
            top["quality"] *= -1
    assert {**results, "benchmark": {}} == {**undisturbed.results, "benchmark": {}}


def test_noise_ceiling_is_passed_on(bench, tmp_path):
    archs = [str(arch) for arch in bench.archs[:5]]
    repeats = pd.DataFrame(
        [{"arch": arch, "seed": s, "ssim": (i * 3 + s * 4) % 7.0} for i, arch in enumerate(archs) for s in range(2)]
    )
    run = rank(replace(bench, repeats=repeats), ["params"], out=str(tmp_path))
    columns = [repeats[repeats["seed"] == s]["ssim"] for s in range(2)]
    assert run.results["noise_ceiling"] == [pytest.approx(stats.kendalltau(*columns).statistic), 5]


def test_rows_come_best_first_and_undefined_last(bench):
    chosen = np.argsort(bench.quality)[:4]
    scores = {
        "constant": np.ones(4),
        "worst": np.array([4.0, 3, 2, 1]),
        "nothing": np.array([2.0, 4, 1, 3]),
        "best": np.array([1.0, 2, 3, 4]),
    }
    rows = correlation_table(bench, chosen, scores, {})
    assert [(row["name"], row["kendall_b"]["value"]) for row in rows] == [
        ("best", pytest.approx(1)),
        ("nothing", pytest.approx(0)),
        ("worst", pytest.approx(-1)),
        ("constant", None),
    ]


@pytest.mark.parametrize("bad", [math.nan, -math.inf, math.inf])
def test_what_counts_as_failed_ranks_last(bench, bad):
    chosen = np.argsort(bench.quality)[:5]
    (row,) = correlation_table(bench, chosen, {"p": np.array([1.0, bad, 2.0, 3.0, 4.0])}, {})
    assert row["failed"] == 1
    expected = stats.kendalltau(bench.quality[chosen], [1, 0, 2, 3, 4]).statistic
    assert row["kendall_b"]["value"] == pytest.approx(expected)


def test_trivial_scores_are_counts(bench):
    scores = trivial_scores(bench.space, bench.archs[:3])
    assert set(scores) == {"params", "macs", "num_downsamples", "num_skips"}
    for i, arch in enumerate(bench.archs[:3]):
        assert scores["params"][i] == sum(p.numel() for p in bench.space.build(arch).parameters())
        assert scores["num_downsamples"][i] == -sum(digit in "34" for digit in str(arch).split("-")[1])


@pytest.mark.parametrize(
    ("benchmark", "settings", "named"),
    [
        ("tooy", {}, "did you mean 'toy'"),
        ("toy", {"proxies": ["autogaz"]}, "did you mean 'autogas'"),
        ("toy", {"proxies": ["gram > tracee"]}, "did you mean 'trace'"),
        ("toy", {"proxies": ["trace > gram"]}, "trace"),
        ("toy", {"proxies": []}, "proxies"),
        ("toy", {"test": 11}, "--test 11"),
        ("toy", {"test": 2}, "test"),
        ("toy", {"test": 5, "everything": True}, "--all"),
        ("toy", {"batch_size": 1}, "batch_size"),
        ("toy", {"space_settings": {"depth": 3}}, "depth"),
        ("toy", {"depth": 3}, "depth"),
    ],
)
def test_bad_input_leaves_no_folder(tmp_path, benchmark, settings, named):
    with pytest.raises(ValueError, match=named):
        rank(benchmark, out=str(tmp_path / "run"), **{**RANK, **settings})
    assert list(tmp_path.iterdir()) == []


def test_only_a_ranking_is_resumed(undisturbed, tmp_path):
    with pytest.raises(InputError, match="not a run folder"):
        rank("toy", resume=str(tmp_path))
    with pytest.raises(InputError, match="a run of rank, not of discover"):
        discover("toy", resume=str(undisturbed.path))


# The zoo


EVERYTHING = {"proxies": list_proxies(), "batch_size": 4, "test": 3}


@pytest.fixture(scope="module")
def zoo(shared_home, tmp_path_factory):
    """A ranking of all proxies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGAS_HOME", str(shared_home))
        return rank("toy", out=str(tmp_path_factory.mktemp("zoo")), **EVERYTHING)


def test_all_scorers_score_as_they_do_alone(zoo, bench):
    table = zoo.read_table("scores")
    assert zoo.results["failures"] == zoo.results["unscored"] == {}
    arch = bench.space.parse(table["arch"][0])
    of_module = [name for name in list_proxies() if name not in ("macs", "num_downsamples", "num_skips")]
    found = score_many(bench.space.build(arch), bench.space.inputs(batch_size=4), of_module)
    assert {name: table[name][0] for name in of_module} == pytest.approx(found, rel=1e-6)


def test_two_jobs_find_the_same_with_all_scorers(zoo, tmp_path):
    assert same(zoo, rank("toy", out=str(tmp_path), jobs=2, **EVERYTHING).path)


def test_all_scorers_are_resumed(zoo, tmp_path, calls):
    folder = tmp_path / "run"
    shutil.copytree(zoo.path, folder)
    (folder / "results.json").unlink()
    with contextlib.closing(sqlite3.connect(folder / "record.sqlite")) as connection, connection:
        connection.execute("DELETE FROM evaluations WHERE key = ?", (zoo.read_table("scores")["arch"][1],))
    scored = calls(module, "score_record")
    assert same(zoo, rank("toy", resume=str(folder)).path)
    assert scored == [zoo.read_table("scores")["arch"][1]]


def test_costs_have_seconds_and_forwards_of_each_scorer(zoo):
    costs = zoo.costs["scorers"]
    assert set(costs) == set(list_proxies())
    forward = zoo.costs["networks"]["forward"] / 3
    for cost in costs.values():
        assert cost["seconds"] > 0
        assert cost["forwards"] == pytest.approx(cost["seconds"] / forward)
    # What shares a pass has it in its costs, although it ran once.
    assert costs["grad_norm"]["seconds"] > costs["variance"]["seconds"] * 0.9
    assert costs["grasp"]["forwards"] > costs["num_activations"]["forwards"] > costs["num_downsamples"]["forwards"]


def test_costs_without_a_forward_pass(tmp_path):
    run = rank("toy", ["l2_norm", "params"], out=str(tmp_path), batch_size=4, test=3)
    assert run.costs["scorers"]["l2_norm"]["seconds"] > 0
    assert {cost["forwards"] for cost in run.costs["scorers"].values()} == {None}
    assert run.costs["networks"]["forward"] == 0


def test_costs_without_expressions_are_against_the_recorded_pass(tmp_path):
    run = rank("toy", ["num_activations"], out=str(tmp_path), batch_size=4, test=3)
    assert 1 <= run.costs["scorers"]["num_activations"]["forwards"] < 2


@pytest.fixture
def fragile(monkeypatch, zoo):
    """A scorer that fails on the second architecture by raising what it is given, or gives it as its score."""
    arch = zoo.read_table("scores")["arch"][1]
    networks = []
    build = TransNASMacro.build
    monkeypatch.setattr(
        TransNASMacro, "build", lambda self, a, *, seed=0: networks.append(str(a)) or build(self, a, seed=seed)
    )

    def use(outcome):
        def of_network(probe):
            if networks[-1] != arch:
                return 1.0 + probe.recorded.output.numel()
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setitem(SCORERS, "fragile", Scorer("fragile", of_network, None, "fragile"))
        return arch

    return use


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (RuntimeError("out of memory\nand more lines"), "RuntimeError: out of memory"),
        (InputError("no halves"), "no halves"),
        (AssertionError("not that"), "AssertionError: not that"),
        (KeyError("weight"), "KeyError: 'weight'"),
        (math.nan, "the score is nan"),
        (-math.inf, "the score is -inf"),
    ],
)
def test_a_scorer_that_fails_leaves_the_others_alone(zoo, fragile, outcome, reason, tmp_path):
    arch = fragile(outcome)
    names = ["snip", "fragile", "nwot", "params"]
    run = rank("toy", names, out=str(tmp_path), batch_size=4, test=3)
    assert run.results["failures"] == {arch: {"fragile": reason}}
    assert run.results["unscored"] == {}
    table, rows = run.read_table("scores"), table_of(run)
    assert np.flatnonzero(table["fragile"].isna()).tolist() == [1]
    assert {name: row["failed"] for name, row in rows.items()} == {"snip": 0, "fragile": 1, "nwot": 0, "params": 0}
    pd.testing.assert_frame_equal(
        table[["snip", "nwot", "params"]], zoo.read_table("scores")[["snip", "nwot", "params"]]
    )
    assert run.costs["scorers"]["fragile"]["seconds"] > 0


def test_a_vanished_disk_stops_the_ranking(fragile, tmp_path):
    fragile(OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        rank("toy", ["fragile"], out=str(tmp_path), batch_size=4, test=3)


def test_a_trait_that_the_space_lacks_is_a_failure(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(TransNASMacro, "traits", lambda self, arch: {})
    run = rank(bench, ["num_skips", "params"], out=str(tmp_path), test=3)
    reasons = {reason["num_skips"] for reason in run.results["failures"].values()}
    assert reasons == {"space transnas-macro has no num_skips: it has no traits"}
    assert {name: row["failed"] for name, row in table_of(run).items()} == {"num_skips": 3, "params": 0}


def test_an_expression_that_fails_has_a_reason(tmp_path):
    run = rank("toy", ["distance > trace > log", "params"], out=str(tmp_path), batch_size=4, test=3)
    (reasons,) = {tuple(reason.items()) for reason in run.results["failures"].values()}
    assert reasons == (("distance > trace > log", "the score is nan"),)


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_images_are_what_networks_see(kind, bench, image_folder, tmp_path):
    source = image_folder
    if kind == "parquet":
        source = tmp_path / "images.parquet"
        files = [{"bytes": path.read_bytes()} for path in sorted(image_folder.iterdir())]
        pd.DataFrame({"image": files}).to_parquet(source)
    names = ["autogas", "snip", "nwot"]
    run = rank("toy", names, out=str(tmp_path / "run"), batch_size=5, test=3, images=str(source))
    pixels = [np.asarray(Image.open(path)) for path in sorted(image_folder.iterdir())[:5]]
    x = torch.tensor(np.stack(pixels)).permute(0, 3, 1, 2) / 127.5 - 1
    table = run.read_table("scores")
    model = bench.space.build(bench.space.parse(table["arch"][0]))
    assert {name: table[name][0] for name in names} == pytest.approx(score_many(model, x, names), rel=1e-4)
    assert run.settings["images"] == str(source)
    assert same(run, rank("toy", resume=str(run.path)).path)


@pytest.mark.parametrize(
    ("space", "settings"),
    [("eagan-generator", {"width": 8}), ("spade-translation", {})],
    ids=["latents", "label maps"],
)
def test_images_are_refused_where_networks_take_none(space, settings, image_folder, tmp_path):
    here = get_space(space, **settings)
    archs = here.sample_distinct(4, np.random.default_rng(0))
    bench = Benchmark("other", here, tuple(archs), np.arange(4.0), "fid")
    with pytest.raises(InputError, match=f"--images .*: networks of space {space} do not take an image of 3"):
        rank(bench, ["params"], out=str(tmp_path / "run"), images=str(image_folder))
    assert list(tmp_path.iterdir()) == []


def test_a_metric_that_a_scorer_has_is_refused(bench, tmp_path):
    with pytest.raises(InputError, match="its metric has the name 'params' of a scorer"):
        rank(replace(bench, metric="params"), ["macs", "params"], out=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_pictures_of_the_same_names_and_sizes_are_told_apart(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()

    def draw():
        for i in range(4):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i}.bmp")

    draw()
    monkeypatch.setattr(module, "beyond_size", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rank("toy", ["params"], out=str(tmp_path / "run"), batch_size=4, test=3, images=str(tmp_path / "pictures"))
    draw()
    with pytest.raises(InputError, match="images"):
        rank(resume=str(tmp_path / "run"))


def test_strata_are_of_equal_counts_however_large():
    space = ChoiceSpace(
        "counted",
        {"width": range(1, 7)},
        lambda width: nn.Linear(width, 1),
        [(3,)],
        traits=lambda width: {"size": 1_000_000.0 + width},
    )
    assert len(set(strata(space, list(space.enumerate())))) == 6


def test_each_space_is_held_against_its_own_trivial_scorers():
    run = rank("mini-gan-2", test=3, space_settings={"width": 1})
    assert run.settings["proxies"][2:] == ["params", "macs", "num_skips", "num_transposed"]
    assert not any(row["failed"] for row in run.results["test"])


def test_transposed_convolutions_are_counted_on_networks_of_other_spaces():
    run = rank("mini-autoencoder/macro", ["num_transposed"], test=3)
    assert run.results["test"][0]["failed"] == 0
