"""A scene without objects goes through all stages that read what prepare wrote."""

import json

import pytest

from gpt4scene.benchmarks.annotate import AnnotateArguments, annotate
from gpt4scene.benchmarks.questions import question_file
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.cli import main
from gpt4scene.demo.arguments import DemoArguments
from gpt4scene.demo.steps import make_rooms
from gpt4scene.files.answers import record_of
from gpt4scene.files.questions import read_questions
from gpt4scene.types import Answer


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """A room, its raw question files, and its marked images without a mark."""
    out = tmp_path_factory.mktemp("rooms")
    make_rooms(DemoArguments(out=str(out), rooms=1, held_out=1, frames=2, image_width=120), out)
    scans = str(out / "rooms" / "training")
    assert main(["prepare", "--scans", scans, "--out", str(out / "scenes"), "--frames", "2", "--objects", "none"]) == 0
    return out


@pytest.mark.slow
def test_figures_and_pages(rooms, tmp_path, capsys):
    tasks = ("scanrefer", "multi3dref")
    annotation, predictions = tmp_path / "annotation", tmp_path / "predictions"
    call = (str(rooms / "raw" / "training"), str(rooms / "scenes"), str(annotation))
    annotate(AnnotateArguments(*call, task=",".join(tasks)))
    predictions.mkdir()
    for task in tasks:
        questions = read_questions(question_file(annotation, task), task, BENCHMARKS[task].type_key)
        records = [record_of(Answer(one, "a red <OBJ001>")) for one in questions]
        (predictions / f"{task}.json").write_text(json.dumps(records))
    folders = ["--predictions", str(predictions), "--annotation_dir", str(annotation)]
    assert main(["score", *folders]) == 0
    said = capsys.readouterr().out
    assert "scanrefer: " in said and "multi3dref: " in said
    assert main(["report", *folders, "--out", str(tmp_path / "pages"), "--media_dir", str(rooms / "scenes")]) == 0
    pages = "".join(path.read_text() for path in (tmp_path / "pages").rglob("*.html"))
    assert "nothing is marked in the scene" in pages


@pytest.mark.slow
def test_training_rows(rooms, tmp_path):
    for path in (rooms / "scenes").glob("*_val_*"):
        twin = path.with_name(path.name.replace("_val_", "_train_"))
        twin.write_bytes(path.read_bytes())
    call = (str(rooms / "raw" / "training"), str(rooms / "scenes"), str(tmp_path))
    made = annotate(AnnotateArguments(*call, split="train")).tasks
    assert len(made["scanqa"].rows) > 10 and not made["scanrefer"].rows
