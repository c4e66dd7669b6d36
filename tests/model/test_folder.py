import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from gpt4scene.errors import DataError
from gpt4scene.model import folder as checkpoint
from gpt4scene.model.folder import (
    ModelFolder,
    find_model,
    identity,
    is_hub_name,
    parameter_count,
    save_processor_files,
    weights_bytes,
)


def fake(folder, weights=b"weights", adapter_of=None):
    folder.mkdir(parents=True)
    if adapter_of is None:
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(weights)
    else:
        (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(adapter_of), "r": 8}))
        (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


def test_checkpoint_and_training_output(tmp_path):
    run = tmp_path / "run"
    fake(run / "checkpoint-90")
    last = fake(run / "checkpoint-100")
    (run / "checkpoint-200").mkdir()
    assert find_model(run) == ModelFolder(last)
    final = fake(tmp_path / "final")
    shutil.copytree(run, final, dirs_exist_ok=True)
    assert find_model(final) == ModelFolder(final)


def test_adapter_gives_its_base(tmp_path, monkeypatch):
    base = fake(tmp_path / "base")
    assert find_model(fake(tmp_path / "lora", adapter_of=base)) == ModelFolder(base, tmp_path / "lora")
    step = fake(tmp_path / "run" / "checkpoint-7", adapter_of=base)
    assert find_model(tmp_path / "run") == ModelFolder(base, step)
    beside = fake(tmp_path / "beside", adapter_of="base")
    assert find_model(beside) == ModelFolder(base, beside)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match="no model in this folder"):
        find_model(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        find_model(tmp_path / "absent")
    with pytest.raises(DataError, match="base model '/nowhere/base' was not found"):
        find_model(fake(tmp_path / "lora", adapter_of="/nowhere/base"))
    broken = fake(tmp_path / "broken", adapter_of="x")
    (broken / "adapter_config.json").write_text("{}")
    with pytest.raises(DataError, match="'base_model_name_or_path' is missing"):
        find_model(broken)


def test_identity_follows_the_files_not_the_place(tmp_path):
    one = fake(tmp_path / "one")
    two = shutil.copytree(one, tmp_path / "two")
    other = fake(tmp_path / "other", b"Weights")
    lora = fake(tmp_path / "lora", b"small", adapter_of=one)
    moved = fake(tmp_path / "moved", b"small", adapter_of=two)
    assert identity(ModelFolder(one)) == identity(ModelFolder(two))
    assert identity(ModelFolder(one, lora)) == identity(ModelFolder(two, moved))
    kinds = [ModelFolder(one), ModelFolder(other), ModelFolder(one, lora), ModelFolder(other, lora)]
    assert len({identity(kind) for kind in kinds}) == 4
    (two / "generation_config.json").write_text('{"eos_token_id": 3}')
    assert identity(ModelFolder(one)) != identity(ModelFolder(two))


def test_large_files_are_sampled_all_over(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "_WHOLE_BELOW", 1000)
    monkeypatch.setattr(checkpoint, "_SAMPLES", 10)
    monkeypatch.setattr(checkpoint, "_SAMPLE_BYTES", 20)
    before = identity(ModelFolder(fake(tmp_path / "a", bytes(5000))))
    assert before == identity(ModelFolder(fake(tmp_path / "b", bytes(5000))))
    assert before != identity(ModelFolder(fake(tmp_path / "c", bytes(5001))))
    for index, changed in enumerate((range(0, 20), range(4980, 5000), range(0, 5000, 7))):
        content = bytearray(5000)
        for place in changed:
            content[place] = 1
        assert before != identity(ModelFolder(fake(tmp_path / f"d{index}", bytes(content))))


def test_processor_files_are_carried_over(tmp_path):
    source, target = fake(tmp_path / "source"), tmp_path / "copy"
    target.mkdir()
    for name in ("preprocessor_config.json", "chat_template.jinja"):
        (source / name).write_text(name)
    assert save_processor_files(source, target) == ["preprocessor_config.json", "chat_template.jinja"]
    assert sorted(path.name for path in target.iterdir()) == ["chat_template.jinja", "preprocessor_config.json"]


def test_weights_are_counted_from_their_headers(tmp_path):
    folder = fake(tmp_path / "model")
    save_file({"a": np.zeros((3, 5), np.float32), "b": np.zeros(7, np.float16)}, folder / "model.safetensors")
    assert parameter_count(folder) == 22
    assert weights_bytes(folder) == (folder / "model.safetensors").stat().st_size
    (folder / "pytorch_model.bin").write_bytes(bytes(50))
    assert parameter_count(folder) == 22, "a loader takes the safetensors"
    (folder / "model.safetensors").unlink()
    assert (parameter_count(folder), weights_bytes(folder)) == (25, 50)
    assert weights_bytes(tmp_path / "absent") == 0


def test_hub_names_and_paths():
    assert is_hub_name("Qwen/Qwen2-VL-7B-Instruct")
    assert not any(map(is_hub_name, ("./owner/name", "/owner/name", "../name", "~/name", "name", "a/b/c")))


def test_folders_are_understood_without_torch():
    code = "import sys, gpt4scene.model.folder; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
