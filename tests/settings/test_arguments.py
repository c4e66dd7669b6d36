"""The training keys: every one documented, and the attention decision."""

import dataclasses
import importlib.util

import pytest

from gpt4scene.settings.arguments import DataArguments, ImageLimits, ModelArguments, TuningArguments, attention_backend

SECTIONS = (ModelArguments, DataArguments, TuningArguments)
FIELDS = [(section, field) for section in SECTIONS for field in dataclasses.fields(section)]


@pytest.mark.parametrize(("section", "field"), FIELDS, ids=[f"{s.__name__}.{f.name}" for s, f in FIELDS])
def test_every_key_has_one_sentence(section, field):
    sentence = field.metadata["help"]
    assert sentence.endswith(".") and sentence[0].isupper() and ". " not in sentence


def test_keys_are_few_and_unique():
    names = [field.name for _, field in FIELDS]
    assert len(names) == len(set(names)) < 60


def test_defaults_are_the_published_run_but_for_the_method():
    """The published command says ``finetuning_type full``; where nothing is said, it is lora, as in LLaMA-Factory."""
    tuning = TuningArguments()
    assert tuning.finetuning_type == "lora"
    assert tuning.freeze_vision_tower and tuning.freeze_multi_modal_projector and not tuning.freeze_language_model
    assert tuning.scene_packing == 1
    data = DataArguments(dataset=["rooms"])
    assert (data.template, data.image_limits.image_resolution, data.val_split) == ("qwen2_vl", 512, "scene")


def test_list_defaults_are_not_shared():
    first, second = TuningArguments(), TuningArguments()
    assert first.lora_target == second.lora_target == ["all"]
    assert first.lora_target is not second.lora_target


def test_lora_alpha_is_twice_the_rank_when_left_out():
    assert TuningArguments(lora_rank=12).lora_scale == 24
    assert TuningArguments(lora_rank=12, lora_alpha=5).lora_scale == 5


@pytest.mark.parametrize(
    ("wanted", "installed", "backend"),
    [
        ("auto", False, "sdpa"),
        ("sdpa", True, "sdpa"),
        ("disabled", True, "eager"),
        ("fa2", True, "flash_attention_2"),
        ("fa2", False, "sdpa"),
        ("fa3", True, "flash_attention_3"),
        ("fa3", False, "sdpa"),
    ],
)
def test_attention(monkeypatch, wanted, installed, backend):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if installed else None)
    name, note = attention_backend(wanted)
    assert name == backend
    assert (note is not None) == (wanted in ("fa2", "fa3") and not installed)


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        ((None, None, None), (512, None, None)),
        ((448, None, None), (448, None, None)),
        ((None, 262144, None), (None, 262144, 1024)),
        ((None, None, 3136), (None, 589824, 3136)),
        ((448, 262144, 3136), (448, 262144, 3136)),
    ],
)
def test_an_area_takes_the_place_of_the_side_that_nobody_named(said, limits):
    assert dataclasses.astuple(ImageLimits.said(*said)) == (*limits, False)
