"""Every block of the page about scoring one's own model runs, in order, and prints what the page shows."""

import re
import shlex

import pytest

from gpt4scene.cli import main


@pytest.fixture
def page(root):
    text = (root / "docs" / "scoring-your-model.md").read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_the_page_runs_and_prints_what_it_shows(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gpt4scene.metrics.texts.find_java", lambda: None)  # words by our own rules, in no time
    names, printed = {}, ""
    for kind, block in page:
        if kind == "text":
            assert printed == block
            printed = ""
            continue
        assert not printed, "a block that prints is followed by what it prints"
        if kind == "python":
            exec(block, names)
            printed = capsys.readouterr().out
            continue
        assert kind == "bash"
        for line in block.strip().splitlines():
            program, *words = shlex.split(line)
            assert (program, main(words)) == ("gpt4scene", 0)
        capsys.readouterr()
    assert not printed and len(page) > 15
