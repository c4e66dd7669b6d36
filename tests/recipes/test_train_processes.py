"""The training recipe on two processes: DDP, ZeRO-2, ZeRO-3 and FSDP train as one process does."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from launching import deepspeed_config, needs_deepspeed

from gpt4scene.model.loading import load_model

pytestmark = pytest.mark.slow

PUBLIC_COMMAND = """
    --tokenized_path tokenizer/qwen2vl_full_sft_mark_32_3D_img512/
    --model_name_or_path ./ckpts/models--Qwen--Qwen2-VL-7B-Instruct/
    --do_train true
    --deepspeed examples/deepspeed/ds_z3_config.json
    --stage sft
    --finetuning_type full
    --dataset sharegpt_data_chat_scene_32_images_3D_mark
    --image_resolution 512
    --template qwen2_vl
    --cutoff_len 32768
    --overwrite_cache true
    --preprocessing_num_workers 16
    --output_dir model_outputs//
    --num_train_epochs 1.0
    --logging_steps 10
    --save_steps 4000
    --save_total_limit 1
    --per_device_train_batch_size 1
    --gradient_accumulation_steps 2
    --learning_rate 5.0e-6
    --lr_scheduler_type cosine
    --warmup_ratio 0.1
    --bf16 true
    --ddp_timeout 180000000
    --flash_attn fa2
    --report_to none
"""


def weights(folder):
    return safetensors.torch.load_file(folder / "model.safetensors")


def near(one, other, tolerance):
    return one.keys() == other.keys() and all(torch.allclose(one[k], other[k], rtol=0, atol=tolerance) for k in one)


def test_ddp_and_fsdp_equal_one_process(on_two, train, losses_of, tmp_path):
    alone = train(tmp_path / "alone")
    token = train(tmp_path / "token", loss_average="token")
    uneven = train(tmp_path / "seven", max_samples=7, scene_packing=2)
    tower = {"freeze_vision_tower": False, "freeze_multi_modal_projector": False, "dataset": "words,rooms"}
    mixed = train(tmp_path / "mixed", **tower, per_device_train_batch_size=10)
    adapter = train(tmp_path / "adapter", finetuning_type="lora", val_size=2)
    words = {"dataset": "words,rooms", "scene_packing": 2}
    steps = train(tmp_path / "steps", **words, per_device_train_batch_size=4)
    assert len(steps) == 9  # 10 rows, 4 a step
    words |= {"per_device_train_batch_size": 2}
    runs = on_two(
        {
            "ddp": {},
            "words": words,
            "words_fsdp": words | {"fsdp": "full_shard"},
            "packs": {"scene_packing": 4},
            "tokens": {"loss_average": "token", "scene_packing": 2},
            "uneven": {"max_samples": 7, "scene_packing": 4},
            "tower": tower | {"per_device_train_batch_size": 5},
            "lora": {"finetuning_type": "lora", "val_size": 2},
            "saved": {"save_strategy": "steps", "save_steps": 2, "bf16": True},
            "resumed": {"bf16": True, "resume_from_checkpoint": tmp_path / "saved/checkpoint-2"},
            "fsdp_bf16": {"fsdp": "full_shard", "bf16": True},
            "fsdp": {"fsdp": "full_shard", "disable_gradient_checkpointing": True},
        }
    )
    found = {name: losses_of(folder) for name, folder in runs.items()}
    for name in ("ddp", "packs", "fsdp"):
        assert found[name] == pytest.approx(alone, rel=2e-6), name
        assert near(weights(runs[name]), weights(tmp_path / "alone"), 1e-4), name
    assert found["tokens"] == pytest.approx(token, rel=2e-6)
    assert found["uneven"] == pytest.approx(uneven, rel=2e-6)
    for name in ("words", "words_fsdp"):
        assert found[name] == pytest.approx(steps, rel=2e-6), name
    assert found["tower"] == pytest.approx(mixed, rel=2e-6)
    assert len(found["resumed"]) == 1 and found["resumed"] == found["saved"][2:]
    assert load_model(runs["fsdp_bf16"]).dtype == torch.bfloat16
    assert found["fsdp_bf16"] == pytest.approx(alone, rel=1e-3)
    assert weights(runs["resumed"]).keys() == weights(runs["fsdp"]).keys()
    # Half of the rows is held out: each process trains on two and evaluates two.
    assert found["lora"] == pytest.approx(adapter, rel=2e-6)
    evaluation = [
        json.loads((folder / "eval_results.json").read_text()) for folder in (tmp_path / "adapter", runs["lora"])
    ]
    assert evaluation[0]["eval_loss"] == pytest.approx(evaluation[1]["eval_loss"], rel=1e-6)


@needs_deepspeed
def test_deepspeed_equals_one_process(on_two, train, losses_of, tmp_path):
    alone = train(tmp_path / "alone")
    keys = {"deepspeed": deepspeed_config(tmp_path, 3), "scene_packing": 2, "save_strategy": "steps", "save_steps": 2}
    words = {"dataset": "words,rooms", "scene_packing": 2}
    steps = train(tmp_path / "steps", **words, per_device_train_batch_size=4)
    words |= {"per_device_train_batch_size": 2, "deepspeed": keys["deepspeed"]}
    again = {"resume_from_checkpoint": tmp_path / "zero3/checkpoint-2"}
    runs = on_two(
        {
            "zero3": keys,
            "resumed": keys | again,
            "zero2": {"deepspeed": deepspeed_config(tmp_path, 2)},
            "words": words,
        }
    )
    assert losses_of(runs["words"]) == pytest.approx(steps, rel=2e-5)
    for name in ("zero3", "zero2"):
        assert losses_of(runs[name]) == pytest.approx(alone, rel=2e-6)
        assert near(weights(runs[name]), weights(tmp_path / "alone"), 1e-4)
    assert losses_of(runs["resumed"]) == losses_of(runs["zero3"])[2:]
    load_model(runs["zero3"])


@needs_deepspeed
def test_the_first_step_of_every_stage_is_that_of_ddp(on_two, tmp_path, workshop):
    """Adam's first update is the learning rate in size, and weight decay acts once."""
    keys = {"bf16": True, "learning_rate": 1e-2, "weight_decay": 0.5, "max_steps": 1, "warmup_steps": 0}
    stages = {f"zero{stage}": keys | {"deepspeed": deepspeed_config(tmp_path, stage)} for stage in range(4)}
    runs = on_two({"ddp": keys, **stages})
    before = weights(workshop / "model")
    size, decay = {}, {}
    for name, folder in runs.items():
        after = weights(folder)
        old = torch.cat([before[key].flatten() for key in sorted(before) if "visual" not in key])
        moved = torch.cat([after[key].float().flatten() for key in sorted(before) if "visual" not in key]) - old
        size[name] = float(moved.abs().mean())
        decay[name] = float((moved * old).sum() / (old * old).sum())
    for name in stages:
        assert size[name] == pytest.approx(size["ddp"], rel=0.02), size
        assert decay[name] == pytest.approx(decay["ddp"], rel=0.1), decay


BREAKS = """
import sys
import torch
from gpt4scene.cli import main
from gpt4scene.training import objective

def broken(model, batch, *others, sound=objective.row_losses):
    losses = sound(model, batch, *others)
    here = [origin is not None and origin.row == 3 for origin in batch.origins]
    return losses + torch.where(torch.tensor(here), float("nan"), 0.0)

objective.row_losses = broken
sys.exit(main(["train", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("way", ["ddp", "fsdp", "zero2", "zero3"])
def test_a_broken_loss_on_one_process_stops_all(torchrun, flags, tmp_path, way):
    keys = {"per_device_train_batch_size": 4, "save_strategy": "steps"}
    keys |= {"fsdp": {"fsdp": "full_shard"}}.get(way, {})
    if way.startswith("zero"):
        pytest.importorskip("deepspeed")
        keys["deepspeed"] = deepspeed_config(tmp_path, int(way[-1]))
    (tmp_path / "script.py").write_text(BREAKS)
    done = torchrun([str(tmp_path / "script.py"), *flags(tmp_path / "run", **keys)], tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("error: step 1: the loss is no finite number") == 1, done.stderr[-3000:]
    assert "rows.json, row 3 (dataset 'rooms'): nan" in done.stderr
    assert 'training/trainer.py"' not in done.stderr  # no traceback of ours
    assert not list((tmp_path / "run").glob("**/*.safetensors"))
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "failed"


@needs_deepspeed
def test_the_public_command(torchrun, workshop, root, tmp_path):
    paths = {
        "tokenizer/qwen2vl_full_sft_mark_32_3D_img512/": tmp_path / "tokens/",
        "./ckpts/models--Qwen--Qwen2-VL-7B-Instruct/": workshop / "model",
        "examples/deepspeed/ds_z3_config.json": root / "examples/deepspeed/ds_z3_config.json",
        "model_outputs//": tmp_path / "run",
        "sharegpt_data_chat_scene_32_images_3D_mark": "rooms",
    }
    (tmp_path / "data").symlink_to(workshop / "data")
    words = [str(paths.get(word, word)) for word in shlex.split(PUBLIC_COMMAND)]
    done = torchrun([str(root / "src/train.py"), *words], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "4 questions a step (2 on each of 2 processes, one by one)" in done.stderr
    assert done.stderr.count("flash_attn: fa2 needs the package flash-attn") <= 1
    results = json.loads((tmp_path / "run/all_results.json").read_text())
    assert results["train_loss"] > 0 and results["epoch"] == 1.0
    assert {tensor.dtype for tensor in weights(tmp_path / "run").values()} == {torch.bfloat16}
    load_model(tmp_path / "run")
    assert done.stderr.count("the run as a page: ") == 1, "the first process alone writes it"
    page = (tmp_path / "run/index.html").read_text()
    assert "torchrun" not in page and "infer --model run " in page and "deepspeed" in page


def test_sigterm_saves_on_all_processes(python, flags, losses_of, environment, root, tmp_path):
    """As Slurm sends it: torchrun and its processes get it, and torchrun passes its own on to them a little later."""
    keys = {"per_device_train_batch_size": 1, "num_train_epochs": 200}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(root / "src/train.py"), *flags(tmp_path / "run", **keys)]
    running = subprocess.Popen(command, env=environment | {"PYTHON_EXEC": python}, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run/trainer_log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") > 3):
        assert time.monotonic() < deadline and running.poll() is None
        time.sleep(0.1)
    workers = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    assert len(workers) == 2
    for worker in workers:
        os.kill(int(worker), signal.SIGTERM)
    time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    errors = running.communicate(timeout=60)[1]
    assert running.returncode != 0
    assert "SIGTERM after step" in errors
    checkpoint = tmp_path / f"run/checkpoint-{len(losses_of(tmp_path / 'run'))}"
    assert (checkpoint / "batches.json").is_file() and (checkpoint / "rng_state_1.pth").is_file()
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "stopped"
    assert "torchrun --nproc_per_node 2 src/train.py " in (tmp_path / "run/index.html").read_text()


def test_a_bad_image_on_one_process_is_one_sentence(torchrun, flags, root, tmp_path, workshop):
    shutil.copytree(workshop / "data", tmp_path / "data")
    image = tmp_path / "data/scene1_0.png"
    image.write_bytes(image.read_bytes()[:2000])
    words = flags(tmp_path / "run", dataset_dir=tmp_path / "data", per_device_train_batch_size=1)
    done = torchrun([str(root / "src/train.py"), *words], tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("scene1_0.png") == 1 and "error: " in done.stderr
    assert 'training/trainer.py"' not in done.stderr  # no traceback of ours


FAILS = """
import os, sys
from gpt4scene.cli import main
from gpt4scene.errors import DataError
from gpt4scene.model.tower import Tower

def fail(self, images, *others, sound=Tower.inputs):
    if os.environ["RANK"] == "1" and images.paths:
        raise DataError("image of a scene: the file changed")
    return sound(self, images, *others)

Tower.inputs = fail
sys.exit(main(["train", *sys.argv[1:]]))
"""


EVALUATION = {"do_train": False, "do_eval": True, "val_size": 4, "per_device_eval_batch_size": 1}


@pytest.mark.parametrize("keys", [{}, EVALUATION], ids=["step", "evaluation"])
def test_an_image_that_is_another_when_its_turn_comes_ends_all(torchrun, flags, tmp_path, keys):
    """Features were dropped, so that the main process decodes the image itself."""
    (tmp_path / "script.py").write_text(FAILS)
    words = flags(tmp_path / "run", per_device_train_batch_size=4, scene_packing=2, **keys)
    done = torchrun([str(tmp_path / "script.py"), *words], tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("error: image of a scene: the file changed") == 1, done.stderr[-3000:]
    assert 'training/trainer.py"' not in done.stderr  # no traceback of ours
