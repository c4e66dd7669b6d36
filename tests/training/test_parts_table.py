"""The table before a run: which part learns how, in which numbers, at which rate; each parameter counted once."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gpt4scene.demo import tiny_model
from gpt4scene.families.registry import family_of
from gpt4scene.model.loading import load_model
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.settings.methods import MethodArguments
from gpt4scene.training.parts_table import content, parts_of, table


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp("table") / "model")


def parts(base, methods=None, bf16=False, **options):
    methods = methods or MethodArguments()
    model = prepare_for_training(load_model(base), TuningArguments(**options), bf16=bf16, methods=methods)
    methods = replace(methods, use_dora=False)  # as where an adapter of DoRA is gone on with
    found = parts_of(model, methods, 1e-3, family_of(model.config))
    assert sum(part.trained for part in found) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {part.name: part for part in found}


def test_lora_beside_a_merger_that_is_a_copy(base):
    methods = MethodArguments(additional_target=["merger"], loraplus_lr_ratio=16, use_dora=True)
    found = parts(base, methods, bf16=True, lora_rank=4)
    assert [(one.name, one.how) for one in found.values()] == [
        ("tower", "frozen"),
        ("merger", "a copy, whole"),
        ("embeddings", "frozen"),
        ("layers", "DoRA, rank 4"),
        ("head", "frozen"),
    ]
    assert found["layers"].learning_rates == [1e-3, 16e-3] and found["tower"].learning_rates == []
    assert (found["layers"].precision, found["tower"].precision) == ("bf16, trained fp32", "bf16")
    plain = load_model(base)
    assert sum(one.parameters for one in found.values()) == sum(one.numel() for one in plain.parameters())
    assert found["merger"].trained == found["merger"].parameters > 0


def test_rates_of_parts_and_some_layers(base):
    rates = {"freeze_vision_tower": False, "freeze_multi_modal_projector": False}
    methods = MethodArguments(tower_learning_rate=1e-5, merger_learning_rate=1e-4)
    found = parts(base, methods, finetuning_type="freeze", freeze_trainable_layers=1, **rates)
    assert {name: (one.how, one.learning_rates) for name, one in found.items()} == {
        "tower": ("full", [1e-5]),
        "merger": ("full", [1e-4]),
        "embeddings": ("frozen", []),
        "layers": ("some", [1e-3]),
        "head": ("frozen", []),
    }


def test_few_bits_are_said_and_counted_as_numbers(base):
    pytest.importorskip("bitsandbytes")
    from gpt4scene.model.quantized import quantised_on

    methods = MethodArguments(quantization_bit=4)
    model = load_model(base, **quantised_on(methods, base, torch.float32, torch.device("cpu")))
    tuned = prepare_for_training(model, TuningArguments(), bf16=False, methods=methods)
    found = {part.name: part for part in parts_of(tuned, methods, 1e-3, family_of(model.config))}
    assert found["layers"].precision == "4 bit/fp32, trained fp32" and found["head"].precision == "fp32"
    plain = load_model(base)
    assert sum(part.parameters for part in found.values()) == sum(one.numel() for one in plain.parameters())


def test_the_lines_stand_in_columns_and_the_content_is_json(base):
    found = list(parts(base).values())
    lines = table(found).splitlines()
    assert len(lines) == 2 + len(found) and lines[0].split() == [
        *("part", "trained", "parameters", "of", "them", "precision", "learning", "rate")
    ]
    assert lines[-1].split() == ["all", f"{sum(p.parameters for p in found):,}", f"{sum(p.trained for p in found):,}"]
    places = {line.index(part.precision) for line, part in zip(lines[1:-1], found, strict=True)}
    assert places == {lines[0].index("precision")}
    assert content(found)[0]["name"] == "tower"


@pytest.mark.slow
def test_the_table_of_the_page_is_what_is_printed(tmp_path):
    pytest.importorskip("bitsandbytes")
    from gpt4scene.model.quantized import quantised_on

    shape = tiny_model.TinyShape(width=64, layers=2, heads=4, key_value_heads=2, vision_width=32, vision_layers=1)
    base = tiny_model.build(tmp_path / "model", shape=shape)
    methods = MethodArguments(
        quantization_bit=4, additional_target=["merger"], loraplus_lr_ratio=16, tower_learning_rate=1e-5
    )
    model = load_model(base, **quantised_on(methods, base, torch.bfloat16, torch.device("cpu")))
    tuned = prepare_for_training(model, TuningArguments(freeze_vision_tower=False), bf16=True, methods=methods)
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
    assert f"```\n{table(parts_of(tuned, methods, 1e-3, family_of(model.config)))}\n```" in page
