import pytest
import torch
from safetensors.torch import save_file

from autogas.errors import InputError
from autogas.metrics.weights import read_weights


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_tensors_are_read(name, tmp_path):
    tensors = {"a": torch.arange(3.0)}
    (torch.save if name.endswith("pth") else save_file)(tensors, tmp_path / name)
    assert torch.equal(read_weights(tmp_path / name)["a"], tensors["a"])


@pytest.mark.parametrize("content", [b"", b"root:x:0:0:root", b"PK\x03\x04cut"], ids=repr)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_anything_else_is_refused_in_one_line(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="expected a file of tensors") as error:
        read_weights(tmp_path / name)
    assert "\n" not in str(error.value)
    assert "weights_only" not in str(error.value)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_weights(tmp_path / "nothing.pth")
