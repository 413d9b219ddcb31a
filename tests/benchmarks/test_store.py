import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from autogas import files
from autogas.benchmarks import list_benchmarks, load_benchmark, save_benchmark, store
from autogas.benchmarks.store import benchmark_of, checked_name, with_space_settings
from autogas.errors import InputError
from autogas.spaces import get_space

SMALL = {"base_width": 8, "decoder_divisor": 16, "stem_stride": 1, "image_size": 32}
ARCHS = ("64-1234-basic", "64-41414-1_23_012", "64-4111-basic", "64-41414-0_10_301")
ABOUT = {"space": "transnas", "space_settings": SMALL, "metric": "ssim", "provenance": {"machine": "this one"}}


@pytest.fixture
def table():
    return pd.DataFrame({"arch": ARCHS, "ssim": [0.25, 0.5, 0.125, 0.1 + 0.2], "l1": [4.0, 3.0, 2.0, 1.0]})


@pytest.fixture(autouse=True)
def no_embedded(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "EMBEDDED", tmp_path / "embedded")
    monkeypatch.setattr("autogas.paths.EMBEDDED", tmp_path / "embedded")


@pytest.mark.parametrize("higher", [True, False])
def test_what_was_saved_is_loaded(table, higher):
    save_benchmark("toy", table, higher_is_better=higher, **ABOUT)
    bench = load_benchmark("toy")
    assert [str(arch) for arch in bench.archs] == list(ARCHS)
    assert np.array_equal(bench.quality, table["ssim"])
    assert (bench.name, bench.metric, bench.higher_is_better) == ("toy", "ssim", higher)
    assert (bench.space.name, dict(bench.space.settings)) == ("transnas", SMALL)
    assert bench.provenance == {"machine": "this one"}
    assert bench.repeats is None


def test_a_benchmark_is_stored_in_the_users_folder(table, autogas_home):
    path = save_benchmark("toy", table, **ABOUT)
    assert path == autogas_home / "benchmarks" / "toy.parquet"
    pd.testing.assert_frame_equal(pd.read_parquet(path), table)


def test_nothing_but_one_file_is_left(table, autogas_home):
    save_benchmark("toy", table, **ABOUT)
    save_benchmark("toy", table, **ABOUT)
    assert [path.name for path in (autogas_home / "benchmarks").iterdir()] == ["toy.parquet"]


@pytest.mark.parametrize("stop", ["write_table", "replace"])
def test_a_store_that_is_interrupted_keeps_the_whole_old_benchmark(table, autogas_home, monkeypatch, stop):
    save_benchmark("toy", table, higher_is_better=False, **ABOUT)

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr({"write_table": files.parquet, "replace": files.os}[stop], stop, killed)
        with pytest.raises(KeyboardInterrupt):
            save_benchmark("toy", table.assign(ssim=-table["ssim"]), higher_is_better=True, **ABOUT)
    bench = load_benchmark("toy")
    assert not bench.higher_is_better
    assert np.array_equal(bench.quality, table["ssim"])
    assert [path.name for path in (autogas_home / "benchmarks").iterdir()] == ["toy.parquet"]


@pytest.mark.parametrize("name", ["toy.v2", "a-b_c", "10k"])
def test_names_may_hold_dots_and_dashes(table, name):
    save_benchmark(name, table, **ABOUT)
    assert list_benchmarks() == [name]
    assert len(load_benchmark(name)) == 4


def test_another_folder_is_not_the_users(table, tmp_path):
    save_benchmark("toy", table, folder=tmp_path / "new" / "place", **ABOUT)
    assert (tmp_path / "new" / "place" / "toy.parquet").exists()
    assert list_benchmarks() == []


def test_quality_is_the_mean_over_seeds(table):
    seeds = pd.concat([table.assign(seed=seed, ssim=table["ssim"] + seed) for seed in (0, 2, 1)])
    once = seeds[(seeds["seed"] == 0) | (seeds["arch"] != ARCHS[1])]  # that one has a single seed
    save_benchmark("toy", once, **ABOUT)
    assert load_benchmark("toy").quality == pytest.approx(table["ssim"] + [1, 0, 1, 1])
    save_benchmark("toy", seeds, **ABOUT)
    bench = load_benchmark("toy")
    assert [str(arch) for arch in bench.archs] == list(ARCHS)
    assert bench.quality == pytest.approx(table["ssim"] + 1)
    assert len(bench.repeats) == 12
    assert bench.noise_ceiling() == (1.0, 4)
    assert bench.learning_curve() == {}


def test_fewer_steps_are_worth_what_they_say_about_another_seed(table):
    rng = np.random.default_rng(0)
    rows = [
        table.assign(seed=seed, ssim=rng.random(4), ssim_at_9=rng.random(4), ssim_at_30=rng.random(4))
        for seed in range(3)
    ]
    save_benchmark("toy", pd.concat(rows), **ABOUT)
    expected = {
        step: np.mean(
            [
                stats.kendalltau(rows[early][f"ssim_at_{step}"], rows[late]["ssim"]).statistic
                for early in range(3)
                for late in range(3)
                if early != late
            ]
        )
        for step in (9, 30)
    }
    assert load_benchmark("toy").learning_curve() == pytest.approx(expected)


def test_what_is_no_number_is_no_point_of_a_learning_curve(table):
    odd, early = "ssim_at_\N{SUPERSCRIPT TWO}", ["0.1", "failed", "0.3", "0.2"]
    rows = [table.assign(seed=seed, ssim_at_9=early, **{odd: 0.5}) for seed in range(2)]
    save_benchmark("toy", pd.concat(rows), **ABOUT)
    without = [row.assign(ssim_at_9=[0.1, np.nan, 0.3, 0.2]).drop(columns=odd) for row in rows]
    save_benchmark("bare", pd.concat(without), **ABOUT)
    assert load_benchmark("toy").learning_curve() == load_benchmark("bare").learning_curve() != {}


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a/b",
        "../up",
        "two words",
        "tab\t",
        "line\n",
        "-flag",
        "nul\0",
        "\x1b[31m",
        "\udcff",
        "x" * 201,
        "ä" * 101,
    ],
)
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(InputError, match="expected letters") as error:
        checked_name(name)
    assert len(str(error.value)) < 300
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", ["", "..", "../toy", "nul\0", "x" * 300, "toy/"])
def test_a_name_that_none_can_have_is_unknown(table, name):
    save_benchmark("toy", table, **ABOUT)
    if name == "toy/":
        assert load_benchmark(name).name == "toy"
    else:
        with pytest.raises(InputError, match="unknown benchmark"):
            load_benchmark(name)


def test_the_longest_name_is_stored(table):
    save_benchmark("ä" * 100, table, **ABOUT)
    assert list_benchmarks() == ["ä" * 100]
    assert len(load_benchmark("ä" * 100)) == 4


@pytest.mark.parametrize("name", ["a", "v1.0", "two-words", "under_score", "Überschrift"])
def test_a_plain_name_is_kept(name):
    assert checked_name(name) == name


def test_an_embedded_name_is_for_the_package_alone(table, tmp_path):
    save_benchmark("mini", table, folder=tmp_path / "embedded", **ABOUT)
    with pytest.raises(InputError, match="embedded"):
        checked_name("mini")
    assert checked_name("mini", tmp_path) == "mini"


def test_one_seed_is_no_repeat(table):
    save_benchmark("toy", table.assign(seed=7), **ABOUT)
    assert load_benchmark("toy").repeats is None
    assert len(load_benchmark("toy")) == 4


@pytest.mark.parametrize(("part", "places"), [("macro", [0, 2]), ("micro", [1, 3])])
def test_a_part_of_a_benchmark(table, part, places):
    save_benchmark("toy", table, **ABOUT)
    bench = load_benchmark(f"toy/{part}")
    assert [str(arch) for arch in bench.archs] == [ARCHS[i] for i in places]
    assert np.array_equal(bench.quality, table["ssim"][places])
    assert bench.name == f"toy/{part}"
    assert (bench.space.name, dict(bench.space.settings)) == (f"transnas-{part}", SMALL)


def test_an_unknown_part_is_refused(table):
    save_benchmark("toy", table, **ABOUT)
    with pytest.raises(InputError, match=r"^unknown part of benchmark toy 'makro': did you mean 'macro'"):
        load_benchmark("toy/makro")


def test_a_part_of_a_benchmark_without_parts_is_refused(table):
    save_benchmark("toy", table.iloc[[0, 2]], **{**ABOUT, "space": "transnas-macro"})
    with pytest.raises(InputError, match=r"^unknown part of benchmark toy 'macro'"):
        load_benchmark("toy/macro")


def test_an_unknown_name_suggests_a_near_one(table):
    save_benchmark("my-autoencoder", table, **ABOUT)
    with pytest.raises(
        InputError, match=r"^unknown benchmark 'my-autoencodr': did you mean 'my-autoencoder'\?.*import"
    ):
        load_benchmark("my-autoencodr")


def test_an_unknown_name_without_any_benchmark():
    with pytest.raises(InputError, match=r"^unknown benchmark 'toy': expected none; import"):
        load_benchmark("toy")


def test_embedded_benchmarks_come_first(table):
    save_benchmark("a", table, **ABOUT)
    save_benchmark("z", table, folder=store.EMBEDDED, **ABOUT)
    assert list_benchmarks() == ["z", "a"]
    assert len(load_benchmark("z")) == 4


@pytest.mark.parametrize("name", ["toy.json", "._toy.parquet", ".toy.parquet.7.tmp", "two words.parquet"])
def test_what_is_no_benchmark_is_not_listed(table, autogas_home, name):
    save_benchmark("toy", table, **ABOUT)
    (autogas_home / "benchmarks" / name).touch()
    assert list_benchmarks() == ["toy"]


def refused(name="toy"):
    """The one line that loading gives."""
    with pytest.raises(InputError) as error:
        load_benchmark(name)
    (line,) = str(error.value).splitlines()
    return line


def test_a_benchmark_of_the_older_form_is_to_be_imported_again(table, autogas_home):
    path = autogas_home / "benchmarks" / "toy.parquet"
    path.parent.mkdir(parents=True)
    table.to_parquet(path)
    path.with_suffix(".json").write_text(json.dumps({**ABOUT, "higher_is_better": True}))
    line = refused()
    assert str(path) in line
    assert "import it again" in line
    save_benchmark("toy", table, **ABOUT)
    assert len(load_benchmark("toy")) == 4


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_a_truncated_benchmark_is_refused(table, kept):
    path = save_benchmark("toy", table, **ABOUT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    assert "is damaged" in refused()


def test_a_flipped_bit_is_refused(table):
    path = save_benchmark("toy", table, **ABOUT)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(whole), 100, replace=False):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.integers(8)]) + whole[place + 1 :])
        assert "is damaged" in refused()


ALL = {**ABOUT, "higher_is_better": True}


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({**ALL, "higher_is_better": "false"}, "higher_is_better: Input should be a valid boolean"),
        ({**ALL, "higher_is_better": 0}, "higher_is_better: Input should be a valid boolean"),
        ({**ALL, "higher_is_better": None}, "higher_is_better: Input should be a valid boolean"),
        ({**ALL, "metric": 3}, "metric: Input should be a valid string"),
        ({**ALL, "metric": "fid"}, "one of the metric 'fid'"),
        ({**ALL, "metric": "arch"}, "one of the metric 'arch'"),
        ({**ALL, "space": None}, "space: Input should be a valid string"),
        ({**ALL, "space": "transnes"}, "unknown space 'transnes'"),
        ({**ALL, "space_settings": [1]}, "space_settings: Input should be a valid dict"),
        ({**ALL, "space_settings": {"depth": 1}}, "depth"),
        ({**ALL, "space_settings": {"image_size": "32"}}, "image_size"),
        ({**ALL, "space_settings": {"name": "transnas"}}, "unexpected keyword argument 'name'"),
        ({**ALL, "provenance": "mine"}, "provenance: Input should be a valid dict"),
        ({**ALL, "author": "me"}, "author: Extra inputs are not permitted"),
        ({}, "space: Field required"),
        *(({k: v for k, v in ALL.items() if k != key}, f"{key}: Field required") for key in ALL),
    ],
)
def test_what_a_file_says_of_itself_is_checked(table, autogas_home, about, message):
    path = autogas_home / "benchmarks" / "toy.parquet"
    path.parent.mkdir(parents=True)
    files.write_table(path, table, about)
    assert message in refused()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="arch"), "needs a column 'arch'"),
        (lambda t: t.drop(columns="ssim"), "one of the metric 'ssim'"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t.assign(ssim=[1.0, 2.0, np.nan, 3.0]), "'ssim' holds more than finite numbers"),
        (lambda t: t.assign(ssim=[1.0, 2.0, np.inf, 3.0]), "'ssim' holds more than finite numbers"),
        (lambda t: t.assign(ssim=["1", "2", "3", "4"]), "'ssim' holds more than finite numbers"),
        (lambda t: t.assign(ssim=[True, False, True, True]), "'ssim' holds more than finite numbers"),
        (lambda t: t.assign(ssim=pd.to_datetime(["2020"] * 4)), "'ssim' holds more than finite numbers"),
        (lambda t: t.assign(ssim=[None] * 4), "'ssim' holds more than finite numbers"),
        (lambda t: t.assign(arch=range(4)), "'arch' holds more than texts"),
        (lambda t: t.assign(arch=[*ARCHS[:3], None]), "'arch' holds more than texts"),
        (lambda t: t.assign(arch=[*ARCHS[:3], "64-9-basic"]), "64-9-basic"),
        (lambda t: t.assign(arch=[*ARCHS[:3], ARCHS[0]]), "two rows have the same arch"),
        (lambda t: t.assign(seed=[0, 1, 0, 1], arch=[*ARCHS[:2], *ARCHS[:2]]), "two rows have the same arch and seed"),
        (lambda t: t.assign(seed=[0.0, 1.0, 0.5, 2.0]), "'seed' holds more than whole numbers"),
        (lambda t: t.assign(seed=list("0123")), "'seed' holds more than whole numbers"),
    ],
)
def test_a_table_that_is_no_benchmark_is_neither_loaded_nor_stored(table, autogas_home, change, message):
    folder = autogas_home / "benchmarks"
    autogas_home.mkdir()
    with pytest.raises(InputError, match=message) as error:
        save_benchmark("toy", change(table), **ABOUT)
    assert str(error.value).startswith("benchmark toy: ")
    assert len(str(error.value).splitlines()) == 1
    assert not folder.exists()
    folder.mkdir()
    files.write_table(folder / "toy.parquet", change(table), ALL)
    line = refused()
    assert message in line
    assert str(folder / "toy.parquet") in line


def test_an_architecture_that_is_written_in_two_ways_is_refused():
    cells = json.loads(str(get_space("eagan-generator").sample(np.random.default_rng(0))))
    table = pd.DataFrame({"arch": [json.dumps(cells), json.dumps(cells, separators=(",", ":"))], "fid": [1.0, 2.0]})
    with pytest.raises(InputError, match="written in two ways"):
        save_benchmark("toy", table, space="eagan-generator", space_settings={}, metric="fid", provenance={})


def test_other_space_settings_change_the_space_alone(table):
    save_benchmark("toy", table, **ABOUT)
    bench = load_benchmark("toy/macro")
    other = with_space_settings(bench, {"image_size": 64})
    assert dict(other.space.settings) == {**SMALL, "image_size": 64}
    assert other.space.name == "transnas-macro"
    assert other.archs == bench.archs
    assert np.array_equal(other.quality, bench.quality)
    assert other.name == bench.name


def test_no_other_settings_no_other_benchmark(table):
    save_benchmark("toy", table, **ABOUT)
    bench = load_benchmark("toy")
    assert with_space_settings(bench, {}) is bench


def test_a_setting_that_the_space_lacks_is_refused(table):
    save_benchmark("toy", table, **ABOUT)
    with pytest.raises(InputError, match="depth"):
        with_space_settings(load_benchmark("toy"), {"depth": 3})


def test_default_space_settings_are_those_of_the_space(table):
    save_benchmark("toy", table, **{**ABOUT, "space_settings": {}})
    assert load_benchmark("toy").space.settings == get_space("transnas").settings


def test_numbers_whose_squares_are_none_are_refused(tmp_path):
    table = pd.DataFrame({"arch": ["64-41414-basic", "64-4141-basic"], "ssim": [1e308, -1e308]})
    about = {"space": "transnas-macro", "metric": "ssim", "higher_is_better": True}
    about |= {"space_settings": {}, "provenance": {}}
    with pytest.raises(ValueError, match=r"beyond 1e\+100"):
        benchmark_of("huge", table, about)
