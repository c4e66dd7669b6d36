"""The right parts train, in the right precision, and a frozen tower costs no backward pass."""

import pytest
import torch
from commands import export as export_main

from gpt4scene.demo import tiny_model
from gpt4scene.errors import DataError
from gpt4scene.model.export import merge_adapter
from gpt4scene.model.loading import load_model
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import TuningArguments


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp("tuning") / "model")


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def tower_output(model):
    grid = torch.tensor([[1, 4, 4]])
    return model.get_submodule("model.visual")(torch.randn(16, 1176), grid_thw=grid).pooler_output


def test_full_trains_the_language_model_only(folder):
    model = prepare_for_training(load_model(folder), TuningArguments(finetuning_type="full"), bf16=False)
    names = trained(model)
    assert names and not any("visual" in name for name in names)
    assert "lm_head.weight" in names and "model.language_model.embed_tokens.weight" in names


def test_frozen_tower_gives_no_gradient_even_under_checkpointing(folder):
    model = prepare_for_training(load_model(folder), TuningArguments(finetuning_type="full"), bf16=False)
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    assert not tower_output(model).requires_grad
    assert torch.is_grad_enabled()


def test_trained_merger_learns_while_the_tower_runs_without_graph(folder):
    arguments = TuningArguments(finetuning_type="full", freeze_multi_modal_projector=False)
    model = prepare_for_training(load_model(folder), arguments, bf16=False)
    tower_output(model).sum().backward()
    for name, parameter in model.get_submodule("model.visual").named_parameters():
        assert (parameter.grad is not None) == name.startswith("merger."), name


def test_unfrozen_tower_trains(folder):
    arguments = TuningArguments(finetuning_type="full", freeze_vision_tower=False, freeze_multi_modal_projector=False)
    model = prepare_for_training(load_model(folder), arguments, bf16=False)
    assert len(trained(model)) == len(list(model.parameters()))
    assert tower_output(model).requires_grad


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_frozen_language_model_leaves_the_rest_to_learn(folder, method):
    arguments = TuningArguments(
        finetuning_type=method,
        freeze_language_model=True,
        freeze_vision_tower=False,
        freeze_multi_modal_projector=False,
    )
    names = trained(prepare_for_training(load_model(folder), arguments, bf16=False))
    assert names and all("model.visual" in name for name in names)


def test_precisions(folder):
    loaded = load_model(folder, dtype=torch.bfloat16)
    model = prepare_for_training(loaded, TuningArguments(finetuning_type="full"), bf16=True)
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else torch.bfloat16), name
    pure = prepare_for_training(load_model(folder), TuningArguments(finetuning_type="full", pure_bf16=True), bf16=True)
    assert {parameter.dtype for parameter in pure.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(("layers", "chosen"), [(1, "layers.1."), (-1, "layers.0.")])
def test_freeze_trains_chosen_layers(folder, layers, chosen):
    arguments = TuningArguments(finetuning_type="freeze", freeze_trainable_layers=layers)
    names = trained(prepare_for_training(load_model(folder), arguments, bf16=False))
    assert names and all(chosen in name for name in names)


def test_freeze_names_its_modules(folder):
    arguments = TuningArguments(finetuning_type="freeze", freeze_trainable_modules=["mlp"])
    names = trained(prepare_for_training(load_model(folder), arguments, bf16=False))
    assert names and all(".mlp." in name for name in names)
    wrong = TuningArguments(finetuning_type="freeze", freeze_trainable_modules=["mpl"])
    with pytest.raises(ValueError, match="mpl"):
        prepare_for_training(load_model(folder), wrong, bf16=False)
    with pytest.raises(ValueError, match="2 language layers"):
        prepare_for_training(
            load_model(folder), TuningArguments(finetuning_type="freeze", freeze_trainable_layers=9), bf16=False
        )


def test_lora_reaches_language_layers_only(folder):
    arguments = TuningArguments(finetuning_type="lora")
    names = trained(prepare_for_training(load_model(folder), arguments, bf16=False))
    assert len(names) == 2 * 7 * 2
    assert all("lora_" in name and "visual" not in name for name in names)
    with pytest.raises(ValueError, match="q_porj"):
        prepare_for_training(
            load_model(folder), TuningArguments(finetuning_type="lora", lora_target=["q_porj"]), bf16=False
        )


def test_merged_adapter_is_a_plain_checkpoint(folder, tmp_path, capsys):
    arguments = TuningArguments(finetuning_type="lora", lora_target=["q_proj", "down_proj"])
    model = prepare_for_training(load_model(folder), arguments, bf16=False).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "adapter")
    assert export_main(["--adapter", str(tmp_path / "adapter"), "--out", str(tmp_path / "merged")]) == 0
    merged, base = load_model(tmp_path / "merged").eval(), load_model(folder).eval()
    ids = torch.arange(20)[None]
    with torch.no_grad():
        wanted, got, before = (m(input_ids=ids).logits for m in (model, merged, base))
    assert torch.allclose(got, wanted, atol=1e-5)
    assert not torch.allclose(before, wanted, atol=1e-3)
    with pytest.raises(DataError, match="already holds something"):
        merge_adapter(tmp_path / "adapter", tmp_path / "merged")
