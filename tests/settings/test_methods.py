"""Keys of training methods: LLaMA-Factory's defaults, what excludes what, and what has no effect."""

import pytest

from gpt4scene.errors import ConfigError
from gpt4scene.settings.config import parse
from gpt4scene.settings.methods import MethodArguments

LEAST = {"model_name_or_path": "m", "dataset": "d", "output_dir": "o", "finetuning_type": "lora"}
LORA, FULL = {"finetuning_type": "lora"}, {"finetuning_type": "full"}


def config(keys):
    return parse([word for key, value in (LEAST | keys).items() for word in (f"--{key}", str(value))])


def test_what_is_written_is_what_a_run_is_told():
    methods = config(
        {"use_dora": "true", "additional_target": "embed_tokens,lm_head", "quantization_bit": 4}
        | {"loraplus_lr_ratio": "16", "loraplus_lr_embedding": "1e-5", "quantization_method": "bitsandbytes"}
    ).methods
    assert methods == MethodArguments(
        use_dora=True,
        additional_target=["embed_tokens", "lm_head"],
        quantization_bit=4,
        loraplus_lr_ratio=16,
        loraplus_lr_embedding=1e-5,
        quantization_method="bitsandbytes",
    )
    assert config({}).methods == MethodArguments()


@pytest.mark.parametrize(
    ("written", "name"), [({}, None), ({"pissa_iter": -1}, "pissa"), ({"pissa_iter": 4}, "pissa_niter_4")]
)
def test_pissa_has_the_names_of_peft(written, name):
    assert config({"pissa_init": "true"} | written).methods.pissa == (name or "pissa_niter_16")
    assert MethodArguments().pissa is None


REFUSED = [
    (LORA | {"use_galore": "true"}, "use_galore is for full or freeze training"),
    (LORA | {"use_apollo": "true"}, "use_apollo is for full or freeze training"),
    (FULL | {"use_galore": "true", "use_apollo": "true"}, "use_galore and use_apollo exclude each other"),
    (FULL | {"use_muon": "true", "use_apollo": "true"}, "use_apollo and use_muon exclude each other"),
    (LORA | {"use_muon": "true", "loraplus_lr_ratio": 16}, "use_muon and loraplus_lr_ratio exclude each other"),
    (FULL | {"use_galore": "true", "optim": "sgd"}, "use_galore goes with optim: adamw_torch or .*, not sgd"),
    (FULL | {"use_galore": "true", "galore_layerwise": "true"}, "galore_layerwise is not done here"),
    (FULL | {"use_apollo": "true", "deepspeed": "z3.json"}, "use_apollo needs whole gradients"),
    (FULL | {"use_apollo": "true", "apollo_proj_type": "left"}, "apollo_proj_type: left has no scales of channels"),
    (FULL | {"use_muon": "true", "fsdp": "full_shard"}, "use_muon needs whole gradients"),
    (FULL | {"loraplus_lr_ratio": 16}, "loraplus_lr_ratio belongs to finetuning_type: lora, but .* is full"),
    (FULL | {"quantization_bit": 4}, "quantization_bit belongs to finetuning_type: lora"),
    (FULL | {"additional_target": "lm_head"}, "additional_target belongs to finetuning_type: lora"),
    (LORA | {"loraplus_lr_ratio": 0}, "loraplus_lr_ratio 0 would train none"),
    (
        LORA | {"optim": "galore_adamw", "optim_target_modules": "mlp", "loraplus_lr_ratio": 4},
        "loraplus_lr_ratio and optim: galore_adamw exclude each other",
    ),
    (
        FULL | {"optim": "adalomo", "tower_learning_rate": 1e-5, "freeze_vision_tower": "false"},
        "tower_learning_rate and optim: adalomo exclude each other",
    ),
    (LORA | {"quantization_bit": 3}, "quantization_bit must be 4 or 8, not 3"),
    (LORA | {"quantization_bit": 4, "pissa_init": "true"}, "pissa_init decomposes whole weights"),
    (LORA | {"quantization_bit": 4, "quantization_device_map": "auto"}, "quantization_device_map: auto is for infer"),
    (LORA | {"quantization_bit": 4, "deepspeed": "z3.json"}, "quantization_bit and deepspeed are not done together"),
    (LORA | {"quantization_bit": 8, "fsdp": "full_shard"}, "quantization_bit and fsdp are not done together"),
    (LORA | {"quantization_bit": 4, "pure_bf16": "true"}, "pure_bf16 would cast quantised weights"),
    (LORA | {"quantization_bit": 4, "adapter_name_or_path": "a,b"}, "can't be merged into a quantised base"),
    (LORA | {"quantization_method": "hqq"}, "HQQ is not done here"),
    (LORA | {"create_new_adapter": "true"}, "create_new_adapter needs adapter_name_or_path"),
    (LORA | {"adapter_name_or_path": "a", "use_dora": "true"}, "use_dora is for a new adapter"),
    (LORA | {"adapter_name_or_path": "a,b", "deepspeed": "z3.json"}, "that DeepSpeed may share out"),
    (LORA | {"pissa_init": "true", "pissa_iter": 0}, "pissa_iter must be 1 or more, or -1"),
    (LORA | {"pissa_init": "true", "deepspeed": "z3.json"}, "pissa_init decomposes whole weights"),
    (LORA | {"pissa_init": "true", "pissa_convert": "true", "use_dora": "true"}, "pissa_convert is for plain LoRA"),
    (LORA | {"pissa_init": "true", "stage": "dpo"}, "which would be the reference; write ref_model"),
    (LORA | {"early_stopping_steps": 3}, "early_stopping_steps needs evaluations"),
    (LORA | {"early_stopping_steps": 0}, "must be 1 or more"),
    (FULL | {"tower_learning_rate": 1e-5}, "tower_learning_rate is for a part that learns"),
]


@pytest.mark.parametrize(("keys", "sentence"), REFUSED, ids=str)
def test_what_can_not_stand_together_is_refused(keys, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config(keys)


@pytest.mark.parametrize(
    ("keys", "noted"),
    [
        ({"galore_rank": 64}, "galore_rank has no effect: it needs use_galore"),
        ({"apollo_scale": 1}, "apollo_scale has no effect: it needs use_apollo"),
        ({"pissa_convert": "true"}, "pissa_convert has no effect: it needs pissa_init"),
        ({"quantization_type": "fp4"}, "quantization_type has no effect: it needs quantization_bit"),
        ({"loraplus_lr_embedding": 1e-5}, "loraplus_lr_embedding has no effect: it needs loraplus_lr_ratio"),
        ({"galore_rank": 16, "quantization_method": "bitsandbytes"}, None),
        ({"quantization_type": "fp4", "quantization_bit": 4}, None),
        (
            {"quantization_type": "fp4", "quantization_bit": 8},
            "quantization_type has no effect: it is for quantization_bit: 4",
        ),
        (
            {"loraplus_lr_embedding": 1e-5, "loraplus_lr_ratio": 4},
            "loraplus_lr_embedding has no effect: a new adapter has LoRA on linear modules alone, none on embeddings",
        ),
        ({"loraplus_lr_embedding": 1e-5, "loraplus_lr_ratio": 4, "adapter_name_or_path": "a"}, None),
    ],
    ids=str,
)
def test_a_key_without_its_method_is_noted(keys, noted):
    notes = [note for note in config(keys).notes if "has no effect" in note]
    assert notes == ([noted] if noted else [])
