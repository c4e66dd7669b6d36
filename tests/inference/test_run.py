import json
import resource
import shutil
from pathlib import Path

import pytest
from commands import infer as main

from gpt4scene.files import journal
from gpt4scene.inference import plan, run
from gpt4scene.inference.arguments import InferArguments
from gpt4scene.settings import flags

SCENES = ["scene0000_00", "scene0001_00", "scene0002_00"]


@pytest.fixture
def annotation(tmp_path, write_annotation):
    return write_annotation(tmp_path / "annotation", SCENES)


@pytest.fixture
def infer(tiny_folder, annotation, tmp_path, capsys):
    """Runs ``main`` on the tiny model; returns exit status, stdout and stderr."""

    def call(*flags, out="out", model=tiny_folder):
        status = main(
            [f"--model={model}", f"--annotation_dir={annotation}", f"--output_dir={tmp_path / out}"]
            + ["--image_resolution=112", "--max_new_tokens=6", *flags]
        )
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def answers(folder, task):
    return {row["index"]: row["pred"] for row in journal.ordered_rows(folder, task)}


@pytest.fixture
def no_model(monkeypatch):
    monkeypatch.setattr(run, "_engine", lambda *_: pytest.fail("no model is needed here"))


def test_all_tasks_are_answered_once(infer, tmp_path, monkeypatch):
    status, out, err = infer()
    assert status == 0, err
    assert out.splitlines() == [f"{task}: {tmp_path / 'out' / task}.jsonl" for task in ("scanqa", "scanrefer")]
    rows = journal.ordered_rows(tmp_path / "out", "scanqa")
    assert [row["index"] for row in rows] == list(range(21)) and {row["scene_id"] for row in rows} == set(SCENES)
    before = (tmp_path / "out" / "scanqa.jsonl").read_bytes()
    monkeypatch.setattr(run, "_engine", lambda *_: pytest.fail("nothing is left to ask"))
    status, _, err = infer()
    assert status == 0 and "42 of 42 questions have answers" in err and "0 questions answered" in err
    assert (tmp_path / "out" / "scanqa.jsonl").read_bytes() == before


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
    monkeypatch.setattr(run, "_engine", lambda *_: pytest.fail("nothing is left to ask"))
    assert infer(out="parts")[0] == 0
    assert [path.name for path in journal.journal_files(tmp_path / "parts", "scanqa")] == ["scanqa.jsonl"]


def test_torn_journal_goes_on_with_another_number_of_shards(infer, tmp_path):
    assert infer()[0] == 0
    for index in range(2):
        assert infer("--num_shards=2", f"--shard={index}", out="torn")[0] == 0
    folder = tmp_path / "torn"
    for path in journal.journal_files(folder, "scanqa"):
        path.write_bytes(path.read_bytes()[:-200])
    (folder / "scanrefer.shard1.jsonl").write_bytes(b'{"settings": {"mod')
    status, _, err = infer("--branch_limit=2", out="torn")
    assert status == 0, err
    for task in ("scanqa", "scanrefer"):
        assert answers(folder, task) == answers(tmp_path / "out", task)


def test_other_settings_are_refused_unless_overwritten(infer, tmp_path, annotation, no_model):
    header = {"settings": {"image_resolution": 512}, "fingerprint": "x"}
    (tmp_path / "out").mkdir()
    old = tmp_path / "out" / "scanqa.shard7.jsonl"
    old.write_text(json.dumps(header) + "\n")
    status, _, err = infer()
    assert status == 1 and "image_resolution: 512, now 112" in err and "--overwrite" in err
    assert infer("--tasks=scanqa", "--num_processes=auto")[0] == 1
    with pytest.raises(pytest.fail.Exception):
        infer("--overwrite")
    assert not old.exists()


def read(words):
    return flags.read(InferArguments, words, "gpt4scene infer")


def test_what_answers_depend_on_and_what_not(infer, tmp_path, annotation, tiny_folder, no_model, write_annotation):
    def settings(*more, model=tiny_folder):
        arguments = read(
            [f"--model={model}", f"--annotation_dir={annotation}", "--output_dir=o", "--tasks=scanqa", *more]
        )
        return journal.fingerprint(plan.make_plan(arguments).settings["scanqa"])

    same = settings()
    for more in (["--branch_limit=3"], ["--device=cpu"], ["--num_shards=4", "--shard=1"], ["--seed=5"]):
        assert settings(*more) == same
    changed = [
        settings(f) for f in ("--max_new_tokens=5", "--image_resolution=56", "--temperature=1", "--dtype=bfloat16")
    ]
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    assert settings(model=copy) == same
    (copy / "generation_config.json").write_text("{}")
    changed.append(settings(model=copy))
    rows = json.loads((annotation / "scanqa_val.json").read_text())
    (annotation / "scanqa_val.json").write_text(json.dumps(rows[:-1]))
    changed.append(settings())
    (annotation / "scanqa_val.json").write_text(json.dumps(rows))
    assert len({same, *changed}) == 1 + len(changed)


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


def test_wrong_calls_exit_with_2(capsys):
    assert main(["--model=m"]) == 2
    assert "error: --annotation_dir, --output_dir are missing" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "--num_shards" in capsys.readouterr().out


def cut(path):
    path.write_bytes(path.read_bytes()[:120])


def no_image(path):
    path.write_text("this is a text")


@pytest.mark.parametrize(("harm", "words"), [(cut, "decoded"), (Path.unlink, "was not found"), (no_image, "no image")])
def test_bad_image_stops_with_its_name_and_keeps_answers(infer, tmp_path, annotation, harm, words):
    image = annotation / "images" / "scene0002_00_1.png"
    whole = image.read_bytes()
    harm(image)
    status, _, err = infer()
    error = err.splitlines()[-1]
    assert status == 1 and error.startswith("error: ") and "scene0002_00_1.png" in error and words in error
    if harm is not Path.unlink:
        assert len(answers(tmp_path / "out", "scanqa")) == 14, "two scenes came before the bad one"
    image.write_bytes(whole)
    if harm is cut:
        assert infer("--overwrite")[0] == 0


@pytest.mark.parametrize("name", ["scanqa_val.json", "selected_images_mark_3D_val_32.json"])
def test_zero_byte_json(infer, annotation, no_model, name):
    (annotation / name).write_bytes(b"")
    status, _, err = infer()
    assert status == 1 and name in err and "empty" in err


def test_scene_in_the_questions_but_not_in_the_images(infer, annotation, no_model):
    path = annotation / "selected_images_mark_3D_val_32.json"
    listed = json.loads(path.read_text())
    del listed[SCENES[1]]
    path.write_text(json.dumps(listed))
    status, _, err = infer()
    assert status == 1 and f"scene '{SCENES[1]}' is in the questions but not in the list of images" in err


def test_model_folder_without_processor_or_weights(infer, tmp_path, tiny_folder):
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    (copy / "preprocessor_config.json").unlink()
    status, _, err = infer(model=copy)
    assert status == 1 and "preprocessor_config.json" in err and str(copy) in err
    assert not answers(tmp_path / "out", "scanqa")
    (copy / "model.safetensors").unlink()
    status, _, err = infer(model=copy, out="other")
    assert status == 1 and "no model in this folder" in err
    status, _, err = infer(model=tmp_path / "absent", out="other")
    assert status == 1 and "absent: no such folder" in err


def test_output_folder_that_is_a_file(infer, tmp_path, no_model):
    (tmp_path / "out").write_text("")
    status, _, err = infer()
    assert status == 1 and "the journal can't be opened" in err


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
    assert sum(len(answers(tmp_path / "out", task)) for task in ("scanqa", "scanrefer")) == 5
