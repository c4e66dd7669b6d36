"""The published training script for real: ZeRO-3 on two CPU processes, a tiny model, every flag but for the paths."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpt4scene.demo import tiny_model

ROOT = Path(__file__).resolve().parent.parent
DATASET = "sharegpt_data_chat_scene_32_images_3D_mark"


@pytest.fixture
def files(tmp_path):
    """A tiny checkpoint, and a data folder with four rows about each of two rooms, 33 images a row."""
    tiny_model.build(tmp_path / "model")
    generator = np.random.default_rng(0)
    rows = []
    for room in range(2):
        names = [f"room{room}_{index}.jpg" for index in range(33)]
        for name in names:
            (tmp_path / "data/annotation").mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(0, 255, (56, 84, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data/annotation" / name)
        for index in range(4):
            question = {"role": "user", "content": "<image>" * 33 + f"Is there a chair at wall {index}?"}
            answer = {"role": "assistant", "content": "Yes." if (room + index) % 2 else "No."}
            rows.append({"messages": [question, answer], "images": names})
    (tmp_path / f"data/annotation/{DATASET}.json").write_text(json.dumps(rows))
    (tmp_path / "data/dataset_info.json").write_text((ROOT / "data/dataset_info.json").read_text())
    return tmp_path


@pytest.mark.slow
def test_published_script_trains_on_two_processes(files):
    pytest.importorskip("deepspeed")
    script = ROOT / "scripts/qwen2vl_7b_full_sft_mark_32_3D_img512.sh"
    settings = {
        "num_gpus": "2",
        "full_batch_size": "4",
        "model_name_or_path": str(files / "model"),
        "tokenized_path": str(files / "tokenized"),
        "output_dir": str(files / "out"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "CUDA_VISIBLE_DEVICES": "",
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    done = subprocess.run(
        ["bash", str(script), "--dataset_dir", str(files / "data")],
        env=clean | settings,
        cwd=files,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    state = json.loads((files / "out/trainer_state.json").read_text())
    assert state["global_step"] == state["max_steps"] == 2
    assert (files / "out/model.safetensors").stat().st_size > 0
    assert (files / "tokenized").is_dir()
    run = json.loads((files / "out/run.json").read_text())
    assert "ds_z3_config.json" in json.dumps(run)
    assert done.stderr.count("is called warmup_steps now") == 1, "a note is said once, not by every process"
