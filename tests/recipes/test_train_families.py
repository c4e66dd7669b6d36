"""Every family by the command: however a step is cut, shared out, stopped and gone on with, one run."""

import importlib.util

import pytest
import torch
from hybrid import skip_unless_known
from launching import deepspeed_config
from safetensors.torch import load_file

from gpt4scene.demo import tiny_model
from gpt4scene.families.registry import FAMILIES
from gpt4scene.model.export import export

pytestmark = pytest.mark.slow

ALL_LEARN = {"freeze_vision_tower": False, "freeze_multi_modal_projector": False}
LORA = {"finetuning_type": "lora", "learning_rate": 1e-2, "lora_rank": 4}
DPO = LORA | {"dataset": "pairs", "stage": "dpo"}
ONES = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8, "scene_packing": 1}
WAYS = {"full": ALL_LEARN, "lora": LORA | {"freeze_vision_tower": False}, "dpo": DPO}
SHAPE = tiny_model.TinyShape(width=64, layers=3, heads=4, key_value_heads=2, vision_width=32, vision_layers=1)


def keys_of(family, place):
    """Keys of a run on a tiny checkpoint of the family; Qwen3-VL's experts have their axes as in its release."""
    skip_unless_known(family)
    folder = tiny_model.build(place / f"made {family}", family, SHAPE)
    if family == "qwen3_vl_moe":
        folder = export(folder, [], place / "released")
    return {"model_name_or_path": folder, "template": FAMILIES[family].template, "max_steps": 3}


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    return keys_of(request.param, tmp_path)


@pytest.mark.parametrize("way", WAYS)
def test_a_step_is_the_same_however_it_is_cut_and_after_a_pause(family, train, tmp_path, way):
    keys = family | WAYS[way]
    ones = train(tmp_path / "ones", **keys | ONES)
    packs = keys | {"scene_packing": 4, "save_strategy": "steps", "save_steps": 2}
    found = train(tmp_path / "packs", **packs)
    assert found == pytest.approx(ones, rel=2e-5) and found[2] < found[0]
    again = train(tmp_path / "again", **packs, resume_from_checkpoint=tmp_path / "packs" / "checkpoint-2")
    assert again == found[2:]
    file = "model.safetensors" if way == "full" else "adapter_model.safetensors"
    one, other = (load_file(tmp_path / name / file) for name in ("packs", "again"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("part", [0, 1])
def test_two_processes_equal_one(part, on_two, train, losses_of, tmp_path):
    """Of models all parts of which learn: whole on both processes, and shared out to them."""
    shared = {"ddp": {}, "fsdp": {"fsdp": "full_shard"}}
    if importlib.util.find_spec("deepspeed"):
        shared["zero3"] = {"deepspeed": deepspeed_config(tmp_path, 3)}
    keys = {one: keys_of(one, tmp_path / one) | ALL_LEARN | {"max_steps": 2} for one in list(FAMILIES)[part::2]}
    alone = {family: train(tmp_path / f"alone {family}", **one) for family, one in keys.items()}
    runs = {  # those of ZeRO-3 last: a process that has used DeepSpeed is told so for good
        f"{name} {family}": one | {"scene_packing": 4} | way
        for name, way in shared.items()
        for family, one in keys.items()
    }
    for name, folder in on_two(runs).items():
        assert losses_of(folder) == pytest.approx(alone[name.split()[1]], rel=1e-4), name
