"""Images are read as they are meant, from where they are meant to be."""

import io
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from autogas.datasets import load_images
from autogas.datasets.domains import Frame
from autogas.datasets.images import count_images
from autogas.datasets.pictures import rgb
from autogas.datasets.translation import load_translation
from autogas.errors import InputError
from autogas.runs import Run

RAMP = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))


def grey(values, mode=None):
    return Image.fromarray(values, mode) if mode else Image.fromarray(values)


def half_white(size=(16, 16)):
    """White above, black below, as stored."""
    values = np.zeros((*size, 3), np.uint8)
    values[: size[0] // 2] = 255
    return Image.fromarray(values)


def mean(folder):
    return float(load_images(folder, size=32).pixels.double().mean())


def test_16_bits_are_read_as_the_same_picture_of_8(tmp_path):
    grey(RAMP.astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert mean(tmp_path) == RAMP.mean() == 124
    pixels = load_images(tmp_path, size=32).pixels[0]
    assert torch.equal(pixels, torch.from_numpy(RAMP).expand(3, 32, 32))


@pytest.mark.parametrize("value", [0, 1, 128, 129, 257, 40000, 65407, 65535])
def test_16_bits_are_rounded(tmp_path, value):
    grey(np.full((4, 4), value, np.uint16)).save(tmp_path / "a.png")
    assert load_images(tmp_path, size=4).pixels.unique().tolist() == [int(value / 257 + 0.5)]


def test_16_bits_in_a_table(tmp_path):
    content = io.BytesIO()
    grey(RAMP.astype(np.uint16) * 257).save(content, "PNG")
    parquet.write_table(pa.table({"image": [content.getvalue()]}), tmp_path / "a.parquet")
    assert mean(tmp_path / "a.parquet") == 124


def test_16_bits_in_label_maps_are_numbers(tmp_path):
    labels = np.array([[0, 1], [2, 300]], np.uint16).repeat(4, 0).repeat(4, 1)
    for split in ("train_label", "train_img"):
        (tmp_path / split).mkdir()
    grey(labels).save(tmp_path / "train_label" / "a.png")
    half_white((8, 8)).save(tmp_path / "train_img" / "a.png")
    data = load_translation(tmp_path, layout="labels", frame=Frame(8, 8), num_labels=301)
    assert np.unique(data.inputs.labels(0)).tolist() == [0, 1, 2, 300]
    with pytest.raises(InputError, match="label 300, expected 0 to 2"):
        load_translation(tmp_path, layout="labels", frame=Frame(8, 8), num_labels=3).inputs.labels(0)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (77, 0), (77, 77, 77)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("P", 0, (0, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb_and_transparency_is_left_out(tmp_path, mode, colour, expected):
    Image.new(mode, (4, 4), colour).save(tmp_path / "a.png")
    assert tuple(load_images(tmp_path, size=4).pixels[0, :, 0, 0].tolist()) == expected


# What each of the eight orientations makes of an image whose upper half is stored white.
WHITE = {1: "top", 2: "top", 3: "bottom", 4: "bottom", 5: "left", 6: "right", 7: "right", 8: "left"}
SIDES = {"top": np.s_[:8, :], "bottom": np.s_[8:, :], "left": np.s_[:, :8], "right": np.s_[:, 8:]}


def oriented(orientation, target, kind="PNG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    half_white().save(target, kind, exif=exif)


@pytest.mark.parametrize("orientation", WHITE)
def test_images_are_upright(tmp_path, orientation):
    oriented(orientation, tmp_path / "a.png")
    pixels = load_images(tmp_path, size=16).pixels[0, 0].numpy()
    expected = np.zeros((16, 16), np.uint8)
    expected[SIDES[WHITE[orientation]]] = 255
    assert (pixels == expected).all()


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_images_in_tables_and_pairs_are_upright(tmp_path, orientation):
    content = io.BytesIO()
    oriented(orientation, content)
    parquet.write_table(pa.table({"image": [content.getvalue()]}), tmp_path / "a.parquet")
    pixels = load_images(tmp_path / "a.parquet", size=16).pixels[0, 0]
    for side in ("trainA", "trainB"):
        (tmp_path / side).mkdir()
        oriented(orientation, tmp_path / side / "a.png")
    data = load_translation(tmp_path, layout="unpaired", frame=Frame(16, 16))
    image = data.inputs.batch(torch.tensor([0]))[0, 0]
    assert torch.equal(image > 0, pixels > 127)
    expected = np.zeros((16, 16), bool)
    expected[SIDES[WHITE[orientation]]] = True
    assert (pixels.numpy() > 127).tolist() == expected.tolist()


def test_a_sideways_pair_has_its_halves_side_by_side_when_upright(tmp_path):
    (tmp_path / "train").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    half_white((32, 16)).save(tmp_path / "train" / "a.png", exif=exif)  # upright it is 32 wide, its right half white
    data = load_translation(tmp_path, layout="paired", frame=Frame(16, 16))
    index = torch.tensor([0])
    assert float(data.inputs.batch(index).mean()) == -1
    assert float(data.targets.batch(index).mean()) == 1


@pytest.mark.parametrize(
    "name",
    [
        "._a.png",
        ".hidden.png",
        ".ipynb_checkpoints/a-checkpoint.png",
        "__MACOSX/a.png",
        "@eaDir/a.jpg",
        ".git/x/a.png",
        "deep/._b.png",
    ],
)
def test_what_is_hidden_is_no_image(tmp_path, name):
    half_white().save(tmp_path / "a.png")
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"\x00\x05\x16\x07 what macOS keeps")
    assert len(load_images(tmp_path, size=8)) == count_images(tmp_path) == 1


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    colours = Image.new("P", (8, 8))
    colours.putpalette([200, 100, 0, 0, 0, 0])
    colours.save(tmp_path / "a.png", transparency=bytes([128, 255]))
    assert load_images(tmp_path, size=8).pixels[0, :, 0, 0].tolist() == [200, 100, 0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": "32"}, "size '32': expected a whole number from 1"),
        ({"size": 0}, "size 0: expected"),
        ({"size": 10**6}, "size 1000000: expected"),
        ({"size": 8, "limit": -1}, "limit -1: expected a whole number of 1 or more"),
        ({"size": 8, "limit": 2.0}, "limit 2.0: expected"),
        ({"size": 8, "source": None}, "images of type NoneType: expected a path"),
        ({"size": 8, "source": "a.png"}, "'a.png': a single image; expected a folder"),
    ],
)
def test_arguments_of_loading_are_checked(tmp_path, monkeypatch, given, said):
    half_white().save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(said)):
        load_images(**{"source": str(tmp_path), **given})


def test_a_path_of_the_name_of_a_data_set_is_a_path(tmp_path, monkeypatch):
    (tmp_path / "cifar10").mkdir()
    half_white().save(tmp_path / "cifar10" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert len(load_images(Path("cifar10"), size=8)) == 1


def test_hidden_files_have_no_partner_and_need_none(tmp_path):
    for side in ("trainA", "trainB"):
        (tmp_path / side).mkdir()
        half_white().save(tmp_path / side / "a.png")
    (tmp_path / "trainA" / "._a.png").write_bytes(b"x")
    assert len(load_translation(tmp_path, layout="unpaired", frame=Frame(8, 8)).inputs) == 1


def test_linked_folders_are_followed_and_loops_end(tmp_path):
    images, elsewhere = tmp_path / "images", tmp_path / "elsewhere"
    images.mkdir()
    elsewhere.mkdir()
    half_white().save(images / "a.png")
    half_white().save(elsewhere / "b.png")
    (images / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(images)
    assert len(load_images(images, size=8)) == count_images(images) == 2


def test_a_link_to_nothing_is_one_line(tmp_path):
    half_white().save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"b\.png: not a readable image"):
        load_images(tmp_path, size=8)


@pytest.mark.parametrize("suffix", [".tif", ".gif", ".avif", ".heic", ".npy", ".TIFF"])
def test_formats_that_are_left_out_are_said(tmp_path, suffix):
    half_white().save(tmp_path / "a.png")
    half_white().save(tmp_path / "B.JPG")
    for i in range(3):
        (tmp_path / f"{i}{suffix}").write_bytes(b"x")
    with pytest.warns(UserWarning, match=rf"3 {suffix.lower()} left out; read are .png, .jpg"):
        assert len(load_images(tmp_path, size=8)) == 2
    (tmp_path / "a.png").unlink()
    (tmp_path / "B.JPG").unlink()
    with pytest.raises(InputError, match=rf"no .png.* file in this folder \(but 3 {suffix.lower()}\)"):
        load_images(tmp_path, size=8)


@pytest.mark.parametrize("where", ["run", ".", "runs/of/mine"])
def test_the_pictures_of_a_run_are_no_images(tmp_path, where):
    folder = tmp_path / "images"
    run = Run.start("train", {}, folder / where)
    (run.path / "samples").mkdir()
    half_white().save(run.path / "samples" / "step-1.png")
    half_white().save(run.path / "losses.png")
    run.__exit__(None, None, None)
    with pytest.raises(InputError, match=r"is the folder of a run: name its generator\.safetensors"):
        load_images(folder, size=8)
    with pytest.raises(InputError, match=r"whose pictures are sheets of samples: name its generator\.safetensors"):
        load_images(run.path / "samples", size=8)
    (run.path / "mine").mkdir()
    half_white().save(run.path / "mine" / "1.png")
    assert len(load_images(run.path / "mine", size=8)) == 1


def test_count_is_what_is_loaded(tmp_path):
    for i in range(5):
        half_white().save(tmp_path / f"{i}.png")
    assert count_images(tmp_path) == len(load_images(tmp_path, size=8)) == 5
    assert count_images("cifar10") is None
    assert count_images(tmp_path / "nowhere") is None


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + b"\x00" * 50])
def test_files_that_only_look_like_images_are_one_line(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: not a readable image") as error:
        load_images(tmp_path, size=8)
    assert len(str(error.value).splitlines()) == 1


def test_a_table_that_would_fill_the_memory_is_read_in_pieces_or_refused(tmp_path):
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), pa.array([b"x" * 60_000]))
    parquet.write_table(pa.table({"image": values}), tmp_path / "bomb.parquet", compression="zstd")
    assert os.path.getsize(tmp_path / "bomb.parquet") < 100_000
    with pytest.raises(InputError, match="row 0: not a readable image"):
        load_images(tmp_path / "bomb.parquet", size=8)


def test_a_name_in_another_writing(tmp_path):
    half_white().save(tmp_path / "Bild é 漢.PNG")
    os.rename(tmp_path / "Bild é 漢.PNG", os.fsencode(tmp_path) + b"/\xff\xfe.png")
    assert len(load_images(tmp_path, size=8)) == 1
    assert Path(tmp_path).exists()


def test_numbers_of_32_bits_that_may_be_of_8_are_refused():
    small = Image.fromarray(np.full((4, 4), 200, dtype=np.int32))
    with pytest.raises(ValueError, match="32-bit numbers up to 200"):
        rgb(small)
    assert np.asarray(rgb(Image.fromarray(np.full((4, 4), 65535, dtype=np.int32)))).max() == 255


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_other_exif_tags_of_any_type_do_not_keep_an_image_from_being_upright(suffix, tmp_path):
    """ResolutionUnit as text, beside an orientation of 6."""
    tags = b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + b"\x01\x28\0\x02\0\0\0\x022\0\0\0"
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + tags + b"\0\0\0\0"
    stored = np.zeros((32, 32, 3), dtype=np.uint8)
    stored[:16] = 255  # the upper half as it is stored is the right one
    Image.fromarray(stored).save(tmp_path / f"phone.{suffix}", exif=exif)
    pixels = load_images(str(tmp_path), size=32).pixels
    assert pixels[0, :, :, 20:].float().mean() > 240
    assert pixels[0, :, :, :12].float().mean() < 15
