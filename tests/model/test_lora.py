"""An adapter to go on with: it can learn, is of this base, and has what the settings ask for."""

import shutil

import pytest
import torch
from commands import export as export_main
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.utils.logging import enable_progress_bar

from gpt4scene.demo import tiny_model
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.model.export import merge_adapter
from gpt4scene.model.loading import load_model, meta_model
from gpt4scene.model.tuning import check_tuning, prepare_for_training
from gpt4scene.settings.arguments import TuningArguments

EVERYWHERE = r".*\.(q_proj|v_proj|qkv|merger\.mlp\.0)"
ADAPTERS = {
    "language": {"target_modules": ["q_proj", "v_proj"]},
    "all of language": {"target_modules": r"model\.language_model\..*_proj"},
    "everywhere": {"target_modules": EVERYWHERE},
    "with rsLoRA": {"target_modules": ["q_proj", "v_proj"], "use_rslora": True},
    "with DoRA": {"target_modules": ["q_proj", "v_proj"], "use_dora": True},
    "merger whole": {"target_modules": ["q_proj", "v_proj"], "modules_to_save": ["merger"]},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp("lora") / "model")


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    for name, options in ADAPTERS.items():
        config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, lora_dropout=0.1, **options)
        model = get_peft_model(load_model(base), config)
        model.save_pretrained(folder / name)
    return folder


def both(base, adapter, said=(), **options):
    """What the check before loading says, once the run itself has agreed."""
    arguments = TuningArguments(finetuning_type="lora", **options)
    prepare_for_training(load_model(base), arguments, bf16=False, adapter=str(adapter), said=said)
    return check_tuning(meta_model(base), arguments, adapter, said)


def refused(error, match, base, adapter, said=(), **options):
    arguments = TuningArguments(finetuning_type="lora", **options)
    with pytest.raises(error, match=match):
        check_tuning(meta_model(base), arguments, adapter, said)
    with pytest.raises(error, match=match):
        prepare_for_training(load_model(base), arguments, bf16=False, adapter=str(adapter), said=said)


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTERS)
def test_keys_that_are_left_out_ask_for_nothing_and_what_is_there_is_said(base, adapters, name):
    sentence = both(base, adapters / name)
    for words in ("rank 4", "alpha 8", "dropout 0.1", "q_proj", "v_proj", str(adapters / name)):
        assert words in sentence
    assert ("DoRA" in sentence, "rsLoRA" in sentence) == (name == "with DoRA", name == "with rsLoRA")
    assert ("whole: model.visual.merger" in sentence) == (name == "merger whole")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("language", {"lora_rank": 4, "lora_alpha": 8, "lora_dropout": 0.1, "lora_target": ["v_proj", "q_proj"]}),
        ("all of language", {"lora_target": ["all"]}),
        ("everywhere", {"lora_target": ["q_proj", "v_proj"]}),
        ("everywhere", {"lora_target": ["q_proj", "v_proj", "qkv"], "freeze_vision_tower": False}),
        ("merger whole", {"freeze_multi_modal_projector": False}),
    ],
)
def test_keys_that_agree_pass(base, adapters, name, options):
    assert both(base, adapters / name, said=tuple(options), **options)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("language", {"lora_rank": 8}, "lora_rank is 8, but .* has 4"),
        ("language", {"lora_alpha": 16}, "lora_alpha is 16, but .* has 8"),
        ("language", {"lora_dropout": 0.0}, "lora_dropout is 0.0, but .* has 0.1"),
        ("language", {"lora_target": ["all"]}, "lora_target is all, but .* lacks .*mlp"),
        ("language", {"lora_target": ["q_proj"]}, "lora_target is q_proj, but .* LoRA also in .*v_proj"),
        ("language", {"lora_target": ["q_proj", "k_proj"]}, "lacks .*k_proj.* and has LoRA also in .*v_proj"),
        ("language", {"lora_target": ["c_attn"]}, "no linear module .*c_attn"),
        ("all of language", {"lora_target": ["down_proj"]}, "LoRA also in"),
        ("language", {"freeze_vision_tower": False}, "freeze_vision_tower is false, but .* the vision tower"),
        ("everywhere", {"lora_target": ["q_proj", "v_proj"], "freeze_vision_tower": False}, "LoRA also in .*qkv"),
        ("with DoRA", {"freeze_multi_modal_projector": False}, "freeze_multi_modal_projector is false"),
        (
            "everywhere",
            {"freeze_language_model": True, "freeze_multi_modal_projector": True},
            "nothing is left to train",
        ),
    ],
)
def test_keys_that_ask_for_something_else_are_refused(base, adapters, name, options, sentence):
    refused(ConfigError, sentence, base, adapters / name, said=tuple(options), **options)


def test_all_that_differs_is_named_at_once(base, adapters):
    options = {"lora_rank": 16, "lora_alpha": 99, "lora_target": ["k_proj"]}
    with pytest.raises(ConfigError) as caught:
        check_tuning(meta_model(base), TuningArguments(**options), adapters / "language")
    assert [sentence.split()[0] for sentence in caught.value.problems] == list(options)


def spoiled(adapter, target, function):
    """Return a copy of an adapter whose tensors ``function`` has changed, name by name."""
    shutil.copytree(adapter, target)
    file = target / "adapter_model.safetensors"
    save_file({name: function(name, tensor) for name, tensor in load_file(file).items()}, file)
    return target


@pytest.mark.parametrize("name", ["language", "with DoRA", "everywhere"])
@pytest.mark.parametrize("where", ["", "layers.1."])
def test_matrices_that_are_both_zero_can_never_learn(base, adapters, tmp_path, name, where):
    dead = spoiled(
        adapters / name,
        tmp_path / "dead",
        lambda key, tensor: tensor * 0 if where in key and "magnitude" not in key else tensor,
    )
    refused(DataError, "both matrices are zero, so that they can never learn", base, dead)


def test_a_module_that_an_adapter_holds_whole_goes_on_learning(base, adapters):
    """Also where its part is frozen, as in the run that named it; and where nothing else learns."""
    for frozen in ({}, {"freeze_language_model": True}):
        arguments = TuningArguments(finetuning_type="lora", **frozen)
        check_tuning(meta_model(base), arguments, adapters / "merger whole")
        tuned = prepare_for_training(load_model(base), arguments, bf16=False, adapter=adapters / "merger whole")
        learning = {name for name, one in tuned.named_parameters() if one.requires_grad}
        assert any(".merger.modules_to_save." in name for name in learning)
        assert any(".lora_" in name for name in learning) == (not frozen)


def test_zeros_in_a_part_that_is_frozen_do_no_harm(base, adapters, tmp_path):
    quiet = spoiled(adapters / "everywhere", tmp_path / "quiet", lambda key, t: t * 0 if "visual" in key else t)
    assert both(base, quiet)


@pytest.mark.parametrize("matrix", ["lora_A", "lora_B"])
def test_one_matrix_of_zeros_learns(base, adapters, tmp_path, matrix):
    def function(key, tensor):
        return torch.zeros_like(tensor) if matrix in key else torch.ones_like(tensor)

    assert both(base, spoiled(adapters / "language", tmp_path / "half", function))


def other(base, folder, dtype=None):
    """Return the same model in other numbers, or in another number format."""
    model = load_model(base)
    with torch.no_grad():
        if dtype is None:
            model.get_submodule("model.language_model.layers.1.mlp.up_proj").weight.add_(1e-4)
        else:
            model.to(dtype)
    shutil.copytree(base, folder)
    model.save_pretrained(folder)
    return folder


def test_an_adapter_of_another_base_is_refused(base, adapters, tmp_path, capsys):
    changed = other(base, tmp_path / "changed")
    refused(DataError, "was trained on .*whose weights are not those of .*up_proj", changed, adapters / "language")
    words = ["--adapter", str(adapters / "language"), "--model", str(changed), "--out", str(tmp_path / "out")]
    assert export_main(words) == 1
    assert "was trained on" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_base_elsewhere_or_in_another_format_passes(base, adapters, tmp_path, dtype):
    assert both(other(base, tmp_path / "same", dtype), adapters / "language")


def test_a_base_that_is_not_here_can_not_be_compared(base, adapters, tmp_path):
    adapter = spoiled(adapters / "language", tmp_path / "moved", lambda key, tensor: tensor + 1)
    path = adapter / "adapter_config.json"
    path.write_text(path.read_text().replace(str(base), "Qwen/Qwen2-VL-7B-Instruct"))
    changed = other(base, tmp_path / "changed")
    assert both(changed, adapter)
    assert merge_adapter(adapter, tmp_path / "out", changed)


class Bytes(TorchDispatchMode):
    """Adds up the bytes that casts read and write."""

    def __init__(self):
        super().__init__()
        self.casts = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if function is torch.ops.aten._to_copy.default:
            self.casts += args[0].nbytes + out.nbytes
        return out


def step_with(base, *, spared):
    """Loss, gradients and bytes of casts of a step under bf16 autocast, every adapter awake."""
    torch.manual_seed(0)
    model = prepare_for_training(load_model(base), TuningArguments(finetuning_type="lora"), bf16=True).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            assert module.cast_input_dtype_enabled is False
            module.cast_input_dtype_enabled = not spared
    ids, positions = torch.arange(300)[None], torch.arange(300).expand(3, 1, -1)
    with Bytes() as counted:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
        loss = logits.float().logsumexp(-1).mean()
        loss.backward()
    return loss, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, counted.casts


def test_spared_casts_change_no_bit(base):
    loss, gradients, casts = step_with(base, spared=True)
    wanted, reference, before = step_with(base, spared=False)
    assert torch.equal(loss, wanted) and gradients.keys() == reference.keys() and gradients
    assert all(torch.equal(gradients[name], one) for name, one in reference.items())
    assert casts < 0.6 * before, f"{before} bytes of casts became {casts}"


def test_casts_stay_where_dropout_would_be_rounded(base):
    arguments = TuningArguments(finetuning_type="lora", lora_dropout=0.1)
    model = prepare_for_training(load_model(base), arguments, bf16=True)
    kept = {module.cast_input_dtype_enabled for module in model.modules() if isinstance(module, LoraLayer)}
    assert kept == {not torch.cuda.is_available()}


def test_a_new_adapter_warns_of_nothing_that_a_user_could_mend(base, recwarn):
    prepare_for_training(load_model(base), TuningArguments(finetuning_type="lora"), bf16=False)
    assert not [str(one.message) for one in recwarn if issubclass(one.category, FutureWarning)]


def test_a_log_holds_no_progress_bars_of_weights(base, tmp_path, capfd):
    enable_progress_bar()
    tiny_model.build(tmp_path / "another")
    enable_progress_bar()
    load_model(base)
    said = capfd.readouterr().err
    assert "model shards" not in said and "Loading weights" not in said
