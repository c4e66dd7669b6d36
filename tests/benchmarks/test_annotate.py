import json
import re

import pytest
import torch
from commands import annotate as main
from five import FIVE
from official_files import CUBES, answers_of, refer

from gpt4scene.benchmarks.annotate import annotate
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.data.templates import ALL_MARKS
from gpt4scene.errors import DataError
from gpt4scene.files.questions import read_questions


def test_training_rows(arguments, tmp_path):
    made = annotate(arguments(split="train"), say=lambda line: None).tasks
    rows = json.loads((tmp_path / "out" / "sharegpt_data_chat_scene_2_images_3D_mark.json").read_text())
    assert len(rows) == sum(len(result.rows) for result in made.values())
    for row in rows:
        user, assistant = row["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert re.fullmatch(r"(<image>){3}\S[^<]*(<OBJ.*)?", user["content"], re.DOTALL)
        assert all((tmp_path / "out" / path).is_file() for path in row["images"])
        assert [path[-5] for path in row["images"]] == ["0", "1", "2"]
    entry = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    entry = entry["sharegpt_data_chat_scene_2_images_3D_mark"]
    assert entry["file_name"] == "sharegpt_data_chat_scene_2_images_3D_mark.json"
    assert entry["columns"] == {"messages": "messages", "images": "images"}
    assert entry["tags"]["content_tag"] == "content"


def test_answers_have_the_published_forms(arguments):
    made = annotate(arguments(split="train"), say=lambda line: None).tasks
    assert answers_of(made["scanqa"].rows) == ["TV.", "A lamp."]
    assert answers_of(made["sqa3d"].rows) == ["Left."]
    assert answers_of(made["scanrefer"].rows) == ["<OBJ001>.", "<OBJ004>.", "<OBJ004>.", "<OBJ000>."]
    said = ["Yes. <OBJ003> and <OBJ004>.", "No.", "Yes. <OBJ001>, <OBJ003>, and <OBJ004>."]
    assert answers_of(made["multi3dref"].rows) == said
    assert answers_of(made["scan2cap"].rows) == ["the thing near the door."] * 4
    assert "<OBJ001>" in made["scan2cap"].rows[0].question


@pytest.mark.parametrize("mark", ["<image>", "<video>", "<|im_end|>", "<|image_pad|>", "<|box_start|>", "<think>"])
def test_marks_in_official_texts_are_letters(arguments, raw, tmp_path, mark):
    said = f"the {mark} near \\{mark}."
    for split in ("train", "val"):
        path = raw / f"ScanRefer_filtered_{split}.json"
        path.write_text(json.dumps([refer("a_00", 0, description=said)]))
        annotate(arguments(split=split, task="scanrefer,scan2cap"), say=lambda line: None)
    rows = json.loads((tmp_path / "out" / "sharegpt_data_chat_scene_2_images_3D_mark.json").read_text())
    texts = [message["content"].removeprefix("<image>" * 3) for row in rows for message in row["messages"]]
    texts += [row["prompt"] for row in json.loads((tmp_path / "out" / "scanrefer_mask3d_val.json").read_text())]
    assert [ALL_MARKS.found(text) for text in texts] == [[]] * len(texts)
    assert sum(ALL_MARKS.plain(text).count(said.rstrip(".")) for text in texts) == 3
    assert sum(len(ALL_MARKS.escaped(mark)) > len(mark) and f"\\{mark}" in text for text in texts) == 3


def test_dropped_rows_are_counted_by_reason(arguments, scenes):
    content = {scene: {"objects": [], "locs": torch.tensor(CUBES[:1] * 5)} for scene in ("a_00", "b_00")}
    content["a_00"]["locs"][1] = torch.tensor([2.5, 0, 0.5, 1, 1, 1])
    content["b_00"]["locs"][:3] = torch.tensor([CUBES[0], CUBES[1], [1.0, 0, 0.5, 3, 1, 1]])
    torch.save(content, scenes / "scannet_mask3d_train_attributes.pt")
    lines = []
    made = annotate(arguments(split="train", min_iou=0.3), say=lines.append).tasks
    assert made["scanrefer"].dropped == {"scene without images": 1, "no proposal over the IoU": 1}
    assert made["multi3dref"].dropped == {"no proposal over the IoU": 2}
    assert len(made["scan2cap"].rows) + made["scan2cap"].dropped.total() == 5  # every description is accounted for
    assert "scanrefer: 3 rows; dropped: no proposal over the IoU: 1, scene without images: 1" in lines


def test_training_needs_half_an_overlap_and_questions_need_a_touch(arguments, scenes):
    near = [[0.4, 0, 0.5, 1, 1, 1], [0.0] * 6, [20.0, 0, 0.5, 1, 1, 1]]  # IoU 0.43 with the cabinet, no other near
    content = {scene: {"objects": [], "locs": torch.tensor(near)} for scene in ("a_00", "b_00")}
    for split in ("train", "val"):
        torch.save(content, scenes / f"scannet_mask3d_{split}_attributes.pt")
    made = annotate(arguments(split="train", task="scanrefer,scan2cap,multi3dref"), say=lambda line: None).tasks
    assert [len(made[task].rows) for task in ("scanrefer", "scan2cap", "multi3dref")] == [0, 0, 1]
    made = annotate(arguments(task="scanrefer,scan2cap"), say=lambda line: None).tasks
    assert [(row["obj_id"], row["ref_captions"]) for row in made["scanrefer"].rows][:2] == [(0, ["<OBJ000>."]), (1, [])]
    assert [(row["obj_id"], row["pred_id"]) for row in made["scan2cap"].rows] == [(0, 0)]
    assert made["scan2cap"].dropped["no proposal takes the object"] == 2


def test_two_targets_with_one_proposal_are_dropped(arguments, scenes):
    wide = [[3.0, 0, 0.5, 3, 1, 1], CUBES[0]]
    content = {scene: {"objects": [], "locs": torch.tensor(wide)} for scene in ("a_00", "b_00")}
    torch.save(content, scenes / "scannet_mask3d_train_attributes.pt")
    made = annotate(arguments(split="train", task="multi3dref", min_iou=0.3), say=lambda line: None).tasks
    assert made["multi3dref"].dropped == {"two targets share a proposal": 2}


def test_same_seed_same_rows(arguments, tmp_path):
    texts = []
    for seed in (1, 1, 2):
        annotate(arguments(split="train", seed=seed), say=lambda line: None)
        texts.append((tmp_path / "out" / "sharegpt_data_chat_scene_2_images_3D_mark.json").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_one_wording_is_that_of_the_question_files(arguments, tmp_path):
    made = annotate(arguments(split="train", seed=3, wordings=1), say=lambda line: None).tasks
    asked = annotate(arguments(split="val"), say=lambda line: None).tasks
    for task, result in made.items():
        assert {row.question for row in result.rows} <= {row["prompt"] for row in asked[task].rows}, task


def test_question_files(arguments, tmp_path):
    annotate(arguments(), say=lambda line: None)
    out = tmp_path / "out"

    def rows(name):
        return json.loads((out / name).read_text())

    assert rows("scanqa_val.json")[0]["ref_captions"] == ["TV", "a lamp", "TV"]
    assert rows("sqa3d_val.json")[0]["sqa_type"] == 4
    assert rows("sqa3d_val.json")[0]["prompt"].startswith("I sit. Which side")
    assert [row["obj_id"] for row in rows("scanrefer_mask3d_val.json")] == [0, 1, 1, 3]
    assert rows("multi3dref_mask3d_val.json")[0]["ref_captions"] == [1, 2]
    asked = rows("scan2cap_mask3d_val.json")
    assert [(row["obj_id"], row["pred_id"]) for row in asked] == [(0, 1), (1, 4), (3, 0)]
    assert asked[0]["iou"] == pytest.approx(0.9 / 1.1, abs=1e-6)
    assert rows("scan2cap_val_corpus.json")["a_00|1"] == ["sos the thing . eos"] * 2
    assert rows("scanrefer_unique_multiple_lookup.json")["a_00"] == {"0": 0, "1": 0}
    images = rows("selected_images_mark_3D_val_2.json")
    assert all((out / path).is_file() for path in images["a_00"])


def test_perfect_answers_to_the_question_files_score_full_marks(arguments, tmp_path):
    annotate(arguments(), say=lambda line: None)
    out, predictions = tmp_path / "out", tmp_path / "predictions"
    predictions.mkdir()
    by_count = {0: "No.", 2: "Yes. <OBJ003> and <OBJ004>.", 3: "Yes. <OBJ001>, <OBJ003>, and <OBJ004>."}
    for task in ("scanrefer", "multi3dref"):
        questions = json.loads((out / f"{task}_mask3d_val.json").read_text())
        rows = [
            {
                "scene_id": question["scene_id"],
                "gt_id": question["obj_id"],
                "pred": by_count[len(question["ref_captions"])]
                if task == "multi3dref"
                else question["ref_captions"][0],
                "ref_captions": question["ref_captions"],
                "type_info": question.get("eval_type", 0),
                "index": index,
            }
            for index, question in enumerate(questions)
        ]
        (predictions / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reports = score_folder(predictions, out)
    assert all(report.counts["missing questions"] == 0 for report in reports.values())
    assert reports["scanrefer"].scores["Acc@0.50"] == reports["multi3dref"].scores["all F1@0.50"] == 1


def test_a_benchmark_without_files_is_skipped_or_an_error_when_named(arguments, raw):
    (raw / "multi3drefer_val.json").unlink()
    lines = []
    result = annotate(arguments(), say=lines.append)
    assert set(result.skipped) & set(FIVE) == {"multi3dref"}
    said = [line for line in lines if line.startswith("skipped, for want of official files: ")]
    assert len(said) == 1 and ", multi3dref," in said[0].replace(": ", ", ") and len(said[0]) < 250
    with pytest.raises(DataError, match="multi3drefer_val.json is not in"):
        annotate(arguments(task="multi3dref"))


def test_the_label_map_decides_on_unique_objects(arguments, raw, tmp_path):
    head = "id\traw_category\tcategory\tcount\tnyu40id\teigen13id\tnyuClass\tnyu40class\n"
    rows = "1\tchair\tx\t1\t1\t1\tx\tcabinet\n2\tcabinet\tx\t1\t1\t1\tx\tcabinet\n"
    (raw / "scannetv2-labels.combined.tsv").write_text(head + rows)
    annotate(arguments(task="scanrefer"), say=lambda line: None)
    lookup = json.loads((tmp_path / "out" / "scanrefer_unique_multiple_lookup.json").read_text())
    assert lookup["a_00"] == {"0": 1, "1": 1}


def test_further_sources_are_added_by_name_and_for_training_only(arguments, raw):
    rows = [{"scan_id": "a_00", "target_id": [1], "utterance": "the chair"}]
    (raw / "scannet_grounding.json").write_text(json.dumps(rows))
    made = annotate(arguments(split="train", task="beacon3d,scanrefer"), say=lambda line: None).tasks
    assert list(made) == ["beacon3d", "scanrefer"]
    assert answers_of(made["beacon3d"].rows) == ["Yes. <OBJ004>."]
    assert list(annotate(arguments(split="train", task="beacon3d"), say=lambda line: None).tasks) == ["beacon3d"]
    with pytest.raises(ValueError, match="training rows only"):
        annotate(arguments(task="beacon3d"))
    with pytest.raises(DataError, match="nr3d.csv is not in"):
        annotate(arguments(split="train", task="nr3d"))


def test_nr3d_questions_are_asked_and_scored_as_scanrefer(arguments, raw, scenes, tmp_path):
    head = "stimulus_id,utterance,scan_id,target_id,tokens,mentions_target_class\n"
    lines = [f"a_00-chair-{n}-{n}-9,the chair,a_00,{n},\"['the', 'chair']\",True\n" for n in (1, 2, 3)]
    (raw / "nr3d.csv").write_text(head + "".join(lines))
    for split in ("train", "val"):  # objects themselves are marked, as with `prepare --objects scannet`
        (scenes / f"scannet_mask3d_{split}_attributes.pt").write_bytes(
            (scenes / f"scannet_{split}_attributes.pt").read_bytes()
        )
    annotate(arguments(task="nr3d"), say=lambda line: None)
    questions = read_questions(tmp_path / "out" / "scanrefer_mask3d_val.json", "scanrefer")
    assert [question.type_info for question in questions] == ["easy_indep", "easy_indep", "hard_indep"]
    answers = [
        {"scene_id": q.scene_id, "gt_id": q.obj_id, "pred": "<OBJ001>.", "type_info": q.type_info, "index": q.index}
        for q in questions
    ]
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "scanrefer.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    scores = score_folder(tmp_path / "answers", tmp_path / "out")["scanrefer"].scores
    assert (scores["Overall Acc"], scores["Easy Acc"], scores["Hard Acc"]) == (1 / 3, 0.5, 0)
    with pytest.raises(ValueError, match="name it alone"):
        annotate(arguments(task="nr3d,scanrefer"))


def test_other_entries_of_the_registry_stay(arguments, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset_info.json").write_text('{"mine": {"file_name": "mine.json"}}')
    annotate(arguments(split="train"), say=lambda line: None)
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert set(info) == {"mine", "sharegpt_data_chat_scene_2_images_3D_mark"}


def test_a_scene_with_a_missing_image_has_no_rows(arguments, scenes):
    (scenes / "images" / "b_00_2.jpg").unlink()
    made = annotate(arguments(task="sqa3d,scanqa"), say=lambda line: None).tasks
    assert made["sqa3d"].dropped == {"scene without images": 1}


NR3D = b"scan_id,target_id,stimulus_id,tokens,utterance,mentions_target_class\n"


@pytest.mark.parametrize(
    ("folder", "file", "content", "sentence"),
    [
        ("scenes", "selected_images_mark_3D_val_2.json", b'{"a_00": [3]}', "scene 'a_00' must hold a list of image"),
        ("scenes", "selected_images_mark_3D_val_2.json", b"[]", "expected one object .scene"),
        ("raw", "nr3d.csv", b"scan_id\n\xff\n", "nr3d.csv: the file is not UTF-8"),
        ("raw", "nr3d.csv", b"scan_id,stimulus_id,tokens\na_00,a-b-2-1,True\n", "row 0: 'stimulus_id' or 'tokens'"),
        ("raw", "nr3d.csv", NR3D + b"a_00,1,a-b-2-1,[],x\n", "row 0: has 5 columns, but the first line names 6"),
        ("raw", "nr3d.csv", NR3D + b"a_00,1,a-b-2-1,,x,True\n", "row 0: 'tokens' is missing, which tells"),
        ("raw", "nr3d.csv", NR3D + b"a_00,1,a-b-2-1,[],x,maybe\n", "row 0: 'mentions_target_class' must be True or"),
        ("raw", "ScanRefer_filtered_val.json", b'[{"scene_id": "a_00"}, 3]', "row 1: expected an object with keys"),
        ("raw", "scannetv2-labels.combined.tsv", b"\xff", "tsv: not a table in UTF-8"),
    ],
)
def test_broken_files_are_named(arguments, raw, scenes, folder, file, content, sentence):
    ({"raw": raw, "scenes": scenes}[folder] / file).write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        annotate(arguments(task="nr3d" if file == "nr3d.csv" else "scanrefer"), say=lambda line: None)


def test_several_frame_counts_need_a_choice(arguments, scenes):
    (scenes / "selected_images_mark_3D_val_8.json").write_text("{}")
    with pytest.raises(DataError, match="choose one with --frames"):
        annotate(arguments())
    assert annotate(arguments(frames=2), say=lambda line: None).tasks["scanqa"].rows


def test_command(arguments, raw, scenes, tmp_path, capsys):
    flags = ["--raw", str(raw), "--scenes", str(scenes), "--out", str(tmp_path / "out")]
    assert main([*flags, "--split", "train", "--task", "scanqa,sqa3d"]) == 0
    said = capsys.readouterr()
    assert "scanqa: 2 rows; dropped: scene without images: 1" in said.err and said.out.startswith("wrote ")
    assert main([*flags, "--split", "train", "--task", "scanqa,sqa3d", "--json"]) == 0
    said = capsys.readouterr()
    assert list(json.loads(said.out)) == ["out", "rows", "files"] and said.err == ""
    assert main([*flags, "--split", "test"]) == 2
    assert main([*flags, "--task", "scanrefr"]) == 2
    assert main(flags[:-1]) == 2
    assert main(["--raw", str(tmp_path / "none"), *flags[2:]]) == 1
    assert "no such folder" in capsys.readouterr().err
