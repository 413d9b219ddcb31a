import itertools
import re
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import autogas
from autogas.errors import InputError
from autogas.spaces import get_space
from autogas.spaces.translation import RESNET_PUBLISHED, SPADE_PUBLISHED, TranslationArch

RESNET = "resnet-translation"
SPADE = "spade-translation"
NAMES = (RESNET, SPADE)
SMALL = {RESNET: {"image_size": 16}, SPADE: {"layout": "coco", "image_size": 64, "num_labels": 4}}
SIZES = {
    (RESNET, "channels-48"): 5_184,
    (RESNET, "channels-32"): 6_561,
    (RESNET, "channels-64-cyclegan"): 390_625,
    (RESNET, "channels-64-pix2pix"): 5_764_801,
    (SPADE, "channels-48"): 15_552,
    (SPADE, "channels-64"): 128_000,
    (SPADE, "channels-64-coco"): 390_625,
    (SPADE, "channels-64-2"): 5_764_801,
}
SETS = list(SIZES)


def rng(seed=0):
    return np.random.default_rng(seed)


# Sets


@pytest.mark.parametrize(("name", "choices"), SETS)
def test_published_sizes(name, choices):
    assert len(get_space(name, choices=choices)) == SIZES[name, choices]


@pytest.mark.parametrize("name", NAMES)
def test_enumerate_gives_every_member_once(name):
    space = get_space(name, choices="channels-48")
    members = list(space.enumerate())
    assert len(set(members)) == len(members) == len(space)
    assert all(space.contains(arch) for arch in members)


def test_first_members_follow_the_published_order():
    space = get_space(RESNET, choices="channels-48")
    assert [str(arch) for arch in itertools.islice(space.enumerate(), 5)] == [
        "48_48_48_48_48_48_48_48",
        "48_48_48_48_48_48_48_32",
        "48_48_48_48_48_48_48_24",
        "48_48_48_48_48_48_48_16",
        "48_48_48_48_48_48_32_48",
    ]


def test_places_have_their_own_choices():
    space = get_space(RESNET, choices="channels-48")
    assert space.holds("32_48_40_40_32_48_24_16")
    for text in ("40_48_40_40_32_48_24_16", "32_40_40_40_32_48_24_16", "32_48_40_24_32_48_24_16"):
        assert not space.holds(text)
    space = get_space(SPADE)
    assert space.holds("40_40_40_40_40_24_24_24")
    assert not space.holds("40_40_40_40_24_24_24_24")


# Strings


@given(st.sampled_from(SETS), st.integers(0, 2**32))
def test_string_gives_the_architecture_back(which, seed):
    name, choices = which
    space = get_space(name, choices=choices)
    arch = space.sample(rng(seed))
    assert space.parse(str(arch)) == arch
    assert re.fullmatch(r"[0-9]+(_[0-9]+){7}", str(arch))


@given(st.sampled_from(SETS), st.lists(st.sampled_from([8, 16, 24, 32, 40, 48, 56, 64, 128]), min_size=8, max_size=8))
def test_parse_accepts_members_and_published_alone(which, widths):
    name, choices = which
    space = get_space(name, choices=choices)
    published = {RESNET: RESNET_PUBLISHED, SPADE: SPADE_PUBLISHED}[name].values()
    arch = TranslationArch(tuple(widths))
    member = all(width in accepted for width, accepted in zip(widths, space.widths, strict=True))
    assert space.holds(str(arch)) == (member or arch in published)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "48",
        "48_48",
        "48_48_48_48_48_48_48_48_48",
        "48-48-48-48-48-48-48-48",
        "48_48_48_48_48_48_48_x",
        "gan",
        "4" * 5000,
    ],
)
def test_malformed_string_is_refused_in_one_line(name, text):
    with pytest.raises(InputError) as error:
        get_space(name).parse(text)
    assert len(str(error.value).splitlines()) == 1
    assert repr(text) in str(error.value)
    assert str(next(get_space(name).enumerate())) in str(error.value)


def test_width_outside_the_set_is_named():
    with pytest.raises(InputError) as error:
        get_space(RESNET, choices="channels-48").parse("48_48_48_48_48_48_64_48")
    assert str(error.value) == (
        "architecture '48_48_48_48_48_48_64_48' is outside space resnet-translation with choices=channels-48: "
        "width 7 is 64, expected 48, 32, 24, 16"
    )


@pytest.mark.parametrize(("name", "choices"), SETS)
def test_published_architectures_parse_by_name_and_widths_in_every_set(name, choices):
    space = get_space(name, choices=choices)
    for text, arch in space.published.items():
        assert space.parse(text) == arch == space.parse(str(arch))


# From the released scripts: which set each released model was searched in.
@pytest.mark.parametrize(
    ("name", "choices", "models"),
    [
        (RESNET, "channels-32", ["cyclegan-horse2zebra-retrained"]),
        (
            RESNET,
            "channels-48",
            ["pix2pix-edges2shoes-retrained", "pix2pix-cityscapes-retrained", "pix2pix-map2sat-retrained"],
        ),
        (RESNET, "channels-64-cyclegan", ["cyclegan-horse2zebra-fast"]),
        (
            RESNET,
            "channels-64-pix2pix",
            ["pix2pix-edges2shoes-fast", "pix2pix-cityscapes-fast", "pix2pix-map2sat-fast"],
        ),
        (SPADE, "channels-48", ["gaugan-cityscapes-paper", "gaugan-cityscapes-retrained"]),
        (SPADE, "channels-64", ["gaugan-cityscapes-fast"]),
        (SPADE, "channels-64-coco", ["gaugan-coco-fast"]),
    ],
)
def test_published_architectures_are_members_of_their_own_set(name, choices, models):
    space = get_space(name, choices=choices)
    assert all(space.contains(space.parse(model)) for model in models)


def test_six_widths_are_the_older_form_of_resnets_alone():
    space = get_space(RESNET, choices="channels-48")
    assert space.parse("24_24_24_32_20_16") == space.parse("cyclegan-horse2zebra-paper")
    assert str(space.parse("48_32_40_40_32_16")) == "48_32_40_40_40_40_32_16"
    assert not get_space(SPADE).holds("48_48_48_48_48_48")


# Draws


def gene_counts(space, draws=4000):
    generator = rng()
    archs = [space.sample(generator).widths for _ in range(draws)]
    return [Counter(widths) for widths in zip(*archs, strict=True)]


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({}, {3: [1, 1, 1]}),
        ({"draw": "uniform", "ratio": 5}, {3: [1, 1, 1]}),
        ({"draw": "arithmetic", "ratio": 2}, {3: [1, 1.5, 2], 5: [1, 1.25, 1.5, 1.75, 2]}),
        ({"draw": "geometric", "ratio": 3}, {3: [1, 3, 9], 5: [1, 3, 9, 27, 81]}),
        ({"draw": "geometric", "ratio": 1}, {3: [1, 1, 1]}),
    ],
)
def test_draw_has_its_probabilities(settings, weights):
    for choices in ("channels-32", "channels-64-cyclegan"):
        space = get_space(RESNET, choices=choices, **settings)
        expected = np.array(weights.get(len(space.widths[0]), np.ones(5)), dtype=float)
        for counts, accepted in zip(gene_counts(space), space.widths, strict=True):
            observed = [counts[width] for width in accepted]  # largest first
            assert stats.chisquare(observed, sum(observed) * expected / expected.sum()).pvalue > 1e-4


def test_genes_are_drawn_independently():
    space = get_space(RESNET, choices="channels-32")
    generator = rng()
    pairs = Counter(space.sample(generator).widths[2:4] for _ in range(4000))
    assert stats.chisquare([pairs[p] for p in itertools.product((32, 24, 16), repeat=2)]).pvalue > 1e-4


def test_weighted_draw_meets_a_budget_that_uniform_draws_hardly_meet():
    shares = {}
    for draw in ("uniform", "geometric"):
        space = get_space(SPADE, choices="channels-64", draw=draw)
        generator = rng()
        shares[draw] = np.mean([space.cost(space.sample(generator)).macs <= 32e9 for _ in range(2000)])
    assert 0.001 < shares["uniform"] < 0.012  # "about 0.5 %"
    assert shares["geometric"] > 10 * shares["uniform"]


# Operators


@given(st.sampled_from(SETS), st.integers(0, 2**32))
def test_mutant_is_another_member(which, seed):
    name, choices = which
    space = get_space(name, choices=choices)
    arch = space.sample(rng(seed))
    child = space.mutate(arch, rng(seed + 1))
    assert child != arch
    assert space.contains(child)
    assert child == space.mutate(arch, rng(seed + 1))


def test_mutation_changes_each_width_at_the_published_rate():
    space = get_space(RESNET, choices="channels-64-pix2pix")
    generator, arch = rng(), space.parse("32_32_32_32_32_32_32_32")
    children = np.array([space.mutate(arch, generator).widths for _ in range(4000)])
    changed = 0.2 * 6 / 7  # one redraw in seven gives the same width
    expected = changed / (1 - (1 - changed) ** 8)  # a child is never its parent
    assert np.abs((children != 32).mean(axis=0) - expected).max() < 5 * (expected / 4000) ** 0.5
    others = Counter(children[children != 32].tolist())
    assert stats.chisquare([others[w] for w in (64, 56, 48, 40, 24, 16)]).pvalue > 1e-4


@given(st.sampled_from(SETS), st.integers(0, 2**32))
def test_child_has_every_width_of_a_parent(which, seed):
    name, choices = which
    space = get_space(name, choices=choices)
    generator = rng(seed)
    first, second = space.sample(generator), space.sample(generator)
    child = space.crossover(first, second, generator)
    assert all(c in pair for c, *pair in zip(child.widths, first.widths, second.widths, strict=True))


def test_crossover_takes_each_width_from_either_parent_alike():
    space = get_space(RESNET, choices="channels-48")
    generator = rng()
    first, second = space.parse("48_48_48_48_48_48_48_48"), space.parse("32_32_32_32_32_32_32_32")
    children = Counter(space.crossover(first, second, generator) for _ in range(256 * 20))
    assert len(children) == 256
    assert stats.chisquare(list(children.values())).pvalue > 1e-4


@pytest.mark.parametrize(("name", "choices"), SETS)
def test_children_of_guests_are_members(name, choices):
    space = get_space(name, choices=choices)
    generator = rng()
    guests = list(space.published.values())
    for first, second in itertools.product(guests, guests):
        assert space.contains(space.crossover(first, second, generator))
    for guest in guests:
        assert space.contains(space.mutate(guest, generator))


# Settings


@pytest.mark.parametrize(
    ("name", "settings", "accepted"),
    [
        (RESNET, {"choices": "channels-40"}, "channels-48, channels-32, channels-64-cyclegan, channels-64-pix2pix"),
        (SPADE, {"choices": "channels-32"}, "channels-48, channels-64, channels-64-coco, channels-64-2"),
        (RESNET, {"choices": ["channels-48"]}, "channels-48, "),
        (RESNET, {"block": "wide"}, "mobile, dense"),
        (SPADE, {"block": None}, "mobile, dense"),
        (RESNET, {"image_size": 30}, "multiples of 4 from 8"),
        (RESNET, {"image_size": 4}, "multiples of 4 from 8"),
        (RESNET, {"image_size": 256.0}, "multiples of 4 from 8"),
        (SPADE, {"image_size": 96}, "multiples of 64 from 64"),
        (SPADE, {"layout": "coco", "image_size": 32}, "multiples of 32 from 64"),
        (SPADE, {"layout": "ade20k"}, "cityscapes, coco"),
        (SPADE, {"num_labels": 1}, "whole numbers of 2 or more"),
        (SPADE, {"num_labels": 3.0}, "whole numbers of 2 or more"),
        (RESNET, {"draw": "normal"}, "uniform, arithmetic, geometric"),
        (RESNET, {"ratio": 0.5}, "numbers of 1 or more"),
        (RESNET, {"ratio": float("nan")}, "numbers of 1 or more"),
        (SPADE, {"ratio": float("inf")}, "numbers of 1 or more"),
        (SPADE, {"ratio": "2"}, "numbers of 1 or more"),
    ],
)
def test_bad_setting_is_one_line(name, settings, accepted):
    with pytest.raises(InputError) as error:
        get_space(name, **settings)
    key = next(key for key in settings if key != "layout" or len(settings) == 1)
    assert str(error.value).startswith(f"{name}: {key}={settings[key]!r}: expected {accepted}")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        (RESNET, {"choices": "channels-32", "block": "dense", "image_size": 64, "draw": "arithmetic", "ratio": 2.5}),
        (SPADE, {"layout": "coco", "image_size": 64, "num_labels": 7, "draw": "geometric"}),
    ],
)
def test_settings_give_the_space_back(name, settings):
    space = get_space(name, **settings)
    assert {key: space.settings[key] for key in settings} == settings
    again = get_space(name, **space.settings)
    assert again.settings == space.settings
    assert again.cost(ARCH[name]) == space.cost(ARCH[name])


# Networks

ARCH = {
    RESNET: TranslationArch((16, 16, 24, 16, 32, 24, 24, 16)),
    SPADE: TranslationArch((32, 32, 40, 32, 32, 24, 32, 24)),
}
TINY = {RESNET: TranslationArch((2, 1, 2, 1, 3, 2, 2, 3)), SPADE: TranslationArch((1, 2, 1, 2, 1, 1, 2, 3))}


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", ["mobile", "dense"])
def test_build_depends_on_seed_and_architecture_alone(name, block):
    space = get_space(name, block=block, **SMALL[name])
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = space.build(TINY[name], seed=5)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    other_set = get_space(name, block=block, choices="channels-48", draw="geometric", **SMALL[name])
    assert same(first, other_set.build(TINY[name], seed=5))
    assert not same(first, space.build(TINY[name], seed=6))
    assert first.training
    assert {t.device.type for t in first.state_dict().values()} == {"cpu"}


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_weight(name):
    space = get_space(name, **SMALL[name])
    model = space.build(TINY[name])
    (x,) = space.inputs(batch_size=2)
    # The whole output has no gradient through a normalisation, one corner has.
    model(x)[..., : x.shape[-1] // 2].square().sum().backward()
    silent = [n for n, p in model.named_parameters() if not n.endswith("bias") and not p.grad.abs().max() > 0]
    assert silent == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", ["mobile", "dense"])
def test_small_network_learns(name, block):
    space = get_space(name, block=block, **SMALL[name])
    model = space.build(TINY[name])
    (x,) = space.inputs(batch_size=2)
    target = torch.stack([torch.full(x.shape[2:], v) for v in (-0.5, 0.0, 0.5)])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = (model(x) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("name", NAMES)
def test_default_proxy_scores_the_network(name):
    settings = {**SMALL[name], "image_size": 64}
    scores = []
    for arch in (ARCH[name], ARCH[name], TINY[name]):
        space = get_space(name, **settings)
        scores.append(autogas.score(space.build(arch), space.inputs(batch_size=4), "autogas"))
    assert scores[0] == scores[1] != scores[2]
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", NAMES)
def test_original_is_dense_and_keeps_the_other_settings(name):
    space, arch = get_space(name, **SMALL[name]).original()
    assert str(arch) == "64_64_64_64_64_64_64_64"
    assert space.holds(str(arch))
    assert {**space.settings, **SMALL[name]} == space.settings
    assert space.settings["block"] == "dense"


def test_architecture_can_be_hashed_but_not_changed():
    arch = get_space(RESNET, choices="channels-48").parse("48_48_48_48_48_48_48_48")
    assert len({arch, TranslationArch((48,) * 8)}) == 1
    with pytest.raises(AttributeError):
        arch.widths = (32,) * 8


# Divisor


@pytest.mark.parametrize("name", NAMES)
def test_a_divisor_divides_every_width_and_no_genotype(name):
    space, full = get_space(name, **SMALL[name], divisor=4), get_space(name, **SMALL[name])
    arch = next(full.enumerate())
    assert next(space.enumerate()) == arch
    quarter = TranslationArch(tuple(width // 4 for width in arch.widths))
    shapes = {key: value.shape for key, value in full.network(quarter).state_dict().items()}
    assert {key: value.shape for key, value in space.network(arch).state_dict().items()} == shapes
    built = sum(p.numel() for p in space.build(arch).parameters())
    assert space.cost(arch).params == built < full.cost(arch).params / 8


@pytest.mark.parametrize("divisor", [0, 3, 16, True, "4"])
def test_other_divisors_are_refused(divisor):
    with pytest.raises(InputError, match=r"divisor=.*expected 1, 2, 4, 8"):
        get_space(RESNET, divisor=divisor)
