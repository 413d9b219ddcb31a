import pytest
import torch
from safetensors.torch import load_file
from toys_of_training import run, tiny_gan

from autogas.errors import InputError
from autogas.spaces import get_space
from autogas.training.checkpoint import save_tensors
from autogas.training.export import load_generator, save_generator
from autogas.training.loop import CHECKPOINT_FILE

SPACE = get_space("eagan-generator", width=2)
ARCH = SPACE.parse("eagan-best")


def draw(seed=3):
    return torch.Generator().manual_seed(seed)


def test_an_exported_generator_makes_the_same_images(tmp_path):
    task = tiny_gan()
    run(task, steps=2)
    path = tmp_path / "g.safetensors"
    save_generator(path, task.average, SPACE, ARCH)
    loaded = load_generator(path)
    torch.testing.assert_close(loaded(5, draw()), task.samples(5, draw()))
    assert (loaded.arch, loaded.space.name, loaded.space.settings) == (ARCH, SPACE.name, SPACE.settings)
    assert load_file(path).keys() == task.average.state_dict().keys()
    assert not loaded.network.training


def test_a_checkpoint_is_no_generator(tmp_path):
    run(tiny_gan(), steps=1, folder=tmp_path)
    with pytest.raises(InputError, match="expected an exported generator, not a checkpoint"):
        load_generator(tmp_path / CHECKPOINT_FILE)


def test_weights_of_another_architecture_are_refused(tmp_path):
    path = tmp_path / "g.safetensors"
    about = {"space": SPACE.name, "space_settings": dict(SPACE.settings), "arch": str(ARCH)}
    save_tensors(path, {"weight": torch.ones(2)}, about)
    with pytest.raises(InputError, match=r"g.safetensors'") as error:
        load_generator(path)
    assert "\n" not in str(error.value)


GOOD = {"space": SPACE.name, "space_settings": dict(SPACE.settings), "arch": str(ARCH)}


@pytest.mark.parametrize(
    "changes",
    [
        {"space": ["eagan-generator"]},
        {"space": 3},
        {"space": None},
        {"space": "nowhere"},
        {"space_settings": "width"},
        {"space_settings": [1]},
        {"space_settings": {"width": "two"}},
        {"space_settings": {"width": 10**9}},
        {"space_settings": {"width": 10**30}},
        {"space_settings": {"width": -1}},
        {"arch": 3},
        {"arch": None},
        {"arch": {"a": 1}},
        {"arch": "[" * 5000},
        {"arch": "[" + "9" * 5000 + "]"},
        {"trained": 3},
        {"trained": ["task"]},
    ],
    ids=str,
)
def test_headers_of_wrong_types_or_sizes_are_refused_in_one_line(tmp_path, changes):
    path = tmp_path / "g.safetensors"
    save_tensors(path, SPACE.build(ARCH).state_dict(), {**GOOD, **changes})
    with pytest.raises(InputError) as error:
        load_generator(path)
    assert "\n" not in str(error.value)
