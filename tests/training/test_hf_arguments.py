import json
import re

import pytest
import torch
import yaml

from gpt4scene.settings.config import parse
from gpt4scene.training.hf_arguments import training_arguments


@pytest.fixture
def made(tmp_path):
    """Return a function: flags -> TrainingArguments."""

    def make(flags=""):
        least = f"--model_name_or_path m --dataset d --output_dir {tmp_path} --use_cpu"
        return training_arguments(parse([*least.split(), *flags.split()]))

    return make


def test_a_micro_batch_is_a_pack_and_accumulation_counts_questions(made):
    arguments = made("--per_device_train_batch_size 4 --gradient_accumulation_steps 4 --scene_packing 8")
    assert (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps) == (1, 16)


def test_what_the_user_says_wins(made):
    derived, said = made(), made("--logging_steps 5 --lr_scheduler_type linear --dataloader_num_workers 2")
    assert (derived.logging_steps, derived.lr_scheduler_type) == (1, "cosine")
    assert (said.logging_steps, said.lr_scheduler_type, said.dataloader_num_workers) == (5, "linear", 2)


@pytest.mark.parametrize("flags", ["", "--gradient_checkpointing true", "--disable_gradient_checkpointing"])
def test_recomputing_of_activations_is_not_left_to_the_trainer(made, flags):
    arguments = made(f'{flags} --gradient_checkpointing_kwargs {{"use_reentrant":true}}')
    assert not arguments.gradient_checkpointing and not arguments.gradient_checkpointing_kwargs


def test_pure_bf16_leaves_autocast_out(made):
    assert made("--bf16").bf16 is True
    assert made("--bf16 --pure_bf16").bf16 is False


def test_a_cpu_is_used_where_there_is_no_accelerator(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    flags = f"--model_name_or_path m --dataset d --output_dir {tmp_path} --bf16".split()
    assert training_arguments(parse(flags)).use_cpu is True


@pytest.mark.parametrize(
    ("metric", "greater"),
    [
        *[(metric, False) for metric in ("loss", "loss_rooms", "eval_loss_rooms", "sft_loss", "eval_odds_ratio_loss")],
        *[("exact_match", True), ("rewards/accuracies", True), ("rewards/rejected", False), ("logps/chosen", True)],
    ],
)
def test_losses_are_better_when_they_are_lower(made, metric, greater):
    flags = "--val_size 2 --eval_strategy steps --load_best_model_at_end --eval_generate 2"
    flags += f" --metric_for_best_model {metric}"
    assert made(flags).greater_is_better is greater
    assert made(f"{flags} --greater_is_better {not greater}").greater_is_better is not greater


def test_settings_on_pages_are_taken_by_the_trainer(root, tmp_path):
    """A YAML block of a page, with what every run needs, asks for nothing that is refused or has no effect."""
    blocks = [
        block for page in root.glob("docs/*.md") for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)
    ]
    assert blocks
    for block in blocks:
        needed = {
            "model_name_or_path": "m",
            "dataset": "d",
            "output_dir": str(tmp_path / "o"),
            "finetuning_type": "full",
        }
        (tmp_path / "run.yaml").write_text(json.dumps(needed | yaml.safe_load(block)))
        config = parse([str(tmp_path / "run.yaml")])
        training_arguments(config)
        assert not config.notes, block
