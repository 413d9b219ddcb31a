import os
import time

import pytest
import torch

from autogas.errors import InputError
from autogas.runs import Failure, attempt, parallel_map, progress


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def add_up(seed):
    """A sum whose last bits depend on the order of addition."""
    x = torch.randn(300, 300, generator=torch.Generator().manual_seed(seed))
    return float((x @ x).sum()), torch.get_num_threads()


def only_even(n):
    if n % 2:
        raise ValueError(f"{n} is odd\nand more lines")
    return n * n


def pid_and_sleep(n):
    time.sleep(0.3)
    return os.getpid()


def outcome(pair):
    item, result = pair
    return item, result.reason if isinstance(result, Failure) else result


def test_two_jobs_give_what_one_gives(two_threads):
    one, two = (sorted(parallel_map(add_up, range(6), jobs=jobs)) for jobs in (1, 2))
    assert one == two
    for seed, (total, threads) in one:
        x = torch.randn(300, 300, generator=torch.Generator().manual_seed(seed)).double()
        assert total == pytest.approx(float(x.sum(0) @ x.sum(1)), abs=1e-2)
        assert threads == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failure_is_a_value_and_does_not_stop_the_others(jobs):
    pairs = sorted(map(outcome, parallel_map(only_even, range(5), jobs=jobs)))
    assert pairs == [
        (n, f"ValueError: {n} is odd" if n % 2 else n * n)  # the first line only
        for n in range(5)
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_item_is_lost_or_done_twice(jobs):
    items = [f"item{i}" for i in range(20)]
    assert sorted(parallel_map(str.upper, items, jobs=jobs)) == sorted((item, item.upper()) for item in items)


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_items(jobs):
    assert list(parallel_map(str.upper, [], jobs=jobs)) == []


def test_one_job_stays_in_this_process_and_in_order():
    pairs = list(parallel_map(lambda n: (n, os.getpid()), [3, 1, 2]))
    assert pairs == [(n, (n, os.getpid())) for n in (3, 1, 2)]


def test_two_jobs_are_two_other_processes():
    pids = {pid for _, pid in parallel_map(pid_and_sleep, range(6), jobs=2)}
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_closure_can_be_mapped(jobs):
    shift = 10
    assert sorted(parallel_map(lambda n: n + shift, [1, 2], jobs=jobs)) == [(1, 11), (2, 12)]


@pytest.mark.parametrize("function", [only_even, add_up])
def test_the_thread_count_is_restored(two_threads, function):
    list(parallel_map(function, range(2)))
    assert torch.get_num_threads() == 2


def test_the_thread_count_is_one_meanwhile_and_restored_between_items(two_threads):
    seen = []
    for _, inside in parallel_map(lambda _: torch.get_num_threads(), range(3)):
        seen.append((inside, torch.get_num_threads()))
    assert seen == [(1, 2)] * 3


def test_results_come_one_by_one():
    done = []
    pairs = parallel_map(done.append, range(3))
    next(pairs)
    assert done == [0]


def test_a_full_disk_stops_everything(two_threads):
    def write(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        list(parallel_map(write, range(2)))
    assert torch.get_num_threads() == 2


def test_an_interrupt_is_no_failure(two_threads):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(parallel_map(interrupt, range(2)))
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (KeyError("k"), "KeyError: 'k'"),
        (RuntimeError("one\ntwo"), "RuntimeError: one"),
        (MemoryError(), "MemoryError: "),
    ],
)
def test_a_reason_is_one_line(error, reason):
    assert Failure(error).reason == reason


def test_progress_passes_items_through_lazily():
    source = iter("abc")
    passed = progress(source, 3, "letters")
    assert next(passed) == "a"
    assert list(source) == ["b", "c"]
    assert list(passed) == []


def test_progress_is_silent_without_a_terminal(capfd):
    assert list(progress(range(3), 3, "counting")) == [0, 1, 2]
    assert capfd.readouterr() == ("", "")


class UnspeakableError(Exception):
    def __str__(self):
        raise TypeError("no words")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnspeakableError(), "UnspeakableError: it cannot be shown"),
        (InputError(""), ""),
        (InputError("one line\nanother"), "one line"),
        (ValueError("two\nlines"), "ValueError: two"),
    ],
)
def test_whatever_is_raised_is_a_failure_with_a_reason(error, reason):
    def fails():
        raise error

    failure = attempt(fails)
    assert isinstance(failure, Failure)
    assert failure.reason == reason
