import hashlib
import json

import pytest
import torch
from torch.nn import functional as F
from torchvision.transforms.functional import gaussian_blur

from autogas.datasets import load_images, load_labels
from autogas.errors import InputError
from autogas.metrics.cifarnet import ROBUST_WEIGHTS, SIZE, WEIGHTS, CifarNetExtractor, read_cifarnet


@pytest.fixture(scope="module", params=[WEIGHTS, ROBUST_WEIGHTS], ids=["plain", "robust"])
def weights(request):
    return request.param


@pytest.fixture(scope="module")
def provenance(weights):
    return json.loads(weights.with_suffix(".json").read_text())


def test_the_shipped_weights_are_small_and_those_that_were_measured(weights, provenance):
    content = weights.read_bytes()
    assert len(content) < 4_000_000
    assert hashlib.sha256(content).hexdigest() == provenance["sha256"]
    assert provenance["sha256"][:8] in CifarNetExtractor(weights=weights).version
    model, _ = read_cifarnet(weights)
    assert sum(p.numel() for p in model.parameters()) == provenance["parameters"]
    assert provenance["held_out_accuracy"] >= (0.85 if weights == WEIGHTS else 0.84)


def test_accuracy_is_what_is_claimed(shared_data, weights, provenance):
    file, count = shared_data / "cifar10_jpeg_test.parquet", 1000
    _, logits = CifarNetExtractor(weights=weights)(load_images(file, size=SIZE, limit=count).pixels)
    accuracy = float((logits.argmax(1) == load_labels(file, limit=count)).float().mean())
    claimed = provenance["held_out_accuracy"]
    assert abs(accuracy - claimed) < 4 * (claimed * (1 - claimed) / count) ** 0.5


def test_classifier_is_linear_in_the_features():
    extractor = CifarNetExtractor()
    features, logits = extractor(torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8))
    torch.testing.assert_close(logits, features @ extractor.model.classifier.weight.T / 8)


def test_other_sizes_are_resized_with_antialiasing():
    fine = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    # A triangle over the middle four pixels; output pixel i, away from the border, sees pixels 2i - 1 to 2i + 2.
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    window = torch.outer(line, line).expand(3, 1, 4, 4)
    expected = F.conv2d(fine.float()[:, :, 1:-1, 1:-1], window, stride=2, groups=3)
    seen = []
    extractor = CifarNetExtractor()
    extractor.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    extractor(fine)
    assert seen[0].shape == (2, 3, 32, 32)
    torch.testing.assert_close(seen[0].float()[:, :, 1:31, 1:31], expected, atol=0.51, rtol=0)


def test_weights_of_something_else_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    whole = WEIGHTS.read_bytes()
    for content in (b"", b"no weights", whole[:1000], whole[:-10]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="expected those of cifarnet") as error:
            read_cifarnet(path)
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(InputError, match="expected those of cifarnet"):
        read_cifarnet(tmp_path / "nothing")


def test_noise_and_blur_move_the_robust_features_less(shared_data):
    photographs = load_images(shared_data / "cifar10_jpeg_test.parquet", size=SIZE, limit=200).pixels.float() / 255
    noise = torch.randn(photographs.shape, generator=torch.Generator().manual_seed(0))
    spoiled = {"noise": photographs + 0.05 * noise, "blur": gaussian_blur(photographs, [7, 7], [1.0, 1.0])}
    for images in spoiled.values():
        moved = []
        for weights in (WEIGHTS, ROBUST_WEIGHTS):
            extractor = CifarNetExtractor(weights=weights)
            before, after = (extractor(x.clamp(0, 1))[0] for x in (photographs, images))
            moved.append(float((after - before).square().mean() / before.var(0).mean()))
        assert moved[1] < moved[0] / 2
