"""Wrong calls and wrong files: one sentence, and what was answered before is kept."""

import json
import shutil
from pathlib import Path

import pytest
from commands import infer as main
from room_runs import SCENES, answers

from gpt4scene.inference import run


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


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--scenes=scene0002_0"], "scene 'scene0002_0'; did you mean 'scene0002_00'?"),
        (["--scenes=scene0000_00,kitchen"], "no question is about a scene 'kitchen'"),
        (["--media_dir=/no/such"], "--media_dir /no/such is no folder"),
        (["--num_processes=999"], "--num_processes 999 is more than the 3 scenes"),
        (["--num_processes=2", "--scenes=scene0000_00"], "--num_processes 2 is more than the 1 scene "),
        (["--max_new_tokens=99999"], "no room for a question in the model's context of 32768"),
        (["--template=qwen3_vl"], "template 'qwen3_vl' does not fit a qwen2_vl checkpoint"),
        (["--public_name=a/b"], "--public_name must be the name of a folder"),
        (["--public_name=/a"], "--public_name must be the name of a folder"),
        (["--public_name=.."], "--public_name must be the name of a folder"),
        (["--public_name="], "--public_name must be the name of a folder"),
        (["--device=cpu:1"], "--device cpu:1 is no device"),
        (["--device=CPU"], "--device CPU is no device"),
        (["--device=auto:0"], "--device auto:0 is no device"),
        (["--device="], "is no device"),
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

    from gpt4scene.inference.forward import Network

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    monkeypatch.setattr(Network, "go_on", full)
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


def test_wrong_calls_exit_with_2(capsys):
    assert main(["--model=m"]) == 2
    assert "error: --annotation_dir, --output_dir are missing" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "--num_shards" in capsys.readouterr().out


@pytest.mark.parametrize("letters", ["A \ud800 chair?", "\udfff"])
def test_half_a_character_stops_before_a_model_loads(infer, annotation, no_model, letters):
    path = annotation / "scanqa_val.json"
    rows = json.loads(path.read_text())
    rows[5]["prompt"] = letters
    path.write_text(json.dumps(rows))
    status, _, err = infer()
    assert status == 1 and "scanqa, row 5, scene scene0000_00: the prompt holds half a character (\\ud" in err


@pytest.mark.parametrize("kept", [0, 5, 200, -40, -1])
def test_cut_weights_are_one_sentence(infer, tmp_path, tiny_folder, kept):
    copy = shutil.copytree(tiny_folder, tmp_path / "copy")
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    status, _, err = infer(model=copy)
    assert status == 1 and err.splitlines()[-1].startswith("error: ") and "model.safetensors" in err.splitlines()[-1]
    assert not answers(tmp_path / "out", "scanqa")


def test_prefix_memory_is_what_the_engine_keeps_prefixes_in(infer, monkeypatch):
    limits = []
    monkeypatch.setattr(run, "_ask", lambda engine, *_: limits.append(engine.scheduler.prefixes.limit))
    infer("--prefix_memory=0.5", "--limit=1")
    infer("--limit=1")
    assert limits == [2**29, 4 * 2**30]
    assert "must be 0 or more" in infer("--prefix_memory=-1")[2]
