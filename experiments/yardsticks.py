"""What a metric says of images that are known to be good or bad: is it able to tell them apart?

    python experiments/yardsticks.py --images TRAIN.parquet --held-out TEST.parquet

Distances to the training images of other real images, of real ones that were spoiled, of noise, and of generators
before any training (EAGAN's, three widths).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from autogas.datasets import Images, load_images
from autogas.metrics import get_extractor
from autogas.metrics.evaluation import evaluation_of, reference_statistics
from autogas.seeding import torch_generator
from autogas.spaces.eagan import EAGANGenerator

Spoil = Callable[[Tensor], Tensor]
BATCH = 100


def noise(images: Tensor) -> Tensor:
    return torch.randn(images.shape, generator=torch_generator("yardstick"))


SPOILED: dict[str, Spoil] = {
    "as they are": lambda x: x,
    "noise, standard deviation 0.05": lambda x: x + 0.05 * noise(x),
    "noise, standard deviation 0.2": lambda x: x + 0.2 * noise(x),
    "blurred, 1 pixel": lambda x: gaussian_blur(x, [7, 7], [1.0, 1.0]),
    "blurred, 2 pixels": lambda x: gaussian_blur(x, [13, 13], [2.0, 2.0]),
    "half the contrast": lambda x: 0.5 * x + 0.25,
    "without colour": lambda x: x.mean(1, keepdim=True).expand_as(x),
    "mean colour of each": lambda x: x.mean((2, 3), keepdim=True).expand_as(x),
    "50 images, 100 times each": lambda x: x[:1].expand_as(x),
    "noise alone": lambda x: 0.5 + 0.25 * noise(x),
}


def batches(images: Images, spoil: Spoil) -> Iterator[Tensor]:
    for index in torch.arange(len(images)).split(BATCH):
        yield spoil((images.batch(index) + 1) / 2).clamp(0, 1)


def untrained(width: int, count: int) -> Iterator[Tensor]:
    space = EAGANGenerator(width=width)
    net = space.build(space.parse("eagan-best"), seed=0).train()  # statistics of the batch: there are no others yet
    generator = torch_generator("yardstick")
    for _ in range(count // BATCH):
        with torch.no_grad():
            yield (net(torch.randn((BATCH, *space.input_shapes[0]), generator=generator)) + 1) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="cifar10")
    parser.add_argument("--held-out", default="cifar10")
    parser.add_argument("--extractor", default="cifarnet")
    parser.add_argument("--samples", type=int, default=5000)
    options = parser.parse_args()
    extractor = get_extractor(options.extractor)
    known = reference_statistics(options.images, extractor, size=32)
    held_out = load_images(options.held_out, size=32, limit=options.samples, train=False)
    rows = {f"held-out images, {name}": batches(held_out, spoil) for name, spoil in SPOILED.items()}
    rows |= {f"untrained generator, width {w}": untrained(w, options.samples) for w in (16, 32, 64)}
    print(f"{'images':<50}{'fid':>8}{'kid':>8}{'+-':>7}{'is':>7}")
    for name, images in rows.items():
        found = evaluation_of(images, name, known, extractor, None, 1, BATCH).metrics
        fid, kid, error, score = (value for key, value in found.items() if not key.startswith("is-std"))
        print(f"{name:<50}{fid:>8.1f}{kid:>8.3f}{error:>7.3f}{score:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
