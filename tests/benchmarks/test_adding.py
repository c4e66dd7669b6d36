"""The worked example of docs/benchmarks-adding.md: one file and one line, and every command knows the benchmark."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from gpt4scene.demo import tiny_model

SCENES = ("scene0011_00", "scene0015_00")
COUNTS = {"chair": 2, "lamp": 1}
LAST = '        "multi3dref:BENCHMARK",\n'
CALLS = """
import json, sys
from gpt4scene.cli import main
for words in json.loads(sys.argv[1]):
    if status := main(words):
        sys.exit(f"{words}: exit {status}")
"""
"""All commands in one process: they start in many seconds."""


@pytest.fixture
def source(root, tmp_path):
    """A copy of the package with the file and the line of the page."""
    shutil.copytree(root / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    page = (root / "docs" / "benchmarks-adding.md").read_text(encoding="utf-8")
    file, line = re.findall(r"```(?:python|text)\n(.*?)```", page, re.DOTALL)
    assert len([row for row in file.splitlines() if row.strip()]) < 50 and line.count("\n") == 1
    folder = tmp_path / "src" / "gpt4scene" / "benchmarks"
    (folder / "counting.py").write_text(file, encoding="utf-8")
    registry = (folder / "registry.py").read_text(encoding="utf-8")
    assert registry.count(LAST) == 1
    (folder / "registry.py").write_text(registry.replace(LAST, LAST + line), encoding="utf-8")
    return tmp_path / "src"


@pytest.fixture
def workplace(tmp_path):
    """``raw/``: two questions a scene. ``scenes/``: two images a scene, no boxes. ``model/``: a tiny checkpoint."""
    random = np.random.default_rng(0)
    (tmp_path / "raw").mkdir()
    (tmp_path / "scenes").mkdir()
    records = [{"scene_id": s, "label": label, "count": count} for s in SCENES for label, count in COUNTS.items()]
    listed = {scene: [f"{scene}_{number}.png" for number in range(2)] for scene in SCENES}
    for image in sum(listed.values(), []):
        Image.fromarray(random.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(tmp_path / "scenes" / image)
    nothing = {scene: {"objects": [], "locs": torch.zeros(0, 6)} for scene in SCENES}
    for split in ("train", "val"):
        (tmp_path / "raw" / f"counting_{split}.json").write_text(json.dumps(records))
        (tmp_path / "scenes" / f"selected_images_mark_3D_{split}_1.json").write_text(json.dumps(listed))
        for name in ("scannet", "scannet_mask3d"):
            torch.save(nothing, tmp_path / "scenes" / f"{name}_{split}_attributes.pt")
    shape = tiny_model.TinyShape(width=64, layers=2, heads=4, key_value_heads=2, vision_width=32, vision_layers=1)
    tiny_model.build(tmp_path / "model", shape=shape)
    return tmp_path


@pytest.mark.slow
def test_one_file_and_one_line_are_enough_for_every_command(source, workplace):
    environment = os.environ | {"PYTHONPATH": str(source), "HF_HUB_OFFLINE": "1"}

    def gpt4scene(*calls):
        called = [sys.executable, "-c", CALLS, json.dumps([call.split() for call in calls])]
        done = subprocess.run(called, cwd=workplace, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    made = gpt4scene(
        "annotate --raw raw --scenes scenes --out rows --split train",
        "annotate --raw raw --scenes scenes --out questions --split val",
        "train --model_name_or_path model --dataset sharegpt_data_chat_scene_1_images_3D_mark --dataset_dir rows"
        " --output_dir run --image_resolution 56 --per_device_train_batch_size 4 --max_steps 1 --save_strategy no",
        "infer --model run --annotation_dir questions --output_dir answers --image_resolution 56 --max_new_tokens 4",
    )
    assert "counting: 4 rows" in made and "skipped, for want of official files: scanqa, " in made
    asked = json.loads((workplace / "questions" / "counting_val.json").read_text())
    assert [row["ref_captions"] for row in asked] == [["2"], ["1"]] * 2
    perfect = [{**row, "pred": {"1": "One.", "2": "Two."}[row["ref_captions"][0]]} for row in asked]
    (workplace / "perfect").mkdir()
    (workplace / "perfect" / "counting.json").write_text(json.dumps(perfect))
    gpt4scene(
        "score --compare answers perfect --annotation_dir questions --json gain.json",
        "report --predictions answers --annotation_dir questions --out pages",
    )
    gain = json.loads((workplace / "gain.json").read_text())["counting"]["Acc"]
    assert (gain["second"], gain["rows"]) == (1.0, 4)
    page = (workplace / "pages" / "index.html").read_text(encoding="utf-8")
    assert "Counting" in page and "Acc" in page
    assert "How many chairs are in the room?" in (workplace / "pages" / f"scenes/{SCENES[0]}.html").read_text()
