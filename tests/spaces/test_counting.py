"""Multiply-accumulates against counts by hand."""

import pytest
import torch
from torch import nn

from autogas import score


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def encoder_layer(width, heads, feed_forward, tokens):
    """Four projections and two of the feed-forward, scores and their sum."""
    del heads  # each sees its part of the width
    return tokens * (4 * width**2 + 2 * width * feed_forward) + 2 * tokens**2 * width


def lstm(inside, hidden, steps, gates, layers=1, directions=1):
    first = hidden * (inside + hidden)
    later = hidden * (directions * hidden + hidden)
    return steps * gates * directions * (first + (layers - 1) * later)


class Attends(nn.Module):
    def __init__(self, need_weights):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x):
        return self.attention(x, x, x, need_weights=self.need_weights)[0]


class Pairs(nn.Bilinear):
    def forward(self, x):
        return super().forward(x, x[..., : self.in2_features])


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    ("net", "shape", "expected"),
    [
        (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (8, 5, 16), 11_040),
        (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0), (8, 5, 16), 11_040),
        (
            nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2),
            (4, 64, 32),
            2 * encoder_layer(32, 4, 64, 64),
        ),
        (Attends(True), (8, 6, 16), 6 * 4 * 256 + 2 * 36 * 16),
        (Attends(False), (8, 6, 16), 6 * 4 * 256 + 2 * 36 * 16),
        (nn.LSTM(16, 8, batch_first=True), (8, 5, 16), 3_840),
        (nn.LSTM(16, 8, 2, batch_first=True, bidirectional=True), (8, 5, 16), lstm(16, 8, 5, 4, 2, 2)),
        (nn.GRU(16, 8, batch_first=True), (8, 5, 16), lstm(16, 8, 5, 3)),
        (nn.RNN(16, 8, batch_first=True), (8, 5, 16), lstm(16, 8, 5, 1)),
        (Pairs(6, 4, 5), (8, 6), 6 * 4 * 5),
        (nn.Conv2d(3, 8, 3, groups=1, stride=2), (4, 3, 9, 9), 16 * 8 * 27),
        (nn.Conv2d(6, 8, 3, groups=2), (4, 6, 5, 5), 9 * 8 * 27),
        (nn.ConvTranspose2d(4, 6, 4, 2, 1), (4, 4, 5, 5), 25 * 4 * 6 * 16),
        (nn.Conv1d(3, 8, 3), (4, 3, 9), 7 * 8 * 9),
        (nn.Conv3d(2, 4, 2), (4, 2, 4, 4, 4), 27 * 4 * 16),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_count_by_hand(net, shape, expected, train):
    fused = torch.backends.mha.get_fastpath_enabled()
    assert score(net.train(train), noise(*shape), "macs") == expected
    assert torch.backends.mha.get_fastpath_enabled() == fused


class Graph(nn.Module):
    """Messages along edges whose ends are numbers of nodes."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 64)

    def forward(self, nodes, edges):
        return torch.relu(
            torch.zeros(len(nodes), 64, dtype=nodes.dtype).index_add(0, edges[1], self.layer(nodes)[edges[0]])
        )


@pytest.mark.parametrize("proxy", ["macs", "synflow", "separation", "nwot"])
def test_edges_are_no_samples(proxy):
    edges = torch.randint(0, 12, (2, 40), generator=torch.Generator().manual_seed(0))
    found = score(Graph(), (noise(12, 6), edges), proxy)
    assert found == 384 if proxy == "macs" else torch.isfinite(torch.tensor(found))
