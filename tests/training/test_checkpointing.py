"""How much is computed again: what the settings say wins, else as little as the memory allows; and when it runs out."""

import pytest
import torch
from transformers import TrainingArguments

from gpt4scene.data.packs import PackDataset
from gpt4scene.families.shape import PUBLISHED
from gpt4scene.settings.config import parse
from gpt4scene.training.checkpointing import choose, pack_size, ran_out
from gpt4scene.training.fitting import setup_of
from gpt4scene.training.memory import PUBLISHED_PACK, estimate

SEVEN, GB = PUBLISHED["Qwen2-VL-7B"], 10**9
OPTIONS = sorted(
    {"activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"} & set(TrainingArguments.__dataclass_fields__)
)
"""The spellings of one key that the installed transformers knows: 5.17 has the second only."""
LEAST = "--model_name_or_path m --dataset d --output_dir o --bf16"


def config_of(flags=""):
    return parse(f"{LEAST} {flags}".split())


def chosen(flags="", free=None, pack=PUBLISHED_PACK, processes=1):
    config = config_of(flags)
    return choose(config, SEVEN, setup_of(config, SEVEN, processes), pack, free)


def test_a_reference_of_its_own_is_planned_with():
    def reference(flags):
        config = config_of(f"--stage dpo {flags}")
        return estimate(SEVEN, setup_of(config, SEVEN, 1), PUBLISHED_PACK, 1).weights

    for method in ("full", "lora"):
        without = reference(f"--finetuning_type {method} --pref_loss orpo")
        with_it = reference(f"--finetuning_type {method} {'--ref_model r' if method == 'lora' else ''}")
        assert with_it - without == 2 * SEVEN.parameters, "all of it, in bf16"
    assert reference("--finetuning_type lora") == without, "adapters off"


@pytest.mark.parametrize(
    ("flags", "every"),
    [
        ("--disable_gradient_checkpointing true", 0),
        ("--disable_gradient_checkpointing false", 1),
        ("--gradient_checkpointing true", 1),
        ('--gradient_checkpointing_kwargs {"every_n_layers":3}', 3),
        (f'--gradient_checkpointing true --{OPTIONS[0]} {{"every_n_layers":2}}', 2),
    ],
)
@pytest.mark.parametrize("free", [None, 24 * GB, 192 * GB])
def test_what_the_settings_say_wins(flags, every, free):
    choice = chosen(flags, free)
    assert choice.every == every and "say" in choice.sentence and choice.memory is None


def test_a_device_that_does_not_tell_its_memory_computes_every_layer_again():
    assert chosen().every == 1
    assert chosen("--gradient_checkpointing auto").every == 1


def test_plain_attention_is_not_estimated():
    assert chosen("--flash_attn disabled", 192 * GB).every == 1


def test_the_more_memory_the_less_is_computed_again():
    again = [chosen(free=size * GB).every for size in (30, 50, 60, 70, 85, 144)]
    shares = [1 if every == 1 else 1 / every if every else 0 for every in again]
    assert shares == sorted(shares, reverse=True) and again[0] == 1 and again[-1] == 0
    assert len(set(again)) > 3, again


def test_the_sentence_names_the_layers_and_the_reason():
    choice = chosen(free=50 * GB)
    assert f"{choice.every}" in choice.sentence and "if all were kept" in choice.sentence
    assert choice.content()["estimate_gb"]["weights"] == pytest.approx(16.66, abs=0.1)
    assert "activations are kept (estimate" in chosen(free=150 * GB).sentence


def test_a_model_that_cannot_fit_is_said_before_it_fails():
    choice = chosen("--finetuning_type full", free=80 * GB)
    assert choice.every == 1
    assert "memory may run out" in choice.sentence and "ds_z3_config" in choice.sentence


def test_when_memory_runs_out_the_message_says_what_is_left_to_do():
    config = config_of("--scene_packing 8 --gradient_accumulation_steps 8 --disable_gradient_checkpointing true")
    choice = choose(config, SEVEN, setup_of(config, SEVEN, 1), PUBLISHED_PACK, 80 * GB)
    said = ran_out(config, choice, 1, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."))
    assert "step 1" in said and "CUDA out of memory" in said and "Tried" not in said
    assert "disable_gradient_checkpointing: false" in said and "a lower scene_packing" in said
    said = ran_out(config_of(), chosen(), 1, torch.OutOfMemoryError("CUDA out of memory."))
    assert "enable_liger_kernel" not in said
    assert "enable_liger_kernel: auto" in ran_out(config_of("--use_liger_kernel false"), chosen(), 1, MemoryError())
    assert "disable_gradient_checkpointing: false" not in said and "image_resolution" in said


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        ("", 8),
        ("--pure_bf16", 4),  # PyTorch's Adam keeps two numbers of the weights' own precision
        ("--pure_bf16 --optim sgd --optim_args momentum=0.9", 2),
        ("--pure_bf16 --optim paged_adamw_32bit", 8),
        ("--pure_bf16 --optim adamw_8bit", 2 + 6 * SEVEN.head_parameters / SEVEN.language_parameters),  # embeddings: 8
        ("--optim adamw_torch_8bit", 2),
        ("--optim ademamix", 12),
    ],
)
def test_the_optimizer_keeps_what_is_estimated(flags, state):
    config = parse(f"{LEAST.removesuffix(' --bf16')} --finetuning_type full {flags}".split())
    assert setup_of(config, SEVEN, 1).state == state
    if flags == "--pure_bf16":
        assert setup_of(config, SEVEN, 1, deepspeed={}).state == 8  # beside DeepSpeed's own masters


def test_modules_that_are_trained_whole_are_counted():
    words, whole = f"{LEAST} --finetuning_type lora".split(), ["--additional_target", "embed_tokens,lm_head"]
    plain, more = (setup_of(parse(given), SEVEN, 1).trained for given in (words, [*words, *whole]))
    assert more - plain == 2 * SEVEN.head_parameters


def test_pack_size_is_that_of_the_longest_rows(encoder, images, make_row):
    rows = [make_row(images, "What is it? " * number, "A chair.") for number in (1, 9, 4)]
    size = pack_size(PackDataset(rows, encoder), 2)
    samples = sorted((encoder.encode(row) for row in rows), key=lambda sample: len(sample.ids_L))
    assert (size.prefix, size.branches) == (samples[0].cut, 2)
    two = [len(sample.ids_L) - sample.cut for sample in samples[1:]]
    assert sum(two) <= 2 * size.branch <= sum(two) + 2
    assert size.patches == sum(t * h * w for t, h, w in samples[0].grids) and size.labels >= 1


def test_a_long_row_that_shares_nothing_counts_once(encoder, images, make_row):
    """It is a pack of its own: four of its kind never meet in one pass."""
    long = [make_row((), "What is it? " * 600, "A chair.", number) for number in range(4)]
    shown = [make_row(images, "What?", "No.", number) for number in range(4)]
    dataset = PackDataset([*long, *shown], encoder)
    assert dataset.groups.keys[0] is None
    size = pack_size(dataset, 4)
    assert size.branches == 1 and size.tokens == len(encoder.encode(long[0]).ids_L)


def test_more_rows_are_asked_for_than_there_are(encoder, images, make_row):
    assert pack_size(PackDataset([make_row(images, "What?", "No.")], encoder), 16).branches == 1
