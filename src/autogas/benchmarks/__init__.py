"""Benchmarks: tables of architecture and measured quality, and the statistics of how well scores rank them."""

from autogas.benchmarks.benchmark import Benchmark, Split
from autogas.benchmarks.correlation import Correlation, Estimate, correlate, kendall_many
from autogas.benchmarks.own import make_benchmark
from autogas.benchmarks.store import list_benchmarks, load_benchmark, save_benchmark

__all__ = [
    "Benchmark",
    "Correlation",
    "Estimate",
    "Split",
    "correlate",
    "kendall_many",
    "list_benchmarks",
    "load_benchmark",
    "make_benchmark",
    "save_benchmark",
]
