import json
import random

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from autogas.errors import InputError
from autogas.training.checkpoint import load_tensors, restore_state, save_tensors, state_tensors


def trained(seed, layout=torch.channels_last):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).to(memory_format=layout)
    optimizer = torch.optim.Adam(net.parameters())
    for _ in range(2):
        net(torch.randn(2, 3, 5, 5)).square().mean().backward()
        optimizer.step()
    return {"net": net}, {"net": optimizer}


def test_state_is_restored_bit_for_bit_in_its_layout():
    modules, optimizers = trained(0)
    others, their_optimizers = trained(1)
    restore_state(state_tensors(modules, optimizers), others, their_optimizers)
    for name, tensor in modules["net"].state_dict().items():
        assert torch.equal(tensor, others["net"].state_dict()[name])
    for ours, theirs in zip(modules["net"].parameters(), others["net"].parameters(), strict=True):
        a, b = optimizers["net"].state[ours], their_optimizers["net"].state[theirs]
        assert a.keys() == b.keys() == {"step", "exp_avg", "exp_avg_sq"}
        for name in a:
            assert torch.equal(a[name], b[name])
            assert a[name].stride() == b[name].stride()


def test_state_before_the_first_step_is_restored():
    modules = {"net": nn.Linear(2, 2)}
    optimizers = {"net": torch.optim.Adam(modules["net"].parameters())}
    tensors = state_tensors(modules, optimizers)
    assert set(tensors) == {"modules/net/weight", "modules/net/bias"}
    others = {"net": nn.Linear(2, 2)}
    restore_state(tensors, others, {"net": torch.optim.Adam(others["net"].parameters())})
    assert torch.equal(modules["net"].weight, others["net"].weight)


def test_state_of_another_network_is_refused():
    tensors = state_tensors({"net": nn.Linear(2, 2)}, {})
    with pytest.raises(InputError, match="the checkpoint is of another net: size mismatch for weight") as error:
        restore_state(tensors, {"net": nn.Linear(3, 2)}, {})
    assert "\n" not in str(error.value)


def test_files_are_plain_safetensors_with_a_json_header(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(7)}
    save_tensors(path, tensors, {"step": 3})
    assert {name: value.tolist() for name, value in load_file(path).items()} == {
        "a": [[0, 3], [1, 4], [2, 5]],
        "b": 7,
    }
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    assert json.loads(header["__metadata__"]["autogas"]).items() >= {"step": 3}.items()
    read, about = load_tensors(path)
    assert torch.equal(read["a"], tensors["a"])
    assert about == {"step": 3}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"a": torch.ones(1)}, {})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_tensors(path, {"a": torch.zeros(1)}, {"step": object()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["missing", "text", "foreign", "cut"])
def test_other_files_are_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "a.safetensors"
    if kind == "text":
        path.write_text("hello")
    elif kind == "foreign":
        save_file({"a": torch.ones(1)}, path)
    elif kind == "cut":
        save_tensors(path, {"a": torch.ones(100)}, {})
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="expected a safetensors file of autogas") as error:
        load_tensors(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path):
    path = tmp_path / "a.safetensors"
    modules, optimizers = trained(0)
    save_tensors(path, state_tensors(modules, optimizers), {"step": 3, "name": "x"})
    whole, (expected, about) = path.read_bytes(), load_tensors(path)
    draw, refused = random.Random(0), 0
    for _ in range(300):
        content = bytearray(whole)
        content[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        try:
            found, said = load_tensors(path)
        except InputError as error:
            refused += "\n" not in str(error)
            continue
        assert said == about
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found)
    assert refused > 290


def test_a_full_disk_is_an_error_of_the_system(tmp_path, monkeypatch):
    def full(*_, **__):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("autogas.training.checkpoint.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_tensors(tmp_path / "a.safetensors", {"a": torch.ones(1)}, {})
    assert list(tmp_path.iterdir()) == []
