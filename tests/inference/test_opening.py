"""The flags that load and ask an engine, and what is said of a model: alike for all commands that ask one."""

import json
import os
import subprocess
import sys

import pytest
from chat_scenes import write_scene

from gpt4scene.chat.arguments import AskArguments, ChatArguments
from gpt4scene.chat.opening import open_asker
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.inference.arguments import InferArguments
from gpt4scene.inference.engine_arguments import LOCAL_ONLY, DecodingArguments, EngineArguments, is_address
from gpt4scene.inference.opening import check_model, look_for_model, note_on_size
from gpt4scene.model.folder import ModelFolder
from gpt4scene.serve.arguments import ServeArguments
from gpt4scene.settings.devices import device_problems

NEEDED = {
    InferArguments: {"annotation_dir": "a", "output_dir": "o"},
    ServeArguments: {},
    AskArguments: {"scene": "s", "question": "q"},
    ChatArguments: {"scenes": ("s",)},
}


def said(kind, **values):
    return kind(model="m", **NEEDED[kind], **values).problems()


@pytest.mark.parametrize("kind", NEEDED)
def test_every_command_refuses_the_same_wrong_values(kind):
    wrong = {
        "template": ("qwen2_v", "--template: 'qwen2_v' is not known; did you mean 'qwen2_vl'"),
        "prefix_memory": (float("inf"), "--prefix_memory must be a finite number, not inf"),
        "device": ("gpu", "--device gpu is no device of this program"),
        "feature_cache": ("all", "--feature_cache must be auto, off"),
        "dtype": ("bf16", "--dtype must be one of"),
        "image_min_pixels": (600_000, "--image_max_pixels 589824 is below image_min_pixels 600000"),
    }
    if issubclass(kind, DecodingArguments):
        wrong["temperature"] = (float("nan"), "--temperature must be a finite number, not nan")
        wrong["top_p"] = (float("inf"), "--top_p must be a finite number, not inf")
        wrong["repetition_penalty"] = (0.0, "--repetition_penalty must be above 0, not 0.0")
    found = said(kind, **{name: value for name, (value, _) in wrong.items()})
    for _, sentence in wrong.values():
        assert sum(one.startswith(sentence) for one in found) == 1, (sentence, found)
    assert len(found) == len(wrong) and not said(kind)


def test_the_shared_flags_stand_in_one_class_and_mean_the_same_everywhere():
    shared = {**EngineArguments.__dataclass_fields__, **DecodingArguments.__dataclass_fields__}
    assert set(LOCAL_ONLY) <= set(shared)
    for kind in NEEDED:
        for name, field in kind.__dataclass_fields__.items():
            if name in shared and (kind, name) not in ((ServeArguments, "model"), (ServeArguments, "max_new_tokens")):
                assert field is shared[name] or field.metadata == shared[name].metadata, (kind, name)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(ServeArguments, "host"), (ServeArguments, "served_name"), (ChatArguments, "host"), (AskArguments, "scene_id")]
    + [(InferArguments, "images"), (InferArguments, "media_dir"), (ServeArguments, "api_key_file")],
)
def test_an_empty_word_is_refused(kind, name):
    assert said(kind, **{name: ""}) == [f"--{name} is empty; leave it out, or give a value"]


@pytest.mark.parametrize("name", ["cpu:", "cpu:1", "cuda:", "cuda:x", "cuda:-1", "mps", "", "auto:0"])
def test_names_of_devices_are_understood_without_torch(name):
    assert len(device_problems(name)) == 1
    assert not [one for right in ("auto", "cpu", "cpu:0", "cuda", "cuda:12") for one in device_problems(right)]


def test_an_address_names_a_host():
    assert is_address("http://localhost:8080") and is_address("https://[::1]:8080/v1")
    assert not [text for text in ("http://", "ftp://a", "a:1", "http://a b", "http://a:0") if is_address(text)]
    assert "names a host" in said(ChatArguments, view_url="http://")[0]


def test_people_are_told_of_flags_that_change_nothing(monkeypatch):
    monkeypatch.setattr("gpt4scene.chat.opening._server", lambda *_: None)
    lines = []
    arguments = AskArguments(model="m", **NEEDED[AskArguments], base_url="http://localhost:1/v1", top_p=0.5)
    open_asker(arguments, lines.append)
    assert lines == ["note: --top_p changes nothing at --temperature 0, which takes the likeliest token"]


@pytest.fixture
def folder(tmp_path):
    """A folder of a model as far as it is looked at without torch."""
    (tmp_path / "model").mkdir()
    config = {"model_type": "qwen2_vl", "text_config": {"max_position_embeddings": 100}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    return ModelFolder(tmp_path / "model")


def test_a_model_is_checked_before_it_is_loaded(folder):
    arguments = EngineArguments(model=str(folder.base))
    look_for_model(arguments)
    check_model(arguments, folder, 99)
    check_model(arguments, folder)
    with pytest.raises(ConfigError, match="--max_new_tokens 100 leaves no room"):
        check_model(arguments, folder, 100)
    with pytest.raises(ConfigError, match="template"):
        check_model(EngineArguments(model="m", template="qwen3_vl"), folder)
    look_for_model(AskArguments(model="gone", **NEEDED[AskArguments], base_url="http://localhost:1/v1"))
    with pytest.raises(DataError, match="no model in this folder"):
        look_for_model(EngineArguments(model=str(folder.base.parent)))


def test_an_adapter_whose_base_is_elsewhere_is_left_to_the_loading(folder, monkeypatch):
    adapter = folder.base.parent / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "owner/name"}))
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    monkeypatch.setattr("gpt4scene.model.folder.find_model", lambda _: pytest.fail("weights would be fetched"))
    look_for_model(EngineArguments(model=str(adapter)))


def test_another_size_than_that_of_the_training_is_noted(folder):
    plain = EngineArguments(model="m")
    assert note_on_size(plain, folder) is None
    (folder.base / "run.json").write_text(json.dumps({"config": {"data": {"image_resolution": 224}}}))
    assert "trained with --image_resolution 224, and images are shown with 512" in str(note_on_size(plain, folder))
    assert note_on_size(EngineArguments(model="m", image_resolution=448), folder) is None


def test_a_wrong_model_is_named_by_all_commands_before_torch_is_imported(tmp_path):
    scene = write_scene(tmp_path)
    calls = [["infer", "--annotation_dir", "a", "--output_dir", "o"], ["serve", "--port", "0"], ["chat"]]
    calls += [["ask", "What?", "--scene", str(scene)]]
    code = "import sys; from gpt4scene import cli\n"
    code += f"for call in {calls!r}:\n    assert cli.main([*call, '--model', '/gone/model']) == 1\n"
    code += "    assert 'torch' not in sys.modules, call[0]\n"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "GPT4SCENE_TALK": "quiet"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("error: /gone/model: no such folder; give a checkpoint folder") == 4
