"""Five answers to questions about episodes, and the command ``judge`` against a small server."""

import json

import pytest
from commands import judge as main
from judge_files import WORDS, dataset, write

from gpt4scene.benchmarks.score import score_folder
from gpt4scene.files.judgements import read_judged
from gpt4scene.inference import requests


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "open-eqa-v0.json").write_text(json.dumps(dataset()))
    write(tmp_path / "out", WORDS)
    return tmp_path


@pytest.fixture
def call(server, folder, monkeypatch, capsys):
    monkeypatch.setattr(requests, "_pause", lambda number, wish: 0.01)

    def run(*more, references="open-eqa-v0.json"):
        needed = [f"--predictions={folder / 'out'}", f"--base_url={server.url}", "--model=qwen", "--request_limit=1"]
        status = main([*needed, f"--references={folder / references}", *more])
        return status, capsys.readouterr().err

    return run


@pytest.fixture
def kept(folder):
    return lambda task="open_eqa": read_judged(folder / "out" / f"{task}.judged.jsonl").found


@pytest.fixture
def figures(folder):
    return lambda: score_folder(folder / "out", None, "open_eqa", references=str(folder / "open-eqa-v0.json"))[
        "open_eqa"
    ]
