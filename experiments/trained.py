"""A training of a comparison, which is not done twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import autogas
from autogas.runs import Run


def trained(out: Path, arch: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Results of ``autogas.train``, done now, continued or done before with the same recipe."""
    torch.set_num_threads(1)
    if out.exists():
        known = Run.open(out).settings["recipe"]
        if any(known[name] != value for name, value in settings["recipe"].items()):
            raise SystemExit(f"{out} was trained with another recipe: take another --out")
    if not (out / "results.json").exists():
        given: dict[str, Any] = {"resume": str(out)} if out.exists() else {"out": str(out)}
        autogas.train(arch, **settings, **given)
    return Run.open(out).results
