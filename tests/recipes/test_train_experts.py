"""Training a model with experts by the command: however the step is cut, one loss, the router's among it."""

import json
import subprocess
from pathlib import Path

import pytest

from gpt4scene.demo import tiny_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    shape = tiny_model.TinyShape(width=64, layers=2, heads=4, key_value_heads=2, vision_width=32, vision_layers=1)
    return tiny_model.build(tmp_path_factory.mktemp("experts") / "model", "qwen3_vl_moe", shape)


@pytest.mark.slow
def test_a_step_is_the_same_however_it_is_cut(experts, train, flags, losses_of, torchrun, tmp_path):
    keys = {
        "model_name_or_path": experts,
        "template": "qwen3_vl_nothink",
        "moe_aux_loss_coef": 0.5,
        "image_resolution": 64,
        "scene_packing": 4,
    }
    whole = train(tmp_path / "whole", **keys)
    one_by_one = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8, "scene_packing": 1}
    assert train(tmp_path / "ones", **keys | one_by_one) == pytest.approx(whole, rel=1e-4)
    plain = train(tmp_path / "plain", **{name: one for name, one in keys.items() if name != "moe_aux_loss_coef"})
    assert whole[0] - plain[0] == pytest.approx(0.5 * 2, rel=0.1)  # two choices a token where all are equally busy
    words = flags(tmp_path / "two", **keys | {"per_device_train_batch_size": 4})
    done = torchrun([str(ROOT / "src" / "train.py"), *words], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert losses_of(tmp_path / "two") == pytest.approx(whole, rel=1e-4)
    config = json.loads((tmp_path / "whole" / "config.json").read_text())["text_config"]
    assert config["output_router_logits"] and config["router_aux_loss_coef"] == 0.5


@pytest.mark.slow
def test_the_key_is_refused_without_experts(python, flags, tmp_path, environment, workshop):
    words = flags(tmp_path / "run", moe_aux_loss_coef=0.1)
    command = [python, str(ROOT / "src" / "train.py"), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "moe_aux_loss_coef: a qwen2_vl has no experts" in done.stderr
    assert not (tmp_path / "run").exists()
