"""Broken, foreign and disagreeing checkpoint files are refused in one sentence that names the file."""

import json
import shutil
import struct
import zipfile

import pytest
import torch
from hybrid import HYBRID
from safetensors.torch import load_file, save_file

from gpt4scene.demo import tiny_model
from gpt4scene.errors import DataError
from gpt4scene.model.folder import check_weights
from gpt4scene.model.loading import check_checkpoint, load_model

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", HYBRID)
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
    (shards / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')
    refused(shards, "'metadata' is missing")
    (shards / "model.safetensors.index.json").unlink()
    refused(shards, "model.safetensors.index.json: missing")


def test_a_shard_of_a_larger_model_is_refused(shards):
    def widen(weights):
        name = next(name for name in weights if name.endswith("up_proj.weight"))
        weights[name] = torch.zeros(512, 128)

    rewrite(shards, widen, "model-00001-of-00002.safetensors")
    refused(shards, r"wrong shape .*up_proj")


@pytest.fixture(params=["archive", "archive in shards", "older format"])
def pickled(request, folder):
    """A checkpoint whose weights are ``.bin`` files, and the file that holds the last tensors."""
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    if request.param != "archive in shards":
        path = folder / "pytorch_model.bin"
        torch.save(weights, path, _use_new_zipfile_serialization=request.param == "archive")
        return folder, path
    names, placed = sorted(weights), {}
    for number, part in enumerate((names[:20], names[20:]), start=1):
        path = folder / f"pytorch_model-0000{number}-of-00002.bin"
        torch.save({name: weights[name] for name in part}, path)
        placed |= dict.fromkeys(part, path.name)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return folder, path


def resave(path, function):
    weights = torch.load(path, weights_only=True)
    torch.save(function(weights) or weights, path, _use_new_zipfile_serialization=zipfile.is_zipfile(path))


def test_whole_bin_weights_pass(pickled, whole):
    folder, _ = pickled
    assert check_weights(folder) == check_weights(whole)
    assert load_model(folder)


@pytest.mark.parametrize("cut", [0, 10, -100])
def test_cut_bin_weights_are_named(pickled, cut):
    folder, path = pickled
    path.write_bytes(path.read_bytes()[:cut])
    refused(folder, f"{path.name}: (empty|cut off|can't be read)")


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda weights: weights.update({sorted(weights)[-1]: torch.zeros(3, 3)}), r"wrong shape .*\[3, 3\]"),
        (lambda weights: weights.popitem() and None, "missing |differ in"),
        (lambda weights: weights.update({"score.weight": torch.zeros(3)}), "unknown score.weight|differ in"),
        (lambda weights: weights.update({sorted(weights)[-1]: torch.zeros(3, dtype=torch.int8)}), "quantised"),
        (lambda weights: weights.update(step=3), r"something else than tensors \(step\)"),
        (lambda weights: {"state_dict": weights}, r"something else than tensors \(state_dict\)"),
        (lambda weights: list(weights.values()), "holds a list"),
        (lambda weights: weights.clear(), "holds no tensors"),
    ],
)
def test_what_bin_weights_hold_is_known_before_they_are_loaded(pickled, function, sentence):
    folder, path = pickled
    resave(path, function)
    refused(folder, sentence)


def test_shards_of_bin_weights_are_those_that_the_index_names(folder):
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    torch.save(weights, folder / "pytorch_model-00001-of-00002.bin")
    index = folder / "pytorch_model.bin.index.json"
    refused(folder, f"{index.name}: missing beside pytorch_model-00001-of-00002.bin")
    index.write_text(
        json.dumps({"metadata": {}, "weight_map": {name: "pytorch_model-00002-of-00002.bin" for name in weights}})
    )
    refused(folder, "names pytorch_model-00002-of-00002.bin, which is missing")


@pytest.mark.parametrize("swap", ["overlap", "gap"])
def test_tensors_that_share_bytes_or_leave_a_gap_are_refused(folder, swap):
    path = folder / WEIGHTS
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    sizes = {}
    for name, entry in header.items():
        if name != "__metadata__":
            sizes.setdefault(entry["data_offsets"][1] - entry["data_offsets"][0], []).append(name)
    one, two = next(names for names in sizes.values() if len(names) > 1)[:2]
    header[one]["data_offsets"] = header[two]["data_offsets"]
    if swap == "gap":
        del header[two]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    refused(folder, f"{WEIGHTS}: .*(overlap|gap)")


def test_a_tensor_under_an_older_and_a_newer_name_is_refused(folder):
    rewrite(folder, lambda weights: weights.update({"model.language_model.norm.weight": torch.zeros(128)}))
    refused(folder, "under an older and a newer name")


def beside(folder, name, weights):
    """Put ``weights`` into ``folder`` a second time, under another name."""
    if name.endswith(".bin"):
        torch.save(weights, folder / name)
    else:
        save_file(weights, folder / name, {"format": "pt"})
    if "-of-" in name and name.endswith("2.safetensors"):
        index = {"weight_map": dict.fromkeys(weights, name)}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


TWINS = [
    "model-00001-of-00001.safetensors",
    "model-00001-of-00002.safetensors",
    "pytorch_model.bin",
    "pytorch_model-00001-of-00001.bin",
]


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_weights_twice_pass(folder, name, dtype):
    weights = {key: tensor.to(dtype) for key, tensor in load_file(folder / WEIGHTS).items()}
    beside(folder, name, weights)
    assert load_model(folder)


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights["model.norm.weight"].add_(1e-6),
        lambda weights: weights.update({"model.norm.weight": torch.zeros(3)}),
        lambda weights: weights.update({"model.layers.7.mlp.up_proj.weight": torch.zeros(3)}),
    ],
    ids=["numbers", "shape", "more"],
)
def test_other_weights_beside_those_that_are_loaded_are_refused(folder, name, change):
    weights = load_file(folder / WEIGHTS)
    change(weights)
    beside(folder, name, weights)
    refused(folder, f"{name}: holds other numbers than {WEIGHTS}, which is loaded")


def test_a_shard_that_the_index_does_not_name_is_refused_where_it_holds_something_else(shards):
    third = shards / "model-00003-of-00003.safetensors"
    shutil.copy(shards / "model-00002-of-00002.safetensors", third)
    check_checkpoint(shards)
    rewrite(shards, lambda weights: next(iter(weights.values())).add_(1), third.name)
    refused(shards, "model-00003-of-00003.safetensors: holds other numbers")
    third.write_bytes(third.read_bytes()[:-9])
    refused(shards, "model-00003-of-00003.safetensors: cut off.*or delete it")


def test_an_index_that_an_older_save_left_behind_does_no_harm(folder):
    index = {
        "metadata": {},
        "weight_map": dict.fromkeys(load_file(folder / WEIGHTS), "model-00001-of-00004.safetensors"),
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    check_checkpoint(folder)


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
