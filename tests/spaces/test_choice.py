import itertools

import numpy as np
import pytest
import torch
from torch import nn

from autogas import ChoiceSpace, InputError, get_space, list_spaces, register_space, search
from autogas.spaces import SPACES

CHOICES = {"width": [4, 8, 16], "depth": range(1, 5), "norm": [True, False]}


def build(width, depth, norm):
    layers = [nn.Conv2d(3, width, 3, padding=1)]
    for _ in range(depth):
        layers += [nn.BatchNorm2d(width)] if norm else []
        layers += [nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(width, 3, 1))


def small(width, depth, norm):
    return width * depth <= 32


@pytest.fixture
def space():
    return ChoiceSpace("mine", CHOICES, build, [(3, 8, 8)], constraint=small)


EXPECTED = [values for values in itertools.product(*CHOICES.values()) if small(*values)]


def test_it_holds_what_the_constraint_admits(space):
    assert len(space) == len(EXPECTED)
    assert [tuple(arch.values()) for arch in space.enumerate()] == EXPECTED
    assert all(space.parse(str(arch)) == arch for arch in space.enumerate())


def test_samples_are_uniform(space):
    rng = np.random.default_rng(0)
    drawn = [str(space.sample(rng)) for _ in range(100 * len(EXPECTED))]
    counts = [drawn.count(str(arch)) for arch in space.enumerate()]
    assert sum(counts) == len(drawn)
    assert sum((count - 100) ** 2 / 100 for count in counts) < 60  # chi squared of 19 degrees, p < 1e-5


def test_operators_stay_inside(space):
    rng = np.random.default_rng(0)
    for _ in range(200):
        first, second = space.sample(rng), space.sample(rng)
        mutant, child = space.mutate(first, rng), space.crossover(first, second, rng)
        assert space.parse(str(mutant)) == mutant != first
        assert sum(mutant[key] != first[key] for key in first) == 1
        assert space.parse(str(child)) == child
        assert all(child[key] in (first[key], second[key]) for key in child)


def test_cost_is_that_by_hand(space):
    cost = space.cost(space.parse("width=8,depth=2,norm=False"))
    assert cost.params == (3 * 9 + 1) * 8 + 2 * (8 * 9 + 1) * 8 + (8 + 1) * 3
    assert cost.macs == 64 * (3 * 9 * 8 + 2 * 8 * 9 * 8 + 8 * 3)


def test_weights_depend_on_seed_and_architecture_alone(space):
    arch = space.parse("depth=1, norm=True, width=4")
    first = space.build(arch, seed=1)
    torch.manual_seed(7)
    again, other = space.build(arch, seed=1), space.build(arch, seed=2)
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)
    assert torch.initial_seed() == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("width=4", "expected the choices of space mine, as width=4,depth=1,norm=True"),
        ("width=5,depth=1,norm=True", "unknown value of width '5'"),
        ("width=16,depth=4,norm=True", "the constraint of space mine excludes it"),
        ("", "expected the choices"),
    ],
)
def test_a_bad_architecture_is_named(space, text, said):
    with pytest.raises(InputError, match=said):
        space.parse(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"choices": {}}, "expected values by name"),
        ({"choices": {"a": []}}, "choice 'a'"),
        ({"choices": {"a": [1, "1"]}}, "choice 'a'"),
        ({"choices": {"a": ["x,y"]}}, "choice 'a'"),
        ({"name": "a b"}, "space 'a b'"),
        ({"constraint": lambda **_: False}, "admitted none of 10,000"),
    ],
)
def test_a_bad_space_is_named(given, said):
    with pytest.raises(InputError, match=said):
        ChoiceSpace(**{"name": "bad", "choices": {"a": [1]}, "build": build, "inputs": [(3, 8, 8)], **given})


def test_an_architecture_is_frozen(space):
    arch = next(space.enumerate())
    with pytest.raises(TypeError, match="cannot be changed"):
        arch["width"] = 8
    assert hash(arch) == hash(space.parse(str(arch)))


@pytest.fixture
def registered(space):
    register_space(space)
    yield space
    del SPACES["mine"]


def test_a_registered_space_is_searched(registered, tmp_path):
    assert get_space("mine") is registered
    assert "mine" in list_spaces()
    run = search("mine", "macs", out=str(tmp_path / "run"), iterations=4, population=5, sample=5, agreement=2)
    best = max(registered.enumerate(), key=lambda arch: registered.cost(arch).macs)
    assert run.results["winner"]["macs"] <= registered.cost(best).macs
    with pytest.raises(InputError, match="space mine has no settings: width given"):
        get_space("mine", width=3)


def test_registering_again_replaces_with_a_warning(registered):
    with pytest.warns(UserWarning, match="space 'mine' is replaced"):
        register_space(ChoiceSpace("mine", {"width": [4]}, build, [(3, 8, 8)]))
    assert len(get_space("mine")) == 1
    register_space(registered, replace=True)


def test_an_architecture_cannot_be_changed(space):
    arch = next(space.enumerate())
    before = dict(arch)
    for change in (
        lambda: arch.update(width=8),
        lambda: arch.pop("width"),
        lambda: arch.popitem(),
        lambda: arch.clear(),
        lambda: arch.setdefault("other", 1),
        lambda: arch.__delitem__("width"),
        lambda: arch.__ior__({"width": 8}),
    ):
        with pytest.raises(TypeError, match="cannot be changed"):
            change()
    assert dict(arch) == before
    turned = type(arch)(reversed(arch.items()))
    assert turned == arch
    assert hash(turned) == hash(arch)


def test_a_name_is_said_once(space):
    with pytest.raises(InputError, match="expected the choices of space mine"):
        space.parse("width=4,depth=1,norm=True,width=8")


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        (5, "expected values by name"),
        ([1], "expected values by name"),
        ({}, "expected values by name"),
        ({"width": 5}, "expected a list of values"),
        ({"width": "abc"}, "expected a list of values"),
        ({" a": [1]}, "expected a name without"),
        ({"wi=dth": [1]}, "expected a name without"),
        ({"a": ["relu "]}, "without commas or spaces around"),
        ({"a": ["x,y"]}, "without commas or spaces around"),
    ],
)
def test_choices_that_would_not_parse_back(choices, said):
    with pytest.raises(InputError, match=said):
        ChoiceSpace("mine", choices, build, [(3, 8, 8)])


@pytest.mark.parametrize("inputs", [(3, 16, 16), [], 5, "abc", [(3, -8, 8)], [(3, 8.5, 8)], [()], None])
def test_inputs_that_are_no_shapes(inputs):
    if inputs == [()]:  # one number a sample
        assert ChoiceSpace("mine", CHOICES, build, inputs).input_shapes == ((),)
        return
    with pytest.raises(InputError, match="expected the shape of a sample of each"):
        ChoiceSpace("mine", CHOICES, build, inputs)


@pytest.mark.parametrize("function", ["x", None, 3])
def test_what_does_not_make_a_network(function):
    with pytest.raises(InputError, match="expected a function that makes a network"):
        ChoiceSpace("mine", CHOICES, function, [(3, 8, 8)])


def test_a_large_space_is_counted_and_sampled_at_once():
    space = ChoiceSpace("large", {f"c{i}": range(8) for i in range(12)}, build, [(3, 8, 8)])
    assert len(space) == 8**12
    assert len(set(map(str, space.sample_distinct(5, np.random.default_rng(0))))) == 5


@pytest.mark.parametrize("shape", [torch.Size([3, 8, 8]), np.array([3, 8, 8]), (np.int64(3), 8, 8), [3, 8, 8]])
def test_shapes_of_every_kind(shape):
    assert ChoiceSpace("mine", CHOICES, build, [shape]).input_shapes == ((3, 8, 8),)


@pytest.mark.parametrize("values", [[torch.relu, torch.tanh], [lambda: 1, lambda: 2], [object(), object()]])
def test_values_that_no_other_process_knows_by_their_text_are_refused(values):
    with pytest.raises(InputError, match="is another text in every process"):
        ChoiceSpace("mine", {"act": values}, build, [(3, 8, 8)])


@pytest.mark.parametrize("values", [[1, True], [1, 1.0], [np.zeros(2), np.ones(2)]], ids=str)
def test_values_are_told_apart_by_their_texts(values):
    space = ChoiceSpace("mine", {"a": values}, lambda a: nn.ReLU(), [(3, 8, 8)])
    first, second = space.enumerate()
    assert first != second
    assert len({first, second}) == 2
    assert space.mutate(first, np.random.default_rng(0)) == second


def test_a_space_is_true_without_being_counted():
    asked = []
    space = ChoiceSpace(
        "mine",
        {f"c{i}": range(10) for i in range(20)},
        build,
        [(3, 8, 8)],
        constraint=lambda **c: asked.append(c) or True,
    )
    asked.clear()
    assert space
    assert not asked


def test_a_constraint_that_fails_is_one_line():
    with pytest.raises(InputError, match=r"its constraint fails on a=\d: ZeroDivisionError"):
        ChoiceSpace("mine", {"a": [1, 2]}, lambda a: nn.ReLU(), [(3, 8, 8)], constraint=lambda a: 1 / 0)


@pytest.fixture
def own_registries(monkeypatch):
    monkeypatch.setattr("autogas.spaces.SPACES", dict(SPACES))
    monkeypatch.setattr("autogas.plugins._noted", {})


def fragile(width):
    if width == 8:
        raise RuntimeError("too wide")
    return nn.Sequential(nn.Conv2d(3 if width < 12 else 4, width, 1), nn.ReLU(), nn.Conv2d(width, 3, 1))


def test_networks_that_cannot_be_built_or_run_are_no_candidates(own_registries, tmp_path):
    space = ChoiceSpace("fragile", {"width": [4, 6, 8, 12]}, fragile, [(3, 8, 8)])
    options = {"population": 4, "iterations": 2, "sample": 2, "agreement": 0, "jobs": 1}
    run = search(space, "snip", out=str(tmp_path / "run"), **options)
    assert set(run.read_table("candidates")["arch"]) == {"width=4", "width=6"}
    none = ChoiceSpace("none", {"width": [8]}, fragile, [(3, 8, 8)])
    with pytest.raises(InputError, match="no architecture of none can be built and run: RuntimeError: too wide"):
        search(none, "snip", out=str(tmp_path / "none"), **options)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"choices": {"width": [4, 8, 16, 32], "depth": range(1, 5), "norm": [True, False]}},
        {"inputs": [(3, 16, 16)]},
        {"constraint": lambda width, depth, norm: width * depth <= 16},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_search_does_not_go_on_in_another_space(own_registries, tmp_path, changed):
    settings = {"choices": CHOICES, "inputs": [(3, 8, 8)], "constraint": small}
    options = {"population": 3, "iterations": 1, "sample": 2, "agreement": 0, "jobs": 1}
    run = search(ChoiceSpace("mine", build=build, **settings), "params", out=str(tmp_path / "run"), **options)
    (run.path / "results.json").unlink()
    with pytest.raises(InputError, match="your code"):
        search(ChoiceSpace("mine", build=build, **settings | changed), resume=str(run.path))
    assert search(ChoiceSpace("mine", build=build, **settings), resume=str(run.path)).results["winner"]


def test_an_architecture_equals_its_values(space):
    arch = space.parse("width=4,depth=1,norm=True")
    assert arch == {"width": 4, "depth": 1, "norm": True}
    assert arch != {"width": 8, "depth": 1, "norm": True}
