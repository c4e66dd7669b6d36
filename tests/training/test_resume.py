"""What a resumed run must agree in, and which folders can be gone on with."""

import json
from dataclasses import replace

import pytest

from gpt4scene.errors import DataError
from gpt4scene.files.run_folder import MARK
from gpt4scene.settings.config import parse
from gpt4scene.training.hf_arguments import training_arguments
from gpt4scene.training.output import BatchPlan
from gpt4scene.training.resume import STATE, check_complete, check_settings, settings_of, steps_left, total_steps

PLAN = BatchPlan(questions_per_step=8, questions_per_pack=4, processes=2, training_rows=100, seed=42)
FINGERPRINT = {"template": {"name": "qwen2_vl"}, "dataset files": {"rooms": {"rows.json": "abc"}}, "media_dir": "a"}
FILES = {
    "plain": ("model.safetensors", "config.json", "optimizer.pt", "scheduler.pt"),
    "lora": ("adapter_model.safetensors", "adapter_config.json", "optimizer.pt"),
    "deepspeed": ("model.safetensors", "config.json", "global_step3"),
    "fsdp": ("pytorch_model_fsdp_0", "optimizer_0", "scheduler.pt"),
}


@pytest.fixture
def made(tmp_path):
    """Return a function: flags -> settings, and the arguments they come from."""

    def make(flags="", **changes):
        config = parse(
            [
                *f"--model_name_or_path m --dataset d --output_dir {tmp_path} --use_cpu --finetuning_type full".split(),
                *flags.split(),
            ]
        )
        arguments = training_arguments(config)
        return settings_of(config, arguments, FINGERPRINT | changes), arguments

    return make


def checkpoint(folder, files=(), settings=None, step=3):
    path = folder / "checkpoint-3"
    path.mkdir()
    (path / MARK).write_text(json.dumps(PLAN.content() | ({} if settings is None else {"settings": settings})))
    (path / STATE).write_text(json.dumps({"global_step": step}))
    for name in files:
        (path / name).write_text("")
    return path


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--learning_rate 1e-3", r"learning_rate was 5e-05 and is 0\.001"),
        ("--weight_decay 0.1", r"weight_decay was 0\.0 and is 0\.1"),
        ("--adam_beta2 0.9", "adam_beta2 was"),
        ("--optim sgd", "optim was adamw_torch"),
        ("--loss_average token", "loss_average was row and is token"),
        ("--freeze_vision_tower false", "freeze_vision_tower was True and is False"),
        ("--finetuning_type freeze", "finetuning_type was full and is freeze"),
        ("--bf16", "bf16 was False and is True"),
        ("--train_on_prompt", "train_on_prompt was"),
        ("--val_size 3", r"val_size was 0\.0 and is 3"),
    ],
)
def test_what_would_have_no_effect_or_be_another_run_is_named(made, tmp_path, flags, words):
    path = checkpoint(tmp_path, settings=made()[0])
    check_settings(path, made()[0])
    with pytest.raises(DataError, match=rf"can't be continued exactly: .*{words}.*start anew"):
        check_settings(path, made(flags)[0])


@pytest.mark.parametrize(
    "flags",
    ["--num_train_epochs 9", "--max_steps 9", "--save_steps 3", "--logging_steps 7", "--warmup_steps 3", "--plot_loss"],
)
def test_what_takes_effect_or_only_watches_may_change(made, tmp_path, flags):
    check_settings(checkpoint(tmp_path, settings=made()[0]), made(flags)[0])


def test_other_rows_are_refused_unless_asked_for(made, tmp_path):
    path = checkpoint(tmp_path, settings=made()[0])
    changed, _ = made(**{"dataset files": {"rooms": {"rows.json": "abd"}}})
    with pytest.raises(DataError, match="dataset files of the rows is another.*ignore_data_skip"):
        check_settings(path, changed)
    check_settings(path, changed, other_rows=True)
    check_settings(path, made(media_dir="b")[0])


def test_a_checkpoint_without_settings_has_nothing_to_compare(made, tmp_path):
    check_settings(checkpoint(tmp_path), made("--learning_rate 1")[0])


@pytest.mark.parametrize("kind", FILES)
def test_a_whole_checkpoint_passes(tmp_path, kind):
    check_complete(checkpoint(tmp_path, FILES[kind]), "lora" if kind == "lora" else "full")


@pytest.mark.parametrize("kind", FILES)
def test_a_checkpoint_without_an_optimizer_is_refused(tmp_path, kind):
    files = [name for name in FILES[kind] if not name.startswith(("optimizer", "global", "scheduler"))]
    path = checkpoint(tmp_path, files)
    with pytest.raises(DataError, match="no optimizer and no schedule .save_only_model.*model_name_or_path"):
        check_complete(path, "lora" if kind == "lora" else "full")


def test_a_checkpoint_without_its_state_is_refused(tmp_path):
    path = checkpoint(tmp_path, FILES["plain"])
    (path / STATE).unlink()
    with pytest.raises(DataError, match=rf"{STATE} is missing"):
        check_complete(path, "full")


@pytest.mark.parametrize(("kind", "wanted"), [("lora", "full"), ("lora", "freeze"), ("plain", "lora")])
def test_a_checkpoint_of_another_kind_of_training_is_refused(tmp_path, kind, wanted):
    with pytest.raises(DataError, match=f"LoRA adapter.*finetuning_type is {wanted}"):
        check_complete(checkpoint(tmp_path, FILES[kind]), wanted)


@pytest.mark.parametrize(
    ("flags", "total"), [("--max_steps 5", 5), ("--num_train_epochs 2", 14), ("--num_train_epochs 0.5", 4)]
)
def test_steps_are_counted_as_the_trainer_counts_them(made, tmp_path, flags, total):
    assert total_steps(made(flags)[1], PLAN) == total
    path = checkpoint(tmp_path, step=4)
    assert steps_left(path, total) == total - 4
    with pytest.raises(DataError, match="has taken 4 steps, but this run ends after 3"):
        steps_left(path, 3)


def test_an_epoch_takes_every_row_once():
    assert [replace(PLAN, training_rows=rows).steps_per_epoch for rows in (1, 16, 17)] == [1, 1, 2]
