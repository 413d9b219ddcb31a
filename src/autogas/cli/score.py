"""``autogas score``: score one network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from json import loads as json_loads
from typing import Annotated

import typer

from autogas.cli import parsing
from autogas.cli.printing import emit
from autogas.cli.user_code import guarded, load_network
from autogas.errors import InputError


def score(
    proxies: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names or expressions; default concord; of eagan-generator separation, of diffusion-unet common."
        ),
    ] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture of --space.")] = None,
    space: Annotated[str | None, typer.Option(help="Search space of --arch; default transnas-macro.")] = None,
    module: Annotated[
        str | None,
        typer.Option(help="FILE.py:NAME (or package.module:NAME), a function or class that makes your own network."),
    ] = None,
    shape: Annotated[str | None, typer.Option(help="Shape of one noise sample for --module; else 3,32,32.")] = None,
    batch_size: parsing.BatchSize = 16,
    set_: parsing.SpaceSettings = None,
    explain: Annotated[bool, typer.Option("--explain", help="List the layers that the first proxy sees.")] = False,
    seed: parsing.Seed = 0,
    device: parsing.Device = "cpu",
    json: parsing.Json = False,
) -> None:
    """Score one network: an architecture of a space, or your own module, on Gaussian noise."""
    import torch

    from autogas.proxies.explain import explain as explain_network
    from autogas.proxies.named import DEFAULT_PROXY
    from autogas.proxies.score import score_many
    from autogas.seeding import torch_generator
    from autogas.spaces import get_space
    from autogas.workflows.scoring import score_architecture

    if (arch is None) == (module is None):
        raise InputError("say what to score: --arch TEXT (with --space) or --module FILE.py:NAME")
    if module is not None and space is not None:
        raise InputError(f"--space {space!r} is of --arch: a module has none")
    space = space or "transnas-macro"
    usual = None if arch is None else get_space(space).search_proxy
    names = [name.strip() for name in proxies or [usual or DEFAULT_PROXY]]
    failures: dict[str, str] = {}
    device = parsing.checked_device(device)
    if arch is not None:
        if shape is not None:
            raise InputError(f"--shape {shape!r} is of the noise for a module: accepted with --module")
        here = get_space(space, **parsing.parse_settings(set_))
        entries = batch_size * sum(math.prod(each) for each in here.input_shapes)
        parsing.must_fit(entries, f"--batch-size {batch_size}")
        if not explain:
            with guarded(f"{arch!r} has no score"):
                scores = score_architecture(
                    here, arch, names, batch_size=batch_size, seed=seed, device=device, failures=failures
                )
            _emit(names, scores, failures, as_json=json)
            return
        model, inputs = here.build(here.parse(arch), seed=seed), here.inputs(batch_size=batch_size, seed=seed)
    else:
        assert module is not None
        if set_:
            raise InputError(f"--set {set_[0]!r} is a setting of a space: accepted with --arch")
        shape = "3,32,32" if shape is None else shape
        sample = _shape(shape)
        parsing.must_fit(batch_size * math.prod(sample), f"--shape {shape} with --batch-size {batch_size}")
        model = load_network(module, seed)
        inputs = (torch.randn((batch_size, *sample), generator=torch_generator("inputs", seed)),)
    inputs = tuple(x.to(device) for x in inputs)
    if explain:
        with guarded(f"{module or arch!r} does not take its input"):
            seen = explain_network(model.to(device), inputs, names[0], seed=seed)
        emit(json_loads(seen.frame().to_json(orient="records")), as_json=json, text=str(seen))
        return
    shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
    with guarded(f"{module or arch!r}, on input of shape {shapes}"):
        scores = score_many(model.to(device), inputs, names, seed=seed, failures=failures)
    _emit(names, scores, failures, as_json=json)


def _emit(names: Sequence[str], scores: Mapping[str, float], failures: Mapping[str, str], *, as_json: bool) -> None:
    """Print the scores that there are; what has none is said on stderr, with exit code 2."""
    if scores:
        text = "\n".join(f"{value:.8g}\t{name}" for name, value in scores.items())
        emit({name: scores.get(name) for name in names}, as_json=as_json, text=text)
    if failures:
        raise InputError("; ".join(failures.values()))


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(size) if size.strip().isdecimal() and size.isascii() else 0 for size in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise InputError(f"--shape {text!r}: expected positive numbers, such as 3,32,32")
    return shape
