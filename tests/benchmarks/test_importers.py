import json
import math
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from autogas.benchmarks import (
    correlate,
    correlation,
    kendall_many,
    list_benchmarks,
    load_benchmark,
    save_benchmark,
    store,
)
from autogas.benchmarks.importers import import_benchmark
from autogas.errors import InputError
from autogas.files import LARGEST
from autogas.paths import store_folder
from autogas.spaces import get_space

MACRO = ["64-1234-basic", "64-4111-basic", "64-124321-basic"]
MICRO = ["64-41414-1_23_012", "64-41414-0_10_301"]


class Note:
    """A class that safe loading of a torch file refuses."""


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(autouse=True)
def no_embedded(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "EMBEDDED", tmp_path / "embedded")
    monkeypatch.setattr("autogas.paths.EMBEDDED", tmp_path / "embedded")


@pytest.fixture
def nothing_stored(autogas_home):
    """After the test, the user's folder is as it was: untouched."""
    yield
    assert list(autogas_home.rglob("*")) == []


def curves(values, metric="test_ssim", **others):
    """An architecture's entry in the layout of TransNAS-Bench-101."""
    metrics = {metric: list(values), **others}
    return {"autoencoder": {"total_epochs": len(values), "model_info": {"params": 1}, "metrics": metrics}}


def write_pth(path, **data):
    torch.save({"data": data}, path)
    return path


def write_csv(path, archs=MACRO, **columns):
    pd.DataFrame({"arch": archs, **columns}).to_csv(path, index=False)
    return path


def write_json(path, entries, task="autoencoder"):
    values = {key: {"val_accuracy": q, "nwot": {"score": 2 * q, "time": 3.0}} for key, q in entries.items()}
    path.write_text(json.dumps({task: values, "jigsaw": {}}))
    return path


def quality_of(name):
    bench = load_benchmark(name)
    return dict(zip(map(str, bench.archs), bench.quality.tolist(), strict=True))


def stored_table(name):
    return pd.read_parquet(store_folder() / f"{name}.parquet").set_index("arch")


def one_line(error):
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_pth_gives_a_benchmark_for_each_space(tmp_path):
    path = write_pth(
        tmp_path / "bench.pth",
        macro={arch: curves([0.1, 0.2 + i]) for i, arch in enumerate(MACRO)},
        micro={arch: curves([0.3, 0.4 + i]) for i, arch in enumerate(MICRO)},
    )
    parts = import_benchmark(path)
    assert [(p.name, len(p.rows), p.metric, p.skipped) for p in parts] == [
        ("transnas-macro", 3, "test_ssim", {}),
        ("transnas-micro", 2, "test_ssim", {}),
    ]
    assert quality_of("transnas-macro") == {arch: 0.2 + i for i, arch in enumerate(MACRO)}
    assert quality_of("transnas-micro") == {arch: 0.4 + i for i, arch in enumerate(MICRO)}


def test_what_is_of_another_space_than_the_one_asked_for_is_said(tmp_path):
    path = tmp_path / "both.csv"
    path.write_text("arch,ssim\n" + "".join(f"{arch},0.{i + 1}\n" for i, arch in enumerate([MACRO[0], *MICRO[:2]])))
    (part,) = import_benchmark(path, space="transnas-macro")
    assert (part.name, len(part.rows)) == ("transnas-macro", 1)
    assert {reason: len(entries) for reason, entries in part.skipped.items()} == {"of space transnas-micro": 2}
    assert "skipped 2 (of space transnas-micro)" in part.describe()


def test_pth_takes_the_epoch_in_which_the_metric_was_best(tmp_path):
    entry = curves([0.1, 0.9, 0.5], valid_ssim=[0.2, 0.3, 0.8], train_loss=[3, 2, 1], short=[7])
    import_benchmark(write_pth(tmp_path / "bench.pth", macro=dict.fromkeys(MACRO, entry)))
    row = stored_table("transnas-macro").loc[MACRO[0]]
    assert row.to_dict() == {
        "test_ssim": 0.9,
        "valid_ssim": 0.3,
        "train_loss": 2,
        "test_ssim_final": 0.5,
        "best_epoch": 1,
    }


def test_pth_of_another_metric_takes_its_own_best_epoch(tmp_path):
    entry = curves([0.1, 0.9, 0.5], valid_ssim=[0.2, 0.3, 0.8])
    import_benchmark(write_pth(tmp_path / "bench.pth", macro=dict.fromkeys(MACRO, entry)), metric="valid_ssim")
    assert set(quality_of("transnas-macro").values()) == {0.8}
    assert set(stored_table("transnas-macro")["test_ssim"]) == {0.5}


def test_pth_skips_what_has_no_number(tmp_path):
    entries = {
        MACRO[0]: curves([0.5]),
        MACRO[1]: curves([0.6]),
        MACRO[2]: curves([]),
        "64-1111-basic": curves([0.1]),
        "64-4411-basic": {"jigsaw": {}},
        "64-3121-basic": curves([0.7]),
        "64-1321-basic": curves([math.nan]),
        "64-3211-basic": curves([0.2]),
        "64-3112-basic": curves([0.2]),
    }
    (part,) = import_benchmark(write_pth(tmp_path / "bench.pth", macro=entries))
    assert len(part.rows) == 5
    assert {reason: len(skipped) for reason, skipped in part.skipped.items()} == {
        "no number for test_ssim": 2,
        "not an architecture of transnas-macro": 1,
        "test_ssim is not finite": 1,
    }


def test_one_value_that_is_no_curve_does_not_lose_the_others(tmp_path):
    entry = curves([0.1, 0.4], time_elapsed=12.5)
    (part,) = import_benchmark(write_pth(tmp_path / "bench.pth", macro=dict.fromkeys(MACRO, entry)))
    assert [row["test_ssim"] for row in part.rows] == [0.4] * 3


def test_an_epoch_without_a_value_is_not_the_best(tmp_path):
    entry = curves([math.nan, 0.3, 0.4])
    (part,) = import_benchmark(write_pth(tmp_path / "bench.pth", macro=dict.fromkeys(MACRO, entry)))
    assert [row["test_ssim"] for row in part.rows] == [0.4] * 3


@pytest.mark.usefixtures("nothing_stored")
def test_a_class_in_a_pth_needs_allow_pickle(tmp_path):
    entry = {**curves([0.5]), "note": Note()}
    with pytest.raises(InputError, match="--allow-pickle") as error:
        import_benchmark(write_pth(tmp_path / "bench.pth", macro=dict.fromkeys(MACRO, entry)))
    one_line(error)


def test_allow_pickle_reads_a_class(tmp_path):
    entry = {**curves([0.5]), "note": Note()}
    import_benchmark(write_pth(tmp_path / "bench.pth", macro=dict.fromkeys(MACRO, entry)), allow_pickle=True)
    assert set(quality_of("transnas-macro").values()) == {0.5}


@pytest.mark.usefixtures("nothing_stored")
def test_a_malicious_pth_is_not_executed(tmp_path):
    path = write_pth(tmp_path / "bench.pth", macro={MACRO[0]: curves([0.5]), "bomb": Bomb(tmp_path / "burnt")})
    with pytest.raises(InputError, match="--allow-pickle"):
        import_benchmark(path)
    assert not (tmp_path / "burnt").exists()
    torch.load(path, weights_only=False)  # it is a real bomb
    assert (tmp_path / "burnt").exists()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0, 0.1, 0.5, 0.95])
@pytest.mark.usefixtures("nothing_stored")
def test_a_truncated_pth_is_named_as_such(tmp_path, kept, legacy):
    path = tmp_path / "bench.pth"
    data = {"data": {"macro": {arch: curves(range(50)) for arch in MACRO}}, "weights": torch.zeros(100)}
    torch.save(data, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError) as error:
        import_benchmark(path)
    line = one_line(error)
    assert str(path) in line
    assert "not a complete torch file" in line
    assert "--allow-pickle" not in line


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>\n<html>", b"\x00\x00", b"arch,ssim\n", b"hello world"])
@pytest.mark.usefixtures("nothing_stored")
def test_a_pth_that_is_none_is_not_to_be_trusted(tmp_path, content):
    path = tmp_path / "bench.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a complete torch file") as error:
        import_benchmark(path)
    assert "--allow-pickle" not in one_line(error)


@pytest.mark.parametrize(
    "content", [{}, [], {"data": {}}, {"data": {"nano": {}}}, {"data": {"macro": [1, 2]}}, torch.zeros(3)]
)
@pytest.mark.usefixtures("nothing_stored")
def test_a_pth_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "bench.pth")
    with pytest.raises(InputError) as error:
        import_benchmark(tmp_path / "bench.pth")
    one_line(error)


@pytest.mark.parametrize(
    ("name", "keys", "archs"),
    [
        (
            "transnas-macro",
            ["(1, 2, 4, 2, 0, 0)", "(3, 1, 4, 2, 1, 0)", "(4, 3, 1, 1, 2, 2)"],
            ["64-1242-basic", "64-31421-basic", "64-431122-basic"],
        ),
        (
            "transnas-micro",
            ["(1, 0, 0, 2, 1, 0)", "(0, 0, 0, 0, 0, 3)", "(1, 2, 3, 1, 2, 3)"],
            ["64-41414-1_00_210", "64-41414-0_00_003", "64-41414-1_23_123"],
        ),
    ],
)
def test_json_digits_are_read_in_their_space(tmp_path, name, keys, archs):
    qualities = [0.5, 0.25, 0.75]
    path = write_json(tmp_path / "zc.json", dict(zip(keys, qualities, strict=True)))
    (part,) = import_benchmark(path)
    assert (part.name, part.metric, part.skipped) == (name, "val_accuracy", {})
    assert quality_of(name) == dict(zip(archs, qualities, strict=True))
    table = stored_table(name)
    assert (table["nwot_score"] == 2 * table["val_accuracy"]).all()
    assert (table["nwot_seconds"] == 3).all()


@pytest.mark.parametrize(
    "keys",
    [
        ["(1, 5, 4, 2, 0, 0)", "(9, 1, 4, 2, 1, 0)"],
        ["(-1, 2, 4, 2, 0, 0)", "(1, 2, 4)"],
        ["(1.0, 2, 4, 2, 0, 0)", "'text'"],
        ["(10, 2, 4, 2, 0, 0)", "(2, 3)"],
    ],
)
@pytest.mark.usefixtures("nothing_stored")
def test_json_of_another_space_is_refused(tmp_path, keys):
    with pytest.raises(InputError, match="another space") as error:
        import_benchmark(write_json(tmp_path / "zc.json", dict.fromkeys(keys, 0.5)))
    one_line(error)


@pytest.mark.usefixtures("nothing_stored")
def test_json_of_macro_is_not_micro(tmp_path):
    keys = ["(1, 2, 4, 2, 0, 0)", "(3, 1, 4, 2, 1, 0)", "(4, 3, 1, 1, 2, 2)"]
    with pytest.raises(InputError, match=r"3 of 3.*another space"):
        import_benchmark(write_json(tmp_path / "zc.json", dict.fromkeys(keys, 0.5)), space="transnas-micro")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        '{"autoencoder": {"no tuple": {}}}',
        '{"autoencoder": 3}',
        '{"autoencoder": ["(1, 2)"]}',
        "\xff",
    ],
)
@pytest.mark.usefixtures("nothing_stored")
def test_json_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "zc.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"zc\.json") as error:
        import_benchmark(tmp_path / "zc.json")
    one_line(error)


def test_json_says_which_tasks_it_has(tmp_path):
    path = write_json(tmp_path / "zc.json", {"(1, 2, 4, 2, 0, 0)": 0.5})
    with pytest.raises(InputError, match=r"no task 'normal': it has autoencoder, jigsaw"):
        import_benchmark(path, task="normal")


def test_json_of_another_task(tmp_path):
    path = write_json(tmp_path / "zc.json", {"(1, 2, 4, 2, 0, 0)": 0.5}, task="normal")
    import_benchmark(path, task="normal")
    assert quality_of("transnas-macro") == {"64-1242-basic": 0.5}


def test_json_metric_is_the_one_asked_for(tmp_path):
    path = write_json(tmp_path / "zc.json", {"(1, 2, 4, 2, 0, 0)": 0.5})
    (part,) = import_benchmark(path, metric="nwot_score")
    assert part.metric == "nwot_score"
    assert quality_of("transnas-macro") == {"64-1242-basic": 1.0}


@pytest.mark.parametrize(
    "value", ["9" * 5000, "1" + "0" * 400, "[" * 900 + "]" * 900, '"0.5"', "true", "null", "[0.5]", "{}", "1e999"]
)
@pytest.mark.usefixtures("nothing_stored")
def test_json_whose_quality_is_no_number_is_refused(tmp_path, value):
    (tmp_path / "zc.json").write_text(f'{{"autoencoder": {{"(1, 2, 4, 2, 0, 0)": {{"val_accuracy": {value}}}}}}}')
    with pytest.raises(InputError, match=r"zc\.json") as error:
        import_benchmark(tmp_path / "zc.json")
    one_line(error)


@pytest.mark.parametrize(
    "content", ["[" * 1_000_000, '{"a":' * 100_000, '{"autoencoder": {"' + "(" * 100_000 + '": {}}}']
)
@pytest.mark.usefixtures("nothing_stored")
def test_json_that_is_nested_too_deeply_is_refused(tmp_path, content):
    (tmp_path / "zc.json").write_text(content)
    with pytest.raises(InputError, match=r"zc\.json") as error:
        import_benchmark(tmp_path / "zc.json")
    assert len(one_line(error)) < 500


@pytest.mark.parametrize("score", [None, "x", 10**400, [1]])
def test_a_published_score_that_is_no_number_does_not_lose_the_architecture(tmp_path, score):
    entry = {"val_accuracy": 0.5, "nwot": {"score": score}, "snip": {"score": 1, "time": 2}}
    (tmp_path / "zc.json").write_text(json.dumps({"autoencoder": {"(1, 2, 4, 2, 0, 0)": entry}}))
    import_benchmark(tmp_path / "zc.json")
    row = stored_table("transnas-macro").loc["64-1242-basic"]
    assert math.isnan(row["nwot_score"])
    assert (row["snip_score"], row["snip_seconds"]) == (1, 2)


def test_json_key_of_two_digits_is_not_six_digits(tmp_path):
    keys = ["(1, 2, 4, 2, 0, 0)", "(3, 1, 4, 2, 1, 0)", "(10, 2, 4, 2, 0, 0)"]
    (part,) = import_benchmark(write_json(tmp_path / "zc.json", dict.fromkeys(keys, 0.5)))
    assert part.skipped == {"not an architecture of transnas-macro": ["(10, 2, 4, 2, 0, 0)"]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_in_another_encoding_is_read(tmp_path, encoding):
    path = write_json(tmp_path / "zc.json", {"(1, 2, 4, 2, 0, 0)": 0.5})
    path.write_text(path.read_text(), encoding=encoding)
    import_benchmark(path)
    assert quality_of("transnas-macro") == {"64-1242-basic": 0.5}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("key", [5, 10**18, (1, 2), None, 0.5])
def test_a_key_of_a_pth_that_is_no_text_is_skipped(tmp_path, key, legacy):
    data = {"data": {"macro": {key: curves([0.1]), **{arch: curves([0.5]) for arch in MACRO}}}}
    torch.save(data, tmp_path / "bench.pth", _use_new_zipfile_serialization=not legacy)
    (part,) = import_benchmark(tmp_path / "bench.pth")
    assert part.skipped == {"not an architecture of transnas-macro": [type(key).__name__]}


@pytest.mark.parametrize(
    "entry",
    [
        5,
        None,
        [],
        torch.zeros(3),
        {"autoencoder": torch.zeros(3)},
        {"autoencoder": {"metrics": [1]}},
        curves([10**400]),
        curves([[1]]),
        curves(["0.5"]),
        curves([True]),
    ],
)
@pytest.mark.usefixtures("nothing_stored")
def test_a_pth_of_another_structure_is_refused(tmp_path, entry):
    with pytest.raises(InputError, match="no number for test_ssim") as error:
        import_benchmark(write_pth(tmp_path / "bench.pth", macro=dict.fromkeys(MACRO, entry)))
    one_line(error)


def test_curves_of_other_names_and_contents_are_left_out(tmp_path):
    entry = curves([0.1, 0.5], loss=["x", None], seed=[1, 2], arch=[1, 2])
    entry["autoencoder"]["metrics"][5] = [1, 2]
    import_benchmark(write_pth(tmp_path / "bench.pth", macro=dict.fromkeys(MACRO, entry)))
    table = stored_table("transnas-macro")
    assert set(table) == {"test_ssim", "loss", "test_ssim_final", "best_epoch"}
    assert table["loss"].isna().all()


PICKLES = {
    "a long integer": b"\x80\x02\x8b\xff\xff\xff\x7f",
    "a long text": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f",
    "many digits": b"I" + b"1" * 5000 + b"\n.",
    "an absent memo": b"\x80\x02j\xff\xff\xff\xff.",
    "a memo far off": b"\x80\x02]r\xff\xff\xff\xff.",
    "deep lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", PICKLES)
@pytest.mark.usefixtures("nothing_stored")
def test_a_hostile_pickle_is_one_line(tmp_path, name, zipped):
    path = tmp_path / "bench.pth"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", PICKLES[name])
            archive.writestr("archive/version", "3\n")
    else:
        path.write_bytes(PICKLES[name])
    with pytest.raises(InputError, match=r"bench\.pth") as error:
        import_benchmark(path)
    one_line(error)


@pytest.mark.usefixtures("nothing_stored")
def test_a_pth_that_would_fill_the_memory_is_refused(tmp_path):
    path = tmp_path / "bench.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data.pkl", "w") as file:
        file.write(bytes(LARGEST + 1))
    assert path.stat().st_size < 2_000_000
    with pytest.raises(InputError, match="in memory: expected at most"):
        import_benchmark(path)


def test_csv_with_one_number_needs_no_metric(tmp_path):
    import_benchmark(write_csv(tmp_path / "t.csv", ssim=[0.5, 0.25, 0.75], author=["a", "b", "c"]))
    assert quality_of("transnas-macro") == dict(zip(MACRO, [0.5, 0.25, 0.75], strict=True))
    assert set(stored_table("transnas-macro")["author"]) == {"a", "b", "c"}


PLAIN = "arch,ssim\n64-1234-basic,0.5\n64-4111-basic,0.25\n64-124321-basic,0.75\n"
WRITTEN = {
    "blanks": PLAIN.replace(",", " , "),
    "byte order mark": "\ufeff" + PLAIN,
    "semicolons": PLAIN.replace(",", ";"),
    "decimal commas": PLAIN.replace(",", ";").replace("0.", "0,"),
    "quoted decimal commas": re.sub(r"0\.\d+", lambda found: f'"{found[0]}"'.replace(".", ","), PLAIN),
    "tabs": PLAIN.replace(",", "\t"),
    "CRLF": PLAIN.replace("\n", "\r\n"),
    "CR": PLAIN.replace("\n", "\r"),
    "quotes": re.sub(r"[^,\n]+", r'"\g<0>"', PLAIN),
    "quotes and blanks": re.sub(r"[^,\n]+", r' "\g<0>" ', PLAIN).replace('" ,', '",').replace('" \n', '"\n'),
    "blank lines": "\n" + PLAIN.replace("\n", "\n\n") + "\n \n,\n",
    "no last line feed": PLAIN.rstrip(),
    "index": "".join(f"{i if i else ''},{line}\n" for i, line in enumerate(PLAIN.split())),
    "index of pandas": "".join(f"{i if i else 'Unnamed: 0'},{line}\n" for i, line in enumerate(PLAIN.split())),
    "index of R": "".join(f"{i},{line}\n" if i else f"{line}\n" for i, line in enumerate(PLAIN.split())),
    "index after a tab": "".join(f"{i or ''}\t{line}\n".replace(",", "\t") for i, line in enumerate(PLAIN.split())),
    "separators at the end": PLAIN.replace("\n", ",,\n"),
    "capital names": PLAIN.replace("arch", "Arch").replace("ssim", "SSIM"),
    "another capital": PLAIN.replace("arch", "ARCH"),
}


@pytest.mark.parametrize("metric", [None, "ssim"])
@pytest.mark.parametrize("name", WRITTEN)
def test_csv_is_read_however_it_is_written(tmp_path, name, metric):
    (tmp_path / "t.csv").write_bytes(WRITTEN[name].encode())
    (part,) = import_benchmark(tmp_path / "t.csv", metric=metric)
    assert quality_of("transnas-macro") == dict(zip(MACRO, [0.5, 0.25, 0.75], strict=True))
    assert part.metric.lower() == "ssim"
    assert part.skipped == {}


def test_csv_in_utf_16_is_read(tmp_path):
    (tmp_path / "t.csv").write_text(PLAIN.replace(",", "\t"), encoding="utf-16")
    import_benchmark(tmp_path / "t.csv")
    assert quality_of("transnas-macro")[MACRO[0]] == 0.5


def test_csv_of_quoted_lists_is_read(tmp_path):
    space = get_space("eagan-generator")
    archs = list(map(str, space.sample_distinct(3, np.random.default_rng(0))))
    import_benchmark(write_csv(tmp_path / "t.csv", archs, fid=[1.0, 2.0, 3.0]), space="eagan-generator")
    assert quality_of("eagan-generator") == dict(zip(archs, [1, 2, 3], strict=True))


def seeds_of(count, several, seeds=3):
    """A table of ``count`` architectures with one seed, ``several`` of them with more."""
    rng = np.random.default_rng(0)
    archs = [str(arch) for arch in get_space("transnas-macro").sample_distinct(count, rng)]
    work = [(arch, seed) for seed in range(seeds) for arch in (archs if seed == 0 else archs[:several])]
    return pd.DataFrame([{"arch": arch, "ssim": rng.normal(), "seed": seed} for arch, seed in work])


@pytest.mark.parametrize("name", ["seed", "Seed", " SEED"])
def test_csv_of_several_seeds_is_their_mean_with_a_noise_ceiling(tmp_path, name):
    table = seeds_of(60, 10)
    table.sample(frac=1, random_state=0).rename(columns={"seed": name}).to_csv(tmp_path / "t.csv", index=False)
    (part,) = import_benchmark(tmp_path / "t.csv")
    assert part.architectures == 60
    assert part.describe() == "transnas-macro: 60 architectures in 80 trainings, quality ssim"
    means = {arch: math.fsum(rows["ssim"]) / len(rows) for arch, rows in table.groupby("arch")}
    assert quality_of("transnas-macro") == pytest.approx(means)
    wide = table.pivot(index="arch", columns="seed", values="ssim").dropna()
    taus = [stats.kendalltau(wide[a], wide[b]).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
    assert load_benchmark("transnas-macro").noise_ceiling() == (pytest.approx(np.mean(taus)), 10)


def test_a_csv_of_one_seed_has_no_noise_ceiling(tmp_path):
    import_benchmark(write_csv(tmp_path / "t.csv", ssim=[1, 2, 3], seed=7))
    assert load_benchmark("transnas-macro").noise_ceiling() is None


@pytest.mark.parametrize("seed", ["", "x", "1.5", "9" * 30, "inf"])
def test_a_training_without_a_seed_among_others_is_skipped(tmp_path, seed):
    rows = [f"{arch},0.5,{i}" for arch in MACRO for i in range(2)]
    (tmp_path / "t.csv").write_text("arch,ssim,seed\n" + "\n".join([*rows, f"64-4321-basic,0.5,{seed}"]))
    (part,) = import_benchmark(tmp_path / "t.csv")
    assert part.skipped == {"no whole number for seed": ["64-4321-basic"]}
    assert stored_table("transnas-macro")["seed"].tolist() == [0, 1] * 3


@pytest.mark.parametrize(("second", "reason"), [("0.5", "occurs twice"), ("0.6", "occurs again with another ssim")])
def test_two_trainings_of_one_seed_are_told(tmp_path, second, reason):
    rows = [f"{arch},0.5,{i}" for arch in MACRO for i in range(2)]
    (tmp_path / "t.csv").write_text("arch,ssim,seed\n" + "\n".join([*rows, f"{MACRO[0]},{second},1"]))
    (part,) = import_benchmark(tmp_path / "t.csv")
    assert part.skipped == {reason: [MACRO[0]]}


@pytest.mark.usefixtures("nothing_stored")
def test_many_trainings_without_seeds_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(InputError, match="a column 'seed' tells trainings apart"):
        import_benchmark(write_csv(tmp_path / "t.csv", MACRO * 3, ssim=range(9)))


def test_words_among_numbers_are_skipped(tmp_path):
    content = PLAIN.replace("0.75", "failed") + "64-4321-basic,NA\n64-4312-basic,1\n64-4132-basic,-\n64-4123-basic,2\n"
    (tmp_path / "t.csv").write_text(content)
    (part,) = import_benchmark(tmp_path / "t.csv", metric="ssim")
    assert part.skipped == {
        "no number for ssim": ["64-124321-basic"],
        "ssim is not finite": ["64-4321-basic", "64-4132-basic"],
    }
    assert [row["ssim"] for row in part.rows] == [0.5, 0.25, 1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n,,\n", "is empty"),
        (b"arch,ssim\n", "has no architectures"),
        ("arch,ssim,größe\n".encode("latin-1"), "not text in UTF-8"),
        (PLAIN.encode().replace(b"0.5", b"0.5,1,2"), r"line 2 has 4 entries: its header has 2"),
        (PLAIN.encode().replace(b"64-1", b'"64-1'), "not a readable CSV"),
        (b"arch,ssim,ssim\n", "columns of one name: ssim"),
        (b"Arch,ARCH,ssim\n64-1234-basic,x,1\n", "no column 'arch': it has Arch, ARCH, ssim"),
        (b"arch seed\n", "no column 'arch': it has arch seed"),
        (b"x" * 5_000_000, "not a readable CSV"),
        (b"arch,ssim\n" + b"x" * 5_000_000, "not a readable CSV"),
        (b"arch" + b",x" * 2_500_000, "2500001 columns"),
        (b"arch,ssim\n" + b"64-1234-basic," * 300_000, "entries"),
    ],
    ids=range(13),
)
@pytest.mark.usefixtures("nothing_stored")
def test_a_csv_that_is_no_table_is_refused(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        import_benchmark(tmp_path / "t.csv")
    assert len(one_line(error)) < 500


@pytest.mark.parametrize("metric", ["arch", "seed", "x" * 100_000, ""])
@pytest.mark.usefixtures("nothing_stored")
def test_a_metric_that_is_no_quality_is_refused(tmp_path, metric):
    with pytest.raises(InputError, match=r"no metric column .*: it has ssim$") as error:
        import_benchmark(write_csv(tmp_path / "t.csv", ssim=[1, 2, 3], seed=[0, 0, 0]), metric=metric)
    assert len(one_line(error)) < 500


def test_csv_of_both_spaces_becomes_two_benchmarks(tmp_path):
    parts = import_benchmark(write_csv(tmp_path / "t.csv", [*MICRO, *MACRO], ssim=[5, 4, 3, 2, 1]), name="mine")
    assert [(p.name, len(p.rows)) for p in parts] == [("mine-macro", 3), ("mine-micro", 2)]
    assert quality_of("mine-macro") == dict(zip(MACRO, [3, 2, 1], strict=True))
    assert quality_of("mine-micro") == dict(zip(MICRO, [5, 4], strict=True))
    assert list_benchmarks() == ["mine-macro", "mine-micro"]


@pytest.mark.parametrize(("space", "archs"), [("transnas-macro", MACRO), ("transnas-micro", MICRO)])
def test_one_space_of_a_csv_of_both(tmp_path, space, archs):
    path = write_csv(tmp_path / "t.csv", [*MICRO, *MACRO, "64-5-basic"], ssim=[5, 4, 3, 2, 1, 0])
    (part,) = import_benchmark(path, space=space)
    assert [row["arch"] for row in part.rows] == archs
    (other,) = {"transnas-macro", "transnas-micro"} - {space}
    assert part.skipped.pop(f"not an architecture of {space}") == ["64-5-basic"]
    assert list(map(len, part.skipped.values())) == [5 - len(archs)]
    assert list(part.skipped) == [f"of space {other}"]
    assert list_benchmarks() == [space]


def test_a_distance_is_better_when_lower(tmp_path):
    import_benchmark(write_csv(tmp_path / "t.csv", fid=[30.0, 10.0, 20.0]), higher_is_better=False)
    bench = load_benchmark("transnas-macro")
    assert not bench.higher_is_better
    assert bench.goodness.argmax() == 1


@pytest.mark.usefixtures("nothing_stored")
def test_a_name_that_is_no_file_name_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'\.\./mine'"):
        import_benchmark(write_csv(tmp_path / "t.csv", ssim=[1, 2, 3]), name="../mine")


def test_a_name_is_kept_when_there_is_one_space(tmp_path):
    import_benchmark(write_csv(tmp_path / "t.csv", ssim=[1, 2, 3]), name="mine")
    assert list_benchmarks() == ["mine"]
    assert load_benchmark("mine").space.name == "transnas-macro"


def test_csv_of_a_mixed_space_is_one_benchmark(tmp_path):
    (part,) = import_benchmark(write_csv(tmp_path / "t.csv", [*MICRO, *MACRO], ssim=[5, 4, 3, 2, 1]), space="transnas")
    assert len(part.rows) == 5
    assert load_benchmark("transnas/micro").quality.tolist() == [5, 4]


@pytest.mark.parametrize(
    ("columns", "metric", "message"),
    [
        ({"ssim": [1, 2, 3], "l1": [1, 2, 3]}, None, r"--metric; it has ssim, l1"),
        ({"author": list("abc")}, None, r"--metric; it has none"),
        ({"ssim": [1, 2, 3]}, "fid", r"no metric column 'fid': it has ssim"),
        ({"author": list("abc")}, "author", r"no number for author"),
        ({"ssim": [math.nan, math.nan, 1.0]}, None, r"ssim is not finite"),
    ],
)
@pytest.mark.usefixtures("nothing_stored")
def test_csv_without_quality_is_refused(tmp_path, columns, metric, message):
    with pytest.raises(InputError, match=message) as error:
        import_benchmark(write_csv(tmp_path / "t.csv", **columns), metric=metric)
    one_line(error)


@pytest.mark.parametrize("content", ["", "model,ssim\n64-1234-basic,1\n", "\x00\x01", '"arch\n'])
@pytest.mark.usefixtures("nothing_stored")
def test_csv_without_architectures_is_refused(tmp_path, content):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError, match=r"t\.csv") as error:
        import_benchmark(tmp_path / "t.csv")
    one_line(error)


def test_csv_reports_what_it_skips(tmp_path):
    archs = [*MACRO, "64-9-basic", "", MACRO[0], "64-4411-basic", "64-3121-basic", "64-1321-basic"]
    (part,) = import_benchmark(write_csv(tmp_path / "t.csv", archs, ssim=[1, 2, 3, 4, 5, 6, math.nan, 8, 9]))
    assert [row["arch"] for row in part.rows] == [*MACRO, "64-3121-basic", "64-1321-basic"]
    assert {reason: len(skipped) for reason, skipped in part.skipped.items()} == {
        "not an architecture of transnas-macro": 2,
        "occurs again with another ssim; a column 'seed' tells trainings apart": 1,
        "ssim is not finite": 1,
    }
    assert part.total == 9
    text = part.describe()
    assert "skipped 2 (not an architecture of transnas-macro): 64-9-basic" in text
    assert "skipped 1 (occurs again with another ssim; a column 'seed' tells trainings apart): 64-1234-basic" in text
    assert quality_of("transnas-macro")[MACRO[0]] == 1  # the first of two
    assert load_benchmark("transnas-macro").provenance["skipped"] == {r: len(e) for r, e in part.skipped.items()}


def test_a_long_list_of_skipped_is_cut(tmp_path):
    archs = [*MACRO, "64-4411-basic", "64-3121-basic", *(f"bad{i}" for i in range(4))]
    (part,) = import_benchmark(write_csv(tmp_path / "t.csv", archs, ssim=range(9)))
    assert part.describe().endswith("bad0, bad1, bad2, …")


@pytest.mark.parametrize("good", [0, 1, 2])
@pytest.mark.usefixtures("nothing_stored")
def test_a_file_that_is_mostly_something_else_is_refused(tmp_path, good):
    archs = [*MACRO[:good], *(f"bad{i}" for i in range(2))]
    with pytest.raises(InputError, match=rf"2 of {good + 2}.*another space"):
        import_benchmark(write_csv(tmp_path / "t.csv", archs, ssim=range(len(archs))))


@pytest.mark.usefixtures("nothing_stored")
def test_csv_of_another_space_than_said_is_refused(tmp_path):
    with pytest.raises(InputError, match="another space"):
        import_benchmark(write_csv(tmp_path / "t.csv", ssim=[1, 2, 3]), space="transnas-micro")


@pytest.mark.parametrize("ending", ["csv", "json", "pth"])
@pytest.mark.usefixtures("nothing_stored")
def test_an_unknown_space_suggests_a_near_one(tmp_path, ending):
    path = tmp_path / f"file.{ending}"
    {
        "csv": lambda: write_csv(path, ssim=[1, 2, 3]),
        "json": lambda: write_json(path, {"(1, 2, 4, 2, 0, 0)": 0.5}),
        "pth": lambda: write_pth(path, macro=dict.fromkeys(MACRO, curves([0.5]))),
    }[ending]()
    with pytest.raises(InputError, match=r"unknown space 'transnas-makro': did you mean 'transnas-macro'"):
        import_benchmark(path, space="transnas-makro")


@pytest.mark.parametrize("name", ["missing.csv", "folder.csv", "table.xlsx", "table"])
@pytest.mark.usefixtures("nothing_stored")
def test_a_file_of_no_known_kind_is_refused(tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "table.xlsx").touch()
    (tmp_path / "table").touch()
    with pytest.raises(InputError, match=name) as error:
        import_benchmark(tmp_path / name)
    one_line(error)


def test_endings_may_be_capital(tmp_path):
    assert len(import_benchmark(write_csv(tmp_path / "T.CSV", ssim=[1, 2, 3]))) == 1


def test_importing_again_replaces(tmp_path):
    import_benchmark(write_csv(tmp_path / "a.csv", ssim=[1, 2, 3]))
    import_benchmark(write_csv(tmp_path / "b.csv", MACRO[:2], ssim=[8, 9]))
    assert quality_of("transnas-macro") == {MACRO[0]: 8, MACRO[1]: 9}
    assert load_benchmark("transnas-macro").provenance["imported_from"] == "b.csv"


def test_what_was_built_is_replaced_only_when_asked(tmp_path):
    table = pd.DataFrame({"arch": MACRO[:2], "ssim": [1.0, 2.0]})
    save_benchmark("mine", table, space="transnas-macro", space_settings={}, metric="ssim", provenance={"commit": "a"})
    file = write_csv(tmp_path / "a.csv", ssim=[1, 2, 3])
    with pytest.raises(InputError, match="'mine' was built, not imported: expected another --name, or --replace"):
        import_benchmark(file, name="mine")
    assert len(load_benchmark("mine")) == 2
    import_benchmark(file, name="mine", replace=True)
    import_benchmark(file, name="mine")
    assert len(load_benchmark("mine")) == 3


def test_nothing_is_stored_where_a_part_has_a_name_that_is_taken(tmp_path, monkeypatch):
    table = pd.DataFrame({"arch": MACRO[:2], "ssim": [1.0, 2.0]})
    about = {"space": "transnas-macro", "space_settings": {}, "metric": "ssim", "provenance": {"commit": "a"}}
    save_benchmark("t-micro", table, **about)
    texts = {"arch": [*MACRO, "64-41414-0_00_000", "64-41414-1_00_000"]}
    file = tmp_path / "both.csv"
    pd.DataFrame({**texts, "ssim": range(len(texts["arch"]))}).to_csv(file, index=False)
    with pytest.raises(InputError, match="'t-micro' was built"):
        import_benchmark(file, name="t")
    assert list_benchmarks() == ["t-micro"]


def test_options_of_other_files_are_refused(tmp_path):
    file = write_csv(tmp_path / "a.csv", ssim=[1, 2, 3])
    with pytest.raises(InputError, match="--task 'jigsaw' of a CSV"):
        import_benchmark(file, task="jigsaw")
    with pytest.raises(InputError, match=r"--allow-pickle for 'a\.csv'"):
        import_benchmark(file, allow_pickle=True)


def test_a_metric_that_a_json_lacks_is_said_with_those_that_it_has(tmp_path):
    entry = {"val_accuracy": 0.1, "snip": {"score": 2.0, "time": 1.0}}
    (tmp_path / "z.json").write_text(json.dumps({"autoencoder": {MACRO[0]: entry}}))
    with pytest.raises(InputError, match=r"no metric 'ssim': it has snip_score.* val_accuracy"):
        import_benchmark(tmp_path / "z.json", metric="ssim")


def test_an_architecture_that_is_there_twice_is_said(tmp_path):
    file = tmp_path / "z.json"
    entries = [f'"{MACRO[0]}": {{"val_accuracy": {value}}}' for value in (0.1, 0.9)]
    entries.append(f'"{MACRO[1]}": {{"val_accuracy": 0.5}}')
    file.write_text('{"autoencoder": {' + ", ".join(entries) + "}}")
    (part,) = import_benchmark(file, space="transnas-macro")
    assert part.architectures == 2
    assert any("occurs again" in reason for reason in part.skipped)


def test_the_published_table_is_read_whole(shared_data):
    path = shared_data / "transnas101_ssim.csv"
    parts = import_benchmark(path, metric="autoencoder_valid_ssim")
    assert [(part.name, len(part.rows), part.skipped) for part in parts] == [
        ("transnas-macro", 1884, {}),
        ("transnas-micro", 2327, {}),
    ]
    table = pd.read_csv(path)
    for space in ("macro", "micro"):
        own = table[table["space"] == space]
        assert quality_of(f"transnas-{space}") == dict(zip(own["arch"], own["autoencoder_valid_ssim"], strict=True))


@pytest.mark.parametrize(("space", "count"), [("macro", 407), ("micro", 432)])
def test_the_published_json_is_read_whole(shared_data, space, count):
    path = shared_data / f"zc_transbench101_{space}.json"
    (part,) = import_benchmark(path)
    assert (part.name, len(part.rows), part.skipped) == (f"transnas-{space}", count, {})
    values = json.loads(path.read_text())["autoencoder"].values()
    assert load_benchmark(part.name).quality.tolist() == [entry["val_accuracy"] for entry in values]


@pytest.mark.parametrize(("file", "space"), [("macro", "transnas-micro"), ("micro", "transnas-macro")])
@pytest.mark.usefixtures("nothing_stored")
def test_the_published_json_is_not_of_the_other_space(shared_data, file, space):
    with pytest.raises(InputError, match="another space"):
        import_benchmark(shared_data / f"zc_transbench101_{file}.json", space=space)


def test_both_published_files_agree(shared_data):
    """One writes digits, the other strings; their trainings differ by a seed."""
    import_benchmark(shared_data / "transnas101_ssim.csv", metric="autoencoder_valid_ssim", name="csv")
    for space in ("macro", "micro"):
        import_benchmark(shared_data / f"zc_transbench101_{space}.json")
        strings, digits = quality_of(f"csv-{space}"), quality_of(f"transnas-{space}")
        both = sorted(strings.keys() & digits.keys())
        assert len(both) > 400
        assert stats.spearmanr([strings[arch] for arch in both], [digits[arch] for arch in both]).statistic > 0.9


def test_counting_downsamplings_ranks_the_macro_space_as_published(shared_data):
    """0.795 and 0.677 on all 3,256 architectures, of which the table has 1,884."""
    import_benchmark(shared_data / "transnas101_ssim.csv", metric="autoencoder_valid_ssim")
    bench = load_benchmark("transnas-macro")
    halvings = [sum(digit in "34" for digit in str(arch).split("-")[1]) for arch in bench.archs]
    assert [bench.space.traits(arch)["num_downsamples"] for arch in bench.archs] == halvings
    scores = -np.array(halvings, dtype=float)
    (tau_b,) = kendall_many(bench.quality, scores)
    assert tau_b == pytest.approx(0.795, abs=0.003)
    assert tau_b == pytest.approx(stats.kendalltau(bench.quality, scores).statistic, abs=1e-9)
    some = np.random.default_rng(0).permutation(len(bench))[:400]
    result = correlate(bench.quality[some], scores[some])
    assert result.kendall_b.low < 0.795 < result.kendall_b.high
    assert result.kendall_a.low < 0.677 < result.kendall_a.high


def test_tau_a_of_the_whole_table_is_as_published(shared_data, monkeypatch):
    import_benchmark(shared_data / "transnas101_ssim.csv", metric="autoencoder_valid_ssim")
    bench = load_benchmark("transnas-macro")
    scores = [-bench.space.traits(arch)["num_downsamples"] for arch in bench.archs]
    monkeypatch.setattr(correlation, "RESAMPLES", 2)
    assert correlate(bench.quality, scores).kendall_a.value == pytest.approx(0.677, abs=0.002)


def test_pth_of_a_loss_takes_the_epoch_in_which_it_was_least(tmp_path):
    entry = curves([0.9, 0.1, 0.3], metric="test_loss", valid_ssim=[1, 2, 3])
    path = write_pth(tmp_path / "bench.pth", macro=dict.fromkeys(MACRO, entry))
    import_benchmark(path, metric="test_loss", higher_is_better=False)
    row = stored_table("transnas-macro").loc[MACRO[0]]
    assert (row["test_loss"], row["valid_ssim"], row["best_epoch"]) == (0.1, 2, 1)
