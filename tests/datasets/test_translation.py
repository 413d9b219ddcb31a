import numpy as np
import pytest
import torch
from PIL import Image

from autogas.datasets.domains import Frame, ImageFiles, LabelMaps, draw_views
from autogas.datasets.translation import find_layout, load_translation
from autogas.errors import InputError


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path)


def noise(height, width, seed=0, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def everything(domain):
    return domain.batch(torch.arange(len(domain)))


def in_range(pixels):
    return torch.tensor(pixels).permute(2, 0, 1).float() / 127.5 - 1


FRAME = Frame(8, 8)


@pytest.fixture
def unpaired(tmp_path):
    for seed, (folder, count) in enumerate((("trainA", 3), ("trainB", 2), ("testA", 2), ("testB", 2))):
        for i in range(count):
            save(tmp_path / folder / f"{i}.png", noise(8, 8, 10 * seed + i))
    return tmp_path


@pytest.fixture
def paired(tmp_path):
    for split in ("train", "val"):
        for i in range(3):
            save(tmp_path / split / f"{i}.png", noise(8, 16, i))
    return tmp_path


@pytest.fixture
def labelled(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for i in range(2):
            save(tmp_path / f"{split}_label" / f"{i}.png", rng.integers(0, 4, (8, 8), dtype=np.uint8))
            save(tmp_path / f"{split}_img" / f"{i}.png", noise(8, 8, i))
    return tmp_path


def cityscapes(root):
    for split in ("train", "val"):
        for i in range(2):
            name = f"bonn/bonn_{i:06}_000019"
            save(root / "leftImg8bit" / split / f"{name}_leftImg8bit.png", noise(8, 16, i))
            labels = np.full((8, 16), 7, np.uint8)
            labels[:, 8:] = 34 - i
            save(root / "gtFine" / split / f"{name}_gtFine_labelIds.png", labels)
            instances = labels.astype(np.uint16)
            instances[4:, :8] = 26_001  # two of one class
            save(root / "gtFine" / split / f"{name}_gtFine_instanceIds.png", instances)
    return root


# Layouts


def test_unpaired_domains(unpaired):
    data = load_translation(unpaired, layout="unpaired", frame=FRAME)
    assert (len(data.inputs), len(data.targets), data.paired, data.split) == (3, 2, False, "train")
    torch.testing.assert_close(everything(data.inputs)[1], in_range(noise(8, 8, 1)))
    torch.testing.assert_close(everything(data.targets)[1], in_range(noise(8, 8, 11)))
    back = load_translation(unpaired, layout="unpaired", frame=FRAME, direction="BtoA")
    torch.testing.assert_close(everything(back.targets), everything(data.inputs))
    assert find_layout(unpaired) == "unpaired"


def test_halves_of_a_pair(paired):
    data = load_translation(paired, layout="paired", frame=FRAME)
    whole = in_range(noise(8, 16, 2))
    torch.testing.assert_close(everything(data.inputs)[2], whole[:, :, :8])
    torch.testing.assert_close(everything(data.targets)[2], whole[:, :, 8:])
    back = load_translation(paired, layout="paired", frame=FRAME, direction="BtoA")
    torch.testing.assert_close(everything(back.inputs), everything(data.targets))
    assert find_layout(paired) == "paired"


def test_label_maps_beside_pairs_are_kept_at_their_size(paired):
    assert load_translation(paired, layout="paired", frame=FRAME).labels is None
    for i in range(3):
        save(paired / "val_label" / f"{i}.png", np.full((20, 40), 30 + i, np.uint8))
    data = load_translation(paired, layout="paired", frame=FRAME, split="val")
    assert find_layout(paired) == "paired"
    np.testing.assert_array_equal(data.labels.labels(2), np.full((20, 40), 32))
    (paired / "val_label" / "1.png").unlink()
    with pytest.raises(InputError, match=r"val/1.png': no partner in"):
        load_translation(paired, layout="paired", frame=FRAME, split="val")


def test_two_files_of_one_name_are_no_partners(labelled):
    save(labelled / "train_img" / "1.bmp", noise(8, 8, 1))
    with pytest.raises(InputError, match=r"train_img/1.png': '1.bmp' has the same name without suffix"):
        load_translation(labelled, layout="labels", frame=FRAME, num_labels=4)


def test_a_file_that_is_no_image_is_named_at_once(unpaired):
    (unpaired / "trainB" / "1.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"trainB/1.png': not readable"):
        load_translation(unpaired, layout="unpaired", frame=FRAME)


def test_test_is_val_where_there_is_none(paired):
    assert load_translation(paired, layout="paired", frame=FRAME, split="test").split == "val"


def test_label_maps(labelled):
    data = load_translation(labelled, layout="labels", frame=FRAME, num_labels=4)
    labels = np.asarray(Image.open(labelled / "train_label" / "1.png"))
    maps = everything(data.inputs)[1].numpy()
    np.testing.assert_array_equal(maps[:4].argmax(0), labels)
    np.testing.assert_array_equal(maps[:4].sum(0), 1)
    padded = np.pad(labels.astype(int), 1, mode="edge")
    around = [padded[1 + dy : 9 + dy, 1 + dx : 9 + dx] for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))]
    np.testing.assert_array_equal(maps[4], np.any([part != labels for part in around], axis=0))
    torch.testing.assert_close(everything(data.targets)[1], in_range(noise(8, 8, 1)))
    assert find_layout(labelled) == "labels"


def test_instances_make_the_edges(labelled):
    for i in range(2):
        save(labelled / "train_inst" / f"{i}.png", np.zeros((8, 8), np.uint8))
    data = load_translation(labelled, layout="labels", frame=FRAME, num_labels=4)
    assert everything(data.inputs)[:, 4].sum() == 0


def test_cityscapes(tmp_path):
    root = cityscapes(tmp_path)
    frame = Frame(8, 16)
    data = load_translation(root, layout="labels", frame=frame, split="test", num_labels=35)
    assert (data.split, len(data.inputs), find_layout(root)) == ("val", 2, "labels")
    maps = everything(data.inputs)
    assert maps.shape == (2, 36, 8, 16)
    assert maps[:, 7, :, :8].all()
    assert maps[0, 34, :, 8:].all()
    assert maps[1, 33, :, 8:].all()
    assert maps[0, 35, 3:5, :8].all()  # the border of the instances
    assert maps[0, 35, 0, :7].sum() == 0
    torch.testing.assert_close(everything(data.targets)[1], in_range(noise(8, 16, 1)))


# Frames


def test_labels_are_resized_by_the_nearest_pixel(tmp_path):
    labels = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4), 3, 0), 3, 1)
    save(tmp_path / "map.png", labels)
    maps = LabelMaps([tmp_path / "map.png"], Frame(4, 4), 16).batch(torch.tensor([0]))
    np.testing.assert_array_equal(maps[0, :16].argmax(0), np.arange(16).reshape(4, 4))


def test_images_are_resized_as_pillow_does(tmp_path):
    save(tmp_path / "a.png", noise(20, 30))
    frame = Frame(8, 16)
    expected = np.asarray(Image.fromarray(noise(20, 30)).resize((16, 8), Image.Resampling.BICUBIC))
    torch.testing.assert_close(ImageFiles([tmp_path / "a.png"], frame).batch(torch.tensor([0]))[0], in_range(expected))


def test_views_crop_and_mirror_within_the_enlarged_image(tmp_path):
    """Every pixel of a ramp says where it comes from."""
    ramp = np.repeat(np.arange(0, 240, 20, dtype=np.uint8)[None], 12, 0)
    save(tmp_path / "ramp.png", np.stack([ramp, ramp.T, ramp], 2))
    files = ImageFiles([tmp_path / "ramp.png"], Frame(8, 8, enlarge=1.5, flip=True))
    views = draw_views(300, torch.Generator().manual_seed(0))
    images = ((files.batch(torch.zeros(300, dtype=torch.long), views) + 1) * 127.5 / 20).round().int()
    steps = images[:, 0, 0, 1] - images[:, 0, 0, 0]
    mirrored = steps == -1
    assert set(steps.tolist()) == {-1, 1}
    assert 120 < int(mirrored.sum()) < 180
    assert torch.equal(mirrored, views[:, 2] < 0.5)
    left = torch.where(mirrored, images[:, 0, 0, -1], images[:, 0, 0, 0])
    top = images[:, 1, 0, 0]
    assert set(left.tolist()) == set(top.tolist()) == {0, 1, 2, 3, 4}
    assert len({*zip(left.tolist(), top.tolist(), strict=True)}) == 25
    still = ImageFiles([tmp_path / "ramp.png"], Frame(8, 8, enlarge=1.5)).batch(torch.zeros(300).long(), views)
    assert bool((still[:, 0, 0, 1] > still[:, 0, 0, 0]).all())


def test_both_of_a_pair_are_seen_alike(labelled):
    for name in ("0", "1"):
        labels = np.asarray(Image.open(labelled / "train_label" / f"{name}.png"))
        save(labelled / "train_img" / f"{name}.png", np.stack([labels * 60] * 3, 2))
    frame = Frame(8, 8, flip=True)
    data = load_translation(labelled, layout="labels", frame=frame, num_labels=4)
    index, views = torch.tensor([0, 1] * 10), draw_views(20, torch.Generator().manual_seed(0))
    labels = data.inputs.batch(index, views)[:, :4].argmax(1)
    shown = ((data.targets.batch(index, views)[:, 0] + 1) * 127.5 / 60).round()
    assert torch.equal(labels, shown.long())


# Bad data


def test_missing_folders(unpaired, tmp_path):
    with pytest.raises(InputError, match="'nowhere': not a folder"):
        load_translation("nowhere", layout="paired", frame=FRAME)
    (unpaired / "trainB").rename(unpaired / "elsewhere")
    with pytest.raises(InputError, match="no folder 'trainB'; unpaired data has trainA and trainB"):
        load_translation(unpaired, layout="unpaired", frame=FRAME)
    with pytest.raises(InputError, match="no folder 'train'; paired data has train"):
        load_translation(unpaired, layout="paired", frame=FRAME)
    with pytest.raises(InputError, match="no folder 'train_label'"):
        load_translation(unpaired, layout="labels", frame=FRAME, num_labels=2)
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match=r"bare'.*expected a folder with trainA"):
        find_layout(tmp_path / "bare")


def test_an_empty_folder(unpaired):
    for file in (unpaired / "trainA").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"trainA': no \.png"):
        load_translation(unpaired, layout="unpaired", frame=FRAME)


def test_halves_of_different_width(paired):
    save(paired / "train" / "odd.png", noise(8, 17))
    with pytest.raises(InputError, match=r"odd.png': of size 17x8, expected two halves"):
        load_translation(paired, layout="paired", frame=FRAME)


@pytest.mark.parametrize("alone", ["train_img/7.png", "train_label/7.png"])
def test_a_missing_partner(labelled, alone):
    save(labelled / alone, noise(8, 8, channels=1))
    with pytest.raises(InputError, match=r"7.png': no partner in"):
        load_translation(labelled, layout="labels", frame=FRAME, num_labels=256)


def test_partners_of_different_size(labelled):
    save(labelled / "train_img" / "1.png", noise(8, 9))
    with pytest.raises(InputError, match="of sizes 8x8 and 9x8, expected equal sizes"):
        load_translation(labelled, layout="labels", frame=FRAME, num_labels=4)


def test_labels_outside_the_classes(labelled):
    data = load_translation(labelled, layout="labels", frame=FRAME, num_labels=3)
    with pytest.raises(InputError, match=r"label 3, expected 0 to 2"):
        everything(data.inputs)


def test_the_unknown_label_is_the_last_class(labelled):
    save(labelled / "train_label" / "0.png", np.full((8, 8), 255, np.uint8))
    options = {"layout": "labels", "frame": FRAME, "num_labels": 5}
    data = load_translation(labelled, **options, unknown=255)
    assert (data.inputs.labels(0) == 4).all()
    with pytest.raises(InputError, match="label 255, expected 0 to 4"):
        load_translation(labelled, **options).inputs.labels(0)


def test_label_maps_of_colours(labelled):
    save(labelled / "train_label" / "0.png", noise(8, 8))
    data = load_translation(labelled, layout="labels", frame=FRAME, num_labels=4)
    with pytest.raises(InputError, match="of 3 channels, expected 1"):
        everything(data.inputs)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_file_that_ends_too_early_is_said_before_any_work(unpaired, suffix):
    file = unpaired / "trainA" / f"0{suffix}"
    if suffix == ".jpg":
        Image.open(unpaired / "trainA" / "0.png").save(file)
        (unpaired / "trainA" / "0.png").unlink()
    whole = file.read_bytes()
    file.write_bytes(whole + b"\0" * 5000)  # something behind the image is no fault
    load_translation(unpaired, layout="unpaired", frame=FRAME)
    file.write_bytes(whole[: len(whole) // 2])  # with a header that can be read
    with pytest.raises(InputError, match=rf"0{suffix}': not readable"):
        load_translation(unpaired, layout="unpaired", frame=FRAME)


def test_a_folder_that_is_half_cityscapes(tmp_path):
    root = cityscapes(tmp_path)
    next((root / "gtFine" / "val" / "bonn").glob("*labelIds.png")).unlink()
    with pytest.raises(InputError, match=r"labelIds\.png': not readable"):
        load_translation(root, layout="labels", frame=FRAME, split="val", num_labels=35)
    (root / "gtFine" / "train").rename(root / "gtFine" / "moved")
    with pytest.raises(InputError, match="no Cityscapes"):
        load_translation(root, layout="labels", frame=FRAME, num_labels=35)


def test_bad_settings(labelled):
    with pytest.raises(InputError, match="direction 'AB': expected AtoB, BtoA"):
        load_translation(labelled, layout="paired", frame=FRAME, direction="AB")
    with pytest.raises(InputError, match="number of classes is needed"):
        load_translation(labelled, layout="labels", frame=FRAME)


def test_instances_in_one_split_only_are_refused(labelled):
    for i in range(3):
        save(labelled / "train_inst" / f"{i}.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match="no folder 'test_inst', but other splits have instances"):
        load_translation(labelled, layout="labels", frame=FRAME, split="test", num_labels=3)
