"""The doctor of an inference run: the checks of ``infer``, and questions and images read, without a weight."""

import json

import pytest
from commands import doctor as doctor_command
from PIL import Image

from gpt4scene.demo import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def folder(tmp_path):
    annotation = tmp_path / "annotation"
    annotation.mkdir()
    Image.effect_noise((56, 56), 60).convert("RGB").save(annotation / "room.jpg")
    rows = [{"scene_id": "room", "obj_id": 0, "prompt": f"What is {n}?", "ref_captions": ["a chair"]} for n in range(3)]
    (annotation / "scanqa_val.json").write_text(json.dumps(rows))
    (annotation / "selected_images_mark_3D_val_1.json").write_text(json.dumps({"room": ["room.jpg"]}))
    return annotation


def test_a_run_with_nothing_wrong(model, folder, capsys):
    assert doctor_command(["--model", str(model), "--annotation_dir", str(folder)]) == 0
    said = capsys.readouterr().out
    for words in ("3 questions", "3 encoded", "1 decoded", "nothing is wrong"):
        assert words in said


@pytest.mark.parametrize(
    ("spoil", "flags", "words"),
    [
        (lambda folder: (folder / "room.jpg").unlink(), "", "room.jpg"),
        (lambda folder: (folder / "room.jpg").write_bytes(b"image"), "", "room.jpg"),
        (lambda folder: (folder / "scanqa_val.json").write_text("{"), "", "scanqa_val.json"),
        (lambda folder: (folder / "selected_images_mark_3D_val_1.json").unlink(), "", "selected_images"),
        (lambda folder: None, "--model {folder}", "no model in this folder"),
        (lambda folder: None, "--template qwen3_vl", "qwen3_vl"),
        (lambda folder: None, "--device cuda:7", "cuda:7"),
    ],
)
def test_what_would_stop_the_run_is_found(model, folder, capsys, spoil, flags, words):
    spoil(folder)
    base = ["--model", str(model), "--annotation_dir", str(folder)]
    assert doctor_command([*base, *flags.format(folder=folder).split()]) == 1
    assert words in "".join(line for line in capsys.readouterr().out.splitlines() if line.startswith("wrong"))


def test_flags_that_are_none_are_a_wrong_call(model, capsys):
    assert doctor_command(["--model", str(model), "--annotation_dri", "x"]) == 2
    assert "--annotation_dir" in capsys.readouterr().err
