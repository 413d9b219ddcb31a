"""From what was asked for to an open run folder: settings, paths, digests of what was given."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from autogas.code import digest_of
from autogas.datasets.images import DEAD_LEAVES, TORCHVISION
from autogas.datasets.pictures import IMAGE_SUFFIXES, files_of
from autogas.errors import InputError
from autogas.files import checksum
from autogas.runs import Run
from autogas.settings import described, validated
from autogas.training.export import GENERATOR_FILE

S = TypeVar("S", bound=BaseModel)
DEFAULT_BENCHMARK = "mini-autoencoder"
PARTS = frozenset(("recipe", "space_settings"))
"""Settings that hold others, of which some may be given."""
PATHS = frozenset(
    (
        "images",
        "held_out",
        "data",
        "teacher",
        "reference",
        "inception_weights",
        "segmentation",
        "segmentation_weights",
        "segmentation_map",
        "vgg",
    )
)
"""Settings that may name a file or folder."""
OF_PICTURES = frozenset(("images", "held_out", "data", "reference"))
"""Those of them whose folders hold pictures."""


def read_settings(workflow: str, model: type[S], given: Mapping[str, Any], resume: str | None) -> S:
    """The settings as given, or those of the run that is resumed, which no given one may contradict."""

    def read(settings: Mapping[str, Any]) -> S:
        return validated(model, settings)

    given = from_anywhere(given)
    return read(given if resume is None else resumed_settings(workflow, given, resume, read))


def resumed_settings(
    workflow: str, given: Mapping[str, Any], resume: str, read: Callable[[Mapping[str, Any]], BaseModel]
) -> dict[str, Any]:
    """The settings of a run; raises ``InputError`` for one that is given otherwise beside it.

    Args:
        workflow: its name.
        given: settings by name, None where nothing is said.
        resume: its folder.
        read: from settings by name to what they mean.
    """
    saved = Run.open(resume, workflow).settings
    meant = read(saved)
    for name, value in given.items():
        unsaid = name == "benchmark" and value == DEFAULT_BENCHMARK  # the default of Python's functions
        whole = {**(saved.get(name) or {}), **value} if name in PARTS and isinstance(value, Mapping) else value
        if value is None or unsaid or whole == saved.get(name):
            continue
        with contextlib.suppress(InputError):  # of a value that does not go with the others
            if read({**saved, name: whole}) == meant:
                continue
        raise InputError(
            f"{name}={value!r} beside --resume: the run has {saved.get(name)!r}, which stays; "
            "leave it out, or start another run"
        )
    return saved


def from_anywhere(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose paths hold whatever the working folder is; names of data sets stay names."""
    found = {name: _absolute(value) if name in PATHS else value for name, value in given.items()}
    recipe = found.get("recipe")
    if isinstance(recipe, Mapping):
        found["recipe"] = {name: _absolute(value) if name in PATHS else value for name, value in recipe.items()}
    return found


def _absolute(value: Any) -> Any:
    known = (*TORCHVISION, DEAD_LEAVES)
    is_path = isinstance(value, str | Path) and value and str(value) not in known and Path(value).exists()
    return str(Path(value).absolute()) if is_path else value


def open_run(
    workflow: str,
    settings: BaseModel,
    *,
    out: str | None,
    resume: str | None,
    inputs: Mapping[str, str] | None = None,
    code: Iterable[object] = (),
) -> Run:
    """The run folder, locked as long as the block lasts; made only now, when everything has been checked.

    Args:
        workflow: its name.
        settings: what determines the result.
        out: folder to make.
        resume: folder to continue instead.
        inputs: digests of what settings only name; those of files and folders among the settings are added.
        code: functions and classes on which the result depends; what is a user's own may not change before a resume.
    """
    saved = settings.model_dump(mode="json")
    named = {**saved, **{name: value for name, value in (saved.get("recipe") or {}).items() if name in PATHS}}
    files = {name: digest for name in sorted(PATHS & named.keys()) if (digest := _digest(named[name], name))}
    own = digest_of(code)
    digests = {**(inputs or {}), **files, **({"your code": own} if own else {})}
    if resume is not None and out is not None:
        raise InputError(
            f"out={str(out)!r} beside resume={resume!r}: expected one of them; a run goes on in its folder"
        )
    if resume is not None:
        return Run.resume(resume, workflow, digests)
    for name in sorted(PATHS & named.keys()):
        _must_be_apart(out, named[name], name)
    return Run.start(workflow, saved, out, digests, described(type(settings), saved))


def _must_be_apart(out: str | Path | None, source: object, name: str) -> None:
    """Refuse a run folder inside one that it reads, which would then hold more than it was given."""
    if not isinstance(source, str) or not Path(source).is_absolute() or (Path(source) / GENERATOR_FILE).is_file():
        return
    folder, place = Path(source), Path(out or "runs")
    if folder.is_dir() and place.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"--out {str(place)!r} lies in {name} {source!r}, which it reads: name another folder")


def _digest(source: object, name: str) -> str:
    """Digest of a file's content, or of the names, sizes and ends of a folder's files; empty for what is neither."""
    if not isinstance(source, str) or not Path(source).is_absolute():
        return ""
    path = Path(source)
    trained = path / GENERATOR_FILE
    path = trained if trained.is_file() else path  # of a training its network is read, whatever else is in there
    if path.is_file():
        with path.open("rb") as file:
            return checksum(iter(lambda: file.read(1 << 20), b""))
    files = list(files_of(path))
    if name in OF_PICTURES:  # nothing else in there is read
        files = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES] or files
    parts = (part for file in sorted(files) for part in (str(file.relative_to(path)), *_ends(file)))
    return checksum(parts) if files else ""


END = 1 << 19
"""Bytes at the beginning and at the end of a file by which images are told apart: all of them in most."""


def _ends(file: Path) -> tuple[str, bytes]:
    size = file.stat().st_size
    if not file.is_file():
        return str(size), b""
    with file.open("rb") as opened:
        first = opened.read(END)
        opened.seek(max(len(first), size - END))
        return str(size), first + opened.read(END)
