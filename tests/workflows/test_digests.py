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


def test_of_a_training_its_network_counts_and_nothing_else(tmp_path):
    weights = tmp_path / "generator.safetensors"
    weights.write_bytes(b"one")
    before = [_digest(str(tmp_path), name) for name in ("images", "teacher")]
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / "losses.png")
    (tmp_path / "generator.onnx").write_bytes(b"by export")
    assert [_digest(str(tmp_path), name) for name in ("images", "teacher")] == before
    weights.write_bytes(b"two")
    assert not set(before) & {_digest(str(tmp_path), name) for name in ("images", "teacher")}
