"""What a user's code computes with is in its digest, and nothing else."""

import functools
import logging
import subprocess
import sys
import types
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from autogas import ChoiceSpace, get_space
from autogas.code import digest_of
from autogas.proxies.statistics.bank import FeatureBank
from autogas.spaces.eagan import EAGANGenerator


def made(source, name="build"):
    """Something of a module without a file, as a notebook has it."""
    module = types.ModuleType("__main__")
    exec(compile(source, "<cell>", "exec"), vars(module))
    return vars(module)[name]


PLAIN = "def build(width):\n    return width + 1\n"


@pytest.mark.parametrize(
    "changed",
    [
        "def build(width):\n    return width + 2\n",
        "def build(width):\n    return width - 1\n",
        "def build(width, more=0):\n    return width + 1\n",
        "def build(width):\n    return len(width) + 1\n",
    ],
)
def test_another_function_has_another_digest(changed):
    assert digest_of([made(PLAIN)]) != digest_of([made(changed)])


@pytest.mark.parametrize(
    "equal",
    ["\n\n# a remark\n" + PLAIN, PLAIN + "\n\ndef other():\n    return 3\n", "SEED = 4\n" + PLAIN],
)
def test_what_it_does_not_reach_is_not_in_it(equal):
    assert digest_of([made(PLAIN)]) == digest_of([made(equal)]) != ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("K = 1\ndef build():\n    return K\n", "K = 2\ndef build():\n    return K\n"),
        (
            "def k():\n    return 1\ndef build():\n    return k()\n",
            "def k():\n    return 2\ndef build():\n    return k()\n",
        ),
        (
            "class Net:\n    def run(self):\n        return 1\ndef build():\n    return Net()\n",
            "class Net:\n    def run(self):\n        return 2\ndef build():\n    return Net()\n",
        ),
        (
            "class A:\n    k = 1\nclass Net(A):\n    pass\ndef build():\n    return [Net() for _ in range(2)]\n",
            "class A:\n    k = 2\nclass Net(A):\n    pass\ndef build():\n    return [Net() for _ in range(2)]\n",
        ),
    ],
    ids=["constant", "function", "class", "base"],
)
def test_what_it_reaches_is_in_it(first, second):
    assert digest_of([made(first)]) == digest_of([made(first)])
    assert digest_of([made(first)]) != digest_of([made(second)])


def closed_over(value):
    def build():
        return value

    return build


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, 2),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": 2}),
        (torch.zeros(2), torch.ones(2)),
        (nn.Linear(2, 2), nn.Linear(2, 2)),
        (functools.partial(max, 1), functools.partial(max, 2)),
    ],
    ids=["number", "list", "mapping", "tensor", "module", "partial"],
)
def test_what_it_closes_over_is_in_it(first, second):
    assert digest_of([closed_over(first)]) == digest_of([closed_over(first)])
    assert digest_of([closed_over(first)]) != digest_of([closed_over(second)])
    call = functools.partial(closed_over, first)
    assert digest_of([call]) != digest_of([functools.partial(closed_over, second)])


def test_the_packages_own_code_has_none():
    assert digest_of(EAGANGenerator().makers) == ""
    assert digest_of([get_space, FeatureBank]) == ""


def test_a_recursive_function_and_its_own_class():
    source = (
        "class Net:\n    def run(self):\n        return Net\ndef build(n):\n    return build(n - 1) if n else Net()\n"
    )
    assert digest_of([made(source)]) == digest_of([made(source)])


def test_it_is_the_same_in_every_process():
    code = (
        "from autogas.code import digest_of\n"
        "K = {'a', 'b', 'c', len, digest_of}\n"
        "def build(width=3, *, names=frozenset(('x', 'y', 'z'))):\n    return [K, names, lambda: width]\n"
        "print(digest_of([build]))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def convolution(width, kernel=3):
    return nn.Sequential(nn.Conv2d(3, width, kernel, padding=kernel // 2), nn.ReLU(), nn.Conv2d(width, 3, 1))


def test_a_bank_is_of_one_function_and_one_input(tmp_path):
    def folder(build, inputs):
        return FeatureBank(ChoiceSpace("banked", {"width": [4, 8]}, build, inputs), root=tmp_path).folder

    known = folder(convolution, [(3, 8, 8)])
    assert folder(convolution, [(3, 8, 8)]) == known
    others = [
        folder(functools.partial(convolution, kernel=1), [(3, 8, 8)]),
        folder(functools.partial(convolution, kernel=5), [(3, 8, 8)]),
        folder(convolution, [(3, 16, 16)]),
        folder(lambda width: convolution(width), [(3, 8, 8)]),
        folder(lambda width: convolution(2 * width), [(3, 8, 8)]),
    ]
    assert len({known, *others}) == 6


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("A = len\ndef build():\n    return A\n", "A = sum\ndef build():\n    return A\n"),
        (
            "from torch.nn import functional as F\nA = F.relu\ndef build():\n    return A\n",
            "from torch.nn import functional as F\nA = F.silu\ndef build():\n    return A\n",
        ),
        ("def build(a, b):\n    return a, b\n", "def build(b, a):\n    return b, a\n"),
        (
            "class A: pass\nclass B: pass\nT = {'x': A, 'y': B, 'z': A}\ndef build():\n    return T\n",
            "class A: pass\nclass B: pass\nT = {'x': A, 'y': B, 'z': B}\ndef build():\n    return T\n",
        ),
        ("def build():\n    return 1\nbuild.width = 1\n", "def build():\n    return 1\nbuild.width = 2\n"),
    ],
    ids=["built-in", "library", "arguments", "which of two", "attribute"],
)
def test_small_differences_are_in_it(first, second):
    assert digest_of([made(first)]) == digest_of([made(first)])
    assert digest_of([made(first)]) != digest_of([made(second)])


@dataclass(slots=True)
class Slotted:
    width: int


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.int64(1), np.int64(2)),
        (torch.float32, torch.float64),
        (deque([1]), deque([2])),
        (bytearray(b"a"), bytearray(b"b")),
        (Path("a"), Path("b")),
        (Slotted(1), Slotted(2)),
        (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [1.0 + 1e-12]})),
        (torch.eye(2).to_sparse(), torch.ones(2, 2).to_sparse()),
        (torch.zeros(2, dtype=torch.cfloat).conj(), torch.ones(2, dtype=torch.cfloat).conj()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_every_kind_are_in_it(first, second):
    assert digest_of([closed_over(first)]) != digest_of([closed_over(second)])


@pytest.mark.parametrize("value", [torch.zeros(2, device="meta"), nn.LazyLinear(3), logging.getLogger("u")], ids=str)
def test_values_that_cannot_be_read_do_no_harm(value):
    before = digest_of([closed_over(value)])
    logging.getLogger("another one")
    assert digest_of([closed_over(value)]) == before


def test_what_nests_deeply_ends():
    nested = []
    for _ in range(5000):
        nested = [nested]
    assert digest_of([closed_over(nested)])
