"""Write ``keywords.py``: the settings of each workflow as typed keywords, for editors and type checkers.

``python -m autogas.workflows.typed`` writes the file anew; a test says when that is due.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

FILE = Path(__file__).with_name("keywords.py")
HEAD = '''"""Typed keywords of workflows, made from their classes by ``python -m autogas.workflows.typed``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict
'''


def page() -> str:
    """The content of the file."""
    return HEAD + "".join(
        line for name, (function, models) in _workflows().items() for line in _of(name, function, models)
    )


def _workflows() -> Mapping[str, tuple[Callable[..., Any], Sequence[type[BaseModel]]]]:
    from autogas.training.kinds import all_settings
    from autogas.workflows.build import BuildSettings, build
    from autogas.workflows.discover import DiscoverSettings, discover
    from autogas.workflows.discover_across import discover_across
    from autogas.workflows.evaluate import EvaluateSettings, evaluate
    from autogas.workflows.evaluate_translation import EvaluateTranslationSettings, evaluate_translation
    from autogas.workflows.judging.across import AcrossSettings
    from autogas.workflows.rank import RankSettings, rank
    from autogas.workflows.reproduce import reproduce
    from autogas.workflows.search import search
    from autogas.workflows.searching.settings import SearchSettings
    from autogas.workflows.tables.rows import ReproduceSettings
    from autogas.workflows.train import TrainSettings, train

    return {
        "Discover": (discover, [DiscoverSettings]),
        "DiscoverAcross": (discover_across, [AcrossSettings]),
        "Rank": (rank, [RankSettings]),
        "Search": (search, [SearchSettings]),
        "Reproduce": (reproduce, [ReproduceSettings]),
        "Evaluate": (evaluate, [EvaluateSettings]),
        "EvaluateTranslation": (evaluate_translation, [EvaluateTranslationSettings]),
        "Train": (train, [TrainSettings, *all_settings()]),
        "Build": (build, [BuildSettings, *all_settings()]),
    }


def _of(name: str, function: Callable[..., Any], models: Sequence[type[BaseModel]]) -> Iterator[str]:
    """The class for one workflow, without what its function declares itself."""
    own: Sequence[str] = vars(function)["declares"]
    kinds: dict[str, list[str]] = {}
    for model in models:
        for field, about in model.model_fields.items():
            if field not in own:
                extra = about.json_schema_extra
                text = ["str"] if isinstance(extra, Mapping) and extra.get("text") else []
                known = kinds.setdefault(field, [])
                known += [kind for kind in [*_kinds(about.annotation), *text] if kind not in known]
    yield f'\n\nclass {name}Keywords(TypedDict, total=False):\n    """Settings of ``{function.__name__}``."""\n\n'
    for field, found in kinds.items():
        ordered = [kind for kind in found if kind != "None"] + [kind for kind in found if kind == "None"]
        yield f"    {field}: {' | '.join(ordered)}\n"


def _kinds(annotation: Any) -> Iterator[str]:
    """What a field takes, as the alternatives of a type in text."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _kinds(part)
    elif origin is Literal:
        yield f"Literal[{', '.join(map(_quoted, get_args(annotation)))}]"
    elif origin in (list, tuple):
        yield f"Sequence[{' | '.join(_kinds(get_args(annotation)[0]))}]"
    elif origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        yield "Mapping[str, object]"
    elif annotation is type(None):
        yield "None"
    else:
        yield annotation.__name__


def _quoted(text: str) -> str:
    return f'"{text}"'


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
