"""The code in the documentation runs, in the order in which it stands on a page, and made pages are up to date."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import autogas.proxies.named  # noqa: F401 - fills the registries
from autogas.proxies.primitives import REGISTRY
from autogas.proxies.scorer import SCORERS
from autogas.spaces import SPACES

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    if BLOCK.search(path.read_text())
)


def test_there_are_pages_with_code():
    assert {"README.md", "docs/start.md", "docs/tutorial.md", "docs/plugins.md"} <= set(PAGES)


@pytest.fixture
def registries_as_before(monkeypatch):
    """What a page registers is gone after it."""
    known = [dict(registry) for registry in (SPACES, SCORERS, *REGISTRY.values())]
    monkeypatch.setattr("autogas.plugins._noted", {})
    yield
    for registry, before in zip((SPACES, SCORERS, *REGISTRY.values()), known, strict=True):
        registry.clear()
        registry.update(before)


@pytest.mark.usefixtures("registries_as_before")
@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    blocks = BLOCK.findall((ROOT / page).read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOGAS_HOME", str(tmp_path / "home"))
    exec(compile("\n".join(blocks), page, "exec"), {"__name__": "page"})


def test_the_reference_of_the_command_line_is_that_of_the_commands():
    code = "from autogas.cli.reference import page; print(page(), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "commands.md").read_text() == done.stdout, "due: python -m autogas.cli.reference"


LINK = re.compile(r"\]\(([^)#\s]+?)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("**/*.md")))
def test_links_lead_somewhere(page):
    if any(part.startswith(".") for part in Path(page).parts):
        return
    for target in LINK.findall((ROOT / page).read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert ((ROOT / page).parent / target).exists(), target
