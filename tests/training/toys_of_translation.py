"""Tiny translations to train: data in memory, narrow networks."""

import torch

from autogas.datasets.translation import TranslationData
from autogas.spaces import get_space
from autogas.spaces.translation.label_map import encode_labels
from autogas.training.cyclegan import CycleGANRecipe, cyclegan_task
from autogas.training.gaugan import GauGANRecipe, gaugan_task
from autogas.training.pix2pix import Pix2PixRecipe, pix2pix_task

RESNET = get_space("resnet-translation", choices="channels-32", image_size=24, divisor=8)
SPADE = get_space("spade-translation", layout="coco", image_size=64, num_labels=3, divisor=8)
SMALL = {"steps": 6, "batch": 2, "discriminator_width": 4}
RECIPES = {
    "pix2pix": Pix2PixRecipe(**SMALL),
    "cyclegan": CycleGANRecipe(**SMALL, pool=3),
    "gaugan": GauGANRecipe(**SMALL),
}
FACTORIES = {"pix2pix": pix2pix_task, "cyclegan": cyclegan_task, "gaugan": gaugan_task}
SPACES = {"pix2pix": RESNET, "cyclegan": RESNET, "gaugan": SPADE}


class Tensors:
    """A domain in memory; views change the sign of an image, so that a wrong or missing one is seen."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def batch(self, index, views=None):
        signs = 1 if views is None else torch.where(views[:, 2] < 0.5, -1, 1)[:, None, None, None]
        return self.values[index] * signs


def images(count, size, seed):
    return Tensors(2 * torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) - 1)


def label_maps(count, size, seed):
    labels = torch.randint(3, (count, size, size), generator=torch.Generator().manual_seed(seed))
    return Tensors(encode_labels(labels, num_labels=3))


def tiny_data(name, count=5, split="train"):
    size = SPACES[name].image_size
    inputs = label_maps(count, size, 1) if name == "gaugan" else images(count, size, 1)
    return TranslationData(inputs, images(count, size, 2), name != "cyclegan", "memory", split)


def tiny_translation(name, recipe=None, *, seed=0, **options):
    space = SPACES[name]
    arch = next(space.enumerate())
    data, held_out = tiny_data(name), tiny_data(name, split="test")
    return FACTORIES[name](space, arch, data, held_out, recipe or RECIPES[name], seed=seed, **options)


def tiny_teacher(name, seed=7):
    space = SPACES[name]
    return space.build(next(space.enumerate()), seed=seed)
