"""A run whose settings, rows and steps are known, before its model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from gpt4scene import talk
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.manifest import Manifest
from gpt4scene.training.output import BatchPlan
from gpt4scene.training.run_data import RunData


@dataclass(frozen=True)
class PlannedRun:
    """What a run is to do: ``folder`` is its base checkpoint, ``checkpoint`` the one that it goes on from, or None.

    ``settings`` are those that a resumed run must have, too; ``left`` counts the steps that are left to take.
    """

    config: TrainConfig
    arguments: TrainingArguments
    folder: Path
    checkpoint: Path | None
    manifest: Manifest
    data: RunData
    plan: BatchPlan
    settings: dict[str, Any]
    left: int

    def say(self, sentence: str) -> None:
        """Print a sentence on the first process."""
        say(self.arguments, sentence)

    def result(self, **facts: Any) -> None:
        """Give what ``--json`` prints, on the first process."""
        result(self.arguments, **facts)


def result(arguments: TrainingArguments, **facts: Any) -> None:
    """Give what ``--json`` prints, on the first process."""
    if arguments.process_index == 0:
        talk.result(**facts)


def say(arguments: TrainingArguments, sentence: str) -> None:
    """Print a sentence on the first process."""
    if arguments.process_index == 0:
        talk.say(sentence)


def batch_content(plan: BatchPlan) -> dict[str, Any]:
    """Return the batch arithmetic, as figures and as a sentence."""
    here, packing = plan.questions_per_step, plan.questions_per_pack
    total = here * plan.processes
    packs = f"in packs of up to {packing}" if packing > 1 else "one by one"
    sentence = f"{total} questions a step ({here} on each of {plan.processes} processes, {packs})"
    return {"questions_per_step": total, "scene_packing": packing, "sentence": sentence}
