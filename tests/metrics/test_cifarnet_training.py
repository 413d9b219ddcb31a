import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from autogas.errors import InputError
from autogas.files import read_json
from autogas.metrics.cifarnet import CifarNet, read_cifarnet
from autogas.metrics.cifarnet_training import (
    CifarNetRecipe,
    accuracy,
    augment,
    make_cifarnet,
    spoil,
    train_cifarnet,
    whitening_filters,
)

TINY = CifarNetRecipe(epochs=3, batch_size=16, learning_rate=0.1)


def coloured(count, seed=0):
    """Noisy images whose class is told by the brightest of three channels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    pixels = rng.integers(0, 160, (count, 3, 32, 32), dtype=np.uint8)
    pixels[np.arange(count), labels] += 90
    return torch.from_numpy(pixels), torch.from_numpy(labels)


def write(path, pixels, labels):
    encoded = []
    for image in pixels.permute(0, 2, 3, 1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    pq.write_table(pa.table({"image": encoded, "label": labels.numpy()}), path)
    return str(path)


def test_training_learns_and_is_deterministic():
    pixels, labels = coloured(96)
    first, again, other = (train_cifarnet(pixels, labels, TINY, seed=seed) for seed in (0, 0, 1))
    assert accuracy(first, *coloured(60, seed=1)) > 0.8
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(first.classifier.weight, other.classifier.weight)


def test_training_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    train_cifarnet(*coloured(16), CifarNetRecipe(epochs=1, batch_size=16))
    assert torch.equal(before, torch.get_rng_state())


def test_whitened_patches_have_unit_covariance():
    pixels, _ = coloured(50)
    images = CifarNet().normalise(pixels)
    filters = whitening_filters(images)
    responses = torch.nn.functional.conv2d(images, filters).permute(1, 0, 2, 3).flatten(1).double()
    torch.testing.assert_close(torch.cov(responses[:12]), torch.eye(12, dtype=torch.float64), atol=0.02, rtol=0)
    torch.testing.assert_close(responses[12:], -responses[:12])


def test_augmented_images_are_moved_and_mirrored_originals():
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (40, 3, 8, 8), dtype=np.uint8))
    ours = augment(pixels, 2, torch.Generator().manual_seed(0)).numpy()
    found = set()
    for image, result in zip(pixels.numpy(), ours, strict=True):
        padded = np.pad(image, ((0, 0), (2, 2), (2, 2)), mode="reflect")
        moved = {
            (i, j, m): padded[:, i : i + 8, j : j + 8][:, :, :: 1 - 2 * m]
            for i in range(5)
            for j in range(5)
            for m in (0, 1)
        }
        (which,) = (key for key, value in moved.items() if (value == result).all())
        found.add(which)
    assert {i for i, _, _ in found} == {j for _, j, _ in found} == set(range(5))
    assert {m for _, _, m in found} == {0, 1}


def test_what_is_written_is_what_was_measured(tmp_path):
    train, test = coloured(32), coloured(30, seed=1)
    images, held_out = (write(tmp_path / name, *data) for name, data in (("a.parquet", train), ("b.parquet", test)))
    path = tmp_path / "x.safetensors"
    record = make_cifarnet(images, held_out, path, TINY, data="coloured noise", seed=3)
    model, sha256 = read_cifarnet(path)
    assert read_json(path.with_suffix(".json")) == record
    assert record["sha256"] == sha256
    assert record["held_out_accuracy"] == accuracy(model, *test)
    assert (record["data"], record["seed"], record["train_images"]) == ("coloured noise", 3, 32)
    trained = train_cifarnet(*train, TINY, seed=3).state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, trained[name], rtol=1e-3, atol=1e-6)


def test_labels_out_of_range_are_refused(tmp_path):
    pixels, labels = coloured(4)
    path = write(tmp_path / "a.parquet", pixels, labels + 8)
    with pytest.raises(InputError, match="expected 0 to 9"):
        make_cifarnet(path, path, tmp_path / "x.safetensors", TINY, data="")
    assert not (tmp_path / "x.safetensors").exists()


def test_a_file_that_cannot_be_written_is_said_before_training(tmp_path):
    with pytest.raises(InputError, match="a folder that exists"):
        make_cifarnet("nowhere", "nowhere", tmp_path / "nothing" / "x.safetensors", TINY, data="")


@pytest.mark.cuda
def test_training_on_cuda_learns():
    model = train_cifarnet(*coloured(96), TINY, device="cuda")
    assert accuracy(model, *coloured(60, seed=1), device="cuda") > 0.8


def test_spoiled_images_keep_their_mean_and_half_of_them_change():
    images = torch.full((400, 3, 8, 8), 100.0)
    images[..., 4:] = 200
    recipe = CifarNetRecipe(noise=0.2, blur=1.5)
    found = spoil(images.clone(), recipe, torch.Generator().manual_seed(0))
    assert float(found.mean()) == pytest.approx(150, abs=1)
    same = (found == images).flatten(1).all(1)
    assert 0.15 < float(same.float().mean()) < 0.35  # a quarter
    assert torch.equal(spoil(images.clone(), CifarNetRecipe(), torch.Generator()), images)
