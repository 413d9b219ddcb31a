import pytest
import torch

from autogas.training.augment import NUMBERS, augmented, color, cutout, named, translation


def images(count=5, size=32, seed=0):
    return torch.rand((count, 3, size, size), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def numbers(count=5, seed=1):
    return torch.rand((count, NUMBERS), generator=torch.Generator().manual_seed(seed))


def test_translation_moves_by_whole_pixels_and_leaves_zeros():
    x, u = images(size=16), numbers()
    moved = translation(x, u)
    for i in range(len(x)):
        down, right = (int(u[i, place] * 5) - 2 for place in (3, 4))  # an eighth of 16 is 2
        expected = torch.zeros_like(x[i])
        rows = range(max(down, 0), min(16, 16 + down))
        columns = range(max(right, 0), min(16, 16 + right))
        for row in rows:
            for column in columns:
                expected[:, row, column] = x[i, :, row - down, column - right]
        assert torch.equal(moved[i], expected)
    assert len({int(u[i, 3] * 5) for i in range(5)}) > 1


def test_cutout_is_a_square_of_half_the_size_around_a_place():
    x, u = torch.ones(4, 3, 8, 8), numbers(4)
    u[0, 5:], u[1, 5:] = 0.5, 0.0
    cut = cutout(x, u)
    assert (cut[0] == 0).sum() == 3 * 4 * 4
    assert (cut[0, 0, 2:6, 2:6] == 0).all()
    assert (cut[1, 0, :2, :2] == 0).all()  # a centre in the corner leaves a quarter of the square inside
    assert (cut[1] == 0).sum() == 3 * 2 * 2


def test_color_by_hand():
    x, u = images(), numbers()
    brightness, saturation, contrast = (u[:, i, None, None, None] for i in range(3))
    one = x + brightness - 0.5
    grey = one.mean(1, keepdim=True)
    two = grey + (one - grey) * 2 * saturation
    mean = two.flatten(1).mean(1)[:, None, None, None]
    torch.testing.assert_close(color(x, u), mean + (two - mean) * (contrast + 0.5))


def test_in_the_middle_colours_stay():
    x = images()
    torch.testing.assert_close(color(x, torch.full((5, NUMBERS), 0.5)), x)


@pytest.mark.parametrize("policy", ["color", "translation", "cutout", "color,translation,cutout"])
def test_gradients_pass(policy):
    x = images(2, 8).double().requires_grad_()
    u = numbers(2).double()
    assert torch.autograd.gradcheck(lambda x: augmented(x, policy, u), (x,))


def test_steps_follow_in_the_order_of_the_policy():
    x, u = images(), numbers()
    assert torch.equal(augmented(x, "cutout, color", u), color(cutout(x, u), u))
    assert torch.equal(augmented(x, "", u), x)


@pytest.mark.parametrize("policy", ["colour", "color,color", "color;cutout"])
def test_other_policies_are_refused(policy):
    with pytest.raises(ValueError, match="expected some of color,translation,cutout, each once"):
        named(policy)
