import contextlib

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from autogas import InputError, get_space, score, search
from autogas.files import read_json
from autogas.seeding import numpy_generator
from autogas.workflows.searching import candidates as candidates_module
from autogas.workflows.searching.candidates import measure_latency
from autogas.workflows.searching.settings import SearchSettings, spaces_of

EAGAN = {
    "space_settings": {"width": 8},
    "scored_at": {"width": 4},
    "population": 4,
    "iterations": 4,
    "sample": 6,
    "agreement": 3,
    "batch_size": 4,
}
SMALL_EAGAN = get_space("eagan-generator", width=8)
RESNET = {**EAGAN, "space_settings": {"image_size": 16}, "scored_at": {"image_size": 8}, "batch_size": 2}


def run(out, space="eagan-generator", **changes):
    base = RESNET if space == "resnet-translation" else EAGAN
    return search(space, out=str(out), **{**base, **changes})


def read(path):
    return (path / "results.json").read_bytes(), (path / "candidates.parquet").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("search") / "run")


def test_the_winner_is_the_best_candidate_with_its_own_score_and_costs(undisturbed):
    results, table = undisturbed.results, undisturbed.read_table("candidates")
    assert results["evaluated"] == len(table) == 16 == table["arch"].nunique()
    best = table.loc[table["score"].idxmax()]
    winner = results["winner"]
    assert (winner["arch"], winner["score"]) == (best["arch"], best["score"])
    small = get_space("eagan-generator", width=4)
    arch = small.parse(winner["arch"])
    assert winner["score"] == score(small.build(arch), small.inputs(batch_size=4), small.search_proxy)
    assert winner["params"] == sum(p.numel() for p in SMALL_EAGAN.build(arch).parameters())
    assert [row["score"] for row in results["best"]] == sorted(table["score"], reverse=True)[:10]
    assert results["front"] is None


def test_the_sample_says_what_size_explains_and_whether_the_small_size_agrees(undisturbed):
    sample = undisturbed.results["sample"]
    assert sample["count"] == 6
    drawn = [key for key in undisturbed.record if key.startswith("at full size")]
    assert len(drawn) == sample["agreement"]["count"] == 3
    small = [undisturbed.record[key.removeprefix("at full size: ")]["score"] for key in drawn]
    full = [undisturbed.record[key]["score"] for key in drawn]
    assert sample["agreement"]["spearman"]["value"] == pytest.approx(spearmanr(small, full).statistic)
    texts = [key.removeprefix("at full size: ") for key in drawn]
    for text, found in zip(texts, full, strict=True):
        arch = SMALL_EAGAN.parse(text)
        assert found == score(SMALL_EAGAN.build(arch), SMALL_EAGAN.inputs(batch_size=4), SMALL_EAGAN.search_proxy)


def test_correlation_with_size_is_that_of_scipy(tmp_path):
    one = run(tmp_path / "run", iterations=1, sample=12, agreement=0)
    asked = set(one.read_table("candidates")["arch"])
    drawn = {arch: one.record[arch]["score"] for arch in one.record if arch.startswith("[") and arch not in asked}
    assert len(drawn) == 12  # so few of so many do not meet
    macs = [SMALL_EAGAN.cost(SMALL_EAGAN.parse(arch)).macs for arch in drawn]
    expected = spearmanr(macs, list(drawn.values())).statistic
    sample = one.results["sample"]
    assert sample["spearman"]["macs"]["value"] == pytest.approx(expected)
    assert sample["best"] == max(drawn.values())
    assert sample["median"] == pytest.approx(np.median(list(drawn.values())))


def test_a_network_without_a_score_is_left_out_of_comparisons(tmp_path, monkeypatch):
    original, calls = candidates_module.score_candidate, []

    def sometimes(text, space, scoring_json):
        calls.append(text)
        found = original(text, space, scoring_json)
        return {**found, "score": None, "reason": "broken"} if len(calls) % 4 == 2 else found

    monkeypatch.setattr(candidates_module, "score_candidate", sometimes)
    found = run(tmp_path / "run", sample=8, agreement=8).results
    assert found["failed"] == 4
    assert found["sample"]["failed"] == 2
    assert found["sample"]["agreement"]["spearman"]["value"] is not None
    assert all(row["score"] is not None for row in found["controls"])


def test_processes_change_nothing(undisturbed, tmp_path):
    assert read(run(tmp_path / "run", jobs=2).path) == read(undisturbed.path)


def test_a_killed_run_is_continued(undisturbed, killed, tmp_path, monkeypatch):
    code = f"""
import time
from autogas.workflows.searching import candidates as module
from autogas import search
score = module.score_candidate
module.score_candidate = lambda *args, **options: (time.sleep(0.2), score(*args, **options))[1]
search("eagan-generator", out={str(tmp_path / "run")!r}, **{EAGAN!r})
"""
    done = killed(code, rows=6)
    assert 6 <= done < 16
    scored = []
    original = candidates_module.score_candidate
    monkeypatch.setattr(
        candidates_module, "score_candidate", lambda text, **o: (scored.append(text), original(text, **o))[1]
    )
    again = search(resume=str(tmp_path / "run"))
    assert read(again.path) == read(undisturbed.path)
    everything = sum(not key.startswith("latency") for key in undisturbed.record)
    assert len(scored) <= everything - done


@pytest.mark.parametrize(("limit", "value"), [("max_macs", 1e7), ("max_params", 3.5e5)])
@pytest.mark.parametrize("objectives", [["score"], ["score", "macs"]])
def test_every_candidate_is_inside_the_budget(tmp_path, limit, value, objectives):
    changes = {limit: value, "objectives": objectives}
    found = run(tmp_path / "run", "resnet-translation", **changes)
    table = found.read_table("candidates")
    assert len(table) == 16
    assert (table[limit.removeprefix("max_")] <= value).all()
    largest = next(row for row in found.results["controls"] if row["name"] == "largest inside the budget")
    size = limit.removeprefix("max_")
    keys = [key for key in found.record if key.count("_") == 7 and ":" not in key and "latency" not in key]
    assert len(keys) > 16  # the sample and the controls too
    space = get_space("resnet-translation", image_size=16)
    assert all(getattr(space.cost(space.parse(key)), limit.removeprefix("max_")) <= value for key in keys)
    costs = [space.cost(arch) for arch in space.enumerate()]
    kept = [getattr(cost, size) for cost in costs if getattr(cost, size) <= value]
    assert 0 < len(kept) < len(costs)
    assert largest[size] == max(kept)


def test_the_front_is_that_of_brute_force(tmp_path):
    found = run(tmp_path / "run", "resnet-translation", objectives=["score", "macs"])
    rows = found.read_table("candidates").to_dict("records")
    front = [
        row["arch"] for row in rows
        if not any(
            other["score"] >= row["score"] and other["macs"] <= row["macs"]
            and (other["score"], other["macs"]) != (row["score"], row["macs"])
            for other in rows
        )
    ]  # fmt: skip
    assert {row["arch"] for row in found.results["front"]} == set(front)


def test_translators_are_held_against_the_original(tmp_path):
    found = run(tmp_path / "run", "resnet-translation")
    original = next(row for row in found.results["controls"] if row["name"] == "original")
    assert original["params"] == 11378179
    assert set(found.costs["latency_ms"]) == {row["name"] for row in found.results["controls"]}


def test_a_limit_on_latency_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(candidates_module, "measure_latency", lambda space, arch, device: float(arch.widths[0]))
    found = run(tmp_path / "run", "resnet-translation", max_latency=24)
    widths = [int(arch.split("_")[0]) for arch in found.read_table("candidates")["arch"]]
    assert max(widths) <= 24
    assert max(get_space("resnet-translation").widths[0]) > 24


def test_latency_is_a_median_of_seconds():
    fast = get_space("eagan-generator", width=2)
    slow = get_space("eagan-generator", width=64)
    assert (
        0
        < measure_latency(fast, fast.parse("eagan-best"), "cpu")
        < measure_latency(slow, slow.parse("eagan-best"), "cpu")
    )


def test_discriminators_are_scored_on_images(tmp_path, monkeypatch):
    folder = tmp_path / "images"
    folder.mkdir()
    from PIL import Image

    for i in range(6):
        pixels = np.random.default_rng(i).integers(256, size=(32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    one = run(tmp_path / "run", "eagan-discriminator", images=str(folder), iterations=1)
    space = get_space("eagan-discriminator", width=4)
    from autogas.datasets import load_images

    batch = load_images(str(folder), size=32, limit=4).batch(torch.arange(4))
    winner = one.results["winner"]
    assert winner["score"] == score(space.build(space.parse(winner["arch"])), batch)
    assert SearchSettings(space="eagan-discriminator").images == "cifar10"
    assert SearchSettings(space="eagan-generator").images is None


def test_random_search_draws_from_the_space_alone(tmp_path):
    found = run(tmp_path / "run", strategy="random", objectives=["score", "params"])
    rng = numpy_generator("search", "random", 0)
    drawn = [str(SMALL_EAGAN.sample(rng)) for _ in range(16)]
    assert found.read_table("candidates")["arch"].tolist() == drawn
    assert found.results["front"][0]["arch"] == found.results["winner"]["arch"]


def test_the_paper_sets_the_defaults():
    gan, translator = SearchSettings(space="eagan-generator"), SearchSettings(space="spade-translation")
    assert (gan.population, gan.iterations, gan.batch_size) == (32, 150, 16)
    assert translator.iterations == 500


def test_a_small_budget_is_used_up(tmp_path):
    space = get_space("resnet-translation", image_size=16)
    macs = sorted(space.cost(arch).macs for arch in space.enumerate())
    found = run(tmp_path / "run", "resnet-translation", max_macs=float(macs[6]), sample=20)
    inside = sum(value <= macs[6] for value in macs)
    assert found.results["evaluated"] == found.results["sample"]["count"] == inside < found.results["asked"]
    with pytest.raises(InputError, match="no architecture of resnet-translation is inside the budget"):
        run(tmp_path / "empty", "resnet-translation", max_macs=float(macs[0] - 1))
    assert not (tmp_path / "empty").exists()


def test_latency_is_measured_only_of_what_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(candidates_module, "measure_latency", lambda space, arch, device: 1.0)
    found = run(tmp_path / "run", "resnet-translation", max_latency=2, max_macs=2e7)
    assert sum(key.startswith("latency") for key in found.record) < 40


def test_a_small_space_is_scored_at_its_own_size():
    small, large = (SearchSettings(space="eagan-generator", space_settings={"width": w}) for w in (16, 128))
    assert [space.width for space in spaces_of(small)] == [16, 16]
    assert [space.width for space in spaces_of(large)] == [128, 64]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"proxy": "nwott"}, "nwot"),
        ({"max_params": 10.0}, "at most 10 parameters"),
        ({"proxy": "num_downsamples"}, "none of 16 candidates has a score"),
        ({"images": "/nowhere/at/all.parquet"}, "do not take an image"),
        ({"scored_at": {"image_size": 3}}, "image_size"),
        ({"space_settings": {"width": 0}}, "width=0"),
    ],
)
def test_bad_settings_are_said_in_one_line(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr("autogas.workflows.searching.budget.DRAWS", 40)
    with pytest.raises(InputError, match=message):
        run(tmp_path / "run", **changes)
    assert {"max_params", "proxy"} & set(changes) or not (tmp_path / "run").exists()


@pytest.mark.parametrize("objectives", [[], ["macs"], ["score", "score"], ["score", "speed"]])
def test_bad_objectives(objectives):
    with pytest.raises(ValueError, match="objectives"):
        SearchSettings(space="eagan-generator", objectives=objectives)


def test_the_results_are_json(undisturbed):
    assert read_json(undisturbed.path / "results.json") == undisturbed.results


def test_a_latency_that_nothing_reaches_is_soon_one_line(tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr(candidates_module, "measure_latency", lambda *_: measured.append(1) or 1 + 1 / len(measured))
    with pytest.raises(InputError, match=r"inside the budget \(at most 1e-07 ms\): the smallest seen has 1\.005 ms$"):
        run(tmp_path / "run", "resnet-translation", max_latency=1e-7, population=8, iterations=1, sample=1)
    assert len(measured) <= 200


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"objectives": ["score"]}, False),
        ({"space_settings": {"width": 8}}, False),
        ({"population": 4.0}, False),
        ({"population": 5}, True),
        ({"scored_at": {}}, True),
        ({"space_settings": {"width": 9}}, True),
        ({"strategy": "random", "top_k": 2}, True),
        ({"space": "transnas-macro"}, True),
    ],
)
def test_what_is_meant_alike_may_stand_beside_a_resumed_run(undisturbed, given, refused):
    with pytest.raises(InputError, match="which stays") if refused else contextlib.nullcontext():
        assert search(resume=str(undisturbed.path), **given).results == undisturbed.results


def test_a_search_goes_on_past_candidates_without_a_score(tmp_path, monkeypatch):
    real, asked = candidates_module.score_candidate, []

    def first_fail(text, space, scoring_json):
        asked.append(text)
        found = real(text, space, scoring_json)
        return found if len(asked) > 8 else {**found, "score": None, "reason": "broken"}

    monkeypatch.setattr(candidates_module, "score_candidate", first_fail)
    assert run(tmp_path / "run").results["winner"]["score"] is not None
