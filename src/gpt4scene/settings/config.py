"""A YAML file and flags -> the settings of a training run, or every problem at once.

``parse`` opens no model and no data set. It imports transformers (for the names and types of ``TrainingArguments``).
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from gpt4scene.data.mixing import probability_problems
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.errors import ConfigError
from gpt4scene.registry import nearest
from gpt4scene.settings.arguments import DataArguments, ModelArguments, TuningArguments
from gpt4scene.settings.coercion import BadValueError, check_range, coerce
from gpt4scene.settings.spellings import NEGATED, REFUSED, RENAMED, RETIRED

FLAGS = "command line"
Section = TypeVar("Section", ModelArguments, DataArguments, TuningArguments)
SECTIONS: tuple[type, ...] = (ModelArguments, DataArguments, TuningArguments)


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one training run.

    ``training`` holds the fields of transformers' ``TrainingArguments`` that were set, under the names that the
    installed version knows, with ``do_train`` and ``output_dir`` always among them. ``notes`` are sentences to print
    once: old spellings, keys without a meaning. ``source`` is the YAML file, ``flags`` the command line as typed.
    """

    model: ModelArguments
    data: DataArguments
    tuning: TuningArguments
    training: dict[str, Any]
    notes: tuple[str, ...] = ()
    source: str | None = None
    flags: tuple[str, ...] = field(default=())

    @property
    def output_dir(self) -> str:
        """Folder of the run's results, as the user wrote it."""
        return self.training["output_dir"]

    @property
    def rows_per_step(self) -> int:
        """Questions per process and optimizer step: batch size times accumulation."""
        training = self.training
        return training.get("per_device_train_batch_size", 8) * training.get("gradient_accumulation_steps", 1)

    def resolved(self) -> dict[str, Any]:
        """Every setting as plain values, for ``run.json``; tokens are left out."""
        values = dataclasses.asdict(self)
        secret = {name: value for name, value in self.training.items() if name.endswith("_token") and value}
        values["training"] |= dict.fromkeys(secret, "(hidden)")
        hidden = {str(value) for value in secret.values()}
        values["flags"] = [
            "(hidden)" if word.partition("=")[2] in hidden or word in hidden else word for word in self.flags
        ]
        return values


@dataclass(frozen=True)
class _Entry:
    """One key as somebody wrote it: ``source`` is the file's name or ``FLAGS``."""

    key: str
    value: Any
    source: str

    @property
    def place(self) -> str:
        return f"{self.source}: '--{self.key}'" if self.source == FLAGS else f"{self.source}: '{self.key}'"


def parse(argv: Sequence[str]) -> TrainConfig:
    """Return the settings of ``[file.yaml] [--key value | --key=value | --key]…``; flags win over the file.

    A flag without a value means true. Paths are kept as written, relative to the working directory.

    Raises:
        ConfigError: with every unknown key, bad value, missing key and contradiction.
    """
    problems: list[str] = []
    source, words = (argv[0], argv[1:]) if argv and not argv[0].startswith("--") else (None, argv)
    entries = _read_file(source, problems) if source else []
    entries += _read_flags(words, problems)
    hints = _own_hints() | training_hints()
    notes: list[str] = []
    values = _resolve(entries, hints, notes, problems)
    _require(values, entries, source, problems)
    problems += contradictions(values)
    if problems:
        raise ConfigError(*dict.fromkeys(problems))
    own = set(_own_hints())
    return TrainConfig(
        model=_section(ModelArguments, values),
        data=_section(DataArguments, values),
        tuning=_section(TuningArguments, values),
        training={"do_train": True} | {name: value for name, value in values.items() if name not in own},
        notes=tuple(dict.fromkeys(notes)),
        source=source,
        flags=tuple(argv),
    )


def training_hints() -> dict[str, Any]:
    """Field name -> type of the installed ``TrainingArguments``; imports transformers, which takes seconds."""
    try:
        from transformers import TrainingArguments

        hints = typing.get_type_hints(TrainingArguments)
        names = [f.name for f in dataclasses.fields(TrainingArguments) if f.init]
    except ImportError as error:
        raise ConfigError(f'training needs torch and transformers: pip install -e ".[torch]" ({error})') from None
    return {name: hints[name] for name in names} | {"resume_from_checkpoint": bool | str | None}


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key written twice is an error instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key_node.value for key_node, _ in node.value if isinstance(key_node, yaml.ScalarNode)]
        for name in names:
            if names.count(name) > 1:
                raise yaml.MarkedYAMLError(problem=f"'{name}' is written twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep=deep)


def _read_file(path: str, problems: list[str]) -> list[_Entry]:
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 (a safe loader)
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror}); the first word must be a YAML file or a --flag")
        return []
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problems.append(f"{path}: is no YAML: {' '.join(str(error).split())}")
        return []
    if not isinstance(content, dict):
        problems.append(f"{path}: must hold 'key: value' lines" + (", but it is empty" if content is None else ""))
        return []
    return [_Entry(str(name), value, path) for name, value in content.items()]


def _read_flags(words: Sequence[str], problems: list[str]) -> list[_Entry]:
    """Flags in order; several words after one flag are a list, none at all means true."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            found.append((name.replace("-", "_"), [value] if equals else []))
        elif found:
            found[-1][1].append(word)
        else:
            problems.append(f"{FLAGS}: '{word}' stands alone; write --key value")
    last = {name: values for name, values in found}
    return [
        _Entry(name, True if not values else values[0] if len(values) == 1 else values, FLAGS)
        for name, values in last.items()
    ]


def _section(section: type[Section], values: dict[str, Any]) -> Section:
    return section(**{name: values[name] for name in typing.get_type_hints(section) if name in values})


def _own_hints() -> dict[str, Any]:
    return {name: hint for section in SECTIONS for name, hint in typing.get_type_hints(section).items()}


def _ranges() -> dict[str, tuple[float | None, float | None]]:
    """Closed ranges of numbers: ours from the fields, and those of ``TrainingArguments`` that are often mistyped."""
    own: dict[str, tuple[float | None, float | None]] = {
        f.name: (f.metadata["least"], f.metadata["most"]) for s in SECTIONS for f in dataclasses.fields(s)
    }
    positive = ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps")
    zero = ("num_train_epochs", "learning_rate", "warmup_steps", "weight_decay", "max_grad_norm", "save_total_limit")
    for name in positive:
        own[name] = (1, None)
    for name in zero:
        own[name] = (0, None)
    return own


def _resolve(entries: list[_Entry], hints: dict[str, Any], notes: list[str], problems: list[str]) -> dict[str, Any]:
    """Key -> typed value, under today's names; later entries win over earlier ones."""
    values: dict[str, Any] = {}
    ranges = _ranges()
    setters: dict[tuple[str, str], _Entry] = {}
    for entry in _without_zero_warmup(entries):
        name = RENAMED.get(entry.key, entry.key)
        if name not in hints:
            _judge_unknown(entry, hints, notes, problems)
            continue
        twin = setters.setdefault((entry.source, name), entry)
        if twin is not entry:
            problems.append(f"{entry.place} and '{twin.key}' set the same thing; keep one")
            continue
        try:
            value = _value(entry, hints[name])
            check_range(value, *ranges.get(name, (None, None)))
        except BadValueError as error:
            problems.append(f"{entry.place} {error}")
            continue
        if name != entry.key and entry.key not in NEGATED:
            notes.append(f"{entry.place} is called {name} now")
        values[name] = value
    return values


def _without_zero_warmup(entries: list[_Entry]) -> list[_Entry]:
    """Drop a warm-up of 0 where the same source gives the other spelling too: many YAMLs write both."""
    other = {"warmup_steps": "warmup_ratio", "warmup_ratio": "warmup_steps"}
    written = {(entry.source, entry.key) for entry in entries}
    zero = ("0", "0.0")
    return [e for e in entries if not (str(e.value) in zero and (e.source, other.get(e.key)) in written)]


def _value(entry: _Entry, hint: Any) -> Any:
    if entry.key in NEGATED:
        return not coerce(entry.value, bool)
    value = coerce(entry.value, hint)
    if entry.key == "warmup_ratio" and value is not None and value >= 1:
        raise BadValueError(f"must be below 1 (a share of all steps), not {value}")
    if entry.key == "resume_from_checkpoint" and value is False:
        return None
    return value


def _judge_unknown(entry: _Entry, hints: dict[str, Any], notes: list[str], problems: list[str]) -> None:
    """Note a key that lost its meaning; report one that asks for too much, or that nobody knows."""
    if entry.key in RETIRED:
        notes.append(f"{entry.place} has no effect: {RETIRED[entry.key]}")
    elif entry.key in REFUSED:
        try:
            asked = coerce(entry.value, bool | None)
        except BadValueError:
            asked = True
        if asked:
            problems.append(f"{entry.place} is not supported: {REFUSED[entry.key]}")
    else:
        known = [*hints, *RENAMED, *RETIRED]
        problems.append(f"{entry.place} is not a key{nearest(entry.key, known)}")


def _require(values: dict[str, Any], entries: list[_Entry], source: str | None, problems: list[str]) -> None:
    written = {RENAMED.get(entry.key, entry.key) for entry in entries}
    needed = [f.name for section in SECTIONS for f in dataclasses.fields(section) if _is_required(f)]
    for name in [*needed, "output_dir"]:
        if name not in written:
            problems.append(f"{source or FLAGS}: '{name}' is missing")
        elif name in values and not values[name]:
            problems.append(f"{source or FLAGS}: '{name}' is empty")


def _is_required(one: dataclasses.Field[Any]) -> bool:
    return one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING


def contradictions(values: dict[str, Any]) -> list[str]:
    """Sentences about settings that cannot stand together; ``values`` holds what was set, by key."""
    get = values.get
    found = []
    rows = get("per_device_train_batch_size", 8) * get("gradient_accumulation_steps", 1)
    branches = get("scene_packing", 1)
    if rows % branches:
        found.append(
            f"scene_packing {branches} must divide per_device_train_batch_size x gradient_accumulation_steps, "
            f"which is {rows} questions a step on each process"
        )
    if get("train_on_prompt") and get("mask_history"):
        found.append("train_on_prompt and mask_history exclude each other: one learns more of a row, the other less")
    template = get("template")
    if template is not None and template not in TEMPLATES:
        known = list(TEMPLATES)
        found.append(f"template '{template}' is not known{nearest(template, known)} (known: {', '.join(known)})")
    if get("bf16") and get("fp16"):
        found.append("bf16 and fp16 exclude each other")
    if get("pure_bf16") and get("fp16"):
        found.append("pure_bf16 and fp16 exclude each other")
    if get("deepspeed") and get("fsdp"):
        found.append("deepspeed and fsdp exclude each other")
    if get("adapter_name_or_path") and get("finetuning_type", "full") != "lora":
        found.append("adapter_name_or_path needs finetuning_type: lora")
    if get("tokenize_only") and not get("tokenized_path"):
        found.append("tokenize_only needs tokenized_path, the folder to write to")
    if get("eval_strategy", "no") != "no" and not get("val_size"):
        found.append("eval_strategy needs val_size, the scenes to hold out")
    if get("load_best_model_at_end") and get("eval_strategy", "no") == "no":
        found.append("load_best_model_at_end needs eval_strategy and val_size")
    if get("finetuning_type") == "freeze" and get("freeze_trainable_layers") == 0:
        found.append("finetuning_type freeze with freeze_trainable_layers 0 trains nothing")
    mixing = get("mix_strategy", "concat"), get("interleave_probs"), len(get("dataset") or [])
    return found + probability_problems(*mixing)
