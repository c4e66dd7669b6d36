"""DeepSpeed's file, FSDP's settings and the launcher's environment against the settings of the run."""

import json
import os
from pathlib import Path

import pytest

from gpt4scene.settings.config import parse
from gpt4scene.training.launch_files import launch_problems
from gpt4scene.training.processes import join_alone

LEAST = "--model_name_or_path m --dataset d --output_dir o --finetuning_type full".split()  # noqa: SIM905
EXAMPLES = sorted(Path(__file__).parents[2].glob("examples/deepspeed/*.json"))
STEP = "--per_device_train_batch_size 4 --gradient_accumulation_steps 4 --scene_packing 8"


@pytest.fixture
def problems(tmp_path):
    """Return a function: content of a DeepSpeed file, flags -> sentences."""

    def find(content, flags=""):
        path = tmp_path / "ds.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return launch_problems(parse([*LEAST, "--deepspeed", str(path), *flags.split()]))

    return find


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
@pytest.mark.parametrize("flags", ["", "--bf16 true", f"--fp16 true --max_grad_norm 0.5 {STEP}"])
def test_our_own_files_fit_every_run(path, flags):
    assert launch_problems(parse([*LEAST, "--deepspeed", str(path), *flags.split()])) == []


@pytest.mark.parametrize(
    ("content", "flags", "words"),
    [
        ({"train_micro_batch_size_per_gpu": 4}, "", "train_micro_batch_size_per_gpu is 4, but the run says 1"),
        ({"gradient_accumulation_steps": 3}, STEP, "gradient_accumulation_steps is 3, but the run says 16"),
        ({"train_batch_size": 64}, STEP, "train_batch_size is 64, but the run says 16"),
        ({"gradient_clipping": 0.3}, "", "gradient_clipping is 0.3, but the run says 1.0 (max_grad_norm)"),
        ({"bf16": {"enabled": True}}, "", "bf16.enabled is True, but the run says False"),
        ({"fp16": {"enabled": True}}, "--bf16 true", "fp16.enabled is True"),
        (
            {"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}},
            "--learning_rate 5e-6",
            "optimizer.params.lr is 0.0001, but the run says 5e-06 (learning_rate)",
        ),
        ({"optimizer": {"params": {"weight_decay": 0.1}}}, "", "weight_decay is 0.1, but the run says 0.0"),
        ({"optimizer": {"params": {"betas": [0.9, 0.95]}}}, "", "betas is [0.9, 0.95]"),
        ({"scheduler": {"params": {"warmup_max_lr": 1}}}, "", "warmup_max_lr is 1"),
        ({"optimizer": {"type": "Adam"}}, "--optim sgd", "would take the place of optim: sgd"),
        (
            {"scheduler": {"type": "WarmupLR"}},
            "--lr_scheduler_type cosine",
            "would take the place of lr_scheduler_type: cosine",
        ),
        (
            {"zero_optimisation": {"stage": 3}},
            "",
            "'zero_optimisation' is not a key; did you mean",
        ),
        ([], "", "must hold an object"),
        ("{", "", "is not JSON"),
    ],
    ids=str,
)
def test_what_the_file_says_otherwise(problems, content, flags, words):
    found = problems(content, flags)
    assert len(found) == 1 and words in found[0], found


def test_values_that_agree_and_auto_are_fine(problems):
    content = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 16,
        "train_batch_size": "auto",
        "gradient_clipping": 1.0,
        "optimizer": {"type": "AdamW", "params": {"lr": "auto"}},
        "steps_per_print": 1000,
        "something_new_of_theirs": 1,
    }
    assert problems(content, STEP) == []


def test_a_file_that_is_not_there():
    assert "there is no file gone.json" in launch_problems(parse([*LEAST, "--deepspeed", "gone.json"]))[0]


@pytest.mark.parametrize("key", ["transformer_layer_cls_to_warp", "fsdp_transformer_layer_cls_to_warp"])
def test_fsdp_names_that_nobody_reads(key):
    words = [*LEAST, "--fsdp", "full_shard", "--fsdp_config"]
    (sentence,) = launch_problems(parse([*words, json.dumps({key: "Layer"})]))
    assert f"'{key}' is not a key; did you mean 'transformer_layer_cls_to_wrap'?" in sentence
    assert launch_problems(parse([*words, json.dumps({key.replace("warp", "wrap"): "Layer"})])) == []


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_the_precision_of_accelerates_file(monkeypatch, precision):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
    (sentence,) = launch_problems(parse(LEAST))
    assert f"write {precision}: true" in sentence
    assert launch_problems(parse([*LEAST, f"--{precision}"])) == []


def test_deepspeed_in_accelerates_file(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    (sentence,) = launch_problems(parse(LEAST))
    assert "write deepspeed: FILE.json" in sentence


def test_a_process_without_launcher_becomes_a_world_of_its_own(monkeypatch):
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    monkeypatch.setattr(os, "environ", {})
    join_alone()
    assert [os.environ[name] for name in names[:4]] == ["0", "0", "1", "127.0.0.1"] and int(os.environ["MASTER_PORT"])
    launched = {"RANK": "3", "WORLD_SIZE": "8", "MASTER_PORT": "1"}
    monkeypatch.setattr(os, "environ", dict(launched))
    join_alone()
    assert os.environ == launched
