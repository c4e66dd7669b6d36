"""LLaMA-Factory's files for exporting, as flags of ``gpt4scene export``."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from gpt4scene import talk
from gpt4scene.errors import ConfigError
from gpt4scene.registry import nearest
from gpt4scene.settings.entries import Entry, read_file, read_flags
from gpt4scene.settings.foreign import foreign

USED = MappingProxyType(
    {
        "model_name_or_path": "model",
        "adapter_name_or_path": "adapter",
        "export_dir": "out",
        "export_size": "shard_gb",
        "export_hub_model_id": "hub_model_id",
        "infer_dtype": "dtype",
        "template": "template",
    }
)
"""Key of LLaMA-Factory -> flag."""

IDLE = MappingProxyType(
    {
        "finetuning_type": "what the adapter's folder holds decides",
        "export_device": "weights are merged on the CPU, which has room for them",
        "trust_remote_code": "no code from a checkpoint is ever run",
        "low_cpu_mem_usage": "checkpoints are always loaded piece by piece",
        "use_fast_tokenizer": "the tokenizer's files are copied",
        "flash_attn": "nothing is computed but the merge",
        "infer_backend": "nothing is computed but the merge",
    }
)
"""Keys that change nothing here -> why. Said once where the value is not LLaMA-Factory's default."""

QUANTISED = (
    "quantised checkpoints are not made here; export first, then run GPTQModel or LLM Compressor on the folder, which "
    "read and write whole checkpoints"
)
REFUSED = MappingProxyType(
    {
        "export_legacy_format": "weights are written as safetensors alone; leave it out",
        "quantization_bit": "merging into a quantised base loses what was learned; leave it out, and the whole base is "
        "loaded",
        **dict.fromkeys(("export_quantization_bit", "export_quantization_dataset"), QUANTISED),
        **dict.fromkeys(("export_quantization_nsamples", "export_quantization_maxlen"), QUANTISED),
    }
)
"""Keys that ask for what is not done -> the way out."""


def export_flags(words: Sequence[str]) -> list[str]:
    """Return ``words`` with the keys of a YAML file, where the first word is one, in place of it; flags win.

    Keys without an effect are said on stderr. Raises ``ConfigError`` with every key that is unknown or refused.
    """
    from_file = bool(words) and not words[0].startswith("-")
    problems: list[str] = []
    entries = read_file(words[0], problems) if from_file else []
    rest = list(words[1:] if from_file else words)
    typed = [one for one in read_flags(rest, []) if one.key in (*USED, *IDLE, *REFUSED)]
    flags = [flag for entry in entries for flag in _flag(entry, problems)]
    for entry in typed:
        if entry.key not in USED:
            _flag(entry, problems)
    if problems:
        raise ConfigError(*problems)
    return [*flags, *_without(rest, {entry.key for entry in typed if entry.key not in USED})]


def _flag(entry: Entry, problems: list[str]) -> list[str]:
    """Return the flag that a key stands for: none where it asks for nothing."""
    known, value = foreign().keys.get(entry.key), entry.value
    theirs = foreign().values.get(entry.key, {}).get(str(value))
    value = value if theirs is None or theirs.becomes is None else theirs.becomes
    asks = known.asks(value) if known is not None else value not in (None, "", False)
    if entry.key in USED.values():
        return [f"--{entry.key}={_word(value)}"]
    if entry.key in USED:
        return [f"--{USED[entry.key]}={_word(value)}"] if value not in (None, "") else []
    if entry.key in REFUSED:
        problems += [f"{entry.place} is not supported: {REFUSED[entry.key]}"] if asks else []
    elif entry.key in IDLE:
        if asks and entry.key != "finetuning_type":
            talk.note(f"{entry.place} has no effect: {IDLE[entry.key]}")
    elif known is None:
        every = [*USED, *USED.values(), *IDLE, *REFUSED]
        problems.append(f"{entry.place} is not a key of exporting{nearest(entry.key, every)}")
    elif asks:
        problems.append(f"{entry.place} has no meaning in exporting; leave it out")
    return []


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _without(words: Sequence[str], names: set[str]) -> list[str]:
    """Return ``words`` without the flags of these names and their values."""
    kept: list[str] = []
    dropping = False
    for word in words:
        if word.startswith("--"):
            dropping = word.removeprefix("--").partition("=")[0].replace("-", "_") in names
        if not dropping:
            kept.append(word)
    return kept
