import functools
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autogas import score
from autogas.errors import InputError
from autogas.spaces import get_space
from autogas.spaces.eagan import PUBLISHED, EAGANArch

SPACES = ("eagan-generator", "eagan-discriminator")
DRAWS = 10_000
seeds = st.integers(0, 2**32 - 1)


def legal_generator_cell(cell):
    u0, u1, a, b, c, d, e = cell
    return {u0, u1} <= {0, 1, 2} and {a, b, c, d, e} <= set(range(7)) and a + b > 0 and c + d + e > 0


def legal_discriminator_cell(cell):
    c0, c1, c2, c3, c4, d0, d1 = cell
    if not {c0, c1, c2, c3, c4} <= set(range(7)):
        return False
    down = d0 == d1 == -1 or {d0, d1} <= set(range(6))
    return c0 > 0 and c1 + c2 > 0 and c3 + c4 > 0 and down


LEGAL_CELL = {"eagan-generator": legal_generator_cell, "eagan-discriminator": legal_discriminator_cell}


def legal(name, cells):
    return len(cells) == 3 and all(len(cell) == 7 and LEGAL_CELL[name](cell) for cell in cells)


@functools.cache
def legal_rows(name):
    """Every legal cell, by trying all 8^7 rows of genes -1 to 6."""
    genes = np.indices((8,) * 7, dtype=np.int8).reshape(7, -1) - 1
    if name == "eagan-generator":
        keep = (genes >= 0).all(0) & (genes[:2] <= 2).all(0) & genes[2:4].any(0) & genes[4:].any(0)
    else:
        down = genes[5:]
        keep = (genes[:5] >= 0).all(0) & (genes[0] > 0) & genes[1:3].any(0) & genes[3:5].any(0)
        keep &= (down == -1).all(0) | ((down >= 0) & (down <= 5)).all(0)
    return genes[:, keep].T


@pytest.fixture(scope="module", params=SPACES)
def space(request):
    return get_space(request.param)


def with_gene(cells, row, place, value):
    changed = [list(cell) for cell in cells]
    changed[row][place] = value
    return tuple(map(tuple, changed))


def neighbours(name, cells):
    """All legal changes of one gene, the two down-sampling genes being one where -1 comes in."""
    found = {
        with_gene(cells, row, place, value) for row in range(3) for place in range(7) for value in range(-1, 7)
    } - {cells}
    if name == "eagan-discriminator":
        for row in range(3):
            for pair in [(-1, -1), *itertools.product(range(6), repeat=2)]:
                if -1 in (*pair, *cells[row][5:]):
                    found.add(with_gene(with_gene(cells, row, 5, pair[0]), row, 6, pair[1]))
        found.discard(cells)
    return {other for other in found if legal(name, other)}


# Size and enumeration


@pytest.mark.parametrize(
    ("name", "per_cell"), [("eagan-generator", 9 * 48 * 342), ("eagan-discriminator", 6 * 48 * 48 * 37)]
)
def test_size_is_the_brute_force_count_of_one_cell_cubed(name, per_cell):
    assert len(legal_rows(name)) == per_cell
    assert len(get_space(name)) == per_cell**3


@pytest.mark.parametrize("name", SPACES)
def test_enumeration_runs_over_all_cells(name):
    rows = {tuple(row) for row in legal_rows(name).tolist()}
    archs = itertools.islice(get_space(name).enumerate(), len(rows) + 1)
    seen = [arch.cells for arch in archs]
    # The last cell changes fastest, the one before it when all last cells have passed.
    assert len({cells[:2] for cells in seen[:-1]}) == 1
    assert {cells[2] for cells in seen[:-1]} == rows
    assert seen[-1][:2] != seen[0][:2]
    assert seen[-1][2] == seen[0][2]


# Operators


def test_samples_are_legal(space):
    rng = np.random.default_rng(0)
    assert all(legal(space.name, space.sample(rng).cells) for _ in range(DRAWS))


def test_mutants_are_legal_and_new(space):
    rng = np.random.default_rng(0)
    arch = space.sample(rng)
    for _ in range(DRAWS):
        parent, arch = arch, space.mutate(arch, rng)
        assert arch != parent
        assert legal(space.name, arch.cells)


def test_children_are_legal_and_of_their_parents(space):
    rng = np.random.default_rng(0)
    for _ in range(DRAWS):
        first, second = space.sample(rng), space.sample(rng)
        child = space.crossover(first, second, rng)
        assert legal(space.name, child.cells)
        genes = (itertools.chain.from_iterable(arch.cells) for arch in (child, first, second))
        assert all(gene in (a, b) for gene, a, b in zip(*genes, strict=True))


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("eagan-generator", [[0], [1], [2, 3], [4, 5, 6]]),
        ("eagan-discriminator", [[0], [1, 2], [3, 4], [5, 6]]),
    ],
)
def test_samples_are_uniform(name, blocks):
    space, rng = get_space(name), np.random.default_rng(0)
    rows = np.array([cell for _ in range(DRAWS // 2) for cell in space.sample(rng).cells])
    for places in blocks:
        counts = Counter(map(tuple, rows[:, places].tolist()))
        assert set(counts) == set(map(tuple, np.unique(legal_rows(name)[:, places], axis=0).tolist()))
        assert stats.chisquare(list(counts.values())).pvalue > 1e-3


@given(seed=seeds)
def test_mutation_is_a_neighbour(space, seed):
    rng = np.random.default_rng(seed)
    arch = space.sample(rng)
    assert space.mutate(arch, rng).cells in neighbours(space.name, arch.cells)


@pytest.mark.parametrize(("name", "published"), [(name, known) for name in SPACES for known in PUBLISHED[name]])
def test_mutation_reaches_every_neighbour(name, published):
    space, rng = get_space(name), np.random.default_rng(0)
    arch = space.parse(published)
    assert {space.mutate(arch, rng).cells for _ in range(6000)} == neighbours(name, arch.cells)


@given(seed=seeds)
def test_child_of_equal_parents_is_that_parent(space, seed):
    rng = np.random.default_rng(seed)
    arch = space.sample(rng)
    assert space.crossover(arch, arch, rng) == arch


@pytest.mark.parametrize("name", SPACES)
def test_crossover_reaches_every_legal_mix(name):
    space, rng = get_space(name), np.random.default_rng(0)
    same = PUBLISHED[name][min(PUBLISHED[name])].cells[1:]
    rows = ((0, 0, 0, 1, 2, 0, 0), (1, 2, 3, 0, 0, 3, 0))
    if name == "eagan-discriminator":
        rows = ((1, 0, 2, 3, 0, -1, -1), (2, 3, 0, 0, 4, 1, 2))
    parents = [EAGANArch((row, *same)) for row in rows]
    mixes = {mix for mix in itertools.product(*zip(*rows, strict=True)) if LEGAL_CELL[name](mix)}
    children = [space.crossover(*parents, rng) for _ in range(3000)]
    assert {child.cells[0] for child in children} == mixes
    assert {child.cells[1:] for child in children} == {same}
    assert stats.chisquare(list(Counter(child.cells[0] for child in children).values())).pvalue > 1e-3


def test_operators_depend_on_the_generator_alone(space):
    def run():
        rng = np.random.default_rng(3)
        a, b = space.sample(rng), space.sample(rng)
        return a, b, space.mutate(a, rng), space.crossover(a, b, rng)

    assert run() == run()


# Text


@given(seed=seeds)
def test_string_parses_back(space, seed):
    arch = space.sample(np.random.default_rng(seed))
    again = space.parse(str(arch))
    assert again == arch
    assert hash(again) == hash(arch)
    assert str(arch) == str([list(cell) for cell in arch.cells]).replace(" ", "")


@given(seed=seeds, spaces=st.lists(st.sampled_from(["", " ", "\n", "\t  "]), min_size=60, max_size=60))
def test_white_space_between_tokens_is_free(space, seed, spaces):
    arch = space.sample(np.random.default_rng(seed))
    tokens = str(arch).replace("[", "[ ").replace("]", " ]").replace(",", " , ").split()
    text = "".join(f"{gap}{token}" for gap, token in zip(itertools.cycle(spaces), tokens, strict=False))
    assert space.parse(text) == arch


@given(cells=st.lists(st.lists(st.integers(-1, 6), min_size=7, max_size=7), min_size=3, max_size=3))
def test_space_holds_exactly_the_legal_arrays(space, cells):
    assert space.holds(str(cells)) == legal(space.name, cells)


@pytest.mark.parametrize("name", SPACES)
def test_space_holds_exactly_the_legal_cells(name):
    space, rng = get_space(name), np.random.default_rng(0)
    rows = legal_rows(name)
    rest = PUBLISHED[name][min(PUBLISHED[name])].cells[1:]
    for row in rng.choice(rows, 300).tolist():
        place, value = rng.integers(7), int(rng.integers(-1, 7))
        row[place] = value
        assert space.holds(str([row, *map(list, rest)])) == LEGAL_CELL[name](row)


BEST = "[[1,1,1,0,2,3,1],[1,1,0,1,3,0,5],[0,1,0,3,0,0,3]]"


@pytest.mark.parametrize(
    ("name", "published", "text"),
    [
        ("eagan-generator", "eagan-best", BEST),
        ("eagan-discriminator", "eagan-best-cifar10", "[[3,0,3,0,2,0,0],[1,0,3,0,1,-1,-1],[3,0,3,0,1,-1,-1]]"),
        ("eagan-discriminator", "eagan-best-stl10", "[[3,0,3,0,2,0,0],[4,0,4,0,1,-1,-1],[3,0,3,0,1,-1,-1]]"),
    ],
)
def test_published_name_gives_its_array(name, published, text):
    space = get_space(name)
    assert published in space.published
    assert str(space.parse(f" {published} ")) == text
    assert space.parse(text) == space.published[published]


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "eagan-worst",
        "[]",
        "[[1,1,1,0,2,3,1],[1,1,0,1,3,0,5]]",
        "[[1,1,1,0,2,3],[1,1,0,1,3,0,5],[0,1,0,3,0,0,3]]",
        f"{BEST}]",
        BEST.replace("2", "7"),
        BEST.replace("2", "-2"),
        BEST.replace("2", "2.0"),
        BEST.replace("2", "02"),
        BEST.replace("2", "٢"),
        BEST.replace(",", " "),
        BEST.replace(",", "\n"),
        "[" * 100_000,
    ],
)
def test_text_of_no_form_is_one_line_with_the_names(name, text):
    space = get_space(name)
    with pytest.raises(InputError) as error:
        space.parse(text)
    assert len(str(error.value).splitlines()) == 1
    assert all(known in str(error.value) for known in space.published)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("eagan-generator", "[3,0,1,1,1,1,1]"),
        ("eagan-generator", "[0,0,0,0,1,1,1]"),
        ("eagan-generator", "[0,0,1,1,0,0,0]"),
        ("eagan-generator", "[0,0,1,1,1,1,-1]"),
        ("eagan-discriminator", "[0,1,1,1,1,0,0]"),
        ("eagan-discriminator", "[1,0,0,1,1,0,0]"),
        ("eagan-discriminator", "[1,1,1,0,0,0,0]"),
        ("eagan-discriminator", "[1,1,1,1,1,-1,0]"),
        ("eagan-discriminator", "[1,1,1,1,1,0,-1]"),
        ("eagan-discriminator", "[1,1,1,1,1,6,0]"),
    ],
)
def test_array_outside_the_space_is_one_line(name, row):
    space = get_space(name)
    text = f"[{row},{row},{row}]"
    with pytest.raises(InputError) as error:
        space.parse(text)
    assert len(str(error.value).splitlines()) == 1
    assert repr(text) in str(error.value)
    assert "accepted" in str(error.value)


def test_names_of_one_space_are_unknown_to_the_other():
    assert not get_space("eagan-generator").holds("eagan-best-cifar10")
    assert not get_space("eagan-discriminator").holds("eagan-best")


# Settings, inputs, traits


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize(
    ("culprit", "value"),
    [
        *(("dataset", value) for value in ("mnist", "", None, ["cifar10"], "CIFAR10")),
        *(("width", value) for value in (0, -8, 1.5, 64.0, True, "wide", None)),
    ],
)
def test_bad_setting_names_itself(name, culprit, value):
    with pytest.raises(InputError) as error:
        get_space(name, **{culprit: value})
    assert str(error.value).startswith(f"{name}: {culprit}={value!r}: expected ")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(("dataset", "size"), [("cifar10", 32), ("stl10", 48)])
def test_inputs_are_latents_and_images(dataset, size):
    (latents,) = get_space("eagan-generator", dataset=dataset).inputs(batch_size=5)
    (images,) = get_space("eagan-discriminator", dataset=dataset).inputs(batch_size=5)
    assert latents.shape == (5, 120)
    assert images.shape == (5, 3, size, size)
    assert {get_space(name, dataset=dataset).image_size for name in SPACES} == {size}


@pytest.mark.parametrize(
    ("name", "text", "traits"),
    [
        ("eagan-generator", BEST, {"num_skips": 3, "num_convolutions": 6, "num_transposed": 0}),
        (
            "eagan-generator",
            "[[1,1,0,6,0,0,5],[1,1,1,1,1,1,1],[2,2,0,1,1,0,0]]",
            {"num_skips": 7, "num_convolutions": 2, "num_transposed": 2},
        ),
        (
            "eagan-discriminator",
            "[[1,0,2,0,1,1,5],[1,1,0,1,1,-1,-1],[2,3,4,5,6,2,2]]",
            {"num_downsamples": 2, "num_skips": 6, "num_convolutions": 6},
        ),
    ],
)
def test_traits_are_counts_of_edges(name, text, traits):
    space = get_space(name)
    assert space.traits(space.parse(text)) == traits


def test_the_count_of_transposed_convolutions_is_that_of_the_network():
    space = get_space("eagan-generator", width=4)
    for arch in space.sample_distinct(8, np.random.default_rng(0)):
        network = space.build(arch, seed=0)
        assert space.traits(arch)["num_transposed"] == -score(network, space.inputs(batch_size=2), "num_transposed")
