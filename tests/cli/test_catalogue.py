import json
import os
import subprocess
import sys

import pytest

from autogas import catalogue


def command(*words, home):
    environment = {**os.environ, "AUTOGAS_HOME": str(home), "COLUMNS": "60"}
    environment.pop("AUTOGAS_PLUGINS", None)
    return subprocess.run(
        [sys.executable, "-m", "autogas", *words], capture_output=True, text=True, env=environment, check=False
    )


def test_the_file_says_what_the_registries_hold():
    code = "import json; from autogas import catalogue; print(json.dumps(catalogue.gathered()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(catalogue.FILE.read_text()) == json.loads(done.stdout), "due: python -m autogas.catalogue"


def test_a_pattern_chooses_names(tmp_path):
    done = command("list", "eagan*", "--json", home=tmp_path)
    assert json.loads(done.stdout) == {"spaces": ["eagan-discriminator", "eagan-generator"]}
    assert "mini-gan" in command("list", "benchmarks", home=tmp_path).stdout
    assert "did you mean 'spaces'" in command("list", "space", home=tmp_path).stderr


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["list"], ["bench", "--help"], ["bench", "list"]])
def test_what_only_names_things_does_not_load_torch(words, tmp_path):
    code = f"import sys; sys.argv = ['autogas', *{words!r}]\nfrom autogas.cli.main import main\n"
    code += "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules\n"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "AUTOGAS_HOME": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr


def test_a_finished_run_is_shown_again(tmp_path):
    from autogas.runs import Run

    run = Run.start("evaluate", {}, tmp_path / "run")
    run.finish({"metrics": {"fid": 3.5}, "protocol": {}})
    run.record.close()
    done = command("show", str(tmp_path / "run"), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3.5\tfid" in done.stdout
    assert json.loads(command("show", str(tmp_path / "run"), "--json", home=tmp_path).stdout)["metrics"] == {"fid": 3.5}
