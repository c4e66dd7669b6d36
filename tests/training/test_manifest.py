import json
import platform

import numpy
import pytest

from gpt4scene.training import manifest
from gpt4scene.training.manifest import Manifest


def test_run_json_tells_the_story_of_a_run(tmp_path):
    run = Manifest(tmp_path / "out", {"seed": 3})
    run.update(batch={"questions": 8})
    file = tmp_path / "out/run.json"
    running = json.loads(file.read_text())
    assert running["status"] == "running" and running["ended"] is None and running["batch"] == {"questions": 8}
    assert running["config"] == {"seed": 3}
    assert running["versions"]["numpy"] == numpy.__version__
    assert running["hardware"]["host"] == platform.node() and running["hardware"]["processes"] == 1
    run.end("finished", note="all well")
    ended = json.loads(file.read_text())
    assert ended["status"] == "finished" and ended["note"] == "all well" and ended["ended"] >= ended["started"]
    assert [path.name for path in file.parent.iterdir()] == ["run.json"]


def test_only_one_process_writes(tmp_path):
    Manifest(tmp_path, {}, writes=False).end("finished")
    assert not list(tmp_path.iterdir())


def test_commit_is_that_of_the_checkout(root):
    found = manifest.git_commit()
    if not (root / ".git").exists():
        pytest.skip("no checkout")
    assert len(found["commit"]) == 40 and isinstance(found["changed"], bool)


def test_no_git_is_no_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert manifest.git_commit() is None
