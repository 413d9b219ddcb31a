import numpy as np
import pandas as pd
import pytest
from torch import nn

import autogas
from autogas import get_space, make_benchmark
from autogas.errors import InputError
from autogas.spaces import SPACES

TABLE = pd.DataFrame({"arch": [f"net {i}" for i in range(6)], "width": [2, 4, 6, 8, 10, 12], "ssim": np.arange(6) / 10})


@pytest.fixture
def fresh_home(tmp_path, monkeypatch):
    """A data folder with nothing in it, and spaces that are gone after the test."""
    monkeypatch.setenv("AUTOGAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("autogas.spaces.SPACES", dict(SPACES))
    monkeypatch.setattr("autogas.plugins._noted", {})


def plain(width, **row):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, 3, 3))


def test_networks_of_a_function_are_ranked_as_by_hand(fresh_home, tmp_path):
    bench = autogas.make_benchmark(TABLE, "ssim", build=plain, inputs=[(3, 8, 8)], name="widths")
    run = autogas.rank(bench, ["params", "macs"], everything=True, out=str(tmp_path / "run"))
    scores = run.read_table("scores")
    assert scores["params"].tolist() == [sum(p.numel() for p in plain(w).parameters()) for w in TABLE["width"]]
    assert run.results["test"][0]["kendall_a"]["value"] == 1.0


def test_workers_know_the_networks_of_a_function(fresh_home, tmp_path):
    bench = autogas.make_benchmark(TABLE, "ssim", build=plain, inputs=[(3, 8, 8)], name="widths")
    alone, together = (
        autogas.rank(bench, ["separation", "params"], everything=True, jobs=jobs, out=str(tmp_path / str(jobs)))
        for jobs in (1, 2)
    )
    assert (alone.path / "results.json").read_bytes() == (together.path / "results.json").read_bytes()


def test_a_table_of_a_known_space_from_a_file(tmp_path):
    archs = ["64-1234-basic", "64-4111-basic"]
    pd.DataFrame({"arch": archs, "loss": [2.0, 1.0]}).to_csv(tmp_path / "t.csv", index=False)
    bench = autogas.make_benchmark(tmp_path / "t.csv", "loss", space="transnas-macro", higher_is_better=False)
    assert bench.goodness.tolist() == [-2.0, -1.0]
    assert [str(arch) for arch in bench.archs] == archs


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "either the space of its architectures, or build"),
        ({"space": "transnas", "build": plain}, "either the space of its architectures, or build"),
        ({"space": "transnas-macro"}, "benchmark own: architecture 'net 0'"),
        ({"space": "transnas-mikro"}, "did you mean 'transnas-micro'"),
    ],
)
def test_bad_input_is_said(given, said):
    with pytest.raises(InputError, match=said):
        autogas.make_benchmark(TABLE, "ssim", **given)


@pytest.mark.usefixtures("fresh_home")
def test_a_column_that_is_missing_is_named():
    with pytest.raises(InputError, match="'arch', found are width, ssim"):
        autogas.make_benchmark(TABLE.drop(columns="arch"), "ssim", build=plain, inputs=[(3, 8, 8)])
    with pytest.raises(InputError, match="'fid'"):
        autogas.make_benchmark(TABLE, "fid", build=plain, inputs=[(3, 8, 8)])


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([1, 2], "expected a data frame, or the path of a CSV"),
        ({}, "expected a data frame, or the path of a CSV"),
        ("nope.csv", "expected a data frame, or the path of a CSV"),
        (TABLE.iloc[:0], "it has no rows"),
        (TABLE.assign(arch=["a", None, "c"][: len(TABLE)] + ["d"] * (len(TABLE) - 3)), "row 1 has no name"),
        (TABLE.assign(arch=["a,1", *map(str, range(len(TABLE) - 1))]), "expected names without commas"),
        (TABLE.assign(arch=[" a", *map(str, range(len(TABLE) - 1))]), "expected names without commas"),
    ],
)
@pytest.mark.usefixtures("fresh_home")
def test_tables_that_are_none(table, said):
    with pytest.raises(InputError, match=said):
        autogas.make_benchmark(table, "ssim", build=plain, inputs=[(3, 8, 8)])


@pytest.mark.usefixtures("fresh_home")
def test_another_function_or_table_is_scored_anew(tmp_path):
    def scores(number, table, build):
        bench = autogas.make_benchmark(table, "ssim", build=build, inputs=[(3, 8, 8)], name="again")
        run = autogas.rank(bench, ["autogas"], everything=True, batch_size=4, jobs=1, out=str(tmp_path / str(number)))
        return run.read_table("scores")["autogas"].tolist()

    first = scores(0, TABLE, plain)
    turned = scores(1, TABLE.assign(width=TABLE["width"].to_numpy()[::-1]), plain)
    other = scores(2, TABLE, lambda **row: nn.Sequential(plain(**row), nn.Conv2d(3, 3, 3), nn.ReLU()))
    assert scores(3, TABLE, plain) == first
    assert first != turned
    assert first != other


def test_a_column_that_is_there_twice_is_said(fresh_home):
    twice = pd.concat([TABLE, TABLE[["ssim"]]], axis=1)
    with pytest.raises(InputError, match="column 'ssim' is there twice"):
        autogas.make_benchmark(twice, "ssim", build=plain, inputs=[(3, 8, 8)])


def test_half_precision_of_a_metric_changes_no_ceiling(fresh_home):
    rows = pd.DataFrame([{"arch": f"n{i}", "seed": s, "ssim": i / 9 + s / 20} for i in range(6) for s in range(2)])
    rows = rows.drop(index=3)
    ceilings = [
        autogas.make_benchmark(rows.astype({"ssim": t}), "ssim", build=plain, inputs=[(3, 8, 8)]).noise_ceiling()
        for t in ("float16", "float64")
    ]
    assert ceilings[0] == ceilings[1] == (1.0, 5)


def ten_times(width, **row):
    return plain(10 * width)


@pytest.mark.parametrize("names", [("own", "own"), ("a.b", "a-b")])
def test_benchmarks_of_one_name_are_of_their_own_networks(fresh_home, tmp_path, names):
    benches = [
        autogas.make_benchmark(TABLE, "ssim", build=build, inputs=[(3, 8, 8)], name=name)
        for build, name in zip((plain, ten_times), names, strict=True)
    ]
    for number, (bench, build) in enumerate(zip(benches, (plain, ten_times), strict=True)):
        run = autogas.rank(bench, ["params"], everything=True, jobs=1, out=str(tmp_path / str(number)))
        by_hand = [sum(p.numel() for p in build(width).parameters()) for width in TABLE["width"]]
        assert run.read_table("scores")["params"].tolist() == by_hand


def test_a_space_that_was_registered_again_does_not_change_a_benchmark(fresh_home, tmp_path):
    rows = pd.DataFrame({"arch": [f"width={width}" for width in (2, 4, 8)], "ssim": [0.1, 0.2, 0.3]})
    spaces = [autogas.ChoiceSpace("same", {"width": [2, 4, 8]}, build, [(3, 8, 8)]) for build in (plain, ten_times)]
    benches = [autogas.make_benchmark(rows, "ssim", space=space, name=f"b{i}") for i, space in enumerate(spaces)]
    run = autogas.rank(benches[0], ["params"], everything=True, jobs=1, out=str(tmp_path / "run"))
    assert run.read_table("scores")["params"].tolist() == [113, 223, 443]
    with pytest.raises(InputError, match="b0 and b1 have different spaces of the name 'same'"):
        autogas.discover_across(benches, out=str(tmp_path / "across"))


@pytest.mark.parametrize("kind", ["Float64", "Int64"])
def test_a_missing_number_is_refused_whatever_its_type(fresh_home, kind):
    rows = TABLE.assign(ssim=pd.array([1, None, 3, 4, 5, 6], dtype=kind))
    with pytest.raises(InputError, match="column 'ssim' holds more than finite numbers"):
        autogas.make_benchmark(rows, "ssim", build=plain, inputs=[(3, 8, 8)])
    seeds = TABLE.assign(seed=pd.array([0, None, 0, 0, 0, 0], dtype="Int64"))
    with pytest.raises(InputError, match="column 'seed' holds more than whole numbers"):
        autogas.make_benchmark(seeds, "ssim", build=plain, inputs=[(3, 8, 8)])


def test_scores_do_not_depend_on_quality_or_on_other_rows(fresh_home):
    found = set()
    for rows in (TABLE, TABLE.assign(ssim=TABLE["ssim"] * 2), TABLE[:3]):
        bench = autogas.make_benchmark(rows, "ssim", build=plain, inputs=[(3, 8, 8)], name="n")
        found.add(autogas.score_architecture(bench.space, "row=net 0", "snip")["snip"])
    assert len(found) == 1


def test_seeds_are_known_however_an_architecture_is_written():
    space = get_space("eagan-generator")
    archs = list(map(str, space.sample_distinct(6, np.random.default_rng(0))))
    rows = [(arch, seed, float(i)) for i, arch in enumerate(archs) for seed in (0, 1)]
    table = pd.DataFrame(rows, columns=["arch", "seed", "fid"])
    spaced = table.assign(arch=table["arch"].str.replace(",", ", "))
    for each in (table, spaced):
        assert make_benchmark(each, "fid", space="eagan-generator").noise_ceiling() == (1.0, 6)


def test_columns_are_found_in_either_case_as_an_import_finds_them(tmp_path, fresh_home):
    table = pd.DataFrame({"Arch": ["a", "a", "b"], "SSIM": [0.1, 0.3, 0.4], "Seed": [0, 1, 0], "width": [2, 2, 3]})
    table.to_csv(tmp_path / "table.csv", index=False)

    def build(width, **row):
        return nn.Conv2d(3, width, 3)

    for given in (table, str(tmp_path / "table.csv")):
        bench = make_benchmark(given, "ssim", build=build, inputs=[(3, 8, 8)], name="either")
        assert bench.metric == "ssim"
        assert bench.quality.tolist() == pytest.approx([0.2, 0.4])
