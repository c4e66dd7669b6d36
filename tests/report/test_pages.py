import json
import subprocess
import sys

import pytest
import torch
from commands import report as report_command
from odd_answers import ODD_ANSWERS
from PIL import Image

from gpt4scene.benchmarks import scan2cap
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.errors import DataError
from gpt4scene.files.annotation import GROUND_TRUTH, PROPOSALS
from gpt4scene.metrics import texts as text_metrics
from gpt4scene.report import pages, rendering
from gpt4scene.report.scene_pages import scene_files

SCENES = ("room<1>", "room_2")
BOXES = [[0, 0, 0, 1, 1, 1], [5, 0, 0, 1, 1, 1], [5.5, 0, 0, 1, 1, 1]]
EVIL = "<script>alert('x')</script> & more"


def question(scene, **more):
    return {"scene_id": scene, "obj_id": 0, "qid": None, "prompt": f"What is in {scene}?", "ref_captions": [], **more}


QUESTIONS = {
    "scanqa": [question(SCENES[0], ref_captions=["red", "dark red"]) for _ in range(2)]
    + [question(SCENES[1], ref_captions=["a blue"]) for _ in range(2)],
    "scan2cap": [question(scene, pred_id=0, ref_captions=["sos a chair . eos"]) for scene in SCENES],
    "scanrefer": [question(SCENES[0], obj_id=1, ref_captions=["<OBJ001>."]) for _ in range(4)],
    "multi3dref": [
        question(SCENES[1], ref_captions=[0, 1], eval_type="mt"),
        question(SCENES[1], ref_captions=[], eval_type="zt_w_d"),
    ],
}
ANSWERS = {
    "scanqa": ["Red.", EVIL, "", "blue"],
    "scan2cap": ["A chair.", "no such thing"],
    "scanrefer": ["<OBJ001>.", "<OBJ002>.", "<OBJ000>.", "nothing"],
    "multi3dref": ["Yes. <OBJ000>.", "No."],
}


@pytest.fixture
def annotation(tmp_path, monkeypatch):
    """Two scenes, four tasks, a bird's-eye view and a frame each."""
    monkeypatch.setattr(text_metrics, "find_java", lambda: None)
    folder = tmp_path / "annotation"
    folder.mkdir()
    for task, rows in QUESTIONS.items():
        (folder / BENCHMARKS[task].question_name("val")).write_text(json.dumps(rows))
    content = {scene: {"objects": ["chair", "desk", "lamp"], "locs": torch.tensor(BOXES)} for scene in SCENES}
    for name in (PROPOSALS, GROUND_TRUTH):
        torch.save(content, folder / name.format(split="val"))
    (folder / scan2cap.CORPUS).write_text(json.dumps({f"{scene}|0": ["sos a chair . eos"] for scene in SCENES}))
    listed = {}
    for number, scene in enumerate(SCENES):
        (folder / "media" / str(number)).mkdir(parents=True)
        listed[scene] = [f"media/{number}/top.png", f"media/{number}/frame.jpg"]
        Image.new("RGB", (1600, 1200), (200, 30, 30)).save(folder / listed[scene][0])
        Image.new("RGB", (320, 240), (30, 30, 200)).save(folder / listed[scene][1])
    (folder / "selected_images_mark_3D_val_1.json").write_text(json.dumps(listed))
    return folder


@pytest.fixture
def predictions(tmp_path):
    folder = tmp_path / "predictions"
    folder.mkdir()
    for task in QUESTIONS:
        answered = [
            {
                **{key: row[key] for key in ("scene_id", "qid", "prompt", "ref_captions")},
                **{"gt_id": row["obj_id"], "pred_id": row.get("pred_id", 0), "type_info": row.get("eval_type", 0)},
                **{"pred": answer, "index": index},
            }
            for index, (row, answer) in enumerate(zip(QUESTIONS[task], ANSWERS[task], strict=True))
        ]
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answered))
    return folder


def call(predictions, annotation, out, *more):
    return report_command(
        ["--predictions", str(predictions), "--annotation_dir", str(annotation), "--out", str(out), *more]
    )


def scene_page(out, number=0):
    return (out / sorted(scene_files(SCENES).values())[number]).read_text(encoding="utf-8")


def test_first_page_holds_every_score_count_and_note(predictions, annotation, tmp_path):
    page = pages.report(predictions, annotation, tmp_path / "out")
    assert page == tmp_path / "out" / "index.html"
    text = page.read_text(encoding="utf-8")
    for words in ("ScanQA", "Scan2Cap", "ScanRefer", "Multi3DRefer", "CIDEr@0.50", "strict EM1", "Acc@0.25"):
        assert words in text
    assert ">50.0<" in text  # Acc@0.25: the first and second of four; object 0 is what "nothing" counts as
    assert "unreadable answers: 1" in text and "no METEOR" in text and "unique and multiple" in text
    assert "Images are missing" not in text
    assert "http" not in text and "<script" not in text
    assert text.count("<code>gpt4scene|task:") == 4 and "|answered:4/4|" in text


def test_verdicts_follow_the_rules(predictions, annotation, tmp_path):
    page = pages.report(predictions, annotation, tmp_path / "out", rules="raw").read_text(encoding="utf-8")
    assert page.count("|rules:raw|") == 4 and "Rules <code>raw</code>: Nothing is cleaned" in page
    first = scene_page(tmp_path / "out")
    assert first.count('<tr class="right">') == 2, "the caption and <OBJ001>; Red. is not red letter by letter"
    assert "one contains the other" not in first + scene_page(tmp_path / "out", 1)


def test_scene_page_shows_images_once_and_every_question(predictions, annotation, tmp_path):
    out = tmp_path / "out"
    pages.report(predictions, annotation, out)
    text = scene_page(out)
    assert text.count("<img") == 2
    assert [Image.open(path).size for path in sorted(out.glob("images/room_1_/*.jpg"))] == [(1000, 750), (320, 240)]
    assert text.count("What is in room&lt;1&gt;?") == 2 + 1 + 4
    assert "dark red" in text and "<li>a chair .</li>" in text and 'title="lamp"' in text


def test_verdicts_follow_the_scorers(predictions, annotation, tmp_path):
    pages.report(predictions, annotation, tmp_path / "out")
    first, second = scene_page(tmp_path / "out"), scene_page(tmp_path / "out", 1)
    assert first.count('<tr class="right">') == 3  # "Red.", the caption, <OBJ001>
    assert first.count('<tr class="partly">') == 1 and "IoU 0.33 with object 1 (desk)" in first
    assert first.count('<tr class="wrong">') == 3 and "names no object; scored as" in first
    assert second.count('<tr class="right">') == 1  # "No."
    assert "empty answer" in second and "one contains the other" in second
    assert "F1 0.67; 1 named, 2 meant" in second and "object 1 (desk)" in second


def test_every_answer_says_by_which_rules_and_what_was_compared(predictions, annotation, tmp_path):
    pages.report(predictions, annotation, tmp_path / "out")
    first, second = scene_page(tmp_path / "out"), scene_page(tmp_path / "out", 1)
    assert "Rules <code>gpt4scene</code>: Answers are cleaned and references are not" in first
    assert '<span class="read">red</span>' in first  # "Red." as it was compared
    assert '<span class="read"><span class="object"' in first  # an object in its colour
    assert '<span class="read">(nothing)</span>' in second
    assert (
        '<span class="read">sos A chair. eos</span>' in first and '<span class="read">sos a chair . eos</span>' in first
    )
    assert "object 0 (chair): IoU 1.00" in second  # how Multi3DRefer's boxes are paired
    index = (tmp_path / "out" / "index.html").read_text()
    assert "Rules <code>gpt4scene</code>" in index and "|task:scanqa|" in index


def test_other_rules_are_shown_where_they_count(predictions, annotation, tmp_path):
    pages.report(predictions, annotation, tmp_path / "out", rules="strict")
    first = scene_page(tmp_path / "out")
    assert "Rules <code>strict</code>: An answer without a readable identifier is wrong" in first
    assert "names no object; object 1 (desk) was meant" in first and "scored as" not in first


def test_boxes_are_drawn_over_those_of_the_room_which_stand_there_once(predictions, annotation, tmp_path):
    pages.report(predictions, annotation, tmp_path / "out")
    first, second = scene_page(tmp_path / "out"), scene_page(tmp_path / "out", 1)
    for page, counts in ((first, {"scan2cap": 1, "scanrefer": 4}), (second, {"scan2cap": 1, "multi3dref": 1})):
        for task, count in counts.items():  # the question without targets has no boxes
            assert page.count(f'<g id="room-{task}">') == 1 and page.count(f'<use href="#room-{task}">') == count
    assert first.count('rect class="named"') - 2 == 2 * 5  # from above and beside; the legends have one each
    assert "<title>object 1 desk</title>" in first and "<title>marked 2 lamp</title>" in first


def test_tasks_without_boxes_need_no_boxes_and_show_their_own_images(tmp_path):
    """Spatial questions: the parsed value beside the true one, how far off, and the public figures."""
    row = {"scene_id": "set 1", "qid": 0, "prompt": "How many?\nOne number.", "type_info": "object_counting"}
    source = {"question_type": "object_counting", "ground_truth": "4", "scene_name": "set 1"}
    letter = {"question_type": "route_planning", "ground_truth": "B", "options": ["A. Left", "B. <b>Back</b>"]}
    questions = [
        {**row, "ref_captions": ["4"], "source": source},
        {**row, "qid": 1, "prompt": "Which?", "ref_captions": ["B"], "source": letter, "type_info": "route_planning"},
    ]
    (tmp_path / "a").mkdir()
    (tmp_path / "p").mkdir()
    (tmp_path / "a" / "vsibench_val.json").write_text(json.dumps(questions))
    answers = [{"scene_id": "set 1", "pred": text, "index": at} for at, text in enumerate(("5 chairs", "(B)"))]
    (tmp_path / "p" / "vsibench.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    out = pages.report(tmp_path / "p", tmp_path / "a", tmp_path / "out").parent
    text, index = (out / "scenes" / "set_1.html").read_text(), (out / "index.html").read_text()
    assert "5 for 4: 25.0% off, 6 of 10 limits" in text and '<span class="read">5</span>' in text
    assert (
        "no letter" in text and "<li>B. &lt;b&gt;Back&lt;/b&gt;</li>" in text and '<span class="read">B</span>' in text
    )
    assert "<svg" not in text and "Rules <code>official</code>" in text
    assert "As the public scorer names and writes them" in index and "object_counting_MRA:.5:.95:.05" in index


def test_official_files_alone_are_enough_for_answers_that_need_no_boxes(tmp_path, capsys):
    row = {"id": 3, "scene_name": "room", "question_type": "object_counting", "question": "How many?"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row | {"options": None, "ground_truth": "4"}))
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "vsibench.json").write_text(json.dumps({"3": "five"}))
    words = ["--predictions", str(tmp_path / "p"), "--out", str(tmp_path / "out")]
    assert report_command(words) == 2
    assert "give --annotation_dir DIR with question files, or --references FILES" in capsys.readouterr().err
    references = f"vsibench={tmp_path / 'rows.jsonl'}"
    assert report_command([*words, "--references", references, "--rules", "lmms_eval"]) == 0
    text = (tmp_path / "out" / "scenes" / "room.html").read_text()
    assert "5 for 4: 25.0% off" in text and "Rules <code>lmms_eval</code>" in text
    assert "<th>object_<wbr>counting</th>" in (tmp_path / "out" / "index.html").read_text()  # else it leaves its card
    assert "no --annotation_dir, whose list says which images were shown" in text


def test_boxes_of_answers_are_drawn_where_true_ones_are_given(tmp_path, capsys):
    row = {"scene_id": "s0", "object_id": "4", "object_name": "bed", "ann_id": "0", "description": "the bed"}
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "scanrefer.json").write_text(json.dumps({"s0_4_0": [0.5, 0, 0, 1, 1, 1]}))
    words = ["--predictions", str(tmp_path / "p"), "--out", str(tmp_path / "out")]
    words += ["--references", f"scanrefer={tmp_path / 'rows.json'}"]
    boxes = tmp_path / "boxes.json"
    assert report_command([*words, "--boxes", str(boxes)]) == 2
    assert "boxes.json: there is no such file" in capsys.readouterr().err
    boxes.write_text(json.dumps({"s0": {"4": [0, 0, 0, 1, 1, 1]}}))
    assert report_command([*words, "--boxes", str(boxes)]) == 0
    text = (tmp_path / "out" / "scenes" / "s0.html").read_text()
    assert "[0.5, 0.0, 0.0, 1.0, 1.0, 1.0]" in text and "OBJ000" not in text
    drawing = text[text.rindex('<svg class="plan"') :]
    assert 'class="named"' in drawing and 'class="meant"' in drawing


def test_html_in_answers_and_names_is_escaped(predictions, annotation, tmp_path):
    out = tmp_path / "out"
    pages.report(predictions, annotation, out)
    text = scene_page(out)
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; more" in text and "<script" not in text
    assert "<h1>room&lt;1&gt;</h1>" in text


def test_prompts_are_shown_without_the_backslashes_of_letters(predictions, annotation, tmp_path):
    for path, key in ((annotation / "scanqa_val.json", None), (predictions / "scanqa.jsonl", "lines")):
        rows = [json.loads(line) for line in path.read_text().splitlines()] if key else json.loads(path.read_text())
        rows[0]["prompt"] = r"What does \<image> or \<|im_end|> mean, \o/?"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) if key else json.dumps(rows))
    pages.report(predictions, annotation, tmp_path / "out")
    assert r"What does &lt;image&gt; or &lt;|im_end|&gt; mean, \o/?" in scene_page(tmp_path / "out")


@pytest.mark.parametrize("damage", ["missing", "broken", "unlisted", "no list"])
def test_missing_images_are_said_and_no_failure(damage, predictions, annotation, tmp_path):
    listed = annotation / "selected_images_mark_3D_val_1.json"
    if damage == "missing":
        (annotation / "media/0/frame.jpg").unlink()
    elif damage == "broken":
        (annotation / "media/0/frame.jpg").write_bytes(b"no image")
    elif damage == "unlisted":
        listed.write_text(json.dumps({SCENES[1]: json.loads(listed.read_text())[SCENES[1]]}))
    else:
        listed.unlink()
    assert call(predictions, annotation, tmp_path / "out") == 0
    text = scene_page(tmp_path / "out")
    assert "Not every image could be shown" in text
    assert {
        "missing": "media/0/frame.jpg was not found",
        "broken": "can&#39;t be read",
        "unlisted": "lists no image of scene",
        "no list": "no list of images",
    }[damage] in text
    assert text.count("<img") == (1 if damage in ("missing", "broken") else 0)
    affected = 2 if damage == "no list" else 1
    assert f"Images are missing in {affected} of 2 scenes" in (tmp_path / "out/index.html").read_text()


def test_media_dir_leads_to_the_images(predictions, annotation, tmp_path):
    (annotation / "media").rename(tmp_path / "elsewhere")
    (tmp_path / "far").mkdir()
    (tmp_path / "elsewhere").rename(tmp_path / "far/media")
    assert call(predictions, annotation, tmp_path / "out", "--media_dir", str(tmp_path / "far")) == 0
    assert scene_page(tmp_path / "out").count("<img") == 2


def test_second_run_replaces_the_first(predictions, annotation, tmp_path):
    out = tmp_path / "out"
    pages.report(predictions, annotation, out)
    (predictions / "scanqa.jsonl").unlink()
    (predictions / "scan2cap.jsonl").unlink()
    pages.report(predictions, annotation, out)
    assert "<h3>ScanQA" not in (out / "index.html").read_text()
    assert "ScanQA: none of 4 questions has an answer" in (out / "index.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["annotation", "out", "predictions"]


def test_a_report_of_an_earlier_edition_is_replaced(predictions, annotation, tmp_path):
    out = tmp_path / "out"
    pages.report(predictions, annotation, out)
    (out / "images").rename(out / "pictures")
    pages.report(predictions, annotation, out)
    assert sorted(path.name for path in out.iterdir()) == ["images", "index.html", "scenes"]


@pytest.mark.parametrize("foreign", ["notes.txt", "index.html"])
def test_other_folders_are_refused_and_left_alone(foreign, predictions, annotation, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / foreign).write_text("mine")
    assert call(predictions, annotation, out) == 1
    error = capsys.readouterr().err
    assert foreign in error and "choose another --out" in error and error.count("\n") == 1
    assert (out / foreign).read_text() == "mine" and len(list(out.iterdir())) == 1


def test_a_file_added_to_our_folder_is_not_lost(predictions, annotation, tmp_path):
    out = tmp_path / "out"
    pages.report(predictions, annotation, out)
    (out / "remarks.md").write_text("mine")
    with pytest.raises(DataError, match="remarks.md"):
        pages.report(predictions, annotation, out)
    assert (out / "remarks.md").read_text() == "mine"


def test_nothing_is_left_when_a_page_fails(predictions, annotation, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pages, "write_text", full)
    assert call(predictions, annotation, tmp_path / "out") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["annotation", "predictions"]


def test_empty_predictions_folder(annotation, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert call(tmp_path / "empty", annotation, tmp_path / "out") == 1
    assert "no answers here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_wrong_calls(annotation, tmp_path, capsys):
    assert call(tmp_path / "nowhere", annotation, tmp_path / "out") == 2
    assert "there is no such folder" in capsys.readouterr().err
    assert report_command(["--predictions", str(tmp_path)]) == 2


def test_page_names_are_safe_and_different():
    assert scene_names("../a", "a/b", "A_b", "a_b") == ["_a", "a_b", "A_b_1", "a_b_2"]


def scene_names(*scenes):
    return [file.removeprefix("scenes/").removesuffix(".html") for file in scene_files(scenes).values()]


def test_one_file_of_answers_has_pages_and_a_file_is_no_annotation_folder(predictions, annotation, tmp_path, capsys):
    assert call(predictions / "scanqa.jsonl", annotation, tmp_path / "out") == 0
    assert "ScanQA" in (tmp_path / "out" / "index.html").read_text()
    capsys.readouterr()
    assert call(predictions, predictions / "scanqa.jsonl", tmp_path / "other") == 2
    assert f"is a file; --annotation_dir names a folder, such as {predictions}" in capsys.readouterr().err


def test_line_ends_of_other_systems_are_no_odd_characters():
    assert rendering.whole_utf8("a\r\nb\tc\x0c") == "a\r\nb\tc\ufffd"


@pytest.mark.slow
def test_help_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; from gpt4scene.cli import main; sys.exit(main(['report', '--help']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "--media_dir" in done.stdout


@pytest.mark.slow
def test_no_answer_breaks_the_report_or_another_answer(predictions, annotation, tmp_path):
    """Every odd answer is given to every task, beside the others."""
    for task, rows in QUESTIONS.items():
        (annotation / BENCHMARKS[task].question_name("val")).unlink()
        row = rows[0]
        base = {key: row[key] for key in ("scene_id", "qid", "prompt", "ref_captions")}
        base |= {"gt_id": row["obj_id"], "pred_id": row.get("pred_id", 0), "type_info": row.get("eval_type", 0)}
        answers = [*ODD_ANSWERS.values(), ANSWERS[task][0]]
        lines = [json.dumps(base | {"pred": answer, "index": index}) for index, answer in enumerate(answers)]
        (predictions / f"{task}.jsonl").write_text("\n".join(lines) + "\n")
    out = pages.report(predictions, annotation, tmp_path / "out").parent
    text = (out / scene_files(SCENES)[SCENES[0]]).read_text(encoding="utf-8")
    for shown in (
        "&lt;OBJ０１２&gt;",
        "&lt;OBJ٠١٢&gt;",
        "a \ufffd b \ufffd",
        "&lt;script&gt;alert(1)",
        "{{ 7 * 7 }}",
        "Red.",
    ):
        assert shown in text
    assert "<script>" not in text and "\0" not in text
