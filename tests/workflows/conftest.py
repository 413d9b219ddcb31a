import signal
import time

import pytest
from toys import BUILD, DISCOVER, RANK, python, recorded, save_toy


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory):
    """One data folder for all workflows, so that each network is run once."""
    return save_toy(tmp_path_factory.mktemp("shared-home"))


@pytest.fixture(autouse=True)
def autogas_home(shared_home, monkeypatch):
    monkeypatch.setenv("AUTOGAS_HOME", str(shared_home))
    return shared_home


@pytest.fixture
def fresh_home(tmp_path_factory, monkeypatch):
    """A data folder without any banked features."""
    home = save_toy(tmp_path_factory.mktemp("fresh-home"))
    monkeypatch.setenv("AUTOGAS_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory, image_folder):
    """Folder of a discovery, a ranking and a build that another process made from nothing."""
    home = save_toy(tmp_path_factory.mktemp("other-home"))
    code = f"""
from autogas.workflows import build, discover, rank
discover.discover("toy", out={str(home / "discover")!r}, **{DISCOVER!r})
rank.rank("toy", out={str(home / "rank")!r}, **{RANK!r})
build.build(out={str(home / "build")!r}, images={str(image_folder)!r}, **{BUILD!r})
"""
    process = python(code, home)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output.decode()
    return home


@pytest.fixture
def killed(tmp_path, shared_home):
    """Run code in another process, kill it when the run ``tmp_path / "run"`` has some rows, give their number."""
    processes = []

    def kill(code, rows):
        process = python(code, shared_home)
        processes.append(process)
        deadline = time.monotonic() + 240
        while recorded(tmp_path / "run") < rows:
            assert process.poll() is None, process.communicate()[0].decode()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "run" / "results.json").exists()
        return recorded(tmp_path / "run")

    yield kill
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def calls(monkeypatch):
    """Note the calls of a function of a module, which still runs: by default its first argument."""

    def count(owner, name, note=lambda *args, **options: args[0]):
        real, seen = getattr(owner, name), []

        def spy(*args, **options):
            seen.append(note(*args, **options))
            return real(*args, **options)

        monkeypatch.setattr(owner, name, spy)
        return seen

    return count
