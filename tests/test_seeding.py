import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import autogas
from autogas.seeding import derive_seed, numpy_generator, torch_generator
from autogas.spaces import get_space

PARTS = [(), (0,), ("0", 1), (1, 0), ("weights", 0, "transnas", "64-1234-basic"), ("é", None, 1.5, (1, "a"))]

PRINT_SEEDS = """
from autogas.seeding import derive_seed
from autogas.spaces import get_space
arch = get_space("transnas").parse("64-41414-0_12_301")
print(*[derive_seed(*parts) for parts in {parts!r}], derive_seed(arch))
"""


@pytest.mark.parametrize("parts", PARTS)
def test_derive_seed_is_half_of_blake2b(parts):
    digest = hashlib.blake2b("\x1f".join(str(part) for part in parts).encode(), digest_size=8).digest()
    assert derive_seed(*parts) == sum(byte << (8 * i) for i, byte in enumerate(digest)) // 2


def test_derive_seed_of_nothing_known():
    # First 8 bytes of BLAKE2b-64 of the empty string: e4 a6 a0 57 74 79 b2 b4.
    assert derive_seed() == 0xB4B2797457A0A6E4 // 2


def test_derive_seed_is_equal_in_every_process():
    source = str(Path(autogas.__file__).parents[1])
    env = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": source}
    out = subprocess.run(
        [sys.executable, "-c", PRINT_SEEDS.format(parts=PARTS)], env=env, capture_output=True, text=True, check=True
    ).stdout
    arch = get_space("transnas").parse("64-41414-0_12_301")
    assert [int(word) for word in out.split()] == [*(derive_seed(*parts) for parts in PARTS), derive_seed(arch)]


def test_derive_seed_fits_63_bits_and_uses_them():
    seeds = [derive_seed(i) for i in range(500)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62
    assert {seed & 1 for seed in seeds} == {0, 1}


def test_derive_seed_depends_on_every_part_and_its_place():
    variants = [("a", "b"), ("b", "a"), ("ab",), ("a", "b", ""), ("", "a", "b"), ("a b",), ("a",), ("b",), ()]
    assert len({derive_seed(*parts) for parts in variants}) == len(variants)


def test_derive_seed_has_no_collision_in_a_benchmark():
    archs = [str(arch) for arch in get_space("transnas").enumerate()]
    assert len({derive_seed(seed, arch) for seed in range(3) for arch in archs}) == 3 * len(archs)


@pytest.mark.parametrize("parts", PARTS)
def test_generators_start_from_the_derived_seed(parts):
    seed = derive_seed(*parts)
    assert torch_generator(*parts).initial_seed() == seed
    assert torch.equal(
        torch.randn(5, generator=torch_generator(*parts)), torch.randn(5, generator=torch.Generator().manual_seed(seed))
    )
    assert numpy_generator(*parts).random(5).tolist() == np.random.default_rng(seed).random(5).tolist()


def test_torch_generator_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    torch.randn(3, generator=torch_generator("x"))
    assert torch.equal(before, torch.get_rng_state())


def test_torch_generator_is_on_the_cpu_under_another_default_device():
    with torch.device("meta"):
        assert torch_generator(0).device.type == "cpu"
