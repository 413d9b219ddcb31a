import fnmatch

import pytest
import torch

from autogas.errors import InputError
from autogas.spaces import SPACES, Space, get_space, list_spaces

SMALL = {
    "diffusion-unet": {"image_size": 16},
    "transnas": {"base_width": 8, "decoder_divisor": 16, "stem_stride": 1, "image_size": 32},
    "eagan-generator": {"dataset": "stl10", "width": 16},
    "eagan-discriminator": {"dataset": "stl10", "width": 16},
    "resnet-translation": {"image_size": 32},
    "spade-translation": {"layout": "coco", "image_size": 64, "num_labels": 4},
}


def test_list_spaces_is_sorted():
    names = list_spaces()
    assert names == sorted(set(names))
    assert {"transnas", "transnas-macro", "transnas-micro", "eagan-generator", "resnet-translation"} <= set(names)


@pytest.mark.parametrize("pattern", ["*", "transnas", "*-m?cro", "*macro", "trans*", "none*"])
def test_list_spaces_takes_wildcards(pattern):
    assert list_spaces(pattern) == [name for name in list_spaces() if fnmatch.fnmatch(name, pattern)]


@pytest.mark.parametrize("name", list_spaces())
def test_every_listed_space_exists_under_its_name(name):
    space = get_space(name)
    assert isinstance(space, Space)
    assert space.name == name


@pytest.mark.parametrize("name", list_spaces())
@pytest.mark.parametrize("size", ["published", "small"])
def test_settings_give_the_same_space_back(name, size):
    settings = SMALL[SPACES[name].family] if size == "small" else {}
    space = get_space(name, **settings)
    assert get_space(name, **space.settings).settings == space.settings
    assert {key: space.settings[key] for key in settings} == settings


@pytest.mark.parametrize("name", list_spaces("transnas*"))
def test_len_is_the_number_of_enumerated_architectures(name):
    space = get_space(name)
    assert len(space) == sum(1 for _ in space.enumerate())


def test_unknown_name_suggests_a_near_one():
    with pytest.raises(InputError, match=r"^unknown space 'transnas-makro': did you mean 'transnas-macro'.*$"):
        get_space("transnas-makro")


def test_unknown_name_lists_what_is_accepted():
    with pytest.raises(InputError) as error:
        get_space("zzzz")
    assert all(name in str(error.value) for name in list_spaces())


@pytest.mark.parametrize("name", list_spaces())
@pytest.mark.parametrize("settings", [{"depth": 3}, {"base_width": "wide"}, {"image_size": None}, {"dataset": 1}])
def test_bad_setting_is_one_line(name, settings):
    with pytest.raises(InputError) as error:
        get_space(name, **settings)
    assert len(str(error.value).splitlines()) == 1
    assert name in str(error.value)


def test_unknown_setting_is_named():
    with pytest.raises(InputError, match="depth"):
        get_space("transnas", depth=3)


@pytest.mark.parametrize("name", [name for name in list_spaces() if name != "spade-translation"])
def test_inputs_are_standard_normal(name):
    space = get_space(name)
    x, *others = space.inputs(batch_size=8)
    assert x.shape == (8, *space.input_shapes[0])
    assert [tuple(other.shape) for other in others] == [(8, *shape) for shape in space.input_shapes[1:]]
    assert abs(float(x.mean())) < 5 / x.numel() ** 0.5
    assert abs(float(x.var()) - 1) < 5 * (2 / x.numel()) ** 0.5


@pytest.mark.parametrize("name", list_spaces("transnas*"))
def test_inputs_are_images_of_the_size(name):
    (x,) = get_space(name, image_size=64).inputs(batch_size=8)
    assert x.shape == (8, 3, 64, 64)


def test_inputs_depend_on_the_seed_alone():
    space = get_space("transnas")
    torch.manual_seed(1)
    (first,) = space.inputs(batch_size=2, seed=3)
    torch.manual_seed(2)
    (again,) = get_space("transnas-micro").inputs(batch_size=2, seed=3)
    assert torch.equal(first, again)
    assert not torch.equal(first, space.inputs(batch_size=2, seed=4)[0])


def test_inputs_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    get_space("transnas").inputs(batch_size=2)
    assert torch.equal(before, torch.get_rng_state())
