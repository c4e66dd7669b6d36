"""YAML and flags -> typed settings: the public command and YAML, every kind of value, and all mistakes at once."""

import dataclasses
import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.errors import ConfigError
from gpt4scene.settings import flags
from gpt4scene.settings.coercion import BadValueError, coerce
from gpt4scene.settings.config import SECTIONS, parse

LEAST = ["--model_name_or_path", "m", "--dataset", "d", "--output_dir", "o"]

PUBLIC_COMMAND = """
    --tokenized_path tokenizer/qwen2vl_full_sft_mark_32_3D_img512/ \
    --model_name_or_path ./ckpts/models--Qwen--Qwen2-VL-7B-Instruct/ \
    --do_train true \
    --deepspeed examples/deepspeed/ds_z3_config.json \
    --stage sft \
    --finetuning_type full \
    --dataset sharegpt_data_chat_scene_32_images_3D_mark \
    --image_resolution 512 \
    --template qwen2_vl \
    --cutoff_len 32768 \
    --overwrite_cache true \
    --preprocessing_num_workers 16 \
    --output_dir model_outputs// \
    --num_train_epochs 1.0 \
    --logging_steps 10 \
    --save_steps 4000 \
    --save_total_limit 1 \
    --per_device_train_batch_size 1 \
    --gradient_accumulation_steps 2 \
    --learning_rate 5.0e-6 \
    --lr_scheduler_type cosine \
    --warmup_ratio 0.1 \
    --bf16 true \
    --ddp_timeout 180000000 \
    --flash_attn fa2 \
    --report_to none
"""

PUBLIC_YAML = """
### model
model_name_or_path: ./ckpts/Qwen2-VL-7B-Instruct
### method
stage: sft
do_train: true
finetuning_type: full
freeze_vision_tower: true
deepspeed: examples/deepspeed/ds_z3_config.json
### dataset
dataset: sharegpt_data_chat_scene_32_images_3D_mark,rooms
dataset_dir: data
template: qwen2_vl
cutoff_len: 32768
max_samples: 1000
overwrite_cache: true
preprocessing_num_workers: 16
preprocessing_batch_size: 256
tokenized_path: tokenizer/qwen2vl
image_resolution: 512
### output
output_dir: saves/qwen2_vl-7b/full/sft
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 2
learning_rate: 1e-5
num_train_epochs: 30.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
### eval
val_size: 0.1
per_device_eval_batch_size: 1
evaluation_strategy: steps
eval_steps: 500
"""


def problems(argv):
    with pytest.raises(ConfigError) as caught:
        parse(argv)
    return caught.value.problems


def yaml_file(tmp_path, text, name="run.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_public_command():
    config = parse(shlex.split(PUBLIC_COMMAND))
    assert config.model.model_name_or_path == "./ckpts/models--Qwen--Qwen2-VL-7B-Instruct/"
    assert config.model.flash_attn == "fa2"
    assert config.data.dataset == ["sharegpt_data_chat_scene_32_images_3D_mark"]
    assert config.data.tokenized_path == "tokenizer/qwen2vl_full_sft_mark_32_3D_img512/"
    assert (config.data.cutoff_len, config.data.image_resolution) == (32768, 512)
    assert config.tuning.finetuning_type == "full"
    assert config.rows_per_step == 2
    assert config.training == {
        "do_train": True,
        "deepspeed": "examples/deepspeed/ds_z3_config.json",
        "output_dir": "model_outputs//",
        "num_train_epochs": 1.0,
        "logging_steps": 10,
        "save_steps": 4000,
        "save_total_limit": 1,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 2,
        "learning_rate": 5e-6,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "bf16": True,
        "ddp_timeout": 180000000,
        "report_to": ["none"],
    }
    said = "\n".join(config.notes)
    for word in ("overwrite_cache", "preprocessing_num_workers", "warmup_ratio"):
        assert said.count(f"'--{word}'") == 1


def test_training_arguments_take_what_parse_returns(tmp_path):
    from transformers import TrainingArguments

    words = [word.replace("model_outputs//", str(tmp_path)) for word in shlex.split(PUBLIC_COMMAND)]
    training = parse([*words, "--use_cpu"]).training | {"deepspeed": None}
    arguments = TrainingArguments(**training)
    assert arguments.get_warmup_steps(200) == 20
    assert arguments.learning_rate == 5e-6
    assert arguments.report_to == []


def test_public_yaml(tmp_path):
    path = yaml_file(tmp_path, PUBLIC_YAML)
    config = parse([path])
    assert config.source == path
    assert config.data.dataset == ["sharegpt_data_chat_scene_32_images_3D_mark", "rooms"]
    assert (config.data.val_size, config.data.max_samples) == (0.1, 1000)
    assert config.tuning.plot_loss and config.tuning.overwrite_output_dir
    assert config.training["learning_rate"] == 1e-5
    assert config.training["eval_strategy"] == "steps"
    assert "evaluation_strategy" not in config.training
    assert config.output_dir == "saves/qwen2_vl-7b/full/sft"


def test_flags_win_over_the_file_under_old_and_new_names(tmp_path):
    path = yaml_file(tmp_path, PUBLIC_YAML)
    config = parse([path, "--learning_rate=2e-6", "--bf16", "false", "--warmup-steps", "7", "--plot_loss=no"])
    assert config.training["learning_rate"] == 2e-6
    assert config.training["bf16"] is False
    assert config.training["warmup_steps"] == 7
    assert config.tuning.plot_loss is False


def test_flag_shapes():
    config = parse([*LEAST, "--bf16", "--skip_bad_rows", "--lora_target", "q_proj", "v_proj", "--seed=3", "--seed=4"])
    assert config.training["bf16"] is True
    assert config.data.skip_bad_rows is True
    assert config.tuning.lora_target == ["q_proj", "v_proj"]
    assert config.training["seed"] == 4
    assert parse([*LEAST, "--max_steps", "-1"]).training["max_steps"] == -1


def test_freeze_keys():
    tuning = parse(
        [
            *LEAST,
            *["--finetuning_type", "freeze", "--freeze_trainable_layers", "-2", "--freeze_trainable_modules", "mlp"],
        ]
    ).tuning
    assert (tuning.freeze_trainable_layers, tuning.freeze_trainable_modules) == (-2, ["mlp"])


def test_ancestor_keys():
    config = parse(
        [
            *LEAST,
            *shlex.split(
                "--finetuning_type lora --lora_rank 16 --lora_alpha 32 --lora_dropout 0.05 --lora_target all "
                "--adapter_name_or_path a --pure_bf16 no "
                "--disable_gradient_checkpointing true --media_dir pics --mask_history true "
                "--freeze_multi_modal_projector false --dataset a,b --mix_strategy interleave_over "
                "--interleave_probs 0.25,0.75"
            ),
        ]
    )
    tuning, data = config.tuning, config.data
    assert (tuning.lora_rank, tuning.lora_alpha, tuning.lora_dropout, tuning.lora_target) == (16, 32, 0.05, ["all"])
    assert tuning.disable_gradient_checkpointing and not tuning.freeze_multi_modal_projector
    assert (data.media_dir, data.mask_history, data.train_on_prompt) == ("pics", True, False)
    assert data.interleave_probs == [0.25, 0.75]
    assert config.model.adapter_name_or_path == "a"


@pytest.mark.parametrize("spelling", ["gradient_checkpointing", "activation_checkpointing"])
def test_gradient_checkpointing_is_one_setting(spelling):
    assert parse([*LEAST, f"--{spelling}", "false"]).tuning.disable_gradient_checkpointing is True
    config = parse([*LEAST, f"--{spelling}", "true"])
    assert config.tuning.disable_gradient_checkpointing is False
    assert spelling not in config.training


@pytest.mark.parametrize("word", ["use_liger_kernel", "enable_liger_kernel"])
@pytest.mark.parametrize(("value", "read"), [("auto", None), ("true", True), ("false", False)])
def test_fused_kernels_are_one_setting_under_both_names(word, value, read):
    config = parse([*LEAST, f"--{word}", value])
    assert config.tuning.use_liger_kernel is read and word not in config.training


@pytest.mark.parametrize(
    "word", ["gradient_checkpointing", "activation_checkpointing", "disable_gradient_checkpointing"]
)
def test_gradient_checkpointing_is_left_to_the_program(word):
    assert parse([*LEAST, f"--{word}", "auto"]).tuning.disable_gradient_checkpointing is None
    assert parse(LEAST).tuning.disable_gradient_checkpointing is None


def test_yaml_no_is_a_strategy_where_one_is_asked_for(tmp_path):
    text = "model_name_or_path: m\ndataset: d\noutput_dir: o\neval_strategy: no\nsave_strategy: no\n"
    training = parse([yaml_file(tmp_path, text)]).training
    assert (training["eval_strategy"], training["save_strategy"]) == ("no", "no")


def test_a_zero_warmup_beside_a_ratio_is_no_conflict(tmp_path):
    text = "model_name_or_path: m\ndataset: d\noutput_dir: o\nwarmup_steps: 0\nwarmup_ratio: 0.03\n"
    assert parse([yaml_file(tmp_path, text)]).training["warmup_steps"] == 0.03


@pytest.mark.parametrize(
    ("word", "value"), [("true", True), ("saves/checkpoint-4", "saves/checkpoint-4"), ("false", None)]
)
def test_resume(word, value):
    assert parse([*LEAST, "--resume_from_checkpoint", word]).training["resume_from_checkpoint"] == value


def test_all_mistakes_come_at_once_with_place_and_nearest_name(tmp_path):
    path = yaml_file(
        tmp_path,
        "dataset: d\ncutof_len: 3\nfinetuning_type: loar\nbf16: perhaps\nlearning_rate: fast\nscene_packing: 0\n",
    )
    found = problems([path, "--loging_steps", "10", "--val_size", "-1", "--zzzz", "1"])
    assert f"{path}: 'cutof_len' is not a key; did you mean 'cutoff_len'?" in found
    assert "command line: '--loging_steps' is not a key; did you mean 'logging_steps'?" in found
    assert "command line: '--zzzz' is not a key" in found
    text = "\n".join(found)
    for words in (
        "'finetuning_type' must be one of full, freeze, lora, not 'loar'; did you mean 'lora'?",
        "'bf16' must be true or false, not 'perhaps'",
        "'learning_rate' must be a number, not 'fast'",
        "'scene_packing' must be 1 or more, not 0",
        "'--val_size' must be 0 or more, not -1",
        "'model_name_or_path' is missing",
        "'output_dir' is missing",
    ):
        assert words in text
    assert len(found) == 10


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--scene_packing many", "must be a whole number or auto, not 'many'"),
        ("--scene_packing 0", "must be 1 or more"),
        ("--bf16 --fp16", "bf16 and fp16 exclude each other"),
        ("--deepspeed x.json --fsdp full_shard", "deepspeed and fsdp exclude"),
        ("--adapter_name_or_path a --finetuning_type full", "adapter_name_or_path needs finetuning_type: lora"),
        ("--tokenize_only", "tokenize_only needs tokenized_path"),
        ("--eval_strategy steps", "eval_strategy needs val_size"),
        ("--interleave_probs 0.5,0.5", "interleave_probs needs mix_strategy"),
        ("--mix_strategy interleave_under --interleave_probs 0.5,0.2", "add up to 1"),
        ("--warmup_ratio 10", "must be below 1"),
        ("--warmup_ratio 0.1 --warmup_steps 5", "set the same thing; keep one"),
        ("--packing true", "scene_packing"),
        ("--stage kto", "its loss holds a mean over the rows of a micro-batch"),
        ("--pref_beta 0.2", "pref_beta belongs to stage: dpo, but stage is sft"),
        ("--stage dpo --pref_beta 0", "pref_beta must be above 0"),
        ("--stage dpo --loss_average token", "a pair has one loss"),
        ("--stage dpo --tokenized_path t", "tokenized_path has no form for pairs"),
        ("--stage dpo --train_on_prompt", "both answers have the same prompt"),
        ("--stage dpo --neftune_noise_alpha 5", "would add noise to what stage: dpo compares"),
        ("--stage dpo --pref_loss hinge --dpo_label_smoothing 0.1", "belongs to pref_loss: sigmoid"),
        ("--stage dpo --simpo_gamma 1", "simpo_gamma belongs to pref_loss: simpo"),
        ("--stage dpo --pref_loss orpo --ref_model m", "ref_model has no use with pref_loss: orpo"),
        ("--stage dpo --ref_model_adapters a", "ref_model_adapters needs ref_model"),
        ("--stage dpo --pref_bco_weight 1", "its baseline is a running mean"),
        ("--stage dpo --moe_aux_loss_coef 0.1", "moe_aux_loss_coef has no use with stage: dpo"),
        ("--stage pt --mask_history", "mask_history has no use with stage: pt"),
        (
            "--stage pt --val_size 2 --eval_generate 2",
            "eval_generate asks the questions of rows, and plain text (stage: pt) has none",
        ),
        ("--ld_alpha 0", "ld_alpha belongs to stage: dpo, but stage is sft"),
        ("--image_resolution 8", "must be 28 or more"),
        ("--lora_dropout 2", "must be between 0 and 1"),
        ("--max_samples 1.5", "must be a whole number"),
        ("--dataset ,", "is empty"),
        ("--learning_rate nan", "must be a number"),
    ],
)
def test_wrong_settings(flags, words):
    assert words in "\n".join(problems([*LEAST, *flags.split()]))


def test_unsupported_keys_may_be_switched_off():
    assert parse([*LEAST, "--packing", "false", "--streaming", "false"]).data.dataset == ["d"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("- a\n- b\n", "must hold 'key: value' lines"),
        ("a: [1\n", "is no YAML"),
        ("seed: 1\nseed: 2\n", "'seed' is written twice"),
    ],
)
def test_bad_files(tmp_path, text, words):
    assert words in "\n".join(problems([yaml_file(tmp_path, text), *LEAST]))


def test_missing_file_and_loose_words():
    assert "cannot be read" in problems(["nowhere.yaml"])[0]
    assert parse([*LEAST]).source is None


def test_nothing_at_all_names_what_is_needed():
    assert problems([]) == tuple(
        f"command line: '{name}' is missing" for name in ("model_name_or_path", "dataset", "output_dir")
    )


@pytest.mark.parametrize("flag", ["hub_token", "hf_hub_token", "push_to_hub_token", "swanlab_api_key"])
def test_no_token_is_taken_so_none_is_written_down(flag):
    (sentence,) = problems([*LEAST, f"--{flag}", "very-secret"])
    assert flag in sentence and "very-secret" not in sentence


def test_resolved_is_plain():
    resolved = parse([*LEAST, "--learning_rate=5e-6"]).resolved()
    assert json.loads(json.dumps(resolved))["flags"][-1] == "--learning_rate=5e-6"
    assert resolved["training"]["learning_rate"] == 5e-6
    assert resolved["data"]["dataset"] == ["d"]


def test_the_help_names_every_key():
    text = flags.help_text(SECTIONS, "gpt4scene train", "")
    for one in (one for section in SECTIONS for one in dataclasses.fields(section)):
        assert f"--{one.name} " in text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_being_written_as_text(number):
    assert coerce(repr(number), float) == number


@given(st.integers())
def test_whole_numbers_survive(number):
    assert coerce(str(number), int) == number
    assert coerce(number, int | None) == number


@given(st.text())
def test_text_is_taken_or_refused_but_never_changed(text):
    assert coerce(text, str) == text
    try:
        assert coerce(text, bool) in (True, False)
    except BadValueError as error:
        assert "true or false" in str(error)


def test_the_smallest_area_may_not_pass_the_largest():
    with pytest.raises(ConfigError, match="image_max_pixels 1000 is below image_min_pixels 2000"):
        parse([*LEAST, "--image_max_pixels", "1000", "--image_min_pixels", "2000"])
