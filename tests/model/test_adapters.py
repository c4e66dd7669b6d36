"""Every tensor of an adapter reaches its module, under the names of any release, or the adapter is refused."""

import hashlib
import json
import re
import shutil

import pytest
import torch
from commands import export as export_main
from hybrid import HYBRID
from peft import IA3Config, LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file

from gpt4scene.demo import tiny_model
from gpt4scene.errors import DataError
from gpt4scene.model.export import merge_adapter
from gpt4scene.model.folder import ModelFolder, find_model
from gpt4scene.model.loading import load_merged, load_model
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import TuningArguments

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", HYBRID)
LANGUAGE = ["q_proj", "v_proj", "down_proj", "in_proj_qkv", "out_proj"]  # the last two are of recurrent layers
EVERYWHERE = r".*\.(q_proj|down_proj|qkv|linear_fc1|mlp\.0|mlp\.2)$"
LLAMA_FACTORY = r"^(?!.*(?:visual|lm_head)).*(?:q_proj|v_proj|down_proj|in_proj_qkv|out_proj).*"

OLDER = {
    "before 4.52": {"model.language_model.": "model.", "model.visual.": "visual."},
    "of 4.50": {"model.language_model.": "language_model.model.", "model.visual.": "visual."},
    "wrapped twice": {"base_model.model.": "base_model.model.base_model.model."},
    "with the adapter's name": {".lora_A.": ".lora_A.default.", ".lora_B.": ".lora_B.default."},
    "as today": {},
}


@pytest.fixture(scope="module", params=FAMILIES)
def base(request, tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp(request.param) / "model", request.param)


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp("one") / "model")


def train(base, folder, targets=None, **options):
    """Save an adapter whose update is not zero, trained once for each base and options."""
    options = {"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": targets or LANGUAGE} | options
    kept = base.parent / hashlib.sha256(repr((base.name, options)).encode()).hexdigest()
    if not kept.exists():
        model = get_peft_model(load_model(base), LoraConfig(**options))
        torch.manual_seed(0)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "lora_A" not in name:
                parameter.data += torch.randn_like(parameter) * 0.1
        model.save_pretrained(kept)
    return shutil.copytree(kept, folder)


def rename(folder, changes, config_too=True):
    weights = load_file(folder / "adapter_model.safetensors")
    for new, old in changes.items():
        weights = {name.replace(new, old, 1): tensor for name, tensor in weights.items()}
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


def describe(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def change(folder, function):
    weights = load_file(folder / "adapter_model.safetensors")
    save_file(function(dict(weights)), folder / "adapter_model.safetensors")
    return folder


def merged(base, adapter):
    """What peft makes of an adapter of today's names, made once for each."""
    files = (adapter / name for name in ("adapter_config.json", "adapter_model.safetensors"))
    kept = base.parent / hashlib.sha256(base.name.encode() + b"".join(path.read_bytes() for path in files)).hexdigest()
    if not kept.exists():
        torch.save(PeftModel.from_pretrained(load_model(base), str(adapter)).merge_and_unload().state_dict(), kept)
    return torch.load(kept)


def changed(before, after):
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


@pytest.mark.slow
@pytest.mark.parametrize("names", OLDER)
@pytest.mark.parametrize("targets", [LANGUAGE, EVERYWHERE], ids=["language", "tower too"])
def test_merging_reaches_the_same_tensors_under_every_name(base, tmp_path, names, targets):
    adapter = train(base, tmp_path / "adapter", targets)
    plain, wanted = load_model(base).state_dict(), merged(base, adapter)
    got = load_merged(ModelFolder(base, rename(adapter, OLDER[names]))).state_dict()
    assert len(changed(plain, got)) == len(load_file(adapter / "adapter_model.safetensors")) // 2 >= 6
    for name, tensor in wanted.items():
        assert torch.allclose(got[name], tensor, atol=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("names", OLDER)
def test_training_goes_on_from_the_same_numbers_under_every_name(base, tmp_path, names):
    adapter = train(base, tmp_path / "adapter")
    first = {name: tensor.clone() for name, tensor in load_file(adapter / "adapter_model.safetensors").items()}
    rename(adapter, OLDER[names])
    tuned = prepare_for_training(
        load_model(base), TuningArguments(finetuning_type="lora", lora_rank=4), bf16=False, adapter=str(adapter)
    )
    tuned.save_pretrained(tmp_path / "again")
    again = load_file(tmp_path / "again" / "adapter_model.safetensors")
    assert again.keys() == first.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())
    learned = [name for name in first if "visual" not in name]  # the tower's share stays as it is: it is frozen
    assert sum(parameter.requires_grad for parameter in tuned.parameters()) == len(learned) >= 12
    got, wanted = load_merged(ModelFolder(base, tmp_path / "again")), load_merged(ModelFolder(base, adapter))
    assert all(torch.equal(got.state_dict()[name], tensor) for name, tensor in wanted.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "older"),
    [
        (LLAMA_FACTORY, True),
        (LLAMA_FACTORY, False),
        (r"model\.layers\.\d+\.(self_attn\.[qv]_proj|mlp\.down_proj)", True),
    ],
)
def test_patterns_of_older_releases(qwen2, tmp_path, pattern, older):
    adapter = train(qwen2, tmp_path / "adapter")
    wanted = merged(qwen2, adapter)
    describe(rename(adapter, OLDER["before 4.52"] if older else {}), target_modules=pattern)
    got = load_merged(ModelFolder(qwen2, adapter)).state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in wanted.items())


@pytest.mark.slow
@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"modules_to_save": ["merger"]},
        {"modules_to_save": ["visual.merger"], "r": 2},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"bias": "lora_only"},
        {"rank_pattern": {"model.language_model.layers.0.self_attn.q_proj": 2}},
        {"alpha_pattern": {r"model\.language_model\.layers\.1\..*": 32}},
        {"layers_to_transform": [1]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "lm_head"]},
    ],
    ids=str,
)
def test_kinds_of_lora_are_used_whole(qwen2, tmp_path, options, older):
    adapter = train(qwen2, tmp_path / "adapter", **options)
    wanted = merged(qwen2, adapter)
    if older:
        rename(adapter, OLDER["before 4.52"])
        text = (adapter / "adapter_config.json").read_text()
        text = text.replace("model.language_model.layers", "model.layers")
        (adapter / "adapter_config.json").write_text(text.replace(r"model\\.language_model\\.", r"model\\."))
    got = load_merged(ModelFolder(qwen2, adapter)).state_dict()
    for name, tensor in wanted.items():
        assert torch.allclose(got[name], tensor, atol=1e-6), name
    assert changed(load_model(qwen2).state_dict(), got)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_a_tied_head_is_parted_from_the_embedding(tmp_path, target):
    base = tiny_model.build(tmp_path / "base")
    model = load_model(base)
    model.lm_head.weight = model.model.language_model.embed_tokens.weight
    model.config.tie_word_embeddings = True
    tied = shutil.copytree(base, tmp_path / "tied")
    model.save_pretrained(tied)
    adapter = train(tied, tmp_path / "adapter", ["q_proj", target])
    merge_adapter(adapter, tmp_path / "out", tied)
    before, after = load_model(tied).state_dict(), load_model(tmp_path / "out").state_dict()
    ends = {"lm_head.weight", "model.language_model.embed_tokens.weight"}
    assert {name.split(".")[-2] for name in changed(before, after) & ends} == {target}


def test_bin_weights_are_read(qwen2, tmp_path):
    adapter = train(qwen2, tmp_path / "adapter")
    wanted = merged(qwen2, adapter)
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    got = load_merged(ModelFolder(qwen2, adapter)).state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in wanted.items())
    (adapter / "adapter_model.bin").write_bytes((adapter / "adapter_model.bin").read_bytes()[:-500])
    with pytest.raises(DataError, match="adapter_model.bin"):
        load_merged(ModelFolder(qwen2, adapter))


def _cut(folder):
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _zeros(weights):
    return {name: tensor * (0 if "lora_B" in name else 1) for name, tensor in weights.items()}


def _nan(weights):
    weights[next(name for name in weights if "lora_B" in name)][0, 0] = float("nan")
    return weights


def _half(weights):
    return {name: tensor for name, tensor in weights.items() if "layers.0." in name}


def _without_b(weights):
    gone = next(name for name in weights if "lora_B" in name)
    return {name: tensor for name, tensor in weights.items() if name != gone}


def _foreign(weights):
    return {name.replace("language_model.layers", "decoder.blocks"): tensor for name, tensor in weights.items()}


def _longer(weights):
    return weights | {name.replace("layers.1.", "layers.7."): tensor + 0 for name, tensor in weights.items()}


def _wider(weights):
    return {name: torch.cat([t, t], 1) if "lora_A" in name else t for name, t in weights.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_cut, "adapter_model.safetensors: cut off"),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b""), "adapter_model.safetensors: empty"),
        (lambda folder: change(folder, _nan), "NaN"),
        (lambda folder: change(folder, _half), "lacks tensors for 3 modules"),
        (lambda folder: change(folder, _without_b), "missing .*lora_B"),
        (lambda folder: change(folder, _foreign), "12 of 12 tensors have no place"),
        (lambda folder: change(folder, _longer), r"layers\.7\."),
        (lambda folder: change(folder, _wider), "do not fit the model: .* is"),
        (lambda folder: change(folder, lambda weights: {}), "holds no tensors"),
        (lambda folder: describe(folder, target_modules=["c_attn"]), "not of one adapter"),
        (lambda folder: describe(folder, target_modules=[*LANGUAGE, "k_proj"]), "lacks tensors for 2 modules"),
        (lambda folder: describe(folder, modules_to_save=["merger"]), "lacks 'merger'"),
        (lambda folder: describe(folder, r=16), "do not fit the model"),
        (lambda folder: describe(folder, peft_type=None), "no named method"),
        (lambda folder: describe(folder, layer_replication=[[0, 2]]), "layer_replication"),
        (lambda folder: describe(folder, a_new_trick=True), "a_new_trick"),
        (lambda folder: (folder / "adapter_config.json").write_text("{"), "not JSON"),
    ],
)
@pytest.mark.parametrize("way", ["export", "train"])
def test_what_does_not_fit_is_refused(qwen2, tmp_path, spoil, sentence, way):
    adapter = train(qwen2, tmp_path / "adapter")
    spoil(adapter)
    with pytest.raises(DataError, match=sentence):
        if way == "export":
            merge_adapter(adapter, tmp_path / "out", qwen2)
        else:
            arguments = TuningArguments(finetuning_type="lora")
            prepare_for_training(load_model(qwen2), arguments, bf16=False, adapter=str(adapter))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [0, 1e-30])
def test_an_adapter_that_changes_nothing_is_no_success(qwen2, tmp_path, scale, dtype):
    adapter = train(qwen2, tmp_path / "adapter")
    change(adapter, lambda weights: {n: t * (scale if "lora_B" in n else 1) for n, t in weights.items()})
    with pytest.raises(DataError, match="changes no weight"):
        load_merged(ModelFolder(qwen2, adapter), dtype=dtype)


@pytest.mark.parametrize(
    "config",
    [
        IA3Config(task_type="CAUSAL_LM", target_modules=["v_proj"], feedforward_modules=[]),
        PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, token_dim=128, num_layers=2),
    ],
    ids=["IA3", "PROMPT_TUNING"],
)
def test_adapters_of_other_methods_are_named(qwen2, tmp_path, config):
    config.save_pretrained(tmp_path / "adapter")
    save_file({"base_model.x": torch.ones(2)}, tmp_path / "adapter" / "adapter_model.safetensors")
    with pytest.raises(DataError, match=f"of the method {config.peft_type.value}"):
        merge_adapter(tmp_path / "adapter", tmp_path / "out", qwen2)


@pytest.mark.slow
def test_an_adapter_of_another_family_or_size_is_refused(base, qwen2, tmp_path):
    other = tiny_model.build(tmp_path / "other", "qwen2_vl", tiny_model.TinyShape(width=64))
    adapter = train(base, tmp_path / "adapter", EVERYWHERE)
    with pytest.raises(DataError, match=r"no place|do not fit"):
        merge_adapter(adapter, tmp_path / "out", other)


def test_export_says_what_it_was_given(qwen2, tmp_path, capsys):
    run = tmp_path / "run"
    train(qwen2, run / "checkpoint-7")
    (tmp_path / "empty").mkdir()
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray" / "notes.txt").write_text("x")
    lost = train(qwen2, tmp_path / "lost")
    (lost / "adapter_model.safetensors").unlink()
    bare = train(qwen2, tmp_path / "bare")
    (bare / "adapter_config.json").unlink()
    for folder, sentence in (
        (qwen2, "a whole checkpoint, not a LoRA adapter"),
        (run, "give one of its checkpoints, such as .*checkpoint-7"),
        (tmp_path / "empty", "an empty folder"),
        (tmp_path / "stray", "no LoRA adapter in this folder"),
        (tmp_path / "nowhere", "no such folder"),
        (lost, "no adapter_model.safetensors beside it"),
        (bare, "no adapter_config.json beside them"),
    ):
        assert export_main(["--adapter", str(folder), "--out", str(tmp_path / "out")]) == 1
        assert re.search(sentence, capsys.readouterr().err)
    with pytest.raises(DataError, match="no adapter_model.safetensors beside it"):
        find_model(lost)


def test_frozen_parts_of_a_continued_adapter_stay(qwen2, tmp_path):
    adapter = train(qwen2, tmp_path / "adapter", EVERYWHERE)
    for options, tower in (({}, False), ({"freeze_vision_tower": False}, True)):
        arguments = TuningArguments(finetuning_type="lora", lora_rank=4, **options)
        tuned = prepare_for_training(load_model(qwen2), arguments, bf16=False, adapter=str(adapter))
        learning = {name for name, parameter in tuned.named_parameters() if parameter.requires_grad}
        assert any("language_model" in name for name in learning)
        assert any("visual.blocks" in name for name in learning) == tower
        assert not any("merger" in name for name in learning)
