"""From the official files of every spatial benchmark to a page: annotate, infer, score by two rules, report."""

import json

import pytest
from commands import annotate, infer, report, score
from spatial_files import OF_SCENES, OWN, write_raw, write_scenes

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.demo import tiny_model
from gpt4scene.files.journal import read_journal

TASKS = (*OWN, *OF_SCENES)


def flags(**values):
    return [word for name, value in values.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spatial")
    (folder / "raw").mkdir()
    write_raw(folder / "raw")
    write_scenes(folder / "scenes", frames=2)
    shape = tiny_model.TinyShape(width=64, layers=2, heads=4, key_value_heads=2, vision_width=32, vision_layers=1)
    tiny_model.build(folder / "model", shape=shape)
    return folder


@pytest.mark.slow
def test_every_spatial_benchmark_goes_from_official_files_to_a_page(place, capsys):
    shared = flags(raw=place / "raw", out=place / "questions")
    assert annotate([*shared, *flags(task=",".join(OWN))]) == 0
    assert annotate([*shared, *flags(task="vsibench,open_eqa,beacon3d_qa", scenes=place / "scenes")]) == 0
    frames = flags(task="revsi", scenes=place / "scenes", frames=1, bev="false", marks="false")
    assert annotate([*shared, *frames]) == 0
    asking = flags(model=place / "model", annotation_dir=place / "questions", output_dir=place / "answers")
    asking += flags(image_resolution=56, max_new_tokens=4, keep_empty="true")
    assert infer([*asking, *flags(limit=2)]) == 0
    assert infer(asking) == 0  # goes on where it was
    said = capsys.readouterr().err
    assert "questions have answers in" in said and "Traceback" not in said
    rows = {task: [row for _, row in read_journal(place / "answers" / f"{task}.jsonl").rows] for task in TASKS}
    assert all(rows.values()) and all("images" in row for of_task in rows.values() for row in of_task)
    by_scene = {task: {row["scene_id"]: row["images"] for row in rows[task]} for task in ("vsibench", "revsi")}
    assert set(by_scene["vsibench"]) == set(by_scene["revsi"])
    assert not set(by_scene["vsibench"].values()) & set(by_scene["revsi"].values())  # the same rooms, other images
    scoring = flags(predictions=place / "answers", annotation_dir=place / "questions")
    for rules in ("official,official_repo,official_basic,lmms_eval,official_circular", "vlmevalkit"):
        assert score([*scoring, *flags(rules=rules, json=place / "scores.json")]) == 0
        scores = json.loads((place / "scores.json").read_text())
        assert set(TASKS) <= set(scores)
    assert report([*scoring, *flags(out=place / "pages")]) == 0
    index = (place / "pages" / "index.html").read_text(encoding="utf-8")
    assert all(BENCHMARKS[task].title in index for task in TASKS)
    assert len(list((place / "pages" / "images").rglob("*.jpg"))) > len(TASKS) and "was not found" not in index


@pytest.mark.slow
def test_questions_about_one_set_of_images_are_asked_together(place):
    from gpt4scene.benchmarks.questions import load_questions
    from gpt4scene.inference.decoding import GenerationSettings
    from gpt4scene.inference.local import load_engine

    assert annotate(flags(raw=place / "raw", out=place / "own", task="mindcube")) == 0
    questions = load_questions(place / "own", "mindcube")
    engine = load_engine(str(place / "model"), image_resolution=56, device="cpu", dtype="float32")
    assert len(list(engine.answer(questions, GenerationSettings(max_new_tokens=1)))) == 3
    found = engine.scheduler.statistics()
    assert (found.prefix_hits, found.prefix_misses) == (1, 2)
