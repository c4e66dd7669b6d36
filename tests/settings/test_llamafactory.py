"""LLaMA-Factory's own files and keys: what is accepted, with which notes, and what is refused, with which sentence."""

import re
from pathlib import Path

import pytest
import yaml

from gpt4scene.data.templates import TEMPLATES
from gpt4scene.errors import ConfigError
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.settings.config import parse
from gpt4scene.settings.foreign import foreign

HERE = Path(__file__).parent
RUNS = yaml.safe_load((HERE / "llamafactory_runs.yaml").read_text())
DEFAULTS = yaml.safe_load((HERE / "llamafactory_defaults.yaml").read_text())
LEAST = {"model_name_or_path": "m", "dataset": "d", "output_dir": "o", "finetuning_type": "lora"}

OF_ANOTHER_METHOD = {"freeze_trainable_layers", "freeze_trainable_modules"}
"""Keys of freeze, an error beside lora even at their defaults."""
AREA = 512 * 512
"""Default of ``image_resolution`` in v0.9.1 alone, where it was an area."""
ALWAYS_WRITTEN = {"model_name_or_path", "dataset"}


@pytest.fixture
def sentences(tmp_path):
    """Return a function: keys -> the notes of their run, or the sentences that refuse it."""

    def read(keys):
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(keys))
        try:
            return "noted", [note.removeprefix(f"{path}: ") for note in parse([str(path)]).notes]
        except ConfigError as error:
            return "refused", [problem.removeprefix(f"{path}: ") for problem in error.problems]

    return read


@pytest.mark.parametrize("run", RUNS, ids=[f"{run['in']} {run['file']}" for run in RUNS])
def test_every_file_of_theirs_has_its_outcome(sentences, run):
    outcome, found = sentences(run["keys"])
    if "refused" in run:
        wanted = [sentence.replace("TEMPLATES", ", ".join(TEMPLATES)) for sentence in run["refused"]]
        assert (outcome, found) == ("refused", wanted)
    else:
        assert outcome == "noted", found
        assert list(dict.fromkeys(re.match(r"'?(\w+)", note)[1] for note in found)) == run["noted"]


def test_supervised_runs_on_our_families_are_accepted_in_every_version():
    ours = [
        run
        for run in RUNS
        if re.search(r"Qwen(2|2\.5|3)-VL-\d+B-Instruct", str(run["keys"].get("model_name_or_path")))
        and run["keys"].get("stage") == "sft"
        and run["keys"]["finetuning_type"] in ("lora", "full")
        and not run["file"].startswith(("megatron", "ktransformers"))
    ]
    assert len(ours) >= 10
    assert [run["file"] for run in ours if "refused" in run] == []


def is_ours(name):
    known = foreign()
    return name not in known.keys and known.renamed.get(name, name) not in known.keys


@pytest.mark.parametrize("name", [name for name in DEFAULTS if not is_ours(name)])
def test_a_key_that_we_do_not_have_is_accepted_at_its_defaults_and_off(sentences, name):
    for value in [*DEFAULTS[name], None, False, ""]:
        outcome, found = sentences(LEAST | {name: value})
        assert outcome == "noted", (value, found)


@pytest.mark.parametrize("name", [name for name in DEFAULTS if is_ours(name) and name not in ALWAYS_WRITTEN])
def test_a_key_that_we_have_takes_the_defaults_of_theirs(sentences, name):
    for value in DEFAULTS[name]:
        outcome, found = sentences(LEAST | {name: value})
        if name in OF_ANOTHER_METHOD or value == AREA:
            assert outcome == "refused" and name in found[0]
        elif value is not None or outcome == "noted":
            assert outcome == "noted", (value, found)
        else:
            assert found == [f"'{name}' has no value; write one, or leave the key out"]


@pytest.mark.parametrize("name", [name for name, key in foreign().keys.items() if key.refused])
def test_a_refused_key_is_named_without_a_hint_at_another(sentences, name):
    outcome, found = sentences(LEAST | {name: "something-else"})
    assert outcome == "refused"
    assert found[0] == f"'{name}' is not supported: {foreign().keys[name].sentence}"
    assert "did you mean" not in found[0]


@pytest.mark.parametrize("name", [name for name, key in foreign().keys.items() if not key.refused])
def test_a_key_without_effect_is_said_once(sentences, name):
    outcome, found = sentences(LEAST | {name: "something-else"})
    assert outcome == "noted"
    assert f"'{name}' has no effect: {foreign().keys[name].sentence}" in found


def test_keys_of_theirs_with_one_reason_are_one_sentence(sentences):
    _, found = sentences(LEAST | {"use_badam": True, "badam_verbose": 2, "streaming": True})
    assert len(found) == 2 and found[0].startswith("'badam_verbose', 'use_badam' are not supported: BAdam")


@pytest.mark.parametrize("value", ["1e-6", 0.000001, "0.000001"])
def test_a_default_is_one_however_it_is_written(sentences, value):
    assert sentences(LEAST | {"loraplus_lr_embedding": value})[0] == "noted"


def test_a_flag_switches_off_what_the_file_asks_for(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(LEAST | {"streaming": True, "stage": "dpo", "do_predict": True}))
    assert parse([str(path), "--streaming", "false", "--stage=sft", "--do_predict", "false"]).tuning.stage == "sft"


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"stage": "kto"}, "'stage' kto is not supported: its loss holds a mean"),
        ({"stage": "dpo", "pref_loss": "kto_pair"}, "'pref_loss' kto_pair is not supported: its loss holds a mean"),
        ({"stage": "ppo"}, "'stage' ppo is not supported: reinforcement learning"),
        ({"stage": "rm"}, "'stage' rm is not supported: reward models"),
        ({"finetuning_type": "oft"}, "'finetuning_type' oft is not supported"),
        ({"mix_strategy": "interleave_once"}, "'mix_strategy' interleave_once is not supported"),
        ({"template": "llava"}, "template 'llava' is LLaMA-Factory's for other models"),
        ({"template": "qwen3_6"}, "template 'qwen3_6' is LLaMA-Factory's for other models"),
        ({"template": "qwen2_vll"}, "template 'qwen2_vll' is not known; did you mean 'qwen2_vl'?"),
        ({"image_resolution": AREA}, "write image_max_pixels: 262144"),
    ],
    ids=str,
)
def test_values_of_theirs_that_are_refused(sentences, written, sentence):
    outcome, found = sentences(LEAST | written)
    assert outcome == "refused" and sentence in found[0]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("qwen2_vl", "qwen2_vl"),
        ("qwen2_5_vl", "qwen2_vl"),
        *((name, name) for name in ("qwen3_vl", "qwen3_vl_nothink", "qwen3_5", "qwen3_5_nothink")),
    ],
)
def test_templates_of_theirs_for_our_families(theirs, ours):
    words = [word for key, value in LEAST.items() for word in (f"--{key}", value)]
    config = parse([*words, "--template", theirs, "--enable_thinking", "false"])
    assert config.data.template == ours and config.family.enable_thinking is False
    thinks = ours in ("qwen3_vl", "qwen3_5")
    assert any("all thoughts in the rows are left out" in note for note in config.notes) == thinks


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--template qwen3_vl", "an empty thought before an answer that has none is learned"),
        ("--template qwen3_vl --enable_thinking null", "an empty thought before an answer that has none is given"),
        ("--template qwen3_5 --preserve_thinking true", "preserve_thinking has no effect: it needs mask_history"),
        ("--template qwen3_vl_nothink --enable_thinking true", "enable_thinking has no effect: template qwen3_vl_noth"),
        ("--preserve_thinking true", "preserve_thinking has no effect: template qwen2_vl has no thoughts"),
    ],
)
def test_what_becomes_of_thoughts_is_said(flags, sentence):
    words = [word for key, value in LEAST.items() for word in (f"--{key}", value)]
    notes = parse([*words, *flags.split()]).notes
    assert any(sentence in note for note in notes), notes


def test_liger_is_asked_for_under_either_name():
    words = [word for key, value in LEAST.items() for word in (f"--{key}", value)]
    assert parse([*words, "--enable_liger_kernel", "true"]).tuning.use_liger_kernel is True


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({"finetuning_type": "full", "lora_rank": 8}, ("lora_rank", "finetuning_type: lora", "is full")),
        ({"finetuning_type": "freeze", "lora_target": "all"}, ("lora_target", "finetuning_type: lora", "is freeze")),
        ({"finetuning_type": "full", "lora_alpha": 16}, ("lora_alpha", "finetuning_type: lora", "is full")),
        ({"finetuning_type": "full", "lora_dropout": 0.1}, ("lora_dropout", "finetuning_type: lora", "is full")),
        (
            {"finetuning_type": "full", "freeze_trainable_modules": "mlp"},
            ("freeze_trainable_modules", "finetuning_type: freeze", "is full"),
        ),
        ({"freeze_trainable_layers": 3}, ("freeze_trainable_layers", "finetuning_type: freeze", "left out")),
        ({"finetuning_type": "full", "adapter_name_or_path": "a"}, ("adapter_name_or_path", "finetuning_type: lora")),
        ({"optim": "adamw_torch", "optim_target_modules": "all-linear"}, ("optim_target_modules", "adamw_torch")),
        ({"optim_args": "rank=4"}, ("optim_args", "adamw_torch_fused")),
        ({"freeze_language_model": True}, ("freeze_language_model", "trains nothing")),
        ({"finetuning_type": "freeze", "freeze_language_model": True}, ("freeze_language_model", "trains nothing")),
        (
            {"finetuning_type": "freeze", "freeze_language_model": True, "freeze_vision_tower": False}
            | {"freeze_trainable_layers": 2},
            ("freeze_trainable_layers", "no effect beside freeze_language_model"),
        ),
    ],
    ids=str,
)
def test_keys_of_a_method_without_the_method(sentences, written, named):
    least = {key: value for key, value in LEAST.items() if key != "finetuning_type"}
    outcome, found = sentences(least | written)
    assert outcome == "refused" and all(word in found[0] for word in named), found


@pytest.mark.parametrize("method", ["full", "freeze", "lora"])
@pytest.mark.parametrize("part", ["freeze_vision_tower", "freeze_multi_modal_projector"])
def test_a_frozen_language_model_beside_a_part_that_learns_is_every_methods(sentences, method, part):
    assert sentences(LEAST | {"finetuning_type": method, "freeze_language_model": True, part: False})[0] == "noted"


@pytest.mark.parametrize("off", [{"lora_alpha": None}, {"lora_dropout": 0}, {"use_dora": False}])
def test_keys_of_a_method_that_ask_for_nothing_are_no_contradiction(sentences, off):
    assert sentences(LEAST | {"finetuning_type": "full"} | off)[0] == "noted"


def test_the_method_left_out_is_lora_with_a_word():
    words = ["--model_name_or_path", "m", "--dataset", "d", "--output_dir", "o", "--lora_rank", "8"]
    config = parse(words)
    assert (config.tuning.finetuning_type, config.tuning.lora_rank) == ("lora", 8)
    assert any("finetuning_type is left out: lora" in note for note in config.notes)
    assert not any("finetuning_type" in note for note in parse([*words, "--finetuning_type", "lora"]).notes)
    assert TuningArguments().finetuning_type == "lora"
