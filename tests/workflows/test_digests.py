"""Images that a run reads are told from others, wherever they differ."""

import numpy as np
from PIL import Image

from autogas.workflows.opening import _digest


def test_a_pixel_in_the_middle_counts(tmp_path):
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.bmp")
    before = _digest(str(tmp_path), "images")
    pixels[30, 30] = 255
    Image.fromarray(pixels).save(tmp_path / "a.bmp")
    assert _digest(str(tmp_path), "images") != before
