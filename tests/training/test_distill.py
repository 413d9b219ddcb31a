import copy

import pytest
import torch
from toys_of_training import run
from toys_of_translation import RECIPES, RESNET, SPADE, tiny_teacher, tiny_translation

from autogas.errors import InputError
from autogas.seeding import torch_generator
from autogas.spaces import get_space
from autogas.training.distill import Teacher, captured
from autogas.training.losses import ADVERSARIAL
from autogas.training.machine import launch

LAST = {"resnet-translation": "16_16_16_16_16_16_16_16", "spade-translation": "32_32_32_32_32_24_24_24"}
NAMES = ("pix2pix", "cyclegan", "gaugan")


def test_features_are_those_of_the_named_parts():
    model = tiny_teacher("pix2pix").eval()
    x = torch.rand(2, 3, 24, 24)
    with torch.no_grad(), captured(model, ("down_2", "block_9")) as features:
        model(x)
    by_hand = [x]
    for stage in list(model)[:12]:
        by_hand.append(stage(by_hand[-1]))
    torch.testing.assert_close(features, [by_hand[3], by_hand[12]])
    model(x)
    assert len(features) == 2  # nothing is kept after the block


@pytest.mark.parametrize(("space", "points"), [(RESNET, 4), (SPADE, 3)])
def test_the_loss_is_a_sum_of_mean_squares_of_mapped_features(space, points):
    first, last = next(space.enumerate()), space.parse(LAST[space.name])
    teacher = Teacher(space.build(first), space.build(last), space)
    assert len(teacher.connectors) == points
    x = torch.rand(2, *space.input_shapes[0])
    _, expected = teacher(x)
    with captured(student := space.build(last), teacher.points) as features:
        student(x)
    total = 0.0
    for connect, mine, other in zip(teacher.connectors, features, expected, strict=True):
        weight = connect.weight[:, :, 0, 0]
        assert weight.shape == (other.shape[1], mine.shape[1])
        mapped = torch.einsum("oc,nchw->nohw", weight, mine) + connect.bias.view(-1, 1, 1)
        total += ((mapped - other) ** 2).sum() / other.numel()
    torch.testing.assert_close(teacher.loss(features, expected), total)


@pytest.mark.parametrize("name", NAMES)
def test_a_student_learns_and_its_teacher_does_not(name):
    network = tiny_teacher(name)
    if name == "gaugan":  # its features are all but zero before it is trained
        with torch.no_grad():
            for weight in network.parameters():
                weight.mul_(50)
    before = copy.deepcopy(network.state_dict())
    recipe = RECIPES[name].model_copy(update={"steps": 25, "generator_lr": 1e-2, "distill_weight": 1e3})
    task = tiny_translation(name, recipe, teacher=network)
    rows = run(task, steps=25, log_every=1, equal_until=25)
    assert rows[-1]["distill_loss"] < 0.9 * rows[0]["distill_loss"]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert "connectors" in task.modules
    assert not any("teacher" in key for key in task.modules)
    assert not task.teacher.network.training


def test_a_student_of_a_cycle_learns_the_images_of_its_teacher():
    network = tiny_teacher("cyclegan")
    task = tiny_translation("cyclegan", teacher=network)
    (row,) = run(task, steps=1, log_every=1)
    fresh = tiny_translation("cyclegan", teacher=network)
    a, b = launch(lambda machine: fresh.draw(torch_generator("train", 0, 0), machine))
    assert not torch.equal(a, b)
    fake = fresh.generator(a)
    assert row["l1_loss"] == pytest.approx((fake - network(a)).abs().mean().item(), rel=1e-4)
    logits = [fresh.discriminator(x)[0][-1] for x in (b, fake)]  # images alone, real ones of the target domain
    assert row["discriminator_loss"] == pytest.approx(ADVERSARIAL["lsgan"].discriminator(*logits).item(), rel=1e-4)


def test_other_teachers_are_refused():
    student = tiny_teacher("gaugan")
    with pytest.raises(InputError, match="expected a spade-translation for inputs of"):
        Teacher(tiny_teacher("pix2pix"), student, SPADE)
    more = get_space("spade-translation", layout="coco", image_size=64, num_labels=4, divisor=8)
    with pytest.raises(InputError, match=r"expected a spade-translation for inputs of \(4, 64, 64\)"):
        Teacher(more.build(next(more.enumerate())), student, SPADE)
