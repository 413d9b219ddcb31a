import json
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from autogas.errors import InputError
from autogas.files import read_json
from autogas.metrics.segmentation_training import SegmentationNet, SegmentationRecipe, make_segmentation
from autogas.metrics.segmenter import load_segmenter


class Channels(nn.Module):
    """The class of a pixel is its largest channel."""

    def forward(self, x):
        return x * 2


class Flat(nn.Module):
    def forward(self, x):
        return x.mean(1)


def script(module, path):
    with warnings.catch_warnings(category=FutureWarning, action="ignore"):
        torch.jit.script(module).save(str(path))
    return str(path)


@pytest.fixture
def channels(tmp_path):
    return script(Channels(), tmp_path / "channels.pt")


def described(tmp_path, **about):
    path = tmp_path / "map.json"
    path.write_text(json.dumps(about))
    return path


def test_a_torchscript_file_says_what_is_seen(channels):
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    seen, classes = load_segmenter(channels)(images, (4, 4))
    assert classes == 3
    assert torch.equal(seen, images.argmax(1))


def test_images_are_normalised_and_resized_as_the_map_says(channels, tmp_path):
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, std = (0.9, 0.1, 0.5), (0.5, 1.0, 0.25)
    segmenter = load_segmenter(channels, about=described(tmp_path, mean=mean, std=std, size=[4, 4]))
    seen, _ = segmenter(images, (4, 4))
    small = nn.functional.interpolate(images, (4, 4), mode="bilinear", antialias=True).numpy()
    by_hand = (small - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_array_equal(seen, by_hand.argmax(1))
    assert segmenter.protocol["size"] == [4, 4]


def test_scores_are_resized_before_the_highest_counts(channels):
    image = torch.tensor([[[[1.0, 0.0]], [[0.0, 0.55]], [[0.0, 0.0]]]])
    seen, _ = load_segmenter(channels)(image, (1, 4))
    # Bilinear at a quarter and three quarters: 0.75 against 0.1375, then 0.25 against 0.4125.
    assert seen.tolist() == [[[0, 0, 1, 1]]]


def test_labels_are_classes_of_the_network_by_the_map(channels, tmp_path):
    segmenter = load_segmenter(channels, about=described(tmp_path, classes={"7": 0, "11": 2}))
    assert segmenter.truth(np.array([[7, 11], [0, 34]])).tolist() == [[0, 2], [-1, -1]]
    assert load_segmenter(channels).truth(np.array([[2, 1]])).tolist() == [[2, 1]]


def test_what_numbers_depend_on_is_said(channels):
    protocol = load_segmenter(channels).protocol
    assert protocol["name"] == channels
    assert protocol["version"].startswith("sha256 ")


def test_torchvision_by_name_and_weights(tmp_path):
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=5).eval()
    torch.save(model.state_dict(), tmp_path / "lraspp.pth")
    segmenter = load_segmenter("lraspp_mobilenet_v3_large", weights=str(tmp_path / "lraspp.pth"))
    images = torch.rand(1, 3, 64, 64)
    seen, classes = segmenter(images, (64, 64))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        assert torch.equal(seen, model(normalised)["out"].argmax(1))
    assert classes == 5
    with pytest.raises(InputError, match="fcn_resnet50"):
        load_segmenter("fcn_resnet50", weights=str(tmp_path / "lraspp.pth"))


def test_onnx_is_asked_for_by_name(tmp_path, monkeypatch):
    (tmp_path / "net.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="needs the package onnxruntime"):
        load_segmenter(str(tmp_path / "net.onnx"))


def test_onnx_files_are_run(tmp_path):
    import onnx

    tensors = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in ("x", "y")
    ]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "g", tensors[:1], tensors[1:])
    opset = onnx.helper.make_opsetid("", 13)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "net.onnx")
    images = torch.rand(2, 3, 4, 4)
    seen, _ = load_segmenter(str(tmp_path / "net.onnx"))(images, (4, 4))
    assert torch.equal(seen, images.argmin(1))
    (tmp_path / "net.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match="expected an ONNX file"):
        load_segmenter(str(tmp_path / "net.onnx"))


def test_bad_networks(channels, tmp_path):
    with pytest.raises(InputError, match="'fcn_resnet_50': did you mean 'fcn_resnet50'"):
        load_segmenter("fcn_resnet_50")
    with pytest.raises(InputError, match=r"nowhere.pt': no such file"):
        load_segmenter("nowhere.pt")
    (tmp_path / "text.pt").write_text("network")
    with pytest.raises(InputError, match="expected a TorchScript file"):
        load_segmenter(str(tmp_path / "text.pt"))
    with pytest.raises(InputError, match="accepted with a model of torchvision"):
        load_segmenter(channels, weights="w.pth")
    flat = load_segmenter(script(Flat(), tmp_path / "flat.pt"))
    with pytest.raises(InputError, match=r"gave \(2, 4, 4\): expected scores \[2, classes, h, w\]"):
        flat(torch.rand(2, 3, 4, 4), (4, 4))


@pytest.mark.parametrize("text", ["{", '{"mean": [0, 0]}', '{"labels": {}}', '{"classes": {"a": 0}}', "[]"])
def test_bad_maps(channels, tmp_path, text):
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(InputError, match=r"map.json': expected JSON of mean, std, size, classes"):
        load_segmenter(channels, about=tmp_path / "map.json")


# The network that the package trains


def test_a_small_network_learns_what_can_be_seen(tmp_path):
    """Labels are which channel is brightest: a network that cannot see it would be right on one pixel in three."""
    for split in ("train", "test"):
        for i in range(24):
            pixels = np.random.default_rng([split == "test", i]).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            for name, value in (("img", pixels), ("label", pixels.argmax(2).astype(np.uint8))):
                (tmp_path / f"{split}_{name}").mkdir(exist_ok=True)
                Image.fromarray(value).save(tmp_path / f"{split}_{name}" / f"{i}.png")
    recipe = SegmentationRecipe(steps=150, batch=8, width=12, learning_rate=2e-2)
    record = make_segmentation(str(tmp_path), tmp_path / "net.pt", recipe, classes=3, size=16)
    assert record["pixel_accuracy"] > 0.8
    assert read_json(tmp_path / "net.json") == record
    again = make_segmentation(str(tmp_path), tmp_path / "again.pt", recipe, classes=3, size=16)
    assert again["miou"] == record["miou"]
    with pytest.raises(InputError, match="expected one in a folder that exists"):
        make_segmentation(str(tmp_path), tmp_path / "no" / "net.pt", recipe, classes=3, size=16)


def test_the_network_keeps_the_size():
    assert SegmentationNet(5, 4).eval()(torch.rand(2, 3, 9, 13)).shape == (2, 5, 9, 13)


def test_void_and_negative_classes_do_not_count(channels, tmp_path):
    segmenter = load_segmenter(channels, about=described(tmp_path, classes={"0": 2, "1": 255, "2": -1}))
    assert segmenter.truth(np.array([[0, 1], [2, 3]])).tolist() == [[2, -1], [-1, -1]]


@pytest.mark.parametrize(
    "about", [{"classes": {}}, {"classes": {"-1": 0}}, {"size": [0, 4]}, {"std": [0, 1, 1]}, {"mean": [1]}]
)
def test_a_bad_map_is_refused(channels, tmp_path, about):
    with pytest.raises(InputError, match=r"segmentation map .*: expected JSON"):
        load_segmenter(channels, about=described(tmp_path, **about))


class Picky(nn.Module):
    def forward(self, x):
        return x.view(1, 3, 5, 5)


def test_a_network_that_fails_is_named(tmp_path):
    segmenter = load_segmenter(script(Picky(), tmp_path / "picky.pt"))
    with pytest.raises(InputError, match=r"picky.pt' fails on \(2, 3, 4, 4\): "):
        segmenter(torch.zeros(2, 3, 4, 4), (4, 4))
