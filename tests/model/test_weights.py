"""Broken, foreign and disagreeing checkpoint files are refused in one sentence that names the file."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from gpt4scene.demo import tiny_model
from gpt4scene.errors import DataError
from gpt4scene.model.folder import check_weights
from gpt4scene.model.loading import check_checkpoint, load_model

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp(request.param) / "model", request.param)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp("one") / "model")


@pytest.fixture(scope="module")
def whole_shards(whole, tmp_path_factory):
    folder = shutil.copytree(whole, tmp_path_factory.mktemp("shards") / "model")
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names, placed = sorted(weights), {}
    for number, part in enumerate((names[:20], names[20:]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, {"format": "pt"})
        placed |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


@pytest.fixture
def shards(whole_shards, tmp_path):
    return shutil.copytree(whole_shards, tmp_path / "model")


def edit(folder, name, function):
    content = json.loads((folder / name).read_text())
    function(content)
    (folder / name).write_text(json.dumps(content))


def put(part, **values):
    return lambda content: (content[part] if part else content).update(values)


def rewrite(folder, function, file=WEIGHTS):
    weights = load_file(folder / file)
    function(weights)
    save_file(weights, folder / file, {"format": "pt"})


def refused(folder, sentence):
    for check in (check_checkpoint, load_model):
        with pytest.raises(DataError, match=sentence) as caught:
            check(folder)
        assert "\n" not in str(caught.value)


def test_whole_checkpoints_pass(family, whole_shards):
    for folder in (family, whole_shards):
        assert len(check_weights(folder)) == len(load_model(folder).state_dict())
        check_checkpoint(folder)


@pytest.mark.parametrize("cut", [0, 4, 100, 20_000, -1, -4096])
def test_cut_weights_are_named_with_their_file(folder, cut):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:cut])
    refused(folder, f"{WEIGHTS}: (empty|no safetensors|cut off)")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 15\n", "git lfs pull"),
        (b"<!doctype html><html>Not found</html>", "no safetensors file"),
        (b"\x10\0\0\0\0\0\0\0{'not': 'json!'}", "can't be read"),
        (b"PK\x03\x04" + bytes(100), "no safetensors file|cut off"),
    ],
)
@pytest.mark.parametrize("file", [WEIGHTS, "model-00002-of-00002.safetensors"])
def test_what_is_no_weight_file_is_named(request, content, sentence, file):
    folder = request.getfixturevalue("folder" if file == WEIGHTS else "shards")
    (folder / file).write_bytes(content)
    refused(folder, f"{file}: .*({sentence})")


def test_longer_weights_are_named(folder):
    with open(folder / WEIGHTS, "ab") as file:
        file.write(b"more")
    refused(folder, f"{WEIGHTS}: too long")


def test_shards_are_those_that_the_index_names(shards, tmp_path):
    second = shards / "model-00002-of-00002.safetensors"
    content = second.read_bytes()
    second.unlink()
    refused(shards, "names model-00002-of-00002.safetensors, which is missing")
    shutil.copy(shards / "model-00001-of-00002.safetensors", second)
    refused(shards, "model-00002-of-00002.safetensors: (not the shard|holds .* as another shard)")
    second.write_bytes(content)
    check_checkpoint(shards)
    (shards / "model.safetensors.index.json").write_text("{}")
    refused(shards, "'weight_map' is missing")
    (shards / "model.safetensors.index.json").unlink()
    refused(shards, "model.safetensors.index.json: missing")


def test_a_shard_of_a_larger_model_is_refused(shards):
    def widen(weights):
        name = next(name for name in weights if name.endswith("up_proj.weight"))
        weights[name] = torch.zeros(512, 128)

    rewrite(shards, widen, "model-00001-of-00002.safetensors")
    refused(shards, r"wrong shape .*up_proj")


@pytest.mark.parametrize("cut", [0, 10, -100])
def test_cut_bin_weights_are_named(folder, cut):
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    path = folder / "pytorch_model.bin"
    torch.save(weights, path)
    assert load_model(folder)
    path.write_bytes(path.read_bytes()[:cut])
    refused(folder, "pytorch_model.bin: (empty|cut off)")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("unknown", "model.language_model.layers.0.self_attn.q_proj.lora_A.weight"),
        ("unknown", "score.weight"),
        ("unknown", "v_head.summary.weight"),
        ("unknown", "model.language_model.layers.2.mlp.up_proj.weight"),
    ],
)
def test_tensors_that_would_be_dropped_are_refused(folder, name, key):
    rewrite(folder, lambda weights: weights.update({key: torch.zeros(4, 4)}))
    refused(folder, f"{name} {key}")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused(folder, number):
    def spoil(weights):
        weights["model.norm.weight"][3] = number

    rewrite(folder, spoil)
    with pytest.raises(DataError, match="'model.language_model.norm.weight' holds NaN or infinite"):
        load_model(folder)


def test_large_finite_weights_pass(folder):
    rewrite(folder, lambda weights: weights["model.norm.weight"].fill_(3e38))
    load_model(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn])
def test_quantised_numbers_are_refused(folder, dtype):
    def quantise(weights):
        name = next(name for name in weights if name.endswith("up_proj.weight"))
        weights[name] = weights[name].to(dtype)

    rewrite(folder, quantise)
    refused(folder, "quantised")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("", quantization_config={"quant_method": "awq", "bits": 4}), r"quantised weights \(awq\)"),
        (put("text_config", quantization_config={"quant_method": "gptq"}), r"quantised weights \(gptq\)"),
        (put("", model_type="llama"), "model_type 'llama' is no family"),
        (put("", model_type=None), "is no family"),
        (put("", torch_dtype="int8"), "torch_dtype: int8"),
        (put("text_config", dtype="float8_e4m3fn"), "float8"),
        (put("text_config", rope_parameters={"rope_type": "dynamic", "rope_theta": 1e6}), "'dynamic'"),
        (put("text_config", rope_parameters={"rope_type": "magic", "rope_theta": 1e6}), "'magic'"),
        (put("text_config", rope_parameters={"mrope_section": [16, 24, 24], "rope_theta": 1e6}), "does not sum to 16"),
        (put("text_config", rope_parameters={"rope_type": "default", "rope_theta": 1e6}), "mrope_section is missing"),
        (put("text_config", rope_parameters=[1]), "must be an object"),
        (put("text_config", num_hidden_layers=1), "unknown .*layers.1|layer_type"),
        (put("text_config", num_hidden_layers=3), "missing .*layers.2|layer_type"),
        (put("text_config", hidden_size=64, head_dim=32), "wrong shape"),
        (put("text_config", vocab_size=900), "wrong shape|go up to"),
        (put("vision_config", depth=1), "unknown .*blocks.1"),
        (put("vision_config", patch_size=16), "patch_size is 14"),
        (put("vision_config", spatial_merge_size=1), "merge_size is 2"),
        (put("", image_token_id=7), "image_pad.* in config.json"),
    ],
)
def test_a_config_that_is_not_of_the_weights_is_refused(folder, change, sentence):
    edit(folder, "config.json", change)
    refused(folder, sentence)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "generation_config.json", "preprocessor_config.json"]
)
@pytest.mark.parametrize("content", ["", '{"model_type": "qw', "[1, 2]"])
def test_broken_json_is_named_with_its_file(folder, name, content):
    (folder / name).write_text(content)
    refused(folder, name.replace(".", r"\."))


def test_a_tokenizer_of_another_vocabulary_is_refused(folder):
    def shift(content):
        for token in content["added_tokens"]:
            token["id"] += 1000

    edit(folder, "tokenizer.json", shift)
    (folder / "tokenizer_config.json").write_text("{}")
    refused(folder, "go up to .* but the embedding has")


def test_a_tokenizer_without_image_tokens_is_refused(folder):
    edit(folder, "tokenizer.json", lambda content: content.update(added_tokens=[]))
    edit(folder, "tokenizer_config.json", lambda content: content.pop("added_tokens_decoder", None))
    refused(folder, r"'<\|image_pad\|>' is token None")
