"""Every example that a user may copy: parsed, checked by the library that reads it, and called with stand-ins."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpt4scene.data.datasets import read_dataset_info
from gpt4scene.errors import ConfigError
from gpt4scene.settings.config import parse

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = "scripts/qwen2vl_7b_full_sft_mark_32_3D_img512.sh"
YAMLS = sorted(ROOT.glob("examples/train/*.yaml"))
DEEPSPEED = sorted(ROOT.glob("examples/deepspeed/*.json"))

PUBLISHED_TRAINING = {
    "num_train_epochs": 1.0,
    "learning_rate": 5e-6,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.1,
    "bf16": True,
    "logging_steps": 10,
    "save_steps": 4000,
    "save_total_limit": 1,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 2,
    "ddp_timeout": 180000000,
    "report_to": ["none"],
    "do_train": True,
}


@pytest.mark.parametrize("path", YAMLS, ids=[path.stem for path in YAMLS])
def test_training_yamls(path):
    config = parse([str(path)])
    named = [entry.name for entry in read_dataset_info(ROOT / "data", config.data.dataset, config.tuning.stage)]
    assert named == config.data.dataset
    deepspeed = config.training.get("deepspeed")
    assert deepspeed is None or (ROOT / deepspeed).is_file()
    assert str(path.relative_to(ROOT)) in path.read_text(), "the comment says how to run it"


def test_full_yaml_is_the_published_run():
    config = parse([str(ROOT / "examples/train/qwen2vl_full_sft.yaml")])
    assert config.training.items() >= PUBLISHED_TRAINING.items()
    assert (config.tuning.finetuning_type, config.tuning.freeze_vision_tower) == ("full", True)
    assert (config.tuning.scene_packing, config.data.image_resolution, config.data.cutoff_len) == (1, 512, 32768)


def test_lora_yaml_trains_on_one_gpu_and_tokenize_yaml_stops():
    lora = parse([str(ROOT / "examples/train/qwen2vl_lora_sft.yaml")])
    assert lora.tuning.finetuning_type == "lora" and "deepspeed" not in lora.training
    assert parse([str(ROOT / "examples/train/qwen2vl_tokenize_only.yaml")]).data.tokenize_only


def test_public_datasets_are_registered():
    names = [f"sharegpt_data_chat_scene_{count}_images_3D_mark" for count in (8, 32)]
    entries = read_dataset_info(ROOT / "data", names)
    assert [entry.file_name for entry in entries] == [f"annotation/{name}.json" for name in names]


def test_all_five_deepspeed_files_are_there():
    assert {path.name for path in DEEPSPEED} == {
        f"ds_{kind}_config.json" for kind in ("z0", "z2", "z2_offload", "z3", "z3_offload")
    }


@pytest.mark.parametrize("path", DEEPSPEED, ids=[path.stem for path in DEEPSPEED])
def test_deepspeed_files(path, tmp_path, monkeypatch):
    """The Trainer fills in every "auto", and DeepSpeed accepts what comes out."""
    pytest.importorskip("deepspeed")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    from deepspeed.runtime.config import DeepSpeedConfig
    from transformers import TrainingArguments
    from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

    text = path.read_text()
    stage, offload = re.fullmatch(r"ds_z(\d)(_offload)?_config", path.stem).groups()
    settings = HfTrainerDeepSpeedConfig(json.loads(text))
    zero = settings.config["zero_optimization"]
    assert zero["stage"] == int(stage)
    assert (zero.get("offload_optimizer", {}).get("device") == "cpu") == bool(offload)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, bf16=True, per_device_train_batch_size=1)
    settings.trainer_config_process(arguments)
    for key in ("reduce_bucket_size", "stage3_prefetch_bucket_size", "stage3_param_persistence_threshold"):
        if zero.get(key) == "auto":
            zero[key] = 1024  # the Trainer takes these from the model's width
    assert "auto" not in json.dumps(settings.config)
    checked = DeepSpeedConfig(settings.config)
    assert checked.zero_optimization_stage == int(stage)
    assert checked.bfloat16_config.enabled


def test_accelerate_file():
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "examples/accelerate/fsdp2.yaml"))
    assert config.distributed_type == "FSDP"
    assert config.fsdp_config["fsdp_version"] == 2
    assert "fsdp_transformer_layer_cls_to_wrap" not in config.fsdp_config, "a family's own layers are taken"


@pytest.fixture
def commands(tmp_path):
    """Stand-ins for torchrun, srun and scontrol that write down their words, one a line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("torchrun", "srun"):
        (folder / name).write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$(basename "$0")" "$@" >"$WORDS"\n')
    (folder / "scontrol").write_text('#!/usr/bin/env bash\nprintf "%s\\n" node7 node8\n')
    for path in folder.iterdir():
        path.chmod(0o755)
    words = tmp_path / "words"

    def call(script, *flags, **environment):
        words.unlink(missing_ok=True)
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "CUDA_VISIBLE"))}
        path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", str(ROOT / script), *flags],
            cwd=tmp_path,
            env=clean | {"PATH": path, "WORDS": str(words)} | environment,
            capture_output=True,
            text=True,
        )
        return done, words.read_text().splitlines() if words.exists() else []

    return call


def after_script(words):
    return words[words.index("src/train.py") + 1 :]


def value(words, flag):
    return words[words.index(flag) + 1]


def test_published_script_is_the_published_run(commands):
    done, words = commands(PUBLISHED, CUDA_VISIBLE_DEVICES="0,1,2,3,4,5,6,7")
    assert done.returncode == 0, done.stderr
    assert words[0] == "torchrun" and value(words, "--nproc_per_node") == "8"
    config = parse(after_script(words))
    assert config.training.items() >= PUBLISHED_TRAINING.items()
    assert config.training["deepspeed"] == "examples/deepspeed/ds_z3_config.json"
    assert config.data.dataset == ["sharegpt_data_chat_scene_32_images_3D_mark"]
    assert config.data.tokenized_path == "tokenizer/qwen2vl_full_sft_mark_32_3D_img512/"
    assert config.model.flash_attn == "fa2"


def test_published_script_takes_settings_and_flags(commands):
    _, words = commands(
        PUBLISHED,
        "--learning_rate=1e-5",
        num_gpus="2",
        full_batch_size="64",
        tokenized_path="",
        model_name_or_path="m",
        MASTER_PORT="29411",
    )
    config = parse(after_script(words))
    assert config.training["gradient_accumulation_steps"] == 32
    assert config.training["learning_rate"] == 1e-5
    assert (config.data.tokenized_path, config.model.model_name_or_path) == (None, "m")
    assert "--master_port=29411" in words


def test_published_script_without_a_gpu(commands):
    _, words = commands(PUBLISHED, CUDA_VISIBLE_DEVICES="")
    assert value(words, "--nproc_per_node") == "1" and "--deepspeed" not in words


def test_published_script_refuses_a_batch_that_does_not_divide(commands):
    done, words = commands(PUBLISHED, num_gpus="3")
    assert done.returncode == 2 and "no multiple" in done.stderr and not words


def test_published_script_under_slurm(commands):
    _, words = commands(PUBLISHED, "--seed", "3", PARTITION="gpu")
    assert words[0] == "srun" and "--gres=gpu:8" in words and words[-2:] == ["--seed", "3"]
    job = {"SLURM_JOB_ID": "5", "SLURM_NNODES": "2", "num_gpus": "4"}
    _, words = commands(PUBLISHED, **job)
    assert words[0] == "srun" and "--nodes=2" in words
    inside = {"GPT4SCENE_NODE": "1", "SLURM_NODEID": "1", "SLURM_JOB_NODELIST": "node[7-8]"}
    _, words = commands(PUBLISHED, **job, **inside)
    assert {"--node_rank=1", "--master_addr=node7"} <= set(words) and value(words, "--nnodes") == "2"
    assert parse(after_script(words)).training["gradient_accumulation_steps"] == 2
    _, words = commands(PUBLISHED, **(job | {"SLURM_NNODES": "1"}))
    assert words[0] == "torchrun" and "--master_addr=127.0.0.1" in words


@pytest.mark.parametrize("name", ["train", "infer", "vllm_server"])
def test_slurm_scripts_want_sbatch_the_project_folder_and_flags(commands, tmp_path, name):
    script = f"examples/slurm/{name}.sh"
    done, _ = commands(script)
    assert done.returncode != 0 and "sbatch" in done.stderr
    done, _ = commands(script, SLURM_SUBMIT_DIR=str(tmp_path))
    assert done.returncode == 2 and "project folder" in done.stderr
    done, words = commands(script, SLURM_SUBMIT_DIR=str(ROOT))
    assert done.returncode == 2 and not words


def test_slurm_training_starts_torchrun_on_every_node(commands):
    job = {"SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "node[7-8]"}
    done, words = commands("examples/slurm/train.sh", "run.yaml", "--seed", "3", **job)
    assert done.returncode == 0, done.stderr
    assert words[0] == "srun" and words[-3:] == ["run.yaml", "--seed", "3"]
    assert any("torchrun --nnodes" in word for word in words)


@pytest.mark.parametrize(
    ("restarts", "words", "goes_on"),
    [
        ("0", [], False),
        ("1", [], True),
        ("1", ["--resume_from_checkpoint", "out/checkpoint-7"], False),
        ("2", ["--overwrite_output_dir", "true"], True),
    ],
)
def test_a_slurm_job_that_starts_again_goes_on(commands, tmp_path, restarts, words, goes_on):
    job = {"SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "node7"}
    job["SLURM_RESTART_COUNT"] = restarts
    yaml = tmp_path / "run.yaml"
    yaml.write_text("model_name_or_path: m\ndataset: d\noutput_dir: out\n")
    done, called = commands("examples/slurm/train.sh", str(yaml), *words, **job)
    assert done.returncode == 0, done.stderr
    given = called[called.index(str(yaml)) :]
    assert given == [str(yaml), *words, *(["--resume_from_checkpoint", "auto"] if goes_on else [])]
    if "--overwrite_output_dir" in words:  # it must neither delete what it has saved nor go on with another run
        with pytest.raises(ConfigError, match="auto goes on with the run in output_dir, and overwrite_output_dir"):
            parse(given)
    yaml.write_text("resume_from_checkpoint: true\n")
    assert "auto" not in commands("examples/slurm/train.sh", str(yaml), **job)[1]


def test_sky_file():
    """SkyPilot's own parser takes the file; what it runs is run in tests/recipes/test_launches.py."""
    sky = pytest.importorskip("sky", reason="SkyPilot is not installed")
    task = sky.Task.from_yaml(str(ROOT / "examples/sky/train.yaml"))
    assert task.num_nodes == 2 and [one.accelerators for one in task.resources] == [{"H100": 8}]
