"""The floors of docs/architecture.md: modules import from their own floor and those below, never from above."""

import ast
from pathlib import Path

from autogas.spaces import SPACES

SOURCE = Path(__file__).parents[1] / "src" / "autogas"
FLOORS = [
    {
        "errors",
        "settings",
        "versions",
        "seeding",
        "paths",
        "files",
        "code",
        "plugins",
        "threads",
        "memory",
        "interception",
    },
    {"evolution", "runs"},
    {"spaces"},
    {"proxies", "datasets"},
    {"metrics", "benchmarks"},
    {"training"},
    {"workflows", "report"},
    {"catalogue", "testing", "cli", "__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(SOURCE.rglob("*.py"))


def imported(file):
    """Names of the package's modules that a file imports when it is imported."""
    found = set()
    body = ast.parse(file.read_text()).body
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "autogas":
            found |= {node.module} if node.module != "autogas" else {f"autogas.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("autogas.")}
    return found


def room(name):
    return name.split(".")[1]


def test_nothing_is_imported_from_above():
    floors = {file: FLOOR[file.relative_to(SOURCE).with_suffix("").parts[0]] for file in FILES if file.parent != SOURCE}
    floors |= {file: FLOOR[file.stem] for file in FILES if file.parent == SOURCE and file.stem != "__init__"}
    above = [
        f"{file.relative_to(SOURCE)} imports {name}"
        for file, floor in floors.items()
        for name in imported(file)
        if room(name) in FLOOR and FLOOR[room(name)] > floor
    ]
    assert not above


def test_rooms_beside_each_other_do_not_import_in_circles():
    arrows = {}
    for file in FILES:
        parts = file.relative_to(SOURCE).with_suffix("").parts
        rooms = {room(name) for name in imported(file)} & FLOOR.keys()
        arrows.setdefault(parts[0], set()).update(rooms - {parts[0]})
    for first, targets in arrows.items():
        for second in targets:
            assert first not in arrows.get(second, set()), f"{first} and {second} import each other"


def test_the_page_names_every_room():
    page = (SOURCE.parents[1] / "docs" / "architecture.md").read_text()
    folders = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert folders <= FLOOR.keys()
    assert all(folder in page for folder in folders)


def test_no_workflow_asks_for_a_space_by_name():
    """Nor does the command line or a report: what differs between spaces, they say themselves."""
    allowed = {
        "score.py": {"transnas-macro"},  # what --arch is of where --space is left out
        "reproduce.py": {"transnas-macro", "transnas-micro"},  # benchmarks of the paper's tables
    }
    for file in FILES:
        if file.relative_to(SOURCE).parts[0] not in ("workflows", "report", "cli"):
            continue
        tree = ast.parse(file.read_text())
        texts = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not (texts & set(SPACES)) - allowed.get(file.name, set()), file
        assert "autogas.spaces.eagan" not in imported(file)
        assert "autogas.spaces.translation" not in imported(file)
