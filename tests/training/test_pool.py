import torch

from autogas.training.pool import ImagePool


def numbered(*values):
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)


def test_images_are_returned_while_the_pool_fills():
    pool, generator = ImagePool(3, (1, 1, 1)), torch.Generator().manual_seed(0)
    assert pool.exchange(numbered(1, 2), generator).flatten().tolist() == [1, 2]
    assert pool.exchange(numbered(3), generator).flatten().tolist() == [3]
    assert pool.images.flatten().tolist() == [1, 2, 3]
    assert pool.count == 3


def test_a_full_pool_keeps_what_it_does_not_return():
    """Nothing is lost or doubled: what went in is what came out and what is stored."""
    pool, generator = ImagePool(5, (1, 1, 1)), torch.Generator().manual_seed(0)
    pool.exchange(numbered(*range(5)), generator)
    given, got = list(range(5, 405)), []
    for value in given:
        got += pool.exchange(numbered(value), generator).flatten().int().tolist()
    assert sorted(got + pool.images.flatten().int().tolist()) == [*range(5), *given]
    new = sum(a == b for a, b in zip(got, given, strict=True))
    assert 160 < new < 240  # 200 with a standard deviation of 10
    ages = [b - a for a, b in zip(got, given, strict=True) if a != b]
    assert 8 < sum(ages) / len(ages) < 12  # an image is exchanged for one in ten that come


def test_images_of_one_batch_may_replace_one_another():
    pool, generator = ImagePool(1, (1, 1, 1)), torch.Generator().manual_seed(0)
    got = [0, *pool.exchange(numbered(*range(50)), generator).flatten().int().tolist()]
    assert sorted([*got[1:], int(pool.images)]) != got  # the first image is given when stored and stays
    assert got[1] == 0
    assert any(a < i - 1 for i, a in enumerate(got[1:]))


def test_an_empty_pool_returns_the_images():
    images = numbered(1, 2)
    pool, generator = ImagePool(0, (1, 1, 1)), torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert torch.equal(pool.exchange(images, generator), images)
    assert torch.equal(generator.get_state(), state)


def test_what_is_given_is_not_changed_and_has_no_gradient():
    pool, generator = ImagePool(2, (1, 1, 1)), torch.Generator().manual_seed(0)
    images = numbered(*range(20)).requires_grad_()
    shown = pool.exchange(images, generator)
    assert not shown.requires_grad
    assert images.detach().flatten().tolist() == list(range(20))


def test_the_state_holds_the_images():
    pool, generator = ImagePool(2, (1, 1, 1)), torch.Generator().manual_seed(0)
    pool.exchange(numbered(4, 5), generator)
    other = ImagePool(2, (1, 1, 1))
    other.load_state_dict(pool.state_dict())
    streams = [torch.Generator().manual_seed(1) for _ in range(2)]
    rows = [p.exchange(numbered(*range(10)), g) for p, g in zip((pool, other), streams, strict=True)]
    assert torch.equal(*rows)
