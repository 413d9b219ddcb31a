import io
import pickle
from urllib.error import URLError

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision import datasets as torchvision_datasets

from autogas.datasets import Images, load_images, load_labels, stream_images
from autogas.errors import InputError


def random_pixels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels, form="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def solid(value, size=8):
    return np.full((size, size, 3), value, np.uint8)


def write_folder(folder, images):
    for name, pixels in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)


def write_parquet(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def as_array(images):
    return images.pixels.permute(0, 2, 3, 1).numpy()


def levels(images):
    """One grey level for each image of one colour."""
    return [int(image.unique()) for image in images.pixels]


def triangle_matrix(size_in, size_out):
    """Weights of antialiased bilinear resizing: a triangle as wide as the larger of the two pixels."""
    scale = size_in / size_out
    centres = (np.arange(size_out) + 0.5) * scale
    distance = np.abs(np.arange(size_in) + 0.5 - centres[:, None]) / max(scale, 1)
    weights = np.clip(1 - distance, 0, None)
    return weights / weights.sum(1, keepdims=True)


def resized(pixels, size):
    """Centre square of ``pixels``, resized."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side].astype(float)
    m = triangle_matrix(side, size)
    return np.einsum("ih,jw,hwc->ijc", m, m, square)


# Images


def test_batch_is_scaled_to_minus_one_and_one():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)[:, None, None, None].expand(3, 3, 2, 2)
    batch = Images(pixels, "x").batch(torch.tensor([2, 0, 1, 2]))
    assert batch.shape == (4, 3, 2, 2)
    torch.testing.assert_close(batch[:, 0, 0, 0], torch.tensor([1.0, -1.0, -0.6, 1.0]))


def test_batch_leaves_the_pixels_alone():
    images = Images(torch.full((2, 3, 2, 2), 7, dtype=torch.uint8), "x")
    images.batch(torch.arange(2))
    assert images.pixels.unique().tolist() == [7]


def test_len_counts_images():
    assert len(Images(torch.zeros(5, 3, 2, 2, dtype=torch.uint8), "x")) == 5


# Crop and resize


def test_an_image_of_the_right_size_is_not_touched(tmp_path):
    pixels = random_pixels(16, 16)
    write_folder(tmp_path, {"a.png": pixels})
    images = load_images(tmp_path, size=16, limit=1)
    assert images.pixels.dtype == torch.uint8
    assert images.pixels.shape == (1, 3, 16, 16)
    assert (as_array(images)[0] == pixels).all()


STRIPS = [(64, 32), (32, 65), (33, 50), (5, 9)]
SHAPES = [(32, 32), (17, 17), (16, 40), (5, 5), *STRIPS]


@pytest.mark.parametrize("shape", SHAPES)
def test_crop_and_resize_equal_those_of_pillow_in_two_steps(tmp_path, shape):
    pixels = random_pixels(*shape)
    write_folder(tmp_path, {"a.png": pixels})
    height, width = shape
    side = min(shape)
    left, top = (width - side) // 2, (height - side) // 2
    square = Image.fromarray(pixels).crop((left, top, left + side, top + side))
    expected = np.asarray(square.resize((16, 16), Image.Resampling.BILINEAR))
    assert (as_array(load_images(tmp_path, size=16, limit=1))[0] == expected).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_crop_and_resize_equal_their_definition(tmp_path, shape):
    pixels = random_pixels(*shape)
    write_folder(tmp_path, {"a.png": pixels})
    ours = as_array(load_images(tmp_path, size=16, limit=1))[0]
    np.testing.assert_allclose(ours, resized(pixels, 16), atol=1.5)  # rounded twice


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("border", [0, 1])
def test_the_crop_is_in_the_centre(tmp_path, axis, border):
    parts = [solid(10), solid(200), solid(90)]
    write_folder(tmp_path, {"a.png": np.concatenate(parts, axis)})
    image = load_images(tmp_path, size=4, limit=1).pixels[0]
    assert image[:, border : 4 - border, border : 4 - border].unique().tolist() == [200]


# Folders


def test_folder_is_searched_in_the_order_of_paths(tmp_path):
    write_folder(tmp_path, {"b.png": solid(2), "a/z.bmp": solid(1), "c/a/x.png": solid(4), "c/a.png": solid(3)})
    images = load_images(tmp_path, size=8, limit=10)
    order = sorted(["b.png", "a/z.bmp", "c/a/x.png", "c/a.png"], key=lambda name: name.split("/"))
    expected = {"b.png": 2, "a/z.bmp": 1, "c/a/x.png": 4, "c/a.png": 3}
    assert levels(images) == [expected[name] for name in order]
    assert images.source == str(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "bmp", "PNG", "Jpg"])
def test_folder_reads_every_accepted_suffix(tmp_path, suffix):
    write_folder(tmp_path, {f"a.{suffix}": solid(128)})
    assert abs(as_array(load_images(tmp_path, size=8, limit=1)).astype(int) - 128).max() <= 2


def test_folder_passes_over_other_files(tmp_path):
    write_folder(tmp_path, {"a.png": solid(5)})
    (tmp_path / "b.txt").write_text("no image")
    assert levels(load_images(tmp_path, size=8, limit=10)) == [5]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    name = "a.jpg" if mode == "CMYK" else "a.png"
    Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode).save(tmp_path / name)
    images = load_images(tmp_path, size=8, limit=1)
    assert images.pixels.shape == (1, 3, 8, 8)
    assert int(images.pixels.min()) >= 254


def test_colours_keep_their_order(tmp_path):
    write_folder(tmp_path, {"a.png": np.broadcast_to(np.uint8([10, 20, 30]), (8, 8, 3)).copy()})
    assert load_images(tmp_path, size=8, limit=1).pixels[0, :, 0, 0].tolist() == [10, 20, 30]


# Parquet


@pytest.mark.parametrize("column", ["image", "img", "bytes", "jpeg", "png"])
def test_parquet_of_plain_bytes(tmp_path, column):
    pixels = [random_pixels(8, 8, seed) for seed in range(3)]
    path = write_parquet(tmp_path / "x.parquet", label=[1, 2, 3], **{column: [encoded(p) for p in pixels]})
    images = load_images(path, size=8, limit=10)
    assert (as_array(images) == np.stack(pixels)).all()
    assert images.source == str(path)


def test_parquet_of_hugging_face(tmp_path):
    pixels = [random_pixels(8, 8, seed) for seed in range(3)]
    column = [{"bytes": encoded(p), "path": f"{i}.png"} for i, p in enumerate(pixels)]
    path = write_parquet(tmp_path / "x.parquet", img=column, label=[1, 2, 3])
    assert (as_array(load_images(str(path), size=8, limit=10)) == np.stack(pixels)).all()


def test_parquet_images_are_cropped_and_resized_like_files(tmp_path):
    pixels = random_pixels(20, 31)
    write_folder(tmp_path, {"a.png": pixels})
    path = write_parquet(tmp_path / "x.parquet", image=[encoded(pixels)])
    from_file, from_parquet = (load_images(source, size=16, limit=1) for source in (tmp_path, path))
    assert torch.equal(from_file.pixels, from_parquet.pixels)


@pytest.mark.parametrize("limit", [1, 3, 1024, 1025, 1500, 5000])
def test_parquet_order_holds_over_batches(tmp_path, limit):
    path = tmp_path / "x.parquet"
    column = [encoded(solid(i % 251, 1)) for i in range(1500)]
    pq.write_table(pa.table({"image": column}), path, row_group_size=400)
    assert levels(load_images(path, size=1, limit=limit)) == [i % 251 for i in range(min(limit, 1500))]


def test_real_cifar10(shared_data):
    path = shared_data / "cifar10_jpeg_test.parquet"
    images = load_images(path, size=32, limit=4)
    assert images.pixels.shape == (4, 3, 32, 32)
    rows = next(pq.ParquetFile(path).iter_batches(batch_size=4)).column("image").to_pylist()
    for ours, row in zip(as_array(images), rows, strict=True):
        assert (ours == np.asarray(Image.open(io.BytesIO(row)).convert("RGB"))).all()
    # Four photographs: each with many colours, no two alike.
    assert all(len(image.unique()) > 50 for image in images.pixels)
    assert len({image.numpy().tobytes() for image in images.pixels}) == 4


# Limit


@pytest.mark.parametrize("limit", [1, 3, 5, 99])
def test_limit_takes_the_first_ones_of_a_folder(tmp_path, limit):
    write_folder(tmp_path, {f"{i}.png": solid(i) for i in range(5)})
    assert levels(load_images(tmp_path, size=8, limit=limit)) == list(range(min(limit, 5)))


def test_limit_of_zero_reads_no_image(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", image=[encoded(solid(1))] * 3)
    with pytest.raises(InputError):
        load_images(path, size=8, limit=0)


def test_without_a_limit_all_are_read(tmp_path):
    write_folder(tmp_path, {f"{i}.png": solid(i) for i in range(5)})
    assert levels(load_images(tmp_path, size=8)) == list(range(5))


# Streams


@pytest.mark.parametrize("batch_size", [1, 4, 10, 99])
@pytest.mark.parametrize("limit", [None, 7, 99])
def test_a_stream_holds_the_same_images_in_batches(tmp_path, batch_size, limit):
    path = write_parquet(tmp_path / "x.parquet", image=[encoded(random_pixels(8, 8, seed)) for seed in range(10)])
    batches = list(stream_images(path, batch_size=batch_size, limit=limit))
    assert torch.equal(torch.cat(batches), load_images(path, size=8, limit=limit).pixels)
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}


def test_a_stream_leaves_images_as_they_are(tmp_path):
    pixels = [random_pixels(5, 9, seed) for seed in range(3)]
    write_folder(tmp_path, {f"{i}.png": image for i, image in enumerate(pixels)})
    (batch,) = stream_images(tmp_path, batch_size=3)
    assert (batch.permute(0, 2, 3, 1).numpy() == np.stack(pixels)).all()
    (batch,) = stream_images(tmp_path, batch_size=3, size=4)
    assert torch.equal(batch, load_images(tmp_path, size=4).pixels)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_stream_of_different_sizes_is_refused(tmp_path, batch_size):
    write_folder(tmp_path, {"a.png": random_pixels(5, 9), "b.png": random_pixels(9, 5)})
    with pytest.raises(InputError, match=r"of sizes 9x5 and 5x9; [^\n]+$"):
        list(stream_images(tmp_path, batch_size=batch_size))


# Labels


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint16()])
@pytest.mark.parametrize("limit", [None, 2, 9])
def test_labels_of_a_parquet_file(tmp_path, kind, limit):
    path = write_parquet(tmp_path / "x.parquet", label=pa.array([3, 0, 7], kind), image=[encoded(solid(1))] * 3)
    labels = load_labels(path, limit=limit)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [3, 0, 7][:limit]


def test_labels_of_real_cifar10(shared_data):
    counts = torch.bincount(load_labels(shared_data / "cifar10_jpeg_test.parquet"))
    assert counts.tolist() == [1000] * 10


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"fine": [1]}, "has fine, expected label"),
        ({"label": [1.5]}, "double"),
        ({"label": ["cat"]}, "string"),
        ({"label": [1, None]}, "without gaps"),
    ],
)
def test_bad_labels_are_refused(tmp_path, columns, said):
    path = write_parquet(tmp_path / "x.parquet", **columns)
    with pytest.raises(InputError) as error:
        load_labels(path)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("source", [".", "nowhere"])
def test_labels_of_no_file_are_refused(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected cifar10, stl10 or a Parquet file"):
        load_labels(source)


# Bad sources


def refused(source):
    with pytest.raises(InputError) as error:
        load_images(source, size=8, limit=5)
    assert len(str(error.value).splitlines()) == 1
    assert repr(str(source)) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("source", ["", "nowhere", "cifar11", "CIFAR10", "nowhere.parquet"])
def test_a_missing_source(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    assert "expected cifar10, stl10, stl10-unlabeled, dead-leaves, a folder of images or a Parquet file" in refused(
        source
    )


def test_an_empty_folder(tmp_path):
    assert ".png" in refused(tmp_path)


def test_a_folder_without_images(tmp_path):
    (tmp_path / "a.txt").write_text("no image")
    refused(tmp_path)


def test_a_parquet_file_without_an_image_column(tmp_path):
    message = refused(write_parquet(tmp_path / "x.parquet", label=[1], photo=[b"x"]))
    assert "has label, photo, expected image, img, bytes, jpeg, png" in message


def test_a_parquet_file_without_rows(tmp_path):
    message = refused(write_parquet(tmp_path / "x.parquet", image=pa.array([], pa.binary())))
    assert "holds no image" in message


@pytest.mark.parametrize("content", [b"", b"no Parquet at all", b"PAR1 half of one"])
def test_a_file_that_is_no_parquet(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)
    assert "not a readable Parquet file" in refused(tmp_path / "x.parquet")


whole = encoded(random_pixels(64, 64), "JPEG")
CORRUPT = {"noise": b"no image", "empty": b"", "cut": whole[: len(whole) // 2]}


@pytest.mark.parametrize("content", CORRUPT.values(), ids=CORRUPT)
def test_a_corrupt_image_file_is_named(tmp_path, content):
    write_folder(tmp_path, {"a.png": solid(1)})
    (tmp_path / "b.jpg").write_bytes(content)
    assert "b.jpg" in refused(tmp_path)


@pytest.mark.parametrize("content", CORRUPT.values(), ids=CORRUPT)
def test_a_corrupt_image_in_a_parquet_file(tmp_path, content):
    refused(write_parquet(tmp_path / "x.parquet", image=[encoded(solid(1)), content]))


@pytest.mark.parametrize(
    "value", [None, "a.png", 7, {"bytes": None, "path": "a.png"}, {"path": "a.png"}, {"bytes": "text"}], ids=repr
)
def test_a_parquet_column_that_holds_no_bytes(tmp_path, monkeypatch, value):
    write_folder(tmp_path, {"a.png": solid(1)})
    monkeypatch.chdir(tmp_path)  # a path in the file must not be followed
    refused(write_parquet(tmp_path / "x.parquet", image=[value]))


# torchvision


def write_cifar10(root, per_batch):
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    pixels = {}
    for seed, name in enumerate(names):
        data = np.random.default_rng(seed).integers(0, 256, (per_batch, 3, 32, 32), dtype=np.uint8)
        pixels[name] = data
        content = {"data": data.reshape(per_batch, 3072), "labels": [0] * per_batch}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))
    return np.concatenate([pixels[name] for name in names[:5]]), pixels["test_batch"]


def write_stl10(root, count):
    folder = root / "stl10_binary"
    folder.mkdir()
    pixels = {}
    for seed, split in enumerate(("train", "test")):
        data = np.random.default_rng(seed).integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        pixels[split] = data
        (folder / f"{split}_X.bin").write_bytes(data.transpose(0, 1, 3, 2).tobytes())  # column by column
        (folder / f"{split}_y.bin").write_bytes(np.ones(count, np.uint8).tobytes())
    (folder / "class_names.txt").write_text("\n".join(map(str, range(10))) + "\n")
    return pixels["train"], pixels["test"]


@pytest.fixture
def trusting(monkeypatch):
    """Files on disk are taken for the real ones; nothing is downloaded."""
    for module in ("cifar", "stl10"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda *_: True)
        monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", None)


@pytest.mark.parametrize("limit", [1, 4, 99])
@pytest.mark.parametrize("train", [True, False])
def test_cifar10_of_torchvision(tmp_path, trusting, limit, train):
    expected = write_cifar10(tmp_path, 2)[0 if train else 1]
    images = load_images("cifar10", size=32, limit=limit, train=train, root=tmp_path)
    assert images.source == "cifar10"
    assert (images.pixels.numpy() == expected[:limit]).all()
    assert len(images) == min(limit, len(expected))


def test_labels_of_torchvision(tmp_path, trusting):
    write_cifar10(tmp_path, 2)
    write_stl10(tmp_path, 2)
    assert load_labels("cifar10", root=tmp_path).tolist() == [0] * 10
    assert load_labels("cifar10", train=False, limit=1, root=tmp_path).tolist() == [0]
    assert load_labels("stl10", root=tmp_path).tolist() == [0, 0]  # the file counts from 1


@pytest.mark.parametrize("train", [True, False])
def test_stl10_of_torchvision(tmp_path, trusting, train):
    expected = write_stl10(tmp_path, 2)[0 if train else 1]
    images = load_images("stl10", size=96, limit=5, train=train, root=tmp_path)
    assert (images.pixels.numpy() == expected).all()


def test_stl10_with_unlabeled_images(tmp_path, trusting):
    train, test = write_stl10(tmp_path, 2)
    more = np.random.default_rng(9).integers(0, 256, (3, 3, 96, 96), dtype=np.uint8)
    (tmp_path / "stl10_binary" / "unlabeled_X.bin").write_bytes(more.transpose(0, 1, 3, 2).tobytes())
    images = load_images("stl10-unlabeled", size=96, root=tmp_path)
    assert (images.pixels.numpy() == np.concatenate([train, more])).all()
    held_out = load_images("stl10-unlabeled", size=96, train=False, root=tmp_path)
    assert (held_out.pixels.numpy() == test).all()
    with pytest.raises(InputError, match="expected cifar10, stl10 or a Parquet file"):
        load_labels("stl10-unlabeled", root=tmp_path)


@pytest.mark.parametrize(("name", "write", "size"), [("cifar10", write_cifar10, 16), ("stl10", write_stl10, 32)])
def test_torchvision_images_are_resized_as_files_are(tmp_path, trusting, name, write, size):
    pixels, _ = write(tmp_path, 1)
    images = load_images(name, size=size, limit=1, root=tmp_path)
    np.testing.assert_allclose(as_array(images)[0], resized(pixels[0].transpose(1, 2, 0), size), atol=1.5)


@pytest.mark.parametrize("name", ["cifar10", "stl10"])
@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("corrupted"), PermissionError(13, "denied")])
def test_a_failed_download(tmp_path, monkeypatch, name, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torchvision_datasets, name.upper(), fail)
    monkeypatch.chdir(tmp_path)
    assert "could not load or download" in refused(name)


@pytest.mark.parametrize("name", ["cifar10", "stl10"])
def test_a_root_that_cannot_be_made(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="could not load or download"):
        load_images(name, size=32, limit=1, root=tmp_path / "file" / "x")
