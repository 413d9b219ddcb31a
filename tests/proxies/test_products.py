import numpy as np
import pytest
import torch

from autogas.proxies import products


def bits(rows, columns, seed=0):
    return np.random.default_rng(seed).random((rows, columns)) < 0.3


@pytest.mark.parametrize("rows", [1, 2, 3, 16, 33])
@pytest.mark.parametrize("widths", [(1,), (64,), (7, 200, 64, 1000)], ids=str)
@pytest.mark.parametrize("room", [1, 700, products.ROOM])
def test_ones_in_common_are_a_product_of_integers(rows, widths, room, monkeypatch):
    monkeypatch.setattr(products, "ROOM", room)
    features = [bits(rows, width, seed) for seed, width in enumerate(widths)]
    counts = products.ones_in_common([np.packbits(feature, axis=1) for feature in features])
    for found, feature in zip(counts, features, strict=True):
        assert np.array_equal(found, feature.astype(int) @ feature.astype(int).T)


def test_everything_above_counts_every_column():
    packed = products.pack([torch.ones(3, 100_000)], 0.5)
    assert (products.ones_in_common([packed]) == 100_000).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_packed_blocks_lie_side_by_side(dtype):
    x = torch.randn(5, 48, generator=torch.Generator().manual_seed(0)).to(dtype)
    x[0, :3] = torch.tensor([torch.nan, torch.inf, 0.25])
    expected = (x > 0.25).to(torch.float64)
    found = products.ones_in_common([products.pack(x.split(16, dim=1), 0.25)])
    assert np.array_equal(found[0], expected @ expected.T)


def test_blocks_of_a_width_that_fills_no_byte():
    x = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    expected = (x > 0).double()
    found = products.ones_in_common([products.pack(x.split(11, dim=1), 0.0)])
    assert np.array_equal(found[0], expected @ expected.T)


def test_what_requires_gradients_can_be_packed():
    assert products.pack([torch.ones(2, 8, requires_grad=True)], 0.0).tolist() == [[255], [255]]
