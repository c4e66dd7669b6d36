import json

import pytest
import torch
from five import FIVE
from PIL import Image

from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.demo.kinds import KINDS, read_kinds
from gpt4scene.demo.page import COLUMNS, compare, findings, write_page
from gpt4scene.errors import DataError
from gpt4scene.files.annotation import GROUND_TRUTH, PROPOSALS
from gpt4scene.files.whole import write_json

BOXES = [[0, 0, 0, 1, 1, 1], [5, 0, 0, 1, 1, 1]]
EVIL = "<b>bold</b>"


def column(value):
    """Scores in which every task's main figure is ``value``."""
    return {task: {one.main_metric: value, "another": value / 2} for task, one in BENCHMARKS.items() if task in FIVE}


def all_columns(**values):
    return {name: column(values.get(name, 0.1)) for name in COLUMNS}


def write_questions(out, questions, predictions, scenes, answer):
    folder = out / questions
    folder.mkdir(parents=True)
    rows = [
        {"scene_id": scene, "obj_id": 1, "qid": None, "prompt": f"Which? {EVIL}", "ref_captions": ["<OBJ001>."]}
        for scene in scenes
    ]
    (folder / BENCHMARKS["scanrefer"].question_name("val")).write_text(json.dumps(rows))
    content = {scene: {"objects": ["chair", "desk"], "locs": torch.tensor(BOXES)} for scene in scenes}
    for name in (PROPOSALS, GROUND_TRUTH):
        torch.save(content, folder / name.format(split="val"))
    images = {scene: [f"../scenes/{scene}/{name}.jpg" for name in ("bev", "few", "many")] for scene in scenes}
    for scene in scenes:
        (out / "scenes" / scene).mkdir(parents=True)
        for width, name in ((300, "bev"), (310, "few"), (320, "many")):
            Image.new("RGB", (width, 200), (90, 60, 30)).save(out / "scenes" / scene / f"{name}.jpg")
    (folder / "selected_images_mark_3D_val_2.json").write_text(json.dumps(images))
    journal = out / "predictions" / predictions
    journal.mkdir(parents=True)
    answered = [
        {**row, "gt_id": 1, "pred_id": 0, "pred": answer, "type_info": 0, "index": index}
        for index, row in enumerate(rows)
    ]
    (journal / "scanrefer.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answered))


@pytest.fixture
def finished(tmp_path):
    """What the demo's steps leave behind, in small: two training rooms, one held out, one task."""
    out = tmp_path / "demo"
    write_questions(out, "annotation", "after", ["room0", "room1"], f"<OBJ001>. {EVIL}")
    write_questions(out, "annotation_held_out", "held_out", ["room2"], "<OBJ000>.")
    described = out / "scenes" / "scenes" / "room0"
    described.mkdir(parents=True)
    frames = [{"image": f"room0/{name}.jpg", "markers": [{}] * count} for name, count in (("few", 1), ("many", 2))]
    (described / "scene.json").write_text(json.dumps({"frames": frames}))
    (out / "run").mkdir()
    losses = [{"current_steps": step, "loss": 4 / step} for step in (1, 2, 4)]
    (out / "run" / "trainer_log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in losses))
    summary = {
        "wall_s": {"rooms": 8.0, "train": 65.0, "total": 73.0},
        "settings": {"frames": 2, "image_resolution": 112, "epochs": 6.0, "seed": 3},
        "questions": {"annotation": {"scanrefer": 2}, "annotation_held_out": {"scanrefer": 1}},
        "training_rows": 17,
        "scores": all_columns(before=0.0, after=0.9876, swapped=0.2),
    }
    (out / "summary.json").write_text(json.dumps(summary))
    return out


def test_page_shows_scores_curve_images_and_links(finished):
    page = write_page(finished)
    assert page == finished / "index.html"
    text = page.read_text(encoding="utf-8")
    for words in (*COLUMNS.values(), "98.8", "Acc@0.25", "CIDEr@0.50", "another", "1 min 13 s", "from 4.00 to 1.00"):
        assert words.replace("'", "&#39;") in text
    assert "run/index.html" not in text and f"gpt4scene view {finished}/scenes</pre>" in text
    assert text.count("<polyline") == 1 and "http" not in text and "<script" not in text
    assert text.count("held out</figcaption>") == 1 and text.count("training room</figcaption>") == 2
    for name in ("answers/after/index.html", "answers/held_out/index.html", "answers/held_out/scenes/room2.html"):
        assert f'href="{name}"' in text and (finished / name).is_file()
    assert text.count("<code>gpt4scene|task:") == 2 and "|answered:2/2|" in text


def test_every_image_of_the_page_is_there(finished):
    text = write_page(finished).read_text(encoding="utf-8")
    sources = [part.split('"')[0] for part in text.split('<img src="')[1:]]
    assert len(sources) == 5
    assert {Image.open(finished / source).size for source in sources[:2]} == {(300, 200), (320, 200)}
    assert "frame many" in text


def test_second_call_writes_the_same_page(finished):
    first = write_page(finished).read_text(encoding="utf-8")
    before = sorted(path for path in finished.rglob("*"))
    assert write_page(finished).read_text(encoding="utf-8") == first
    assert sorted(path for path in finished.rglob("*")) == before


def test_answers_are_escaped(finished):
    write_page(finished)
    text = (finished / "answers/after/scenes/room0.html").read_text(encoding="utf-8")
    assert "<b>" not in text and "&lt;b&gt;bold&lt;/b&gt;" in text


def test_missing_image_log_and_answers_are_no_failure(finished):
    (finished / "scenes/room0/bev.jpg").unlink()
    (finished / "run/trainer_log.jsonl").unlink()
    (finished / "predictions/held_out/scanrefer.jsonl").unlink()
    (finished / "predictions/held_out").rmdir()
    text = write_page(finished).read_text(encoding="utf-8")
    assert "no losses to draw" in text and "no image" in text
    assert 'href="answers/held_out' not in text and 'href="answers/after/index.html"' in text


@pytest.mark.parametrize("content", ["", "[]", '{"wall_s": {}}'])
def test_broken_summary_is_named(content, finished):
    (finished / "summary.json").write_text(content)
    with pytest.raises(DataError, match=r"summary\.json"):
        write_page(finished)
    assert not (finished / "index.html").exists()


def words_of(scores):
    return [(finding.verdict, finding.title) for finding in findings(scores)]


def test_sentences_for_a_model_that_learned_the_rooms_by_heart():
    found = findings(all_columns(after=0.95, held_out=0.12, before=0.0))
    assert [finding.verdict for finding in found] == ["right", "right", "right", "wrong"]
    assert "reads the images" in found[2].title and "all 5 tasks" in found[2].title
    assert "no better than the controls" in found[3].title and "does not carry over" in found[3].title
    assert "worse there than in the training rooms in all 5 tasks" in found[3].text


def test_sentences_for_a_model_that_does_not_look():
    found = findings(all_columns(after=0.5, swapped=0.48, wording=0.52, before=0.5))
    assert [finding.verdict for finding in found] == ["wrong", "wrong", "wrong", "wrong"]
    assert found[0].title == "Training lifts no figure."
    assert found[2].title == "Nothing here shows that it reads the images."


def test_sentences_for_held_out_rooms_above_the_controls():
    finding = findings(all_columns(after=0.95, held_out=0.6))[3]
    assert finding.verdict == "right" and "above the controls in all 5 tasks" in finding.title
    assert "rough" in finding.text


def test_sentences_where_tasks_differ():
    scores = all_columns(after=0.9)
    scores["swapped"]["scanqa"]["EM1"] = 0.93
    scores["swapped"]["sqa3d"]["EM1"] = 1.0
    by = compare(scores, "after", ("swapped",))
    assert by.level == ("ScanQA (90.0 against 93.0)",) and by.below == ("SQA3D (90.0 against 100.0)",)
    finding = findings(scores)[2]
    assert finding.verdict == "partly" and "3 of 5 tasks" in finding.title
    assert "nothing shows that it looked" in finding.text


def test_columns_that_are_missing_claim_nothing():
    assert words_of({}) == []
    assert len(words_of({"before": column(0.1), "after": column(0.9)})) == 1
    assert words_of({"held_out": column(0.9)}) == []


def test_the_table_of_kinds_has_a_line_a_kind_and_the_sum_last(tmp_path):
    figures = {"perfect": {"overall": 1.0, "object_counting": 1.0}, "after": {"overall": 0.5, "object_counting": 0.5}}
    write_json(tmp_path / KINDS, {"counts": {"object_counting": 3, "route_planning": 0}, "figures": figures})
    lines = read_kinds(tmp_path)
    assert [(line.name, line.count, line.total) for line in lines] == [
        ("how many of a kind", 3, False),
        ("all kinds alike", 3, True),
    ]
    assert lines[0].values == {"perfect": 1.0, "after": 0.5}
    assert read_kinds(tmp_path / "nowhere") == []
