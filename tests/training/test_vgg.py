import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import vgg19

from autogas.errors import InputError
from autogas.training.vgg import PerceptualDistance


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return vgg19().features


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg19.safetensors"
    save_file({f"features.{name}": value for name, value in network.state_dict().items()}, path)
    return path


def test_the_distance_is_that_of_five_rectified_layers(network, weights):
    x, y = 2 * torch.rand(2, 2, 3, 32, 32) - 1
    x.requires_grad_()
    distance = PerceptualDistance(weights)
    names = [f"{type(layer).__name__}" for layer in network]
    block, conv, expected = 1, 0, 0.0
    a, b = x, y
    for name, layer in zip(names, network, strict=True):
        a, b = (layer(value.clone()) for value in (a, b))
        block, conv = (block + 1, 0) if name == "MaxPool2d" else (block, conv + (name == "Conv2d"))
        if name == "ReLU" and conv == 1:  # relu1_1, relu2_1, …
            expected = expected + (a - b).abs().mean() / 2 ** (6 - block if block < 5 else 0)
    total = distance(x, y)
    torch.testing.assert_close(total, expected)
    (gradient,) = torch.autograd.grad(total, x)
    assert gradient.abs().sum() > 0
    assert not any(p.requires_grad for p in distance.parameters())


def test_other_weights_are_refused(tmp_path):
    (tmp_path / "text.pth").write_text("weights")
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "part.safetensors")
    torch.save([1, 2], tmp_path / "list.pth")
    for name, reason in (("text.pth", "file of tensors"), ("part.safetensors", "vgg19"), ("list.pth", "by name")):
        with pytest.raises(InputError, match=rf"{name}.*{reason}"):
            PerceptualDistance(tmp_path / name)
    with pytest.raises(InputError, match="nowhere"):
        PerceptualDistance(tmp_path / "nowhere.pth")


def test_weights_that_run_code_are_not_read(tmp_path):
    class Code:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"features.0.weight": Code()}, tmp_path / "code.pth")
    with pytest.raises(InputError, match=r"code.pth"):
        PerceptualDistance(tmp_path / "code.pth")
