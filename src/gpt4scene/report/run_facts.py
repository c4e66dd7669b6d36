"""What a training run was: its settings, data, time and cost, machine, and what it was warned of, as rows of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gpt4scene.files.run_folder import LogLine, RunRecord
from gpt4scene.report.curve import number
from gpt4scene.settings.config import SECTIONS

Rows = Mapping[str, str]
"""What a figure is called -> the figure, as texts."""


@dataclass(frozen=True)
class Setting:
    """A setting: its ``value``, its ``default`` (empty where none is known), and whether they differ."""

    name: str
    value: str
    default: str
    differs: bool
    help: str = ""


def settings(record: RunRecord) -> list[Setting]:
    """Return all settings of the run, those that differ from their defaults first.

    Settings of transformers count as different where they were set.
    """
    config, known = record.part("config"), _fields()
    found = []
    for name, part in config.items():
        for key, value in part.items() if isinstance(part, Mapping) else ():
            field = known.get(key) if name != "training" else None
            default = _default(field) if field else None
            shown = "" if field is None or field.default is field.default_factory else said(default)
            differs = field is None or value != default
            found.append(Setting(key, said(value), shown, differs, field.metadata.get("help", "") if field else ""))
    return sorted(found, key=lambda one: not one.differs)


def given_to_transformers(record: RunRecord) -> Rows:
    """Return every argument that transformers' trainer was given, in the order of their names."""
    return {name: said(value) for name, value in sorted(record.part("arguments").items())}


def data_sets(record: RunRecord) -> list[Mapping[str, str]]:
    """Return a row for each data set: ``name``, ``file``, ``rows`` in it, and whether it was ``held out``."""
    config, found = record.part("config", "data"), []
    for key, use in (("dataset", "training"), ("eval_dataset", "held out")):
        print_of = "fingerprint" if key == "dataset" else "held_out_fingerprint"
        entries = record.part("data", print_of, "dataset")
        for name in config.get(key) or ():
            entry = entries.get(name)
            entry = entry if isinstance(entry, Mapping) else {}
            rows = entry.get("num_samples")
            found.append(
                {
                    "name": str(name),
                    "file": str(entry.get("file_name") or entry.get("hf_hub_url") or ""),
                    "rows": number(rows) if isinstance(rows, int) else "–",
                    "use": use,
                }
            )
    return found


def rows_used(record: RunRecord) -> Rows:
    """Return how many rows were learned, held out and left out."""
    data = record.part("data")
    found: dict[str, Any] = {
        "rows to learn from": data.get("rows"),
        "scenes in them": data.get("scenes"),
        "rows held out": data.get("held_out"),
        "rows left out": len(data.get("skipped") or ()) if data else None,
        "questions of a step": record.part("batch").get("questions_per_step"),
        "questions that share a scene's images": record.part("batch").get("scene_packing"),
    }
    return {name: number(value) for name, value in found.items() if isinstance(value, int)}


def model_facts(record: RunRecord) -> Rows:
    """Return what was trained, and how."""
    model, tuning = record.part("config", "model"), record.part("config", "tuning")
    parameters, activations = record.part("parameters"), record.part("activations")
    trained, whole = parameters.get("trained"), parameters.get("all")
    found = {
        "started from": model.get("model_name_or_path"),
        "adapter gone on with": model.get("adapter_name_or_path"),
        "stage": tuning.get("stage"),
        "weights that learn": tuning.get("finetuning_type"),
        "parameters": number(whole) if isinstance(whole, int) else None,
        "parameters that learn": number(trained) if isinstance(trained, int) else None,
        "attention": record.about.get("attention"),
        "activations": activations.get("sentence"),
        "features of images": record.about.get("feature_cache"),
    }
    return {name: str(value) for name, value in found.items() if value}


def machine(record: RunRecord) -> Rows:
    """Return the hardware, as the run saw it."""
    hardware, launch = record.part("hardware"), record.part("launch")
    cards = list(hardware.get("accelerators") or ())
    found = {
        "accelerators": ", ".join(f"{cards.count(name)} × {name}" for name in dict.fromkeys(cards))
        or ("none" if hardware else None),
        "processes": hardware.get("processes"),
        "processor cores": hardware.get("cores"),
        "system": hardware.get("system"),
        "CUDA": hardware.get("cuda"),
        "DeepSpeed": launch.get("deepspeed") and "yes",
        "FSDP": "yes" if launch.get("fsdp") else None,
        "working directory": hardware.get("folder"),
    }
    return {name: str(value) for name, value in found.items() if value}


def versions(record: RunRecord) -> Rows:
    """Return the versions of packages, and the commit of the code."""
    git = record.part("git")
    commit = f"{str(git['commit'])[:12]}{', with changes' if git.get('changed') else ''}" if git.get("commit") else ""
    return {str(name): str(value) for name, value in {**record.part("versions"), "commit": commit}.items() if value}


def cost(record: RunRecord) -> Rows:
    """Return how long the run took and what it went through: hours, GPU hours, steps, questions, tokens."""
    hardware = record.part("hardware")
    wall, steps = _wall(record), training_seconds(record.log)
    cards = hardware.get("accelerators") or ()
    seen, computed = _questions(record), _tokens(record)
    last = record.log[-1].step if record.log else None
    epochs = next((line.epoch for line in reversed(record.log) if line.epoch is not None), None)
    planned = f" of {number(record.total_steps)}" if record.total_steps else ""
    seconds = wall if wall is not None else steps
    gpu_hours = None if seconds is None or not cards else seconds / 3600 * hardware.get("processes", 1)
    found = {
        "from start to end" + (", since it went on" if record.about.get("resumed_from") else ""): time_words(wall),
        "in the steps, with evaluations": time_words(steps),
        "GPU hours": None if gpu_hours is None else number(round(gpu_hours, 2)),
        "steps": None if last is None else f"{number(last)}{planned}",
        "passes over the rows": None if epochs is None else number(round(epochs, 2)),
        "questions learned": None if seen is None else f"about {number(round(seen))}",
        "tokens computed": None if computed is None else f"about {number(float(f'{computed:.3g}'))}",
    }
    return {name: value for name, value in found.items() if value}


def warnings(record: RunRecord) -> list[str]:
    """Return sentences about what a reader should know before trusting the run."""
    found = []
    status, note = record.about.get("status"), record.about.get("note")
    if not record.about:
        found.append("There is no run.json here, so settings, rows, machine and versions of this run are not known.")
    if status == "running":
        found.append("run.json says that this run is still going; if nothing runs any more, it was ended from outside.")
    if status in ("stopped", "failed"):
        found.append(f"The run {'was stopped' if status == 'stopped' else 'failed'}: {note or 'no reason is known'}.")
    broken: dict[str, list[int]] = {}
    for line in record.log:
        for name in line.broken:
            broken.setdefault(name, []).append(line.step)
    for name, steps in broken.items():
        more = f" and {len(steps) - 1} more lines" if len(steps) > 1 else ""
        found.append(f"{name} was no finite number at step {steps[0]}{more}; the curves leave that out.")
    shared, held_out = record.part("data").get("held_out_with_trained_images"), record.part("data").get("held_out")
    if shared:
        found.append(f"{shared} of {held_out} held-out rows show images that are trained on, so their figures flatter.")
    if resumed := record.about.get("resumed_from"):
        found.append(f"The run went on from {resumed}.")
    for told in (record.about.get("advice"), record.part("config").get("notes")):
        found += [str(one) for one in told or ()]
    return [*found, *record.notes]


def results(record: RunRecord) -> Rows:
    """Return the figures of the end, as far as they are no times."""
    times = ("_runtime", "_per_second", "total_flos")
    kept = {name: value for name, value in record.results.items() if name != "epoch" and not name.endswith(times)}
    return {name: number(value) for name, value in sorted(kept.items())}


def training_seconds(log: Sequence[LogLine]) -> float | None:
    """Return the seconds of all parts of a run; where it went on from a checkpoint, they begin at 0 again."""
    known = [line.elapsed for line in log if line.elapsed is not None]
    ends = [one for one, following in zip(known, [*known[1:], -1.0], strict=True) if following < one]
    return sum(ends) if known else None


def time_words(seconds: float | None) -> str | None:
    """Return a time as people say it, None for none."""
    if seconds is None:
        return None
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def said(value: object) -> str:
    """Return the value of a setting as people write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(map(said, value)) or "none"
    return "not set" if value is None else str(value)


def _fields() -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for section in SECTIONS for field in dataclasses.fields(section)}


def _default(field: dataclasses.Field[Any]) -> Any:
    """Return the default of a field; a list as JSON has it, and a value that nothing equals where there is none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _wall(record: RunRecord) -> float | None:
    try:
        begun, ended = (datetime.fromisoformat(record.about[name]) for name in ("started", "ended"))
        return (ended - begun).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None


def _questions(record: RunRecord) -> float | None:
    """Return how many questions were learned: rows times passes, else steps times questions of a step."""
    rows, a_step = record.part("data").get("rows"), record.part("batch").get("questions_per_step")
    epochs = next((line.epoch for line in reversed(record.log) if line.epoch is not None), None)
    if rows and epochs is not None:
        return rows * epochs
    return a_step * record.log[-1].step if a_step and record.log else None


def _tokens(record: RunRecord) -> float | None:
    """Return the tokens that were computed: for each line, its questions times the tokens that one took there.

    LLaMA-Factory writes a running sum, ``total_tokens``.
    """
    sums = [line.figures["total_tokens"] for line in record.log if "total_tokens" in line.figures]
    asked, last = _questions(record), record.log[-1].step if record.log else 0
    if sums or not asked or not last:
        return sums[-1] if sums else None
    total, before = 0.0, 0
    for line in record.log:
        speed, pace = line.figures.get("questions_per_second"), line.figures.get("tokens_per_second")
        if speed and pace:
            total += (line.step - before) * asked / last * pace / speed
            before = line.step
    return total or None
