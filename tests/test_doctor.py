"""The doctor: names what is wrong with the machine and with a run's files, and is quiet about what is right."""

import json
import shutil

import pytest
from commands import doctor as doctor_command
from PIL import Image

from gpt4scene import doctor
from gpt4scene.demo import tiny_model
from gpt4scene.doctor import Finding
from gpt4scene.settings.config import parse


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model.build(folder)
    return folder


@pytest.fixture
def run(checkpoint, tmp_path):
    """Settings of a run whose files are all there: one row with one image."""
    data = tmp_path / "data"
    data.mkdir()
    Image.new("RGB", (56, 56)).save(data / "room.jpg")
    row = {
        "messages": [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "A chair."}],
        "images": ["room.jpg"],
    }
    (data / "rows.json").write_text(json.dumps([row]))
    entry = {
        "file_name": "rows.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        },
    }
    (data / "dataset_info.json").write_text(json.dumps({"rows": entry}))
    return ["--model_name_or_path", str(checkpoint), "--dataset", "rows", "--dataset_dir", str(data)] + [
        "--output_dir",
        str(tmp_path / "out"),
    ]


def wrong(argv):
    return "\n".join(finding.text for finding in doctor.run_files(parse(argv)) if finding.level == "wrong")


def test_a_complete_run_has_nothing_wrong(run, capsys):
    assert wrong(run) == ""
    assert doctor_command(run) == 0
    assert "nothing is wrong" in capsys.readouterr().out


def test_missing_image_and_missing_deepspeed_are_both_named(run, tmp_path, capsys):
    (tmp_path / "data" / "room.jpg").unlink()
    argv = [*run, "--deepspeed", str(tmp_path / "none.json")]
    text = wrong(argv)
    assert "room.jpg" in text and "none.json: the DeepSpeed configuration does not exist" in text
    assert doctor_command(argv) == 1
    assert "things wrong" in capsys.readouterr().out


@pytest.mark.parametrize(("content", "words"), [(b"", "is empty"), (b"no image", "no image")])
def test_broken_images(run, tmp_path, content, words):
    (tmp_path / "data" / "room.jpg").write_bytes(content)
    assert words in wrong(run)


def test_unknown_dataset(run):
    assert "rowz" in wrong([*run, "--dataset", "rowz"])


def test_incomplete_model(run, checkpoint, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(checkpoint, half)
    (half / "preprocessor_config.json").unlink()
    assert "preprocessor_config.json" in wrong([*run, "--model_name_or_path", str(half)])
    shutil.copy(checkpoint / "preprocessor_config.json", half)
    (half / "tokenizer_config.json").write_bytes(b"")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (half / "model.safetensors.index.json").write_text(json.dumps(index))
    text = wrong([*run, "--model_name_or_path", str(half)])
    assert "tokenizer_config.json" in text and "model-00001-of-00002.safetensors" in text


def test_missing_model_and_hub_name(run):
    assert "download.py" in wrong([*run, "--model_name_or_path", "./ckpts/nothing"])
    findings = list(doctor.run_files(parse([*run, "--model_name_or_path", "Qwen/Qwen2-VL-7B-Instruct"])))
    assert findings[0].level == "note" and "downloaded" in findings[0].text


def test_full_output_folder_is_noted(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("{}")
    notes = [f.text for f in doctor.run_files(parse(run)) if f.level == "note"]
    assert any("is not empty" in note for note in notes)


def test_machine_and_counting(capsys):
    assert doctor.report(doctor.machine()) == 0
    assert "torch" in capsys.readouterr().out
    assert doctor.report([Finding("wrong", "a"), Finding("note", "b"), Finding("wrong", "c")]) == 2


def test_wrong_settings_are_a_wrong_call(capsys):
    assert doctor_command(["nowhere.yaml"]) == 2
