"""The code in the documentation runs, in the order in which it stands on a page, and made pages are up to date."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import autogas.proxies.named  # noqa: F401 - fills the registries
from autogas.cli.main import app, global_first
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


def test_links_lead_somewhere():
    own = [path.relative_to(ROOT) for path in ROOT.glob("**/*.md")]
    pages = [ROOT / path for path in own if not any(part.startswith(".") for part in path.parts)]
    links = [(page, target) for page in pages for target in LINK.findall(page.read_text())]
    assert len(links) > 50
    lost = [
        f"{page.relative_to(ROOT)}: {target}"
        for page, target in links
        if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists()
    ]
    assert not lost


CONSOLE = re.compile(r"^```(?:console|sh|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)
WITH_CONSOLE = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    if "autogas " in path.read_text()
)


def shown_commands(page):
    """Lines of the commands on a page, in blocks, and of CONTRIBUTING in its table of what to type."""
    text = (ROOT / page).read_text()
    for block in CONSOLE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield line[2:]
    if page == "CONTRIBUTING.md":
        yield from re.findall(r"`(autogas [^`]*)`", text)


def commands_of_ours(page):
    for line in shown_commands(page):
        words = shlex.split(line, comments=True)
        for part in " ".join(map(shlex.quote, words)).split(" '&&' "):
            words = shlex.split(part)
            if words[:1] == ["autogas"] and not any(
                word in ("…", "|", ">", "VERB") or word.endswith("…") for word in words
            ):
                yield words[1:]


@pytest.mark.parametrize("page", WITH_CONSOLE)
def test_commands_that_are_shown_are_accepted(page):
    """The command line takes their options and numbers; what they name is not looked for."""
    group = typer.main.get_command(app)
    for words in commands_of_ours(page):
        command, left = group, global_first(words)
        context = command.make_context("autogas", list(left), resilient_parsing=False)
        while hasattr(command, "commands"):
            left = [*context._protected_args, *context.args]
            if not left:
                break
            assert left[0] in command.commands, f"{page}: autogas {shlex.join(words)}"
            command = command.commands[left[0]]
            context = command.make_context(left[0], list(left[1:]), parent=context)
