"""The right parts train, in the right precision, and a frozen tower costs no backward pass."""

import itertools

import pytest
import torch
from commands import export as export_main
from hybrid import HYBRID

from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo import tiny_model
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.families.family import check_template
from gpt4scene.families.registry import FAMILIES, family_of
from gpt4scene.model.export import merge_adapter
from gpt4scene.model.loading import load_model, meta_model
from gpt4scene.model.tuning import check_tuning, prepare_for_training
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


PARTS = ("language", "tower", "merger")


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl", HYBRID])
def any_folder(request, tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp(request.param) / "model", request.param)


@pytest.mark.slow
@pytest.mark.parametrize("frozen", itertools.product([False, True], repeat=3), ids=str)
@pytest.mark.parametrize("method", ["full", "freeze", "lora"])
def test_the_parts_that_are_not_frozen_learn_and_no_others(any_folder, method, frozen):
    language, tower, merger = frozen
    arguments = TuningArguments(
        finetuning_type=method,
        freeze_language_model=language,
        freeze_vision_tower=tower,
        freeze_multi_modal_projector=merger,
        freeze_trainable_layers=1,
        disable_gradient_checkpointing=True,
    )
    if all(frozen):
        with pytest.raises(ConfigError, match="every part of the model is frozen"):
            check_tuning(meta_model(any_folder), arguments)
        with pytest.raises(ConfigError, match="every part of the model is frozen"):
            prepare_for_training(load_model(any_folder), arguments, bf16=False)
        return
    check_tuning(meta_model(any_folder), arguments)
    base = load_model(any_folder)
    tuned, family = prepare_for_training(base, arguments, bf16=False), family_of(base.config)
    names = trained(base)
    wanted = {part for part, is_frozen in zip(PARTS, frozen, strict=True) if not is_frozen}
    assert {family.part_of(name) for name in names} == wanted
    if method == "freeze" and not language:
        learning = {name for name in names if family.part_of(name) == "language"}
        assert all("layers.1." in name for name in learning)
    for part in wanted - {"language"} if method != "lora" else ():
        assert names >= {name for name, _ in base.named_parameters() if family.part_of(name) == part}
    tuned.train()
    grid = torch.tensor([[1, 4, 4]])
    pixels = torch.randn(16, base.config.vision_config.patch_size**2 * 6)
    special = base.config
    ids = torch.tensor([[5, special.vision_start_token_id, *[special.image_token_id] * 4, 7, 8]])
    types = (ids == special.image_token_id).int()
    logits = tuned(input_ids=ids, pixel_values=pixels, image_grid_thw=grid, mm_token_type_ids=types).logits
    logits.logsumexp(-1).sum().backward()
    learned = {family.part_of(n) for n, p in base.named_parameters() if p.grad is not None and "deepstack" not in n}
    assert learned == wanted, "what may learn also gets gradients, and nothing else does"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"finetuning_type": "lora", "lora_target": ["c_attn"]}, "no linear module .*c_attn"),
        ({"finetuning_type": "lora", "lora_target": ["qkv"]}, "in the parts that are not frozen"),
        ({"finetuning_type": "lora", "lora_target": []}, "lora_target is empty"),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": 3}, "2 language layers"),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": -3}, "2 language layers"),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": 0}, "2 language layers"),
        ({"finetuning_type": "freeze", "freeze_trainable_modules": ["attention"]}, "no module .*attention"),
        ({"finetuning_type": "freeze", "freeze_trainable_modules": []}, "freeze_trainable_modules is empty"),
    ],
)
def test_what_tuning_asks_for_is_checked_without_weights(folder, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_tuning(meta_model(folder), TuningArguments(**options))


@pytest.mark.parametrize("options", [{"lora_rank": 16}, {"lora_alpha": 99}, {"lora_dropout": 0.5}], ids=str)
def test_keys_that_a_continued_adapter_would_not_obey_are_refused(folder, tmp_path, options):
    prepare_for_training(load_model(folder), TuningArguments(), bf16=False).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ConfigError, match=next(iter(options))):
        check_tuning(meta_model(folder), TuningArguments(**options), tmp_path / "adapter")
    check_tuning(meta_model(folder), TuningArguments(lora_rank=8, lora_alpha=16), tmp_path / "adapter")


def test_the_template_is_that_of_the_family():
    for family in FAMILIES.values():
        for own in family.templates:
            check_template(family, own)
        for other in set(TEMPLATES) - set(family.templates):
            with pytest.raises(ConfigError, match=f"write template: {' or '.join(family.templates)}"):
                check_template(family, other)
