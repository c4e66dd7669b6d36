"""Keys that users still write and that are spelled differently now, mean nothing any more, or ask for what we lack.

Checked against transformers 5.23 and the keys of LLaMA-Factory 0.9. A key that the installed ``TrainingArguments``
still has is never looked up here, except those in ``RENAMED``.
"""

from __future__ import annotations

from types import MappingProxyType

RENAMED = MappingProxyType(
    {
        "evaluation_strategy": "eval_strategy",
        "warmup_ratio": "warmup_steps",
        "gradient_checkpointing": "disable_gradient_checkpointing",
        "activation_checkpointing": "disable_gradient_checkpointing",
        "no_cuda": "use_cpu",
        "per_gpu_train_batch_size": "per_device_train_batch_size",
        "per_gpu_eval_batch_size": "per_device_eval_batch_size",
        "image_dir": "media_dir",
        "push_to_hub_model_id": "hub_model_id",
        "push_to_hub_token": "hub_token",
    }
)
"""Old key -> the key that it sets now."""

NEGATED = frozenset({"gradient_checkpointing", "activation_checkpointing"})
"""Renamed keys whose yes is the new key's no."""

_LAZY = "rows are tokenized when they are needed, from image headers alone"
_MACHINE = "transformers 5 finds that out by itself"

RETIRED = MappingProxyType(
    {
        "overwrite_cache": "nothing is cached outside tokenized_path, which is checked by fingerprint",
        "preprocessing_num_workers": _LAZY,
        "preprocessing_batch_size": _LAZY,
        "data_shared_file_system": _LAZY,
        "ignore_pad_token_for_loss": "rows are never padded",
        "group_by_length": "packs decide the order of the rows",
        "eval_num_beams": "training does not generate",
        "predict_with_generate": "training does not generate; use gpt4scene infer",
        "logging_dir": "transformers 5 takes the TensorBoard folder from TENSORBOARD_LOGGING_DIR",
        "save_safetensors": "checkpoints are always safetensors",
        "use_fast_tokenizer": "the tokenizer is always the fast one",
        "trust_remote_code": "no code from a checkpoint is ever run",
        "low_cpu_mem_usage": "checkpoints are always loaded piece by piece",
        "print_param_status": "run.json lists what is trained",
        "split_batches": "every process gets whole packs",
        "dispatch_batches": "every process reads its own packs",
        "adafactor": "write optim: adafactor",
        "half_precision_backend": _MACHINE,
        "fp16_backend": _MACHINE,
        "fp16_opt_level": _MACHINE,
        "use_mps_device": _MACHINE,
        "use_ipex": _MACHINE,
        "jit_mode_eval": _MACHINE,
        "tpu_num_cores": _MACHINE,
        "tpu_metrics_debug": _MACHINE,
        "past_index": "the model has no memory of earlier rows",
        "mp_parameters": _MACHINE,
        "ray_scope": "hyper-parameter search is not part of training",
        "include_inputs_for_metrics": "evaluation reports the loss alone; use gpt4scene score",
        "include_tokens_per_second": "trainer_log.jsonl has the speed",
        "use_legacy_prediction_loop": _MACHINE,
        "torchdynamo": "write torch_compile_backend",
    }
)
"""Key that no longer means anything -> why. Accepted, and said once."""

REFUSED = MappingProxyType(
    {
        "packing": "rows are packed by scene; write scene_packing: 8 (any number)",
        "neat_packing": "rows are packed by scene; write scene_packing: 8 (any number)",
        "streaming": "rows are encoded lazily, so nothing has to be streamed; leave it out",
        "eval_dataset": "name all datasets under dataset and hold scenes out with val_size",
        "quantization_bit": "the model is trained in bf16 or fp32; leave it out",
        "use_unsloth": "leave it out",
        "train_from_scratch": "make a random checkpoint with python -m gpt4scene.demo.tiny_model and start from it",
        "do_predict": "use gpt4scene infer",
    }
)
"""Key that asks for something we do not do -> the way out. Accepted when its value is false, 0 or empty."""
