import numpy as np
import pytest
import torch

from autogas.proxies.statistics import gram_matrices


def feature(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def at(*thresholds):
    return torch.tensor(thresholds, dtype=torch.float64)


def common(ones):
    """Ones in common of ``[..., N, columns]``, counted one by one."""
    return (ones[..., :, None, :] & ones[..., None, :, :]).sum(dim=-1).double()


@pytest.mark.parametrize("rows", [1, 2, 3, 16, 33])
@pytest.mark.parametrize("width", [1, 7, 64, 1000])
@pytest.mark.parametrize(("room", "few"), [(1, 1), (700, 3), (gram_matrices.ROOM, gram_matrices.FEW)])
def test_ones_in_common_are_counted(rows, width, room, few, monkeypatch):
    monkeypatch.setattr(gram_matrices, "ROOM", room)
    monkeypatch.setattr(gram_matrices, "FEW", few)
    x = feature(3, 2, rows, width)
    above = [(0, at(0, 1)), (2, at(-1, 0.25)), (1, at(0.5, 0)), (0, at(0.5, 0.5))]
    words = gram_matrices.pack([x], above)
    assert words.shape == (4, 2, rows, -(-width // 64))
    expected = torch.stack([common(x[number] > thresholds[:, None, None]) for number, thresholds in above])
    assert np.array_equal(gram_matrices.ones_in_common(words), expected)


@pytest.mark.parametrize("rows", [2, 3, 16])
def test_everything_above_overflows_no_count(rows):
    words = gram_matrices.pack([torch.ones(1, 1, rows, 300_000)], [(0, at(0.5))])
    assert (gram_matrices.ones_in_common(words) == 300_000).all()


@pytest.mark.parametrize("columns", [8, 16, 11])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_lie_side_by_side(dtype, columns):
    x = feature(2, 1, 5, 48).to(dtype)
    x[1, 0, 0, :3] = torch.tensor([torch.nan, torch.inf, 0.25])
    words = gram_matrices.pack(x.split(columns, dim=3), [(1, at(0.25))])
    assert np.array_equal(gram_matrices.ones_in_common(words)[0], common(x[1] > 0.25))


def test_what_requires_gradients_can_be_packed():
    x = torch.ones(1, 1, 2, 64, requires_grad=True)
    assert (gram_matrices.pack([x], [(0, at(0))]) == np.iinfo(np.uint64).max).all()


@pytest.mark.parametrize("shape", [(5, 30), (3, 9, 30), (2, 3, 9, 30)], ids=str)
@pytest.mark.parametrize("long", [1, gram_matrices.LONG])
def test_gram_of_each_block(shape, long, monkeypatch):
    monkeypatch.setattr(gram_matrices, "LONG", long)
    x = feature(*shape)
    np.testing.assert_allclose(gram_matrices.gram(x), x.double() @ x.double().mT, rtol=1e-5, atol=1e-5)
