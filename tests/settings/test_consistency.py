"""What is asked for is done or refused: what a run does, and keys that have no effect beside others."""

import pytest

from gpt4scene.errors import ConfigError
from gpt4scene.settings.config import parse

LEAST = "--model_name_or_path m --dataset d --output_dir o --finetuning_type full".split()  # noqa: SIM905


def parsed(flags):
    return parse([*LEAST, *flags.split()])


@pytest.mark.parametrize(
    ("flags", "trains", "evaluates_only"),
    [
        ("", True, False),
        ("--do_train true", True, False),
        ("--do_eval false", True, False),
        ("--do_train --do_eval --val_size 2", True, False),
        ("--do_eval --val_size 2", False, True),
        ("--do_train false --do_eval true --val_size 0.1", False, True),
        ("--do_train false --tokenized_path t --tokenize_only", False, False),
        ("--do_predict false", True, False),
    ],
)
def test_it_trains_when_told_to_or_when_nothing_is_said(flags, trains, evaluates_only):
    config = parsed(flags)
    assert (config.training["do_train"], config.evaluates_only) == (trains, evaluates_only)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--do_train false", "nothing would be done: do_train is false"),
        ("--do_train no --do_eval no", "nothing would be done"),
        ("--do_train false --val_size 2", "nothing would be done"),
        ("--do_train false --do_predict true", "use gpt4scene infer"),
        ("--do_predict", "use gpt4scene infer"),
        ("--do_eval", "do_eval needs val_size"),
        ("--val_size 1.5", "val_size must be a share below 1 or a whole number of rows, not 1.5"),
        ("--val_size nan", "val_size"),
        ("--dataset a,b,a", "dataset names 'a' twice"),
        ("--do_train --do_eval", "do_eval needs val_size"),
        ("--do_eval --val_size 2 --deepspeed d.json", "leave deepspeed out"),
        ("--do_eval --val_size 2 --resume_from_checkpoint true", "reads model_name_or_path"),
        ("--do_eval false --val_size 2 --eval_strategy epoch", "do_eval is false, but eval_strategy is epoch"),
        ("--eval_on_start", "eval_on_start needs eval_strategy"),
        ("--save_strategy best", "save_strategy best needs eval_strategy"),
        ("--metric_for_best_model accuracy", "evaluation gives loss and loss_<task>"),
        ("--stage dpo --metric_for_best_model reward/accuracies", "did you mean 'rewards/accuracies'"),
        ("--stage dpo --metric_for_best_model sft_loss", "sft_loss is not known"),
        ("--stage pt --metric_for_best_model rewards/margins", "evaluation gives loss and loss_<task>"),
        ("--fsdp_config x.json", "fsdp_config needs fsdp"),
        ("--num_train_epochs 0", "nothing would be trained"),
        ("--max_steps 0", "max_steps 0 would be passed over"),
        ("--save_steps 0", "save_steps must be above 0, not 0; save_strategy: no switches it off"),
        ("--logging_steps -5", "logging_steps must be above 0"),
        ("--save_total_limit 0", "'--save_total_limit' must be 1 or more"),
        ("--val_size 1.5", "val_size must be a share below 1 or a whole number of rows, not 1.5"),
        ("--seed -1", "'--seed' must be 0 or more"),
        ("--adam_beta2 1.5", "'--adam_beta2' must be between 0 and 1"),
        ("--dataloader_num_workers -1", "'--dataloader_num_workers' must be 0 or more"),
        ("--learning_rate", "'--learning_rate' has no value"),
        ("--output_dir", "'--output_dir' has no value"),
        ("--dataset --bf16", "'--dataset' has no value"),
    ],
)
def test_what_cannot_be_done_is_refused(flags, words):
    with pytest.raises(ConfigError) as caught:
        parsed(flags)
    assert words in "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("flags", "key", "needed"),
    [
        ("--eval_steps 5", "eval_steps", "eval_strategy: steps"),
        ("--val_size 2 --eval_strategy epoch --eval_steps 5", "eval_steps", "eval_strategy: steps"),
        ("--eval_delay 2", "eval_delay", "eval_strategy"),
        ("--per_device_eval_batch_size 2", "per_device_eval_batch_size", "val_size"),
        ("--val_split row", "val_split", "val_size"),
        ("--learning_rate 0", "learning_rate", "nothing is trained"),
        ("--save_strategy epoch --save_steps 5", "save_steps", "save_strategy: steps"),
        ("--save_strategy no --save_steps 5", "save_steps", "save_strategy: steps"),
        ("--logging_strategy epoch --logging_steps 5", "logging_steps", "logging_strategy: steps"),
        ("--metric_for_best_model loss", "metric_for_best_model", "load_best_model_at_end"),
        ('--use_liger_kernel false --liger_kernel_config {"swiglu":true}', "liger_kernel_config", "use_liger_kernel"),
        ("--max_steps 5 --num_train_epochs 3", "num_train_epochs", "max_steps"),
        ("--dataloader_num_workers 0 --dataloader_persistent_workers", "dataloader_persistent_workers", "above 0"),
        ("--trackio_space_id me/space", "trackio_space_id", "report_to: trackio"),
        (
            '--gradient_checkpointing false --gradient_checkpointing_kwargs {"use_reentrant":true}',
            "gradient_checkpointing_kwargs",
            "disable_gradient_checkpointing: false",
        ),
    ],
)
def test_a_key_without_effect_beside_others_is_said(flags, key, needed):
    said = [note for note in parsed(flags).notes if note.startswith(f"{key} has no effect")]
    assert len(said) == 1 and needed in said[0]


def test_the_worst_checkpoint_is_kept_with_a_word():
    flags = "--val_size 2 --eval_strategy epoch --save_strategy epoch --load_best_model_at_end --greater_is_better true"
    assert any("keeps the checkpoint with the highest loss" in note for note in parsed(flags).notes)
    flags += " --stage dpo --pref_loss orpo --metric_for_best_model"
    assert any("with the highest sft_loss" in note for note in parsed(f"{flags} sft_loss").notes)
    assert not any("keeps the checkpoint" in note for note in parsed(f"{flags} rewards/margins").notes)


def test_plain_text_has_no_thoughts_and_no_questions():
    plain = "--stage pt --template qwen3_vl --enable_thinking false"
    assert [note.split(":")[0] for note in parsed(plain).notes if "think" in note] == ["enable_thinking has no effect"]
    with pytest.raises(ConfigError) as refused:
        parsed(f"{plain} --val_size 2 --eval_strategy epoch --eval_generate 2")
    assert len(refused.value.problems) == 1


def test_a_learning_rate_of_nothing_is_said():
    assert any("learning_rate has no effect at 0" in note for note in parsed("--learning_rate 0").notes)
    assert not any("learning_rate" in note for note in parsed("--learning_rate 1e-30").notes)


@pytest.mark.parametrize(
    "flags",
    [
        "--val_size 2 --eval_strategy steps --eval_steps 5 --per_device_eval_batch_size 2 --eval_delay 1",
        "--save_steps 5 --logging_steps 2",
        "--trackio_space_id me/space --report_to trackio",
    ],
)
def test_keys_with_effect_are_not_talked_about(flags):
    assert not any("no effect" in note for note in parsed(flags).notes)


@pytest.mark.parametrize(
    ("line", "read"),
    [("seed: 010", 10), ("seed: +7", 7), ("seed: 1_000", 1000), ("learning_rate: 1e-5", 1e-5), ("seed: 0", 0)],
)
def test_numbers_mean_what_they_look_like(tmp_path, line, read):
    path = tmp_path / "run.yaml"
    path.write_text(line + "\n")
    assert parse([str(path), *LEAST]).training[line.partition(":")[0]] == read


@pytest.mark.parametrize("line", ["seed: 1:30", "learning_rate: 1:30.5", "seed:", "cutoff_len: null", "bf16: [true]"])
def test_values_with_another_meaning_in_yaml_are_refused(tmp_path, line):
    path = tmp_path / "run.yaml"
    path.write_text(line + "\n")
    with pytest.raises(ConfigError, match=line.partition(":")[0]):
        parse([str(path), *LEAST])


@pytest.mark.parametrize("written", ["true", "full_shard", "[full_shard, auto_wrap]", "full_shard auto_wrap"])
def test_fsdp_is_asked_for_as_in_any_version(tmp_path, written):
    path = tmp_path / "run.yaml"
    path.write_text(f"fsdp: {written}\n")
    fsdp = parse([str(path), *LEAST]).training["fsdp"]
    assert fsdp is True or fsdp in ("full_shard", "full_shard auto_wrap")
