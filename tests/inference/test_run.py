import dataclasses
import json
import os
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


def test_areas_of_images_are_part_of_the_settings_only_where_they_are_used(infer, tmp_path):
    assert infer("--tasks=scanqa", "--limit=1")[0] == 0
    before = journal.read_journal(tmp_path / "out" / "scanqa.jsonl").settings
    assert "image_max_pixels" not in before and "image_min_pixels" not in before  # as before there were areas
    status, _, err = infer("--tasks=scanqa", "--image_max_pixels=5000")
    assert status == 1 and "image_max_pixels: absent, now 5000" in err
    assert infer("--tasks=scanqa", "--limit=1", "--image_max_pixels=5000", out="area")[0] == 0
    after = journal.read_journal(tmp_path / "area" / "scanqa.jsonl").settings
    assert after == {**before, "image_max_pixels": 5000, "image_min_pixels": after["image_min_pixels"]}
    assert infer("--tasks=scanqa")[0] == 0  # an old journal goes on


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
    areas = ["--image_max_pixels=9000", "--image_max_pixels=9001", "--image_min_pixels=900"]
    changed += [settings(*more) for more in [[area] for area in areas] + [[areas[0], "--image_resolution=56"]]]
    assert settings("--image_max_pixels=9000", "--image_min_pixels=1024") == settings("--image_max_pixels=9000")
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


def test_the_first_line_says_what_is_asked(infer, tmp_path, tiny_folder):
    _, _, err = infer()
    assert err.splitlines()[0] == (
        f"model {tiny_folder}: 42 questions (scanqa 21, scanrefer 21) about 3 scenes; answers go to {tmp_path / 'out'}"
    )


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


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--scenes=scene0002_0"], "scene 'scene0002_0'; did you mean 'scene0002_00'?"),
        (["--scenes=scene0000_00,kitchen"], "no question is about a scene 'kitchen'"),
        (["--num_processes=999"], "--num_processes 999 is more than the 3 scenes"),
        (["--num_processes=2", "--scenes=scene0000_00"], "--num_processes 2 is more than the 1 scene "),
        (["--max_new_tokens=99999"], "no room for a question in the model's context of 32768"),
        (["--device=mps"], "--device mps is no device"),
        (["--device=toaster"], "--device toaster is no device"),
        (["--device=cuda:"], "--device cuda: is no device"),
        (["--device=cuda:-1"], "--device cuda:-1 is no device"),
        (["--device=cuda"], "--device cuda: no GPU is usable here"),
        (["--device=cuda:7"], "--device cuda:7: no GPU is usable here"),
    ],
)
def test_values_that_cannot_be_stop_before_a_model_loads(infer, no_model, tmp_path, monkeypatch, flags, words):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, _, err = infer(*flags)
    assert status == 2 and words in err.splitlines()[-1], err
    assert not (tmp_path / "out").exists()


def test_prompt_that_passes_the_context_names_its_row(infer, tmp_path, tiny_folder):
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (config.get("text_config") or config)["max_position_embeddings"] = 60
    (copy / "config.json").write_text(json.dumps(config))
    status, _, err = infer(model=copy)
    assert status == 1 and "pass the model's context of 60" in err.splitlines()[-1] and "row " in err.splitlines()[-1]


def same_size_and_times(image):
    """Another picture of the same size in bytes, with the times of the old one."""
    state = image.stat()
    content = bytearray(image.read_bytes())
    content[-1] ^= 1
    image.write_bytes(content)
    os.utime(image, ns=(state.st_atime_ns, state.st_mtime_ns))


def longer(image):
    image.write_bytes(image.read_bytes() + b" ")


@pytest.mark.parametrize("change", [same_size_and_times, longer], ids=lambda change: change.__name__)
def test_answers_to_other_images_do_not_go_on(infer, tmp_path, annotation, no_model, change, monkeypatch):
    monkeypatch.undo()
    assert infer("--limit=2")[0] == 0
    change(annotation / "images" / "scene0002_00_1.png")
    assert infer("--limit=3")[0] == 0, "no answer was given about that scene"
    change(annotation / "images" / "scene0000_00_1.png")
    status, _, err = infer()
    assert status == 1 and "the images of scene 'scene0000_00' are not those" in err and "--overwrite" in err
    assert infer("--overwrite", "--limit=1")[0] == 0


def test_a_copied_folder_goes_on(infer, tmp_path, annotation, tiny_folder):
    assert infer("--limit=2")[0] == 0
    copy = shutil.copytree(annotation, tmp_path / "elsewhere", copy_function=shutil.copyfile)
    flags_ = [f"--model={tiny_folder}", f"--annotation_dir={copy}", f"--output_dir={tmp_path / 'out'}"]
    assert main([*flags_, "--image_resolution=112", "--max_new_tokens=6"]) == 0
    assert len(answers(tmp_path / "out", "scanqa")) == 21


def test_images_changed_while_the_run_goes_on_are_said(infer, tmp_path, annotation, monkeypatch):
    append = journal.Journal.append

    def changing(self, answer):
        append(self, answer)
        longer(annotation / "images" / "scene0002_00_1.png")

    monkeypatch.setattr(journal.Journal, "append", changing)
    status, _, err = infer()
    assert status == 1 and "the images of scene 'scene0002_00' were changed while the run went on" in err


def test_journal_of_an_earlier_version_goes_on_where_names_and_sizes_agree(infer, tmp_path, annotation):
    assert infer("--limit=2", "--tasks=scanqa")[0] == 0
    path = tmp_path / "out" / "scanqa.jsonl"
    header, *lines = path.read_text().splitlines()
    settings = json.loads(header)["settings"]
    settings["pictures"] = plan._names_and_sizes(plan.load_questions(annotation, "scanqa"))
    rows = [{k: v for k, v in json.loads(line).items() if k not in ("images", "finish_reason")} for line in lines]
    old = [{"settings": settings, "fingerprint": journal.fingerprint(settings)}, *rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in old))
    assert infer("--limit=4", "--tasks=scanqa")[0] == 0
    longer(annotation / "images" / "scene0001_00_1.png")
    status, _, err = infer("--tasks=scanqa")
    assert status == 1 and "pictures: " in err


def test_settings_that_we_do_not_know_are_refused(infer, tmp_path, no_model, monkeypatch):
    monkeypatch.undo()
    assert infer("--limit=1")[0] == 0
    path = tmp_path / "out" / "scanqa.jsonl"
    header, *lines = path.read_text().splitlines()
    settings = {**json.loads(header)["settings"], "beams": 4}
    path.write_text("\n".join([json.dumps({"settings": settings, "fingerprint": "x"}), *lines, ""]))
    status, _, err = infer()
    assert status == 1 and "beams: 4, now absent" in err


def test_empty_answers_are_reported_and_written_only_when_wanted(infer, tmp_path, monkeypatch):
    from gpt4scene.inference.engine import Engine

    finished = Engine._finished

    def empty(self, branch):
        answer = finished(self, branch)
        return dataclasses.replace(answer, text="") if branch.question.index == 4 else answer

    monkeypatch.setattr(Engine, "_finished", empty)
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


def test_odd_lists_of_images_are_noted(infer, annotation):
    path = annotation / "selected_images_mark_3D_val_32.json"
    listed = json.loads(path.read_text())
    listed[SCENES[1]] = listed[SCENES[1]][:2]
    listed[SCENES[2]][1] = listed[SCENES[2]][0]
    path.write_text(json.dumps(listed))
    _, _, err = infer("--limit=15", "--tasks=scanqa")
    assert f"note: scene '{SCENES[1]}' has 2 images, most scenes have 3" in err
    assert f"note: scene '{SCENES[2]}' lists an image twice (" in err


def test_memory_that_runs_out_is_one_sentence(infer, monkeypatch):
    import torch

    from gpt4scene.inference.engine import Engine

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    monkeypatch.setattr(Engine, "_fill_prefix", full)
    status, _, err = infer()
    assert status == 1 and err.splitlines()[-1].startswith("error: the GPU's memory ran out (CUDA out of memory.")


@pytest.mark.parametrize("marks", [1, 2, 4])
def test_marks_that_are_not_one_for_each_image_stop_before_a_model_loads(infer, annotation, no_model, marks):
    path = annotation / "scanqa_val.json"
    rows = json.loads(path.read_text())
    rows[5]["prompt"] = "<image>" * marks + "What is it?"
    path.write_text(json.dumps(rows))
    status, _, err = infer()
    assert (
        status == 1
        and f"scanqa, row 5, scene scene0000_00: the prompt has {marks} <image> marks, but its scene has 3" in err
    )
