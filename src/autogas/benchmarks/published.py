"""The correlation tables of the Auto-GAS paper (Li et al., ECCV 2024), to be printed beside ours."""

from __future__ import annotations

from dataclasses import dataclass

MEASURES = ("kendall", "spearman", "pearson")


@dataclass(frozen=True)
class PaperRow:
    """One row of a table of the paper.

    Attributes:
        method: as the paper calls it.
        proxy: our proxy or expression for it.
        values: Kendall, Spearman and Pearson as printed, as far as they are.
        note: what the reader must know to compare.
    """

    method: str
    proxy: str
    values: tuple[float, ...] = ()
    note: str = ""


TABLE_2 = (
    PaperRow(
        "SNIP [1]",
        "plain",
        (-0.0204, -0.0355, -0.0026),
        "the table has SNIP twice; reference [1] is Abdelfattah et al., of whose scorers plain is nearest",
    ),
    PaperRow("EZNAS", "eznas", (0.2330, 0.2591, 0.3203)),
    PaperRow("NWOT", "nwot", (0.5128, 0.6394, 0.4888)),
    PaperRow("SNIP [28]", "snip", (0.3081, 0.2331, 0.2934)),
    PaperRow("Zen", "zen", (-0.0227, 0.0258, 0.0539)),
    PaperRow("ZiCo", "zico", (0.1863, 0.1553, 0.2113)),
    PaperRow("Synflow", "synflow", (-0.5091, -0.6501, -0.4917), "their code keeps batch norms, ours does not"),
    PaperRow("Params.", "params", (-0.1297, -0.1524, -0.0580)),
    PaperRow("FLOPs", "macs", (0.4891, 0.6401, 0.5236)),
    PaperRow("Auto-GAS", "autogas", (0.6114, 0.7932, 0.8125)),
)
"""Ranking on TransNAS-Bench-101's autoencoding task."""

BEYOND_TABLE_2 = (
    "num_downsamples",
    "num_skips",
    "num_activations",
    "vanilla_gram",
    "grad_norm",
    "fisher",
    "l2_norm",
    "meco",
    "swap",
    "variance",
    "entropy",
)
"""Scorers that the paper does not compare with, trivial ones first: those that need no pass of their own."""

_BY_PROXY = {row.proxy: row for row in TABLE_2}

FIGURE_1 = tuple(_BY_PROXY[proxy] for proxy in ("params", "synflow", "nwot", "autogas"))
"""From left to right: parameters, Synflow, NWOT, Auto-GAS."""

TABLE_5_I = (PaperRow("Vanilla Gram-matrix", "vanilla_gram", (0.2428, 0.3575)), _BY_PROXY["autogas"])

TABLE_5_II = (
    PaperRow("without Transform", "above_mean > gram > slogdet > pow2", (0.5578, 0.7360)),
    PaperRow(
        "without Encoding", "swish > gram > slogdet > pow2", (0.5164, 0.6862), "no binariser, the bare Gram matrix"
    ),
    PaperRow(
        "without Reduction", "swish > above_mean > gram > normalized_sum > pow2", (0.5278, 0.7195), "mean of entries"
    ),
    PaperRow("without Augment", "swish > above_mean > gram > slogdet", (0.5840, 0.7606)),
)
"""The paper's proxy without one of its stages."""

TABLE_5_III = (
    PaperRow("Gram-matrix", "autogas", (0.6114, 0.7932)),
    PaperRow("Pearson", "swish > above_mean > pearson > slogdet > pow2", (0.6007, 0.7753)),
    PaperRow("Hamming", "swish > above_mean > hamming > slogdet > pow2", (0.6058, 0.7857)),
)
"""The paper's proxy with another encoding."""

TABLE_5_IV = {"evolution": (0.6114, 0.7932), "random": (0.2949, 0.3825)}
"""How the proxy was found."""

TABLE_6 = (
    PaperRow("Hessian Trace", "hessian_trace", (), "IS 8.36, FID 15.47 after search and training"),
    PaperRow("L2 norm", "l2_norm", (), "IS 7.56, FID 24.62"),
    PaperRow("Entropy", "entropy", (), "IS 7.70, FID 25.43"),
    PaperRow("Variance", "variance", (), "IS 7.67, FID 23.75"),
    PaperRow("Gram-matrix", "vanilla_gram", (0.2428, 0.3575), "IS 8.12, FID 17.88; correlations from its Table 5"),
    PaperRow("Auto-GAS", "autogas", (0.6114, 0.7932, 0.8125), "IS 8.44, FID 12.21; correlations from its Table 2"),
)
"""Of this table the paper prints what search and training gave on CIFAR-10, no correlations."""

TABLE_7 = {
    "Batch Size (20)": "IS 8.52, FID 12.28",
    "Batch Size (40)": "IS 8.02, FID 16.52",
    "Number of Individuals (16)": "IS 8.44, FID 12.21",
    "Number of Individuals (64)": "IS 8.11, FID 16.32",
    "EA iteration interval (5)": "IS 7.78, FID 18.25",
    "EA iteration interval (10)": "IS 8.38, FID 13.69",
}
"""What search with other hyperparameters and training gave on CIFAR-10."""
