import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from autogas.datasets import load_images
from autogas.datasets.domains import Frame
from autogas.datasets.mini import CLASSES, colour_clusters, edges, make_translation
from autogas.datasets.translation import load_translation
from autogas.errors import InputError


def test_edges_are_where_brightness_jumps():
    pixels = torch.full((1, 3, 8, 8), 40, dtype=torch.uint8)
    pixels[:, :, :, 4:] = 200
    pixels[:, :, 6, 1] = 60  # too faint
    drawn = edges(pixels)
    assert drawn.shape == pixels.shape
    assert sorted(drawn.unique().tolist()) == [0, 255]
    black = drawn[0, 0] == 0
    assert black[:, 3:5].all()
    assert black.sum() == 16


def test_clusters_are_nearest_colours_ordered_by_brightness():
    shades = torch.arange(CLASSES, dtype=torch.uint8) * 50
    images = shades.view(-1, 1, 1, 1).expand(-1, 3, 6, 6).contiguous()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    labels = colour_clusters(images[order], images)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, order.to(torch.uint8).view(-1, 1, 1).expand(-1, 6, 6))


def test_pairs_and_label_maps_of_dead_leaves_are_read_back(tmp_path):
    options = {"images": "dead-leaves", "held_out": "dead-leaves", "count": 4, "held_out_count": 3}
    assert make_translation("edges2photo", tmp_path / "pairs", **options) == {"train": 4, "test": 3}
    frame, everything = Frame(32, 32), torch.arange(3)
    pairs = load_translation(tmp_path / "pairs", layout="paired", frame=frame, split="test")
    photos = load_images("dead-leaves", size=32, limit=3, train=False)
    torch.testing.assert_close(pairs.targets.batch(everything), photos.batch(everything))
    torch.testing.assert_close(pairs.inputs.batch(everything), edges(photos.pixels).float() / 127.5 - 1)
    numbers = make_translation("labels2photo", tmp_path / "maps", **options)
    assert numbers == {"train_label": 4, "train_img": 4, "test_label": 3, "test_img": 3}
    maps = load_translation(tmp_path / "maps", layout="labels", frame=frame, split="test", num_labels=CLASSES)
    torch.testing.assert_close(maps.targets.batch(everything), photos.batch(everything))
    train = load_images("dead-leaves", size=32, limit=4).pixels
    expected = colour_clusters(photos.pixels, train)  # clusters of training images, also for the test split
    assert torch.equal(maps.inputs.batch(everything)[:, :-1].argmax(1), expected.long())


def test_horses_and_deer_are_chosen_by_label(tmp_path):
    labels = [7, 4, 0, 7, 4, 4]
    for i in range(6):
        Image.fromarray(np.full((32, 32, 3), 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
    encoded = [(tmp_path / f"{i}.png").read_bytes() for i in range(6)]
    file = tmp_path / "images.parquet"
    pq.write_table(pa.table({"image": encoded, "label": labels}), file)
    other = tmp_path / "others.parquet"
    pq.write_table(pa.table({"image": encoded[::-1], "label": labels[::-1]}), other)
    numbers = make_translation("horse2deer", tmp_path / "data", images=str(file), held_out=str(other))
    assert numbers == {"trainA": 2, "trainB": 3, "testA": 2, "testB": 3}
    data = load_translation(tmp_path / "data", layout="unpaired", frame=Frame(32, 32))
    shades = ((data.targets.batch(torch.arange(3)).mean((1, 2, 3)) + 1) * 127.5).round().tolist()
    assert shades == [40, 160, 200]


def test_a_part_without_images_is_refused_before_anything_is_written(tmp_path):
    encoded = [png(0), png(1)]
    for name, labels in (("a", [7, 4]), ("b", [7, 0])):
        pq.write_table(pa.table({"image": encoded, "label": labels}), tmp_path / f"{name}.parquet")
    files = {"images": str(tmp_path / "a.parquet"), "held_out": str(tmp_path / "b.parquet")}
    with pytest.raises(InputError, match="testB of horse2deer would hold no image"):
        make_translation("horse2deer", tmp_path / "data", **files)
    assert not (tmp_path / "data").exists()


def png(shade):
    file = io.BytesIO()
    Image.fromarray(np.full((32, 32, 3), 40 * shade, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="horse2deer"):
        make_translation("horse2zebra", tmp_path / "data")
    (tmp_path / "images").mkdir()
    same = str(tmp_path / "images")
    with pytest.raises(InputError, match="for both splits"):
        make_translation("edges2photo", tmp_path / "data", images=same, held_out=f"{same}/../images")
    with pytest.raises(InputError, match="without --held-out"):
        make_translation("edges2photo", tmp_path / "data", images=same)
    with pytest.raises(InputError, match="labels 'dead-leaves'"):
        make_translation("horse2deer", tmp_path / "data", images="dead-leaves", held_out="dead-leaves", count=3)
    assert not (tmp_path / "data").exists()
    options = {"images": "dead-leaves", "held_out": "dead-leaves", "count": 2, "held_out_count": 2}
    make_translation("edges2photo", tmp_path / "data", **options)
    with pytest.raises(InputError, match="holds data already"):
        make_translation("edges2photo", tmp_path / "data", **options)
    with pytest.raises(InputError, match="images of 1 colours"):
        colour_clusters(torch.zeros(2, 3, 6, 6, dtype=torch.uint8), torch.zeros(2, 3, 6, 6, dtype=torch.uint8))


def test_a_data_set_is_not_written_among_the_images_that_it_is_made_of(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "0.png")
    options = {"images": str(tmp_path / "a"), "held_out": str(tmp_path / "b"), "size": 8}
    with pytest.raises(InputError, match=r"lies in .*/a', of which it is made"):
        make_translation("edges2photo", tmp_path / "a" / "data", **options)
    with pytest.raises(InputError, match="folder '': expected the name"):
        make_translation("edges2photo", "", **options)
    assert len(list(tmp_path.rglob("*.png"))) == 2


def test_half_a_data_set_is_taken_away(tmp_path, monkeypatch):
    options = {"images": "dead-leaves", "held_out": "dead-leaves", "count": 2, "held_out_count": 2, "size": 8}
    save = Image.Image.save

    def full(image, path):
        if path.parent.name == "test":
            raise OSError("File too large")
        save(image, path)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="too large"):
        make_translation("edges2photo", tmp_path / "data", **options)
    monkeypatch.undo()
    assert make_translation("edges2photo", tmp_path / "data", **options) == {"train": 2, "test": 2}
