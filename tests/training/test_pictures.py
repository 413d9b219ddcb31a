import io

import numpy as np
import torch
from PIL import Image

from autogas.training.pictures import in_colours, loss_curves, sample_grid


def test_a_grid_shows_every_sample_in_its_place():
    images = torch.arange(6).view(6, 1, 1, 1).expand(6, 3, 4, 4) / 10
    pixels = np.asarray(Image.open(io.BytesIO(sample_grid(images, columns=3))))
    assert pixels.shape == (2 * 6 + 2, 3 * 6 + 2, 3)
    for i in range(6):
        top, left = 2 + 6 * (i // 3), 2 + 6 * (i % 3)
        assert (pixels[top : top + 4, left : left + 4] == round(25.5 * i)).all()


def test_loss_curves_are_drawn_for_every_loss():
    def coloured(names):
        rows = [{"step": step, **{name: float(step + i) for i, name in enumerate(names)}} for step in (1, 2)]
        pixels = np.asarray(Image.open(io.BytesIO(loss_curves(rows))).convert("RGB")).reshape(-1, 3)
        return {tuple(colour) for colour in np.unique(pixels, axis=0)}

    blue, orange = (31, 119, 180), (255, 127, 14)
    assert blue in coloured(["a"])
    assert orange not in coloured(["a"])
    assert {blue, orange} <= coloured(["a", "b"])


def test_each_label_has_its_colour_whatever_its_edges():
    labels = torch.tensor([[[0, 1], [1, 0]]])
    hot = torch.nn.functional.one_hot(labels, 2).permute(0, 3, 1, 2).float()
    for edges in (torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)):
        picture = in_colours(torch.cat([hot, edges], 1))
        assert picture.shape == (1, 3, 2, 2)
        assert picture.min() >= 0
        assert picture.max() <= 1
        assert torch.equal(picture[..., 0, 0], picture[..., 1, 1])
        assert not torch.equal(picture[..., 0, 0], picture[..., 0, 1])
