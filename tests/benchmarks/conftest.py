import functools

import numpy as np
import pytest

from autogas.benchmarks import Benchmark
from autogas.spaces import get_space

space_named = functools.cache(get_space)


@pytest.fixture
def make_bench():
    """A benchmark of distinct architectures with random quality."""

    def make(count=70, space="transnas", **options):
        rng = np.random.default_rng(0)
        here = space_named(space)
        archs = tuple(here.sample_distinct(count, rng))
        return Benchmark("toy", here, archs, rng.normal(size=count), "ssim", **options)

    return make
