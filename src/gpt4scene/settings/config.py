"""A YAML file and flags -> the settings of a training run, or every problem at once.

``parse`` opens no model and no data set, and imports neither torch nor transformers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from gpt4scene.errors import ConfigError
from gpt4scene.registry import nearest
from gpt4scene.settings.arguments import Arguments, DataArguments, ModelArguments, TuningArguments, hints_of
from gpt4scene.settings.coercion import BadValueError, check_range, coerce
from gpt4scene.settings.consistency import contradictions, trains, without_effect
from gpt4scene.settings.entries import FLAGS, Entry, place, read_file, read_flags
from gpt4scene.settings.families import FamilyArguments
from gpt4scene.settings.foreign import foreign
from gpt4scene.settings.methods import MethodArguments
from gpt4scene.settings.preferences import PreferenceArguments
from gpt4scene.settings.repeated import moved, read_run, run_file, take_from
from gpt4scene.settings.training_keys import training_hints
from gpt4scene.settings.video import LEAST_OLD_AREA, VideoArguments
from gpt4scene.settings.watching import WatchingArguments, reporters

NEAR = 0.8
"""Least likeness of a name that is offered for an unknown key: hundreds are known, so far-fetched hints are many."""

BY_ITSELF = ("disable_gradient_checkpointing", "use_liger_kernel")
"""Keys that may say ``auto``, which is what they are when left out."""

Section = TypeVar("Section", bound=Arguments)
SECTIONS: tuple[type, ...] = (
    *(ModelArguments, DataArguments, TuningArguments, MethodArguments),
    *(WatchingArguments, FamilyArguments, VideoArguments, PreferenceArguments),
)


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one training run.

    ``training`` holds the fields of transformers' ``TrainingArguments`` that were set, under the names that the
    installed version knows, with ``do_train`` and ``output_dir`` always among them. ``notes`` are sentences to print
    once: old spellings, keys without a meaning. ``source`` is the YAML file, ``flags`` the command line as typed.
    ``said`` are the keys that were set, by today's names: one that is written at its default asks for that.
    ``repeats`` is the ``run.json`` of the earlier run that ``--from`` named.
    """

    model: ModelArguments
    data: DataArguments
    tuning: TuningArguments
    training: dict[str, Any]
    video: VideoArguments = field(default_factory=VideoArguments)
    notes: tuple[str, ...] = ()
    source: str | None = None
    flags: tuple[str, ...] = field(default=())
    said: tuple[str, ...] = ()
    preferences: PreferenceArguments = field(default_factory=PreferenceArguments)
    watching: WatchingArguments = field(default_factory=WatchingArguments)
    repeats: str | None = None
    family: FamilyArguments = field(default_factory=FamilyArguments)
    methods: MethodArguments = field(default_factory=MethodArguments)

    @property
    def output_dir(self) -> str:
        """Folder of the run's results, as the user wrote it."""
        return self.training["output_dir"]

    @property
    def loss_average(self) -> Literal["row", "token"]:
        """What a step's loss is the mean of: as said, and else rows, or tokens of plain text."""
        plain = self.tuning.stage == "pt" and "loss_average" not in self.said
        return "token" if plain else self.tuning.loss_average

    @property
    def keeps_reference(self) -> bool:
        """Whether each device holds a second model, the reference that answers are compared by."""
        own = self.tuning.finetuning_type != "lora" or bool(self.preferences.ref_model)
        return self.tuning.stage == "dpo" and self.preferences.refers and own

    @property
    def evaluates_only(self) -> bool:
        """Whether the held-out rows are evaluated and nothing is trained."""
        return not self.training["do_train"] and bool(self.training.get("do_eval"))

    @property
    def rows_per_step(self) -> int:
        """Questions per process and optimizer step: batch size times accumulation."""
        training = self.training
        return training.get("per_device_train_batch_size", 8) * training.get("gradient_accumulation_steps", 1)

    @property
    def reporters(self) -> tuple[str, ...]:
        """The trackers that are asked for, by ``report_to`` or by a key of their own."""
        return reporters(self.training | {"use_swanlab": self.watching.use_swanlab})

    def resolved(self) -> dict[str, Any]:
        """Every setting as plain values, for ``run.json``. No setting is a secret: keys for tokens are refused."""
        return dataclasses.asdict(self)


def parse(argv: Sequence[str]) -> TrainConfig:
    """Return the settings of ``[file.yaml] [--key value | --key=value | --key]…``; flags win over the file.

    ``--from run.json`` takes the settings of an earlier run in place of a file. A flag without a value means true.
    Paths are kept as written, relative to the working directory.

    Raises:
        ConfigError: with every unknown key, bad value, missing key and contradiction.
    """
    problems: list[str] = []
    source, words = (argv[0], argv[1:]) if argv and not argv[0].startswith("--") else (None, argv)
    flags = read_flags(words, problems)
    before = len(problems)
    repeats, flags = take_from(flags, problems)
    if source and repeats:
        problems.append(f"{source} and --from {repeats} are two sources of settings; keep one")
    entries = read_file(source, problems) if source else read_run(repeats, SECTIONS, problems) if repeats else []
    unread = len(problems) > before
    entries += flags
    hints = training_hints() | _own_hints()
    notes = [note] if repeats and not unread and (note := moved(repeats)) else []
    values = _resolve(entries, hints, notes, problems)
    if not unread:  # what a file that can't be read would have said is not missing
        _require(values, entries, source or repeats, problems)
    problems += contradictions(values)
    if problems:
        raise ConfigError(*dict.fromkeys(problems))
    if values.get("accept_changes") and not repeats:
        notes.append("accept_changes has no effect: it needs --from run.json")
    own = set(_own_hints())
    return TrainConfig(
        model=_section(ModelArguments, values),
        data=_section(DataArguments, values),
        tuning=_section(TuningArguments, values),
        video=_section(VideoArguments, values),
        preferences=_section(PreferenceArguments, values),
        training={name: value for name, value in values.items() if name not in own} | {"do_train": trains(values)},
        notes=tuple(dict.fromkeys(notes)),
        source=source,
        flags=tuple(argv),
        said=tuple(sorted(values)),
        watching=_section(WatchingArguments, values),
        repeats=run_file(repeats) if repeats else None,
        family=_section(FamilyArguments, values),
        methods=_section(MethodArguments, values),
    )


def _section(section: type[Section], values: dict[str, Any]) -> Section:
    return section(**{name: values[name] for name in hints_of(section) if name in values})


def _own_hints() -> dict[str, Any]:
    return {name: hint for section in SECTIONS for name, hint in hints_of(section).items()}


def _ranges() -> dict[str, tuple[float | None, float | None]]:
    """Closed ranges of numbers: ours from the fields, and those of ``TrainingArguments`` that are often mistyped."""
    own: dict[str, tuple[float | None, float | None]] = {
        f.name: (f.metadata["least"], f.metadata["most"]) for s in SECTIONS for f in dataclasses.fields(s)
    }
    positive = (
        "per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps save_total_limit "
        "ddp_timeout"
    )
    zero = (
        "num_train_epochs learning_rate warmup_steps weight_decay max_grad_norm seed data_seed dataloader_num_workers "
        "neftune_noise_alpha eval_delay"
    )
    share = "adam_beta1 adam_beta2"
    return (
        own
        | dict.fromkeys(positive.split(), (1, None))
        | dict.fromkeys(zero.split(), (0, None))
        | dict.fromkeys(share.split(), (0, 1))
    )


def _resolve(entries: list[Entry], hints: dict[str, Any], notes: list[str], problems: list[str]) -> dict[str, Any]:
    """Key -> typed value, under today's names; flags win over the file."""
    values: dict[str, Any] = {}
    known, ranges = foreign(), _ranges()
    flagged = {known.renamed.get(entry.key, entry.key) for entry in entries if entry.source == FLAGS}
    setters: dict[tuple[str, str], Entry] = {}
    refused: dict[tuple[str, str], list[Entry]] = {}
    for entry in _without_zero_warmup(entries):
        name = known.renamed.get(entry.key, entry.key)
        if entry.source != FLAGS and name in flagged and (name in hints or name in known.keys):
            continue
        if name in known.keys:
            key = known.keys[name]
            if key.asks(entry.value) and key.refused:
                refused.setdefault((entry.source, key.sentence), []).append(entry)
            elif key.asks(entry.value):
                notes.append(f"{entry.place} has no effect: {key.sentence}")
            continue
        if name not in hints:
            every = [*hints, *known.renamed, *known.keys]
            problems.append(f"{entry.place} is not a key{nearest(entry.key, every, NEAR)}")
            continue
        if name != entry.key and entry.value is None:
            continue
        twin = setters.setdefault((entry.source, name), entry)
        if twin is not entry:
            problems.append(f"{entry.place} and '{twin.key}' set the same thing; keep one")
            continue
        try:
            value = _value(entry, name, hints[name], notes)
            check_range(value, *ranges.get(name, (None, None)))
        except BadValueError as error:
            empty = entry.bare or entry.value is None
            words = "has no value; write one, or leave the key out" if empty else error
            problems.append(f"{entry.place} {words}")
            if name == "finetuning_type":
                values[name] = None  # neither left out nor known
            continue
        if name != entry.key and entry.key not in known.negated:
            notes.append(f"{entry.place} is called {name} now")
        values[name] = value
    for (_, sentence), found in refused.items():
        problems.append(f"{place(found)} not supported: {sentence}")
    _notice(values, entries, notes, problems)
    return values


def _notice(values: dict[str, Any], entries: list[Entry], notes: list[str], problems: list[str]) -> None:
    """Say what is understood differently elsewhere, and which keys have no effect beside others."""
    if "finetuning_type" not in values and not values.get("tokenize_only") and trains(values):
        notes.append("finetuning_type is left out: lora, as in LLaMA-Factory; write full to train all weights")
    notes.extend(without_effect(values))


def _without_zero_warmup(entries: list[Entry]) -> list[Entry]:
    """Drop a warm-up of 0 where the same source gives the other spelling too: many YAMLs write both."""
    other = {"warmup_steps": "warmup_ratio", "warmup_ratio": "warmup_steps"}
    written = {(entry.source, entry.key) for entry in entries}
    zero = ("0", "0.0")
    return [e for e in entries if not (str(e.value) in zero and (e.source, other.get(e.key)) in written)]


def _value(entry: Entry, name: str, hint: Any, notes: list[str]) -> Any:
    known = foreign()
    if entry.key in known.negated:
        return None if entry.value == "auto" else not coerce(entry.value, bool)
    if name in BY_ITSELF and entry.value == "auto":
        return None
    theirs = known.values.get(name, {}).get(str(entry.value))
    if theirs is not None and theirs.refused is not None:
        raise BadValueError(f"{entry.value} is not supported: {theirs.refused}")
    if theirs is not None:
        notes.append(f"{entry.place} {entry.value} is called {theirs.becomes} here")
    if name == "fsdp" and isinstance(entry.value, list):  # as transformers 4 had it
        return " ".join(map(str, entry.value))
    value = coerce(entry.value if theirs is None else theirs.becomes, hint)
    if entry.key == "warmup_ratio" and value is not None and value >= 1:
        raise BadValueError(f"must be below 1 (a share of all steps), not {value}")
    if entry.key == "video_resolution" and value is not None and value < LEAST_OLD_AREA:
        notes.append(f"{entry.place} {value} is a side in pixels, as in LLaMA-Factory 0.9.0; the area is {value**2}")
        return value**2
    if entry.key == "resume_from_checkpoint" and value is False:
        return None
    return value


def _require(values: dict[str, Any], entries: list[Entry], source: str | None, problems: list[str]) -> None:
    written = {foreign().renamed.get(entry.key, entry.key) for entry in entries}
    needed = [f.name for section in SECTIONS for f in dataclasses.fields(section) if _is_required(f)]
    for name in [*needed, "output_dir"]:
        if name not in written:
            problems.append(f"{source or FLAGS}: '{name}' is missing")
        elif name in values and not values[name]:
            problems.append(f"{source or FLAGS}: '{name}' is empty")


def _is_required(one: dataclasses.Field[Any]) -> bool:
    return one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
