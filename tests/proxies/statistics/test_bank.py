import errno
import importlib
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from autogas.files import read_json
from autogas.paths import home
from autogas.proxies.language.expression import Prefix, parse_proxy
from autogas.proxies.statistics.bank import FeatureBank
from autogas.proxies.statistics.evaluate import Evaluator
from autogas.spaces import get_space

SMALL = {"base_width": 4, "decoder_divisor": 64, "stem_stride": 1, "image_size": 16}
SPACE = get_space("transnas-macro", **SMALL)
ARCHS = [SPACE.parse(text) for text in ("64-1234-basic", "64-4123-basic", "64-1423-basic")]
PREFIXES = (
    Prefix(),
    Prefix(transforms=("swish",), binariser="above_mean"),
    Prefix(binariser="sign"),
    Prefix("convolutions", ("norm", "softmax"), "above_median"),
)
PROXIES = [
    parse_proxy(text)
    for text in (
        "gram > slogdet",
        "pearson > abslog > max",
        "swish > above_mean > gram > slogdet > pow2",
        "swish > above_mean > hamming > eigenvalue_entropy",
        "sign > covariance > nuclear_norm > l2_norm",
        "convolutions > norm > softmax > above_median > distance > l1_norm > last",
    )
]


def bank(root, **settings):
    return FeatureBank(settings.pop("space", SPACE), root=root, **{"prefixes": PREFIXES, "batch_size": 4, **settings})


def scores(statistics):
    evaluator = Evaluator(statistics)
    values = np.array([evaluator.scores(proxy) for proxy in PROXIES])
    assert np.isfinite(values).all()
    return values.tobytes()


@pytest.fixture(scope="module")
def direct(tmp_path_factory):
    fresh = bank(tmp_path_factory.mktemp("never written"))
    return [fresh.measure(arch) for arch in ARCHS]


def same(found, expected):
    assert found.gram.keys() == expected.gram.keys()
    assert all(np.array_equal(found.gram[p], expected.gram[p]) for p in PREFIXES)
    assert all(np.array_equal(found.sums[p], expected.sums[p]) for p in PREFIXES)
    assert all(np.array_equal(found.sizes[p], expected.sizes[p]) for p in PREFIXES)
    assert {k: v.tolist() for k, v in found.live.items()} == {k: v.tolist() for k, v in expected.live.items()}
    assert found.failure == expected.failure


def test_reloaded_statistics_are_those_measured(tmp_path, direct):
    bank(tmp_path).fill(ARCHS)
    for arch, expected in zip(ARCHS, direct, strict=True):
        same(bank(tmp_path).load(arch), expected)


def test_reloaded_scores_are_bit_identical(tmp_path, direct):
    bank(tmp_path).fill(ARCHS)
    assert scores(bank(tmp_path).load_all(ARCHS)) == scores(direct)


def test_number_of_workers_does_not_matter(tmp_path, direct):
    assert scores(bank(tmp_path).load_all(ARCHS, jobs=2)) == scores(direct)


def test_order_of_architectures_does_not_matter(tmp_path, direct):
    reverse = bank(tmp_path).load_all(ARCHS[::-1])
    assert scores(reverse[::-1]) == scores(direct)


def test_measuring_stores_nothing(tmp_path):
    bank(tmp_path).measure(ARCHS[0])
    assert list(tmp_path.iterdir()) == []


def test_missing_is_none(tmp_path):
    assert bank(tmp_path).load(ARCHS[0]) is None


def test_banked_networks_are_not_run_again(tmp_path, monkeypatch):
    filled = bank(tmp_path)
    filled.fill(ARCHS)
    monkeypatch.setattr(FeatureBank, "measure", None)
    assert filled.fill(ARCHS) == {}
    assert len(filled.load_all(ARCHS)) == 3


def test_only_what_is_missing_is_measured(tmp_path, monkeypatch):
    bank(tmp_path).fill(ARCHS[:2])
    asked = []
    real = FeatureBank.measure
    monkeypatch.setattr(FeatureBank, "measure", lambda self, arch: asked.append(arch) or real(self, arch))
    bank(tmp_path).load_all(ARCHS)
    assert asked == [ARCHS[2]]


def test_files_and_key(tmp_path):
    filled = bank(tmp_path)
    filled.fill(ARCHS)
    assert {path.name for path in filled.folder.iterdir()} == {"key.json", *(f"{arch}.npz" for arch in ARCHS)}
    assert read_json(filled.folder / "key.json") == filled.key


@pytest.mark.parametrize("kept", [0, 1, 3, 100, 0.5, 0.99])
def test_truncated_file_is_measured_anew(tmp_path, direct, kept):
    filled = bank(tmp_path)
    filled.fill(ARCHS)
    file = filled.path(ARCHS[1])
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    assert scores(filled.load_all(ARCHS)) == scores(direct)
    assert file.stat().st_size > 0.9 * len(whole)


@pytest.mark.parametrize("content", [b"not a zip file at all", b"PK\x03\x04"])
def test_damaged_file_is_measured_anew(tmp_path, direct, content):
    filled = bank(tmp_path)
    filled.fill(ARCHS)
    filled.path(ARCHS[0]).write_bytes(content)
    assert scores(filled.load_all(ARCHS)) == scores(direct)


def test_file_of_another_kind_is_measured_anew(tmp_path, direct):
    filled = bank(tmp_path)
    filled.fill(ARCHS)
    with filled.path(ARCHS[0]).open("wb") as file:
        np.savez(file, other=np.ones(3))
    assert scores(filled.load_all(ARCHS)) == scores(direct)


@pytest.mark.parametrize("change", ["bit", "zeros", "longer", "no checksum"])
def test_no_damage_goes_unnoticed(tmp_path, change):
    filled = bank(tmp_path)
    filled.fill(ARCHS[:1])
    file = filled.path(ARCHS[0])
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    places = [*rng.choice(len(whole), 100), *range(130), *range(len(whole) - 800, len(whole), 3)]
    for place in places if change != "no checksum" else [0]:
        before, after = whole[:place], whole[place + 1 :]
        damaged = {
            "bit": before + bytes([whole[place] ^ 1 << rng.integers(8)]) + after,
            "zeros": before + bytes(40) + whole[place + 40 :],
            "longer": before + b"!" + whole[place:],
            "no checksum": whole[:-32],
        }[change]
        file.write_bytes(damaged)
        assert filled.load(ARCHS[0]) is None or damaged == whole


HEADERS = {
    "huge": b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }",
    "negative": b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
    "of objects": b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "of no type": b"{'descr': 5, 'fortran_order': 'no', 'shape': 'x', }",
    "not closed": b"{'descr': ((((((((((",
    "of another language": b"\xff\xfe{",
}


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("name", HEADERS)
def test_a_damaged_header_is_neither_followed_nor_an_error(tmp_path, direct, name, sealed):
    filled = bank(tmp_path)
    filled.fill(ARCHS)
    file = filled.path(ARCHS[0])
    seal = file.read_bytes()[-32:]
    header = HEADERS[name].ljust(117) + b"\n"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("meta.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    if sealed:
        file.write_bytes(file.read_bytes() + seal)
    assert scores(filled.load_all(ARCHS)) == scores(direct)


def test_many_damaged_files_are_measured_anew(tmp_path, direct):
    filled = bank(tmp_path)
    filled.fill(ARCHS)
    for arch in ARCHS:
        filled.path(arch).write_bytes(filled.path(arch).read_bytes()[:-1])
    assert scores(filled.load_all(ARCHS, jobs=2)) == scores(direct)
    assert scores(filled.load_all(ARCHS)) == scores(direct)


def test_file_of_another_architecture_is_measured_anew(tmp_path, direct):
    filled = bank(tmp_path)
    filled.fill(ARCHS)
    shutil.copy(filled.path(ARCHS[0]), filled.path(ARCHS[1]))
    assert scores(filled.load_all(ARCHS)) == scores(direct)


def test_folder_of_another_key_is_measured_anew(tmp_path, direct):
    other, filled = bank(tmp_path, seed=1), bank(tmp_path)
    other.fill(ARCHS)
    shutil.copytree(other.folder, filled.folder)
    assert scores(filled.load_all(ARCHS)) == scores(direct)


def test_disk_that_is_full_ends_the_work(tmp_path, monkeypatch):
    def full(self, arch, statistics):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FeatureBank, "store", full)
    with pytest.raises(OSError, match="No space left"):
        bank(tmp_path).load_all(ARCHS)


OTHERS = {
    "seed": {"seed": 1},
    "batch": {"batch_size": 5},
    "prefixes": {"prefixes": PREFIXES[:2]},
    "order of prefixes": {"prefixes": PREFIXES[::-1]},
    "settings": {"space": get_space("transnas-macro", **SMALL | {"base_width": 6})},
    "space": {"space": get_space("transnas-micro", **SMALL)},
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_key_is_another_folder(tmp_path, name):
    other = bank(tmp_path, **OTHERS[name])
    assert other.folder != bank(tmp_path).folder
    bank(tmp_path).fill(ARCHS[:1])
    assert other.load(ARCHS[0]) is None


def test_same_key_is_the_same_folder(tmp_path):
    assert bank(tmp_path, space=get_space("transnas-macro", **SMALL)).folder == bank(tmp_path).folder


@pytest.mark.parametrize("setting", [{"seed": 1}, {"batch_size": 5}])
def test_another_key_gives_other_statistics(tmp_path, direct, setting):
    other = bank(tmp_path, **setting).measure(ARCHS[0])
    assert other.gram[PREFIXES[0]].shape != direct[0].gram[PREFIXES[0]].shape or not np.allclose(
        other.gram[PREFIXES[0]], direct[0].gram[PREFIXES[0]]
    )


def test_network_that_cannot_be_built_yields_a_reason(tmp_path):
    archs = [ARCHS[0], "64-1111-basic", ARCHS[1]]
    good, bad, also_good = bank(tmp_path).load_all(archs)
    assert bad.failure.startswith("architecture '64-1111-basic' is outside space")
    assert good.failure == also_good.failure == ""
    assert Evaluator([good, bad, also_good]).failures == {1: bad.failure}


def test_network_that_cannot_be_run_yields_a_reason(tmp_path, monkeypatch):
    real = FeatureBank.measure

    def measure(self, arch):
        if arch == ARCHS[1]:
            raise MemoryError("too large")
        return real(self, arch)

    monkeypatch.setattr(FeatureBank, "measure", measure)
    assert bank(tmp_path).fill(ARCHS) == {str(ARCHS[1]): "MemoryError: too large"}
    assert [s.failure for s in bank(tmp_path).load_all(ARCHS)] == ["", "MemoryError: too large", ""]


def test_failed_network_is_tried_again(tmp_path, monkeypatch, direct):
    with monkeypatch.context() as patch:
        patch.setattr(FeatureBank, "measure", lambda self, arch: 1 / 0)
        assert len(bank(tmp_path).fill(ARCHS)) == 3
    assert scores(bank(tmp_path).load_all(ARCHS)) == scores(direct)


def test_failure_in_the_statistics_is_kept(tmp_path):
    space = get_space("transnas-micro", **SMALL)
    arch = space.parse("64-41414-0_00_000")
    filled = bank(tmp_path, space=space)
    assert filled.fill([arch]) == {}
    assert filled.load(arch).failure == filled.measure(arch).failure == "the output of the network ignores its input"


def test_seconds_are_kept(tmp_path):
    filled = bank(tmp_path)
    filled.fill(ARCHS[:1])
    seconds = filled.load(ARCHS[0]).seconds
    assert set(seconds) == {"build", "forward", "statistics"}
    assert all(value > 0 for value in seconds.values())


@pytest.mark.parametrize("name", ["a/b", "../up", "x" * 300, "with blank", "ä:b", ""])
def test_awkward_names_stay_in_the_folder(tmp_path, name):
    path = bank(tmp_path).path(name)
    assert path.parent == bank(tmp_path).folder
    assert path.name.removesuffix(".npz").isalnum()
    assert len(path.name) < 60


def test_awkward_names_differ(tmp_path):
    assert len({bank(tmp_path).path(name) for name in ("a/b", "a:b", "x" * 300, "x" * 301)}) == 4


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOGAS_HOME", str(tmp_path))
    assert home() == tmp_path
    assert FeatureBank(SPACE).root == tmp_path / "features"


def test_home_without_variable(monkeypatch):
    monkeypatch.delenv("AUTOGAS_HOME")
    assert home().name == "autogas"
    assert home().is_absolute()
    assert isinstance(home(), Path)


def test_torch_version_is_part_of_the_key(monkeypatch, tmp_path):
    before = bank(tmp_path).folder
    monkeypatch.setattr(torch, "__version__", "0.0")
    assert bank(tmp_path).folder != before


def test_the_code_that_builds_networks_is_part_of_the_key(tmp_path, monkeypatch):
    """A space in a file of its own: another text of the file is another bank."""
    file = tmp_path / "own_space.py"
    seen = []
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python takes files of one second and size for the same
    monkeypatch.syspath_prepend(tmp_path)
    for width in (4, 5):
        file.write_text(
            f"from autogas.spaces.eagan import EAGANGenerator\nclass Own(EAGANGenerator):\n    WIDTH = {width}\n"
        )
        monkeypatch.delitem(sys.modules, "own_space", raising=False)
        seen.append(FeatureBank(importlib.import_module("own_space").Own(width=4)).folder)
    assert seen[0] != seen[1]
    ours = FeatureBank(get_space("eagan-generator", width=4))
    assert ours.folder == FeatureBank(get_space("eagan-generator", width=4)).folder
