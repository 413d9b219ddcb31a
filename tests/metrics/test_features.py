import hashlib
import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

from autogas.errors import InputError
from autogas.metrics import EXTRACTORS, get_extractor, metric_name
from autogas.metrics import inception as inception_module


def pixels(count=1, height=32, width=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def inception(inception_weights):
    return get_extractor("inception", inception_weights=inception_weights)


@pytest.fixture(params=EXTRACTORS)
def extractor(request):
    return request.getfixturevalue("inception") if request.param == "inception" else get_extractor(request.param)


# Every extractor


def test_features_and_logits_have_the_promised_shape(extractor):
    features, logits = extractor(pixels())
    assert features.shape == (1, extractor.dim)
    assert logits.shape == (1, 10 if extractor.name.startswith("cifarnet") else 1008)
    assert features.dtype == logits.dtype == torch.float32
    assert not features.requires_grad


def test_floats_give_what_their_saved_image_gives(extractor):
    whole = pixels()
    for ours, expected in zip(extractor(whole.float() / 255), extractor(whole), strict=True):
        assert torch.equal(ours, expected)


def test_images_of_any_size_are_taken(extractor):
    features, _ = extractor(pixels(1, 20, 36))
    assert features.shape == (1, extractor.dim)
    assert bool(features.isfinite().all())


def test_an_image_s_features_do_not_depend_on_its_batch(extractor):
    batch = pixels(2)
    together = extractor(batch)[0]
    apart = torch.cat([extractor(image[None])[0] for image in batch])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_what_is_no_image_is_refused(extractor):
    with pytest.raises(InputError, match="expected floats in"):
        extractor(torch.full((1, 3, 32, 32), 2.0))
    with pytest.raises(InputError, match=r"expected \[N, 3, H, W\]"):
        extractor(pixels()[0])


@pytest.mark.cuda
def test_cuda_gives_the_same_features():
    here, there = (get_extractor("cifarnet", device=device)(pixels())[0].cpu() for device in ("cpu", "cuda"))
    torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-3)


# Inception


def test_inception_is_torch_fidelity_s_network(inception, inception_weights):
    network = FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased"], str(inception_weights))
    for ours, theirs in zip(inception(pixels()), network(pixels()), strict=True):
        assert torch.equal(ours, theirs)


def test_only_the_published_weights_make_fid(inception, inception_weights, monkeypatch):
    sha256 = hashlib.sha256(inception_weights.read_bytes()).hexdigest()
    assert inception.name == f"inception-{sha256[:8]}"
    assert metric_name("fid", inception) == f"fid-inception-{sha256[:8]}"
    assert sha256[:8] in inception.version
    monkeypatch.setattr(inception_module, "PUBLISHED_SHA256", sha256)
    published = get_extractor("inception", inception_weights=inception_weights)
    assert published.name == "inception"
    assert metric_name("fid", published) == "fid"
    assert metric_name("is", published) == "is"


def test_the_published_checksum_is_that_of_the_file_s_name():
    assert inception_module.PUBLISHED_SHA256[:8] in URL_INCEPTION_V3


def test_weights_in_torch_s_cache_are_found(inception, inception_weights, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / inception_module.FILE_NAME
    cached.parent.mkdir(parents=True)
    cached.symlink_to(inception_weights)
    assert get_extractor("inception").version == inception.version


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("invalid hash value"), TimeoutError("late")])
def test_a_failed_download_is_one_line(tmp_path, monkeypatch, error):
    def fail(url, path, hash_prefix):
        assert (url, hash_prefix) == (URL_INCEPTION_V3, inception_module.PUBLISHED_SHA256)
        assert Path(path).parent.is_dir()
        raise error

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(InputError, match="could not be downloaded") as raised:
        get_extractor("inception")
    assert "--inception-weights PATH" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


class Trap:
    """A pickle that makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_weights_that_are_none_are_refused(tmp_path, inception_weights):
    sprung = tmp_path / "sprung"
    files = {
        "cut": inception_weights.read_bytes()[:100_000],
        "empty": b"",
        "text": b"no weights",
        "trap": pickle.dumps(Trap(sprung), protocol=2),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"x": torch.zeros(1)}, tmp_path / "other")
    torch.save([1, 2], tmp_path / "list")
    for name in (*files, "other", "list", "nothing"):
        path = tmp_path / name
        with pytest.raises(InputError, match=r"expected weights-inception-2015-12-05-6726825d\.pth") as error:
            get_extractor("inception", inception_weights=path)
        assert len(str(error.value).splitlines()) == 1
        assert repr(str(path)) in str(error.value)
    assert not sprung.exists()


# Names


def test_cifarnet_s_metrics_are_never_called_fid_or_is():
    extractor = get_extractor("cifarnet")
    assert [metric_name(metric, extractor) for metric in ("fid", "is")] == ["fid-cifarnet", "is-cifarnet"]


def test_bad_names_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"^unknown extractor 'inceptoin': did you mean 'inception'\?$"):
        get_extractor("inceptoin")
    with pytest.raises(InputError, match="--inception-weights 'x' with extractor 'cifarnet'"):
        get_extractor("cifarnet", inception_weights="x")
