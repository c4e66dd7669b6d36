"""``scene_packing: auto`` and what a run makes of a number of questions a pack."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from scene_rows import write_image

from gpt4scene.data.packs import PackDataset
from gpt4scene.demo import tiny_model
from gpt4scene.families.shape import PUBLISHED
from gpt4scene.files.run_folder import MARK
from gpt4scene.model.fused import Kernels, plain_gate, plain_norm
from gpt4scene.settings.config import parse
from gpt4scene.training import packing
from gpt4scene.training.checkpointing import pack_size
from gpt4scene.training.fitting import setup_of
from gpt4scene.training.memory import PUBLISHED_PACK
from gpt4scene.training.packing import branches_of, widest_pack
from gpt4scene.training.preflight import plan_of

GB = 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def rows(encoder, make_row, images):
    return PackDataset([make_row(images, f"Question {i}?", "Yes. " * i, i) for i in range(40)], encoder)


@pytest.fixture
def branches(folder, rows, tmp_path, monkeypatch):
    """Return a function: flags and free bytes of the devices -> questions of a pack."""

    def found(words="", free=(None,), checkpoint=None, data=rows):
        words = words if "finetuning_type" in words else f"{words} --finetuning_type full"
        given = "--dataset rooms --per_device_train_batch_size 4 --gradient_accumulation_steps 4"
        config = parse(f"--model_name_or_path {folder} --output_dir {tmp_path}/run {given} {words}".split())
        arguments = SimpleNamespace(device=torch.device("cpu"), world_size=len(free), data_seed=None, seed=1)
        with monkeypatch.context() as patch:
            patch.setattr(packing, "gather_all", lambda value: list(free))
            taken = branches_of(config, arguments, folder, data, checkpoint)
        return plan_of(config, arguments, SimpleNamespace(train=data), taken).questions_per_pack

    return found


def test_a_number_is_taken_as_it_is_written_but_made_even(branches):
    assert [branches(f"--scene_packing {size}", (80 * GB,)) for size in (1, 8, 12, 6, 50)] == [1, 8, 8, 6, 16]
    assert branches() == 1


def test_a_reference_takes_its_part_of_the_memory(branches, monkeypatch):
    """The second model of preferences lies whole on each device: packs get what is left."""
    words = "--scene_packing auto --stage dpo"
    assert branches(words, (80 * GB,)) == 16
    monkeypatch.setattr(packing, "setup_of", lambda *of, **more: replace(setup_of(*of, **more), beside=80 * GB))
    assert branches(words, (80 * GB,)) == 1
    model, least = PUBLISHED["Qwen2-VL-7B"], ["--model_name_or_path", "m", "--dataset", "d", "--stage", "dpo"]
    for words, size in (
        ("--finetuning_type full --bf16", 2 * model.parameters),
        ("--finetuning_type full", 4 * model.parameters),
        ("--finetuning_type full --pref_loss simpo", 0),
        ("--finetuning_type lora --bf16", 0),
        ("--finetuning_type lora --bf16 --ref_model other", 2 * model.parameters),
    ):
        assert setup_of(parse([*least, "--output_dir", "o", *words.split()]), model, 1).beside == size, words


def test_auto_takes_all_questions_of_a_step_without_an_accelerator_or_with_room(branches):
    assert branches("--scene_packing auto") == 16
    assert branches("--scene_packing auto", (80 * GB, 80 * GB)) == 16
    assert branches("--scene_packing auto", (80 * GB, None)) == 16


def test_auto_takes_what_the_smallest_device_holds(branches, monkeypatch):
    asked = []

    def largest(model, setup, pack, free, *, most, every):
        asked.append((free, most, every, setup.processes))
        return 11

    monkeypatch.setattr(packing, "largest_pack", largest)
    assert branches("--scene_packing auto", (80 * GB, 24 * GB)) == 8  # 16 questions are 2 packs of 8, not 11 and 5
    assert branches("--scene_packing auto --disable_gradient_checkpointing true", (24 * GB,)) == 8
    assert asked == [(24 * GB, 16, 1, 2), (24 * GB, 16, 0, 1)]


def test_little_memory_makes_small_packs(branches, monkeypatch):
    monkeypatch.setattr(packing, "shape_of", lambda config: PUBLISHED["Qwen2-VL-7B"])
    monkeypatch.setattr(packing, "widest_pack", lambda rows, branches: PUBLISHED_PACK)
    words = "--scene_packing auto --finetuning_type lora --bf16"
    sizes = [branches(words, (int(free * GB),)) for free in (12, 24, 25, 26, 27, 28, 30, 40, 80)]
    assert sizes == sorted(sizes) and sizes[0] == 1 and sizes[-1] == 16 and len(set(sizes)) > 2


def test_fused_kernels_count_as_they_do_when_layers_are_chosen(branches, monkeypatch):
    monkeypatch.setattr(packing, "shape_of", lambda config: PUBLISHED["Qwen2-VL-7B"])
    monkeypatch.setattr(packing, "widest_pack", lambda rows, branches: PUBLISHED_PACK)
    words = "--scene_packing auto --finetuning_type lora --bf16 --disable_gradient_checkpointing true"
    plain = branches(words, (72 * GB,))
    monkeypatch.setattr(packing, "kernels_of", lambda *_: (Kernels("fused", plain_norm, plain_gate), None))
    assert plain < branches(words, (72 * GB,)) == 16


def test_an_adapter_counts_by_its_own_rank(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"r": 64}')
    (tmp_path / "adapter_model.safetensors").touch()
    seven = PUBLISHED["Qwen2-VL-7B"]
    words = ["--model_name_or_path", "m", "--dataset", "d", "--output_dir", "o", "--adapter_name_or_path"]
    assert setup_of(parse([*words, str(tmp_path)]), seven, 1).trained == seven.lora_parameters(64)


def test_plain_attention_on_an_accelerator_shares_nothing(branches):
    assert branches("--scene_packing auto --flash_attn disabled", (80 * GB,)) == 1
    assert branches("--scene_packing auto --flash_attn disabled") == 16


def test_a_resumed_run_keeps_its_packs(branches, tmp_path):
    (tmp_path / MARK).write_text(json.dumps({"branches": 4}))
    assert branches("--scene_packing auto", (80 * GB,), checkpoint=tmp_path) == 4
    assert branches("--scene_packing 8", (80 * GB,), checkpoint=tmp_path) == 8  # and is refused when it goes on


def test_own_images_count_for_the_size_of_a_pack(encoder, make_row, images, tmp_path):
    own = [write_image(tmp_path / f"own{i}.png", (112, 112), i) for i in range(2)]
    rows = [make_row((*images, own[i]) if i < 2 else images, f"Question {i}?", "Yes.", i) for i in range(6)]
    plain = PackDataset(rows[2:], encoder)
    assert widest_pack(plain, 4) == pack_size(plain, 4)
    mixed = PackDataset(rows, encoder)
    packed = mixed.pack(range(6))
    size = widest_pack(mixed, 6)
    assert size.patches >= sum(time * height * width for time, height, width in packed.grids)
    assert size.tokens >= packed.length > pack_size(mixed, 6).tokens - size.branches * 20
