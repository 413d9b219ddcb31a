"""Spaces, primitives and scorers of users, in this process and in workers."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from autogas import InputError, get_space, plugins
from autogas.cli.main import global_first

PLUGIN = '''
import torch
from torch import nn

import autogas
from autogas.proxies.primitives import Stage, primitive
from autogas.proxies.scorer import scorer
from blocks import block


def build(width, depth):
    return nn.Sequential(nn.Conv2d(3, width, 1), *[block(width) for _ in range(depth)], nn.Conv2d(width, 3, 1))


autogas.register_space(
    autogas.ChoiceSpace("plain-autoencoder", {"width": [4, 8, 12], "depth": range(1, 5)}, build, [(3, 8, 8)])
)


@scorer()
def relu_share(probe):
    """Share of rectifier inputs above zero."""
    return float(torch.cat([x.flatten() > 0 for x in probe.recorded.activations]).float().mean())
'''
BLOCKS = """
from torch import nn


def block(width):
    return nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))
"""


def write_plugin(folder):
    (folder / "blocks.py").write_text(BLOCKS)
    (folder / "mine.py").write_text(PLUGIN)
    return folder / "mine.py"


@pytest.fixture
def plugin(tmp_path):
    return write_plugin(tmp_path)


def command(*words, home):
    environment = {**os.environ, "AUTOGAS_HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment.pop("AUTOGAS_PLUGINS", None)
    words = [sys.executable, "-m", "autogas", *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=False)


SEARCH = ["search", "plain-autoencoder", "--population", 4, "--iterations", 2, "--sample", 4, "--agreement", 0]
SEARCH += ["--proxy", "relu_share"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Folder of a plug-in and of a search of its space by one process."""
    folder = tmp_path_factory.mktemp("searched")
    done = command(*SEARCH, "--jobs", 1, "--out", folder / "run", "--plugin", write_plugin(folder), home=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_search_finds_the_same_with_workers(searched, tmp_path):
    done = command(*SEARCH, "--jobs", 2, "--out", tmp_path / "run", "--plugin", searched / "mine.py", home=tmp_path)
    assert done.returncode == 0, done.stderr
    found = (searched / "run" / "results.json").read_bytes()
    assert found == (tmp_path / "run" / "results.json").read_bytes()
    assert json.loads(found)["failed"] == 0


def test_a_name_without_its_plugin_is_unknown(plugin, tmp_path):
    done = command("score", "--space", "plain-autoencoder", "--arch", "width=4,depth=1", home=tmp_path)
    assert done.returncode == 2
    assert "unknown space 'plain-autoencoder'" in done.stderr
    done = command("--plugin", plugin, "list", "spaces", home=tmp_path)
    assert "plain-autoencoder" in done.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "expected a Python file that exists, or a module"),
        ("raise RuntimeError('no luck')", "RuntimeError at mine.py:1: no luck"),
        ("import sys; sys.exit(3)", "SystemExit at mine.py:1"),
        ("def", "SyntaxError at mine.py:1"),
    ],
)
def test_a_bad_plugin_is_one_line(tmp_path, content, said):
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    done = command("list", "spaces", "--plugin", file, home=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_plugin_that_changed_is_noticed_when_a_run_is_resumed(searched, plugin, tmp_path):
    out = shutil.copytree(searched / "run", tmp_path / "run")
    before = (out / "results.json").read_bytes()
    resume = ["search", "--resume", out, "--plugin", plugin]
    plugin.write_text("# a remark\n" + PLUGIN)
    assert command(*resume, home=tmp_path).returncode == 0
    for file, changed in (
        (plugin, PLUGIN.replace("> 0 for", "> 1 for")),
        (tmp_path / "blocks.py", BLOCKS.replace("padding=1", "padding=1, bias=False")),
    ):
        (plugin.write_text(PLUGIN), (tmp_path / "blocks.py").write_text(BLOCKS))
        file.write_text(changed)
        done = command(*resume, home=tmp_path)
        assert done.returncode == 2, file.name
        assert "your code" in done.stderr
    assert (out / "results.json").read_bytes() == before


def test_two_plugins_of_one_file_name_are_two(tmp_path):
    order = ("b", "a")
    for name in order:
        (tmp_path / name).mkdir()
        code = PLUGIN.replace("from blocks import block\n", "block = nn.Identity\n").replace(
            "plain-autoencoder", f"sp-{name}"
        )
        (tmp_path / name / "space.py").write_text(code.replace("relu_share", f"share_{name}"))
    words = [word for name in order for word in ("--plugin", tmp_path / name / "space.py")]
    done = command("list", "sp-*", *words, home=tmp_path)
    assert {"sp-a", "sp-b"} <= set(done.stdout.split())


@pytest.mark.parametrize("option", ["--plugin", "--backend", "--scheduler"])
@pytest.mark.parametrize("words", [["list", "spaces", "OPTION"], ["list", "OPTION", ""], ["list", "OPTION="]], ids=str)
def test_an_option_without_its_value_is_said(option, words):
    with pytest.raises(InputError, match=f"^{option}: expected a value after it$"):
        global_first([word.replace("OPTION", option) for word in words])


@pytest.mark.parametrize("name", ["noext", ".", "./nowhere", "./folder", "", "no.such.module", "mine.py"])
def test_what_is_no_plugin_is_one_line(tmp_path, monkeypatch, name):
    (tmp_path / "noext").write_text("")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugins.VARIABLE, "")
    plugins.load.cache_clear()
    with pytest.raises(InputError, match=rf"^--plugin '{re.escape(name)}': expected a Python file"):
        plugins.add(name)
    assert plugins.named() == []


def test_an_unknown_space_may_be_a_plugins():
    with pytest.raises(InputError, match="one of your own needs --plugin"):
        get_space("of-mine")


@pytest.mark.parametrize("name", ["../here/mine.py", "package.inner"])
def test_plugins_are_named_as_paths_or_modules(plugin, tmp_path, monkeypatch, name):
    here = tmp_path / "here"
    (here / "package").mkdir(parents=True)
    for file in ("mine.py", "package/__init__.py", "package/inner.py"):
        shutil.copy(plugin, here / file)
    (here / "blocks.py").write_text(BLOCKS)
    if name == "package.inner":
        (here / "package" / "__init__.py").write_text("")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")]))
    done = command("list", "plain-*", "--plugin", name, home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "plain-autoencoder" in done.stdout
