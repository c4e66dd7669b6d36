"""Every training file in examples/, with a tiny model and data in place of its own, trains for two steps."""

import json
from pathlib import Path

import pytest
import yaml

from gpt4scene.settings.config import parse
from gpt4scene.training import sft

ROOT = Path(__file__).parents[2]
YAMLS = sorted((ROOT / "examples" / "train").glob("*.yaml"))
SMALL = {"image_resolution": 56, "max_steps": 2, "gradient_accumulation_steps": 2, "logging_steps": 1}
"""Keys that make a run small; all others stay as the file has them."""


@pytest.mark.slow
@pytest.mark.parametrize("path", YAMLS, ids=[path.stem for path in YAMLS])
def test_a_tiny_variant_trains_for_two_steps(path, workshop, tmp_path):
    written = yaml.safe_load(path.read_text())
    output = tmp_path / "run"
    keys = SMALL | {
        "model_name_or_path": workshop / "model",
        "dataset": "pairs" if written.get("stage") == "dpo" else "rooms",
        "dataset_dir": workshop / "data",
        "output_dir": output,
    }
    if "deepspeed" in written:
        keys["deepspeed"] = ""  # two processes of it train in test_train_processes
    if "tokenized_path" in written:
        keys["tokenized_path"] = tmp_path / "tokens"
    if written.get("scene_packing", 1) != 1:
        keys["scene_packing"] = 2
    assert sft.run(parse([str(path), *(word for key, value in keys.items() for word in (f"--{key}", str(value)))])) == 0
    if written.get("tokenize_only"):
        assert (tmp_path / "tokens").is_dir()
        return
    lines = [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()]
    assert [line["current_steps"] for line in lines if "loss" in line] == [1, 2]
