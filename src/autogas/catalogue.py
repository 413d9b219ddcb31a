"""What there is, with a line on each thing: read from a file, so that naming it does not wait for torch.

``python -m autogas.catalogue`` writes the file anew; a test says when that is due.
"""

from __future__ import annotations

import inspect
import json
from importlib import resources
from importlib.metadata import entry_points
from pathlib import Path

from autogas import plugins

Catalogue = dict[str, dict[str, str]]
"""By kind (``spaces``, ``proxies``, ``primitives``): names with what each is, in a line."""
FILE = Path(str(resources.files("autogas"))) / "catalogue.json"


def catalogue() -> Catalogue:
    """Everything there is; plug-ins are loaded for it, if there are any."""
    if plugins.named() or any(entry_points(group=group) for group in plugins.GROUPS):
        return gathered()
    stored: Catalogue = json.loads(FILE.read_text(encoding="utf-8"))
    return stored


def gathered() -> Catalogue:
    """The same from the registries, which takes seconds."""
    from autogas.proxies.named import EXPRESSIONS
    from autogas.proxies.primitives import REGISTRY
    from autogas.proxies.scorer import SCORERS
    from autogas.spaces import SPACES, list_spaces

    spaces = {name: getattr(SPACES[name], "space", SPACES[name]) for name in list_spaces()}
    proxies = {**EXPRESSIONS, **{name: scorer.doc for name, scorer in SCORERS.items()}}
    primitives: dict[str, str] = {}
    for stage, words in REGISTRY.items():
        for word, primitive in words.items():
            here = f"{stage.label}: {_line(primitive.function)}"
            primitives[word] = f"{primitives[word]}; {here}" if word in primitives else here
    return {
        "spaces": {name: _line(space) for name, space in spaces.items()},
        "proxies": dict(sorted(proxies.items())),
        "primitives": primitives,
    }


def _line(what: object) -> str:
    """The first line of its docstring, as it reads in a terminal."""
    return (inspect.getdoc(what) or "").partition("\n")[0].rstrip(".").replace("``", "")


if __name__ == "__main__":
    FILE.write_text(json.dumps(gathered(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
