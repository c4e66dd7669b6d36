import dataclasses
import json
import resource

import pytest
from commands import infer as main
from room_runs import SCENES, answers

from gpt4scene.files import journal
from gpt4scene.inference import plan, run


def test_all_tasks_are_answered_once(infer, tmp_path, monkeypatch):
    status, out, err = infer()
    assert status == 0, err
    assert out.splitlines() == [f"{task}: {tmp_path / 'out' / task}.jsonl" for task in ("scanqa", "scanrefer")]
    rows = journal.ordered_rows(tmp_path / "out", "scanqa")
    assert [row["index"] for row in rows] == list(range(21)) and {row["scene_id"] for row in rows} == set(SCENES)
    before = (tmp_path / "out" / "scanqa.jsonl").read_bytes()
    monkeypatch.setattr(run, "open_engine", lambda *_, **__: pytest.fail("nothing is left to ask"))
    status, _, err = infer()
    assert status == 0 and "42 of 42 questions have answers" in err and "0 questions answered" in err
    assert (tmp_path / "out" / "scanqa.jsonl").read_bytes() == before


@pytest.mark.slow
def test_shards_answer_as_one_process_does(infer, tmp_path, monkeypatch):
    assert infer()[0] == 0
    for index in range(4):
        assert infer("--num_shards=4", f"--shard={index}", out="parts")[0] == 0
    assert len(journal.journal_files(tmp_path / "parts", "scanqa")) == 3, "a shard without scenes writes nothing"
    for task in ("scanqa", "scanrefer"):
        assert answers(tmp_path / "parts", task) == answers(tmp_path / "out", task)
        rows = [
            row
            for path in journal.journal_files(tmp_path / "parts", task)
            for _, row in journal.read_journal(path).rows
        ]
        assert len(rows) == 21, "no question is asked twice"
    monkeypatch.setattr(run, "open_engine", lambda *_, **__: pytest.fail("nothing is left to ask"))
    assert infer(out="parts")[0] == 0
    assert [path.name for path in journal.journal_files(tmp_path / "parts", "scanqa")] == ["scanqa.jsonl"]


@pytest.mark.slow
def test_public_call_writes_public_files(tiny_folder, annotation, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plan, "_shared_settings", lambda arguments: {})
    for chunk in range(2):
        words = ["configs/eval_configs.py", "evaluate", "True", "model", "qwenvl", "model_path", str(tiny_folder)]
        words += ["scene_anno", str(annotation / "selected_images_mark_3D_val_32.json"), "val_tag", "scanqa"]
        words += ["output_dir", str(tmp_path / "out"), "num_chunks", "2", "chunk_idx", str(chunk)]
        assert main(words) == 0, capsys.readouterr().err
    files = sorted((tmp_path / "out" / "qwenvl_scanqa").iterdir())
    assert [path.name for path in files] == ["predictions_chunk_0.json", "predictions_chunk_1.json"]
    rows = [row for path in files for row in json.loads(path.read_text())]
    assert sorted(row["index"] for row in rows) == list(range(21))
    assert set(rows[0]) == {
        *("scene_id", "qid", "gt_id", "pred_id", "prompt", "pred", "ref_captions", "type_info", "index")
    }


def test_full_disk_keeps_whole_lines_and_goes_on(infer, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, hard))
    try:
        status, _, err = infer()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = err.splitlines()[-1]
    assert status == 1 and "an answer could not be written" in error and "whole lines" in error
    kept = 0
    for path in (tmp_path / "out").iterdir():
        content = path.read_bytes()
        assert content.endswith(b"\n") and len(content) <= 2500
        kept += len(journal.read_journal(path).rows)
    assert kept
    status, _, err = infer()
    assert status == 0 and f"{kept} of 42 questions have answers" in err


def test_ctrl_c_keeps_the_journal(infer, tmp_path, monkeypatch):
    written = []
    append = journal.Journal.append

    def interrupted(self, answer):
        append(self, answer)
        written.append(answer)
        if len(written) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(journal.Journal, "append", interrupted)
    status, _, err = infer()
    assert status == 130 and "the same command goes on" in err
    kept = {answer.question.key: answer.text for answer in written}
    assert len(kept) == len(written) >= 5, "those that had come and were not yet taken are kept as well"
    assert sum(len(answers(tmp_path / "out", task)) for task in ("scanqa", "scanrefer")) == len(kept)


def test_answers_that_came_ahead_are_let_go_where_their_images_were_replaced(infer, tmp_path, monkeypatch, annotation):
    scenes = set()
    append = journal.Journal.append

    def interrupted(self, answer):
        append(self, answer)
        scenes.add(answer.question.scene_id)
        if len(scenes) == 1:
            for path in (annotation / "images").iterdir():
                if answer.question.scene_id not in path.name:
                    path.write_bytes(path.read_bytes() + b"other")
            raise KeyboardInterrupt

    monkeypatch.setattr(journal.Journal, "append", interrupted)
    assert infer()[0] == 130
    assert len(scenes) == 1, "answers of other scenes had come, to images that are no longer there"


def test_the_first_line_says_what_is_asked(infer, tmp_path, tiny_folder):
    _, _, err = infer()
    said = [line for line in err.splitlines() if not line.startswith("loading ")]  # said where importing takes long
    assert said[0] == (
        f"model {tiny_folder}: 42 questions (scanqa 21, scanrefer 21) about 3 scenes; answers go to {tmp_path / 'out'}"
    )


@pytest.mark.slow
def test_limit_asks_the_first_of_each_task_and_the_rest_later(infer, tmp_path):
    status, _, err = infer("--limit=2")
    assert status == 0 and "4 questions (scanqa 2, scanrefer 2) about 1 scene;" in err
    assert {row["index"] for row in journal.ordered_rows(tmp_path / "out", "scanrefer")} == {0, 1}
    status, _, err = infer()
    assert status == 0 and "4 of 42 questions have answers" in err
    assert infer(out="whole")[0] == 0
    for task in ("scanqa", "scanrefer"):
        assert answers(tmp_path / "out", task) == answers(tmp_path / "whole", task)


def test_scenes_asks_about_these_only(infer, tmp_path, annotation):
    (annotation / "images" / "scene0001_00_0.png").unlink()
    status, _, err = infer("--scenes=scene0002_00, scene0000_00", "--limit=9", "--tasks=scanqa")
    assert status == 0, err
    rows = journal.ordered_rows(tmp_path / "out", "scanqa")
    assert [row["scene_id"] for row in rows] == [SCENES[0]] * 7 + [SCENES[2]] * 2


def test_empty_answers_are_reported_and_written_only_when_wanted(infer, tmp_path, monkeypatch):
    from gpt4scene.inference.tokens import Running

    finished = Running._answer

    def empty(self, *rest):
        answer = finished(self, *rest)
        return dataclasses.replace(answer, text="") if answer.question.index == 4 else answer

    monkeypatch.setattr(Running, "_answer", empty)
    status, _, err = infer("--tasks=scanqa")
    assert (
        status == 1
        and "note: 1 answer is empty and not written (the first: scanqa, row 4)" in err
        and "1 of 21 questions have no answer" in err
    )
    assert "row 4" in err.splitlines()[-1] and len(answers(tmp_path / "out", "scanqa")) == 20
    status, _, err = infer("--tasks=scanqa", "--keep_empty")
    assert status == 0 and answers(tmp_path / "out", "scanqa")[4] == ""


def test_cut_answers_are_counted(infer, tmp_path):
    _, _, err = infer("--limit=3", "--tasks=scanqa")
    rows = journal.ordered_rows(tmp_path / "out", "scanqa")
    cut = sum(row["finish_reason"] == "length" for row in rows)
    assert cut and f"{cut} answer{' is' if cut == 1 else 's are'} cut at --max_new_tokens 6" in err.splitlines()[-1]
    assert {row["finish_reason"] for row in rows} <= {"stop", "length"}
