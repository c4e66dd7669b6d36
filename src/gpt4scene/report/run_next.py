"""What to do after a training run: the commands, word for word, with the run's own paths."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene.errors import DataError
from gpt4scene.files.prepared import find_scenes
from gpt4scene.files.run_folder import RunRecord
from gpt4scene.report.calling import program, written

QUESTIONS, SCENES = "ANNOTATION_DIR", "SCENES_DIR"
"""What stands in a command where the run does not know the folder."""
UNKNOWN = {
    QUESTIONS: "the folder of question files that gpt4scene annotate has written, or that the benchmark came with",
    SCENES: "the folder of scenes that gpt4scene prepare has written",
}
LIMITS = ("image_resolution", "image_max_pixels", "image_min_pixels", "crop_to_patches")
"""Settings of images that answers are asked for with, too."""
_SIDE = 512
"""What ``image_resolution`` is when left out."""
_DISTRIBUTED = "src/train.py"
_RESUME = "--resume_from_checkpoint"


@dataclass(frozen=True)
class NextStep:
    """A thing to do: what it ``does``, the ``command`` for a shell, and a word about it."""

    does: str
    command: str
    about: str = ""


def next_steps(record: RunRecord) -> list[NextStep]:
    """Return what can be done with what the run has left, in the order in which it usually is."""
    found = [_again(record)] if _unfinished(record) else []
    model = trained_model(record)
    if model is None:
        return found
    called, run = program(), record.folder
    limits = _limits(record)
    if record.word("config", "tuning", "stage") != "pt":
        questions, scenes = _questions(record), _scenes(record)
        asked = ("--annotation_dir", questions)
        answers = ("--predictions", run / "predictions")
        found += [
            NextStep(
                "Answer the questions of the benchmarks",
                f"{called} {written('infer', '--model', model, *asked, '--output_dir', run / 'predictions', *limits)}",
                "It can be stopped; the same command goes on.",
            ),
            NextStep("Score the answers", f"{called} {written('score', *answers, *asked)}"),
            NextStep(
                "See every answer beside its images",
                f"{called} {written('report', *answers, *asked, '--out', run / 'report')}",
            ),
            NextStep(
                "Ask the model yourself, in a browser",
                f"{called} {written('chat', '--model', model, '--scenes', scenes, *limits)}",
            ),
        ]
    if (model / "adapter_config.json").is_file():
        merged = run.with_name(f"{run.absolute().name}-merged")
        found.append(
            NextStep(
                "Make a checkpoint without adapters",
                f"{called} {written('export', *_base(record), '--adapter', model, '--out', merged)}",
                "transformers and vLLM load it.",
            )
        )
    return found


def unknown(steps: Sequence[NextStep]) -> dict[str, str]:
    """Return the words of the commands that stand for a folder, and what it is."""
    return {word: says for word, says in UNKNOWN.items() if any(word in step.command.split() for step in steps)}


def trained_model(record: RunRecord) -> Path | None:
    """Return the folder of the weights that the run has left: its own, else its newest checkpoint; None without one."""
    places = [record.folder] if not _unfinished(record) else []
    places += [record.checkpoint] if record.checkpoint else []
    return next((place for place in places if _has_weights(place)), None)


def _unfinished(record: RunRecord) -> bool:
    """Return whether the run did not come to its end; one without ``run.json`` counts as ended at its last step."""
    if record.about:
        return record.word("status") != "finished"
    return bool(record.log and record.total_steps and record.log[-1].step < record.total_steps)


def _has_weights(folder: Path) -> bool:
    return any(file.suffix in (".safetensors", ".bin") and "model" in file.name for file in folder.iterdir())


def _again(record: RunRecord) -> NextStep:
    """Return how an unfinished run is gone on with, or started again where it has no checkpoint."""
    words = [str(word) for word in record.items("config", "flags")]
    if record.checkpoint is not None:
        does, about = "Go on with the training", f"It goes on after {record.checkpoint.name}, in {_then(record)}."
        if not words:
            return NextStep(does, "", "Call it as before, with --resume_from_checkpoint true behind it.")
        return _call(record, does, about, [*_without("resume_from_checkpoint", words), _RESUME, "true"])
    does, about = "Start the training again", "There is no complete checkpoint to go on from."
    if not record.log:
        about += " It ended before its first figures: mend first what stands at the top of this page."
    else:
        about += " Lower save_steps, so that the next run leaves some."
    if not words:
        return NextStep(does, "", about)
    if record.part("config", "tuning").get("overwrite_output_dir"):
        return _call(record, does, about, words)
    return _call(record, does, about, [*_without("resume_from_checkpoint", words), _RESUME, "auto"])


def _call(record: RunRecord, does: str, about: str, words: Sequence[str]) -> NextStep:
    """Return a step whose command trains with these words, started as the run was."""
    processes, here = record.count("hardware", "processes") or 1, len(record.items("hardware", "accelerators"))
    if processes == 1:
        return NextStep(does, f"{program()} train {shlex.join(words)}", about)
    if here and processes > here:
        about += (
            f" The run had {processes} processes on several machines: start it there as before, with this at its end."
        )
        return NextStep(does, f"{_DISTRIBUTED} {shlex.join(words)}", about)
    return NextStep(does, f"torchrun --nproc_per_node {processes} {_DISTRIBUTED} {shlex.join(words)}", about)


def _without(key: str, words: Sequence[str]) -> list[str]:
    """Return the words of a call without a flag and its value."""
    kept: list[str] = []
    waiting = False
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name.replace("-", "_") == key:
            waiting = not value
            continue
        if waiting and not word.startswith("--"):
            waiting = False
            continue
        waiting = False
        kept.append(word)
    return kept


def _limits(record: RunRecord) -> list[str]:
    """Return the flags without which questions would be asked with images of another size than the training's."""
    data = record.part("config", "data")
    values: dict[str, Any] = {name: data[name] for name in LIMITS if data.get(name)}
    if values.get("image_resolution") == _SIDE and len(values) == 1:
        return []
    return [word for name, value in values.items() for word in (f"--{name}", str(value).lower())]


def _base(record: RunRecord) -> list[str | Path]:
    """Return the flag of the base checkpoint: the folder that the run was given, or a name of the model hub."""
    name = record.word("config", "model", "model_name_or_path")
    if not name:
        return []
    place = _then(record) / name
    return ["--model", place if place.is_dir() else name]


def _then(record: RunRecord) -> Path:
    """Return the working directory of the run, from which its paths count."""
    return Path(record.word("hardware", "folder") or Path.cwd())


def _beside(record: RunRecord) -> list[Path]:
    """Return folders beside which questions and scenes of a run often lie: its rows and its output."""
    rows_dir = record.word("config", "data", "dataset_dir")
    rows = [(_then(record) / rows_dir).parent] if rows_dir else []
    return [*rows, record.folder.absolute().parent]


def _questions(record: RunRecord) -> str | Path:
    places = [*(place / "annotation" for place in _beside(record)), _then(record) / "evaluate" / "annotation"]
    return next((place for place in places if any(place.glob("*_val*.json"))), QUESTIONS)


def _scenes(record: RunRecord) -> str | Path:
    for place in (place / "scenes" for place in _beside(record)):
        try:
            find_scenes([place])
        except DataError:
            continue
        return place
    return SCENES
