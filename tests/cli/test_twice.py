"""What is given twice, or is there already."""

import pytest

from autogas.benchmarks import load_benchmark

BUILD = (
    *("bench", "build", "--space", "transnas-macro", "--set", "image_size=16", "--set", "base_width=4", "--set"),
    *("decoder_divisor=16", "--set", "stem_stride=1", "--images", "dead-leaves", "--train-images", "8"),
    *("--held-out-images", "4", "--recipe", "steps=1", "--recipe", "batch_size=2", "--repeats", "0", "--jobs", "1"),
)


@pytest.mark.parametrize("words", [["--test", "4"], ["--seed=1"], ["--benchmark", "mini-gan"]])
def test_an_option_that_is_given_twice_is_refused(autogas, words):
    code, out, err = autogas("rank", "params", "--benchmark", "mini-gan", "--test", 3, "--seed", 0, *words)
    name = words[0].partition("=")[0]
    assert (code, out, err) == (2, "", f"autogas: {name} is given twice: expected one value\n")


def test_a_benchmark_that_is_there_is_kept(autogas):
    assert autogas(*BUILD, "--count", 3, "--out", "first", "--name", "mine")[0] == 0
    before = load_benchmark("mine").digest
    code, _, err = autogas(*BUILD, "--count", 4, "--out", "second", "--name", "mine")
    assert code == 2
    assert err.startswith("autogas: benchmark 'mine' is there already, in ")
    assert err.endswith(": expected another --name, or --replace\n")
    assert load_benchmark("mine").digest == before
    assert autogas("bench", "build", "--resume", "first", "--name", "mine")[0] == 0  # what it made itself
    assert load_benchmark("mine").digest == before
    assert autogas(*BUILD, "--count", 4, "--out", "second", "--name", "mine", "--replace")[0] == 0
    assert len(load_benchmark("mine")) == 4


@pytest.mark.parametrize("shape", ["٣,٣٢,32", "3_2,4", "3,-4,4", "3,,4"])
def test_a_shape_has_plain_digits(autogas, shape):
    code, _, err = autogas("score", "params", "--module", "nets.py:make", "--shape", shape)
    assert code == 2
    assert "expected positive numbers, such as 3,32,32" in err


@pytest.mark.parametrize("verb", [["rank", "params", "--benchmark", "mini-gan"], ["search", "transnas-micro"]])
@pytest.mark.parametrize("option", ["--batch-size", "--population"])
def test_numbers_have_ends(autogas, verb, option):
    if verb[0] == "rank" and option == "--population":
        return
    code, out, err = autogas(*verb, option, 10**20)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert option in err
