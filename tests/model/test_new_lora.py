"""A new adapter of each variant, and modules that are trained whole beside it."""

import shutil

import pytest
import torch

from gpt4scene.demo import tiny_model
from gpt4scene.errors import ConfigError
from gpt4scene.model.loading import load_model, meta_model
from gpt4scene.model.new_lora import add_lora
from gpt4scene.model.tuning import check_tuning, prepare_for_training
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.settings.methods import MethodArguments


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_model.build(tmp_path_factory.mktemp("new") / "model")


def prepared(base, methods, **options):
    arguments = TuningArguments(finetuning_type="lora", **options)
    assert check_tuning(meta_model(base), arguments, methods=methods) is None
    return prepare_for_training(load_model(base), arguments, bf16=False, methods=methods)


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(20)[None]).logits


@pytest.mark.parametrize(
    "methods",
    [
        MethodArguments(use_dora=True),
        MethodArguments(use_rslora=True),
        MethodArguments(pissa_init=True, pissa_iter=4),
        MethodArguments(pissa_init=True, pissa_iter=-1, use_rslora=True),
        MethodArguments(additional_target=["embed_tokens", "lm_head", "merger"]),
    ],
    ids=lambda methods: str({k: v for k, v in vars(methods).items() if v != getattr(MethodArguments(), k)}),
)
def test_every_variant_starts_where_the_base_is(base, methods):
    tuned = prepared(base, methods, lora_rank=4)
    config = tuned.peft_config["default"]
    assert (config.use_dora, config.use_rslora) == (methods.use_dora, methods.use_rslora)
    assert config.init_lora_weights == (methods.pissa or True)
    assert torch.allclose(logits(tuned.eval()), logits(load_model(base).eval()), atol=2e-5)


def test_what_is_named_is_trained_whole_and_the_tied_head_is_parted(base, tmp_path):
    """A module inside another one is trained once, and a part that is trained so may have a rate of its own."""
    model = load_model(base)
    model.lm_head.weight = model.get_input_embeddings().weight
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = True
    tied = shutil.copytree(base, tmp_path / "tied")
    model.save_pretrained(tied)
    with pytest.raises(ConfigError, match="ZeRO-3 shares that out, so they can't be parted"):
        model.lm_head.weight.ds_shape = model.lm_head.weight.shape
        add_lora(model, TuningArguments(), MethodArguments(additional_target=["embed_tokens"]))
    methods = MethodArguments(additional_target=["embed_tokens", "ln_q", "merger"], merger_learning_rate=1e-4)
    tuned = prepared(tied, methods)
    learning = {name for name, one in tuned.named_parameters() if one.requires_grad and "lora_" not in name}
    assert {name.split(".modules_to_save.")[0].rpartition(".")[2] for name in learning} == {"embed_tokens", "merger"}
    inner = tuned.get_base_model()
    assert inner.lm_head.weight is not inner.get_input_embeddings().weight
    head = load_model(tied).lm_head.weight
    assert torch.equal(inner.lm_head.weight, head) and torch.equal(inner.get_input_embeddings().weight, head)
    assert not inner.config.tie_word_embeddings and not inner.config.text_config.tie_word_embeddings


@pytest.mark.parametrize(
    ("named", "options", "sentence"),
    [
        (["embed_token"], {}, "no module is called 'embed_token'; did you mean 'embed_tokens'"),
        (["visual"], {}, "'visual' is a whole part of the model; write finetuning_type: full"),
        (["q_proj"], {}, "q_proj' is trained whole, but lora_target gives LoRA to .*q_proj"),
        (["mlp"], {}, "mlp' is trained whole, but lora_target gives LoRA to .*mlp"),
        (["merger"], {"freeze_multi_modal_projector": False}, "merger' is trained whole, but lora_target gives LoRA"),
    ],
    ids=str,
)
def test_names_that_can_not_be_trained_whole_are_refused(base, named, options, sentence):
    arguments = TuningArguments(finetuning_type="lora", **options)
    with pytest.raises(ConfigError, match=sentence):
        check_tuning(meta_model(base), arguments, methods=MethodArguments(additional_target=named))


def test_a_module_of_few_bits_is_not_trained_whole(base):
    methods = MethodArguments(additional_target=["o_proj"], quantization_bit=4)
    arguments = TuningArguments(finetuning_type="lora", lora_target=["q_proj"])
    with pytest.raises(ConfigError, match="o_proj' is kept in 4 bits"):
        check_tuning(meta_model(base), arguments, methods=methods)
    norms = MethodArguments(additional_target=["input_layernorm"], quantization_bit=4)  # which stay as they are
    assert check_tuning(meta_model(base), arguments, methods=norms) is None


def test_a_rate_for_a_part_in_which_nothing_learns_is_refused(base):
    methods = MethodArguments(additional_target=["lm_head"], merger_learning_rate=1e-4)
    with pytest.raises(ConfigError, match="merger_learning_rate is for a part that learns; .*or name its modules in"):
        check_tuning(meta_model(base), TuningArguments(finetuning_type="lora"), methods=methods)
