"""``eval_generate``: at each evaluation held-out questions are answered, scored, shown, kept and tracked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from accelerate import Accelerator

from gpt4scene.data.packs import PackDataset
from gpt4scene.data.templates import ALL_MARKS
from gpt4scene.errors import DataError
from gpt4scene.files.thoughts import split_thought
from gpt4scene.files.whole import write_text
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.model.tower import Tower
from gpt4scene.settings.config import TrainConfig
from gpt4scene.training.answering import HeldOut, answer, held_out_questions
from gpt4scene.training.launch_files import deepspeed_content, uses_fsdp
from gpt4scene.training.output import ANSWERS
from gpt4scene.training.processes import gather_all, on_all
from gpt4scene.training.run_data import RunData
from gpt4scene.training.scoring import EXACT, figures_of
from gpt4scene.training.tasks import task_names
from gpt4scene.training.tracking import Tracking
from gpt4scene.types import Conversation

SHOWN = 3
"""Answers that are printed."""
LONGEST = 160
"""Letters of a text that is printed."""


class Learner(Protocol):
    """What is asked of a trainer: the model, where it computes, what its tower keeps, and steps.

    ``step_of_best`` is that of the best checkpoint, once the model holds its weights.
    """

    model: Any
    accelerator: Accelerator
    tower: Tower
    state: Any
    step_of_best: int | None


class HeldOutAnswers:
    """Asks a trainer's model questions and returns figures about its answers; every process calls it.

    Questions are shared out to processes by their images. ``begun`` is the step that the run goes on from, ``tasks``
    those that are told apart. All answers go to ``eval_answers.jsonl``, a few are said.
    """

    def __init__(
        self,
        held_out: PackDataset,
        config: TrainConfig,
        seed: int,
        begun: int,
        tasks: Sequence[str],
        tracking: Tracking,
        say: Callable[[str], None],
    ) -> None:
        rows = [row for row in held_out.rows if isinstance(row, Conversation)]
        self._encoder, self._file = held_out.encoder, Path(config.output_dir) / ANSWERS
        self._asked = held_out_questions(rows, config.watching.eval_generate, seed, tasks)
        self._settings = GenerationSettings(max_new_tokens=config.watching.eval_generate_tokens)
        self._tracking, self._say, self._begun = tracking, say, begun

    @property
    def names(self) -> list[str]:
        """The names of the figures."""
        return list(figures_of(self._asked, [one.truth for one in self._asked]))

    def __call__(self, trainer: Learner) -> dict[str, float]:
        """Answer the questions with the model as it is now."""
        accelerator, last, best = trainer.accelerator, trainer.state.global_step, trainer.step_of_best
        step = last if best is None else best
        mine = shares(self._asked, accelerator.num_processes)[accelerator.process_index]

        def work() -> list[tuple[int, str, int]]:
            questions = [self._asked[place].question for place in mine]
            model = cast(torch.nn.Module, accelerator.unwrap_model(trainer.model))
            try:
                context, features = (lambda: accelerator.autocast()), trainer.tower.cache
                found = answer(model, self._encoder, questions, self._settings, context, features)
            except torch.OutOfMemoryError as error:
                raise DataError(
                    f"answers after step {step}: the device's memory ran out "
                    f"({' '.join(str(error).split()).partition('. ')[0]}); lower eval_generate, or leave it out and "
                    "use gpt4scene infer on the checkpoints"
                ) from error
            return [(place, one.text, one.tokens) for place, one in zip(mine, found, strict=True)]

        found = sorted(one for part in gather_all(on_all(work)) for one in part)
        texts = [text for _, text, _ in found]
        figures = figures_of(self._asked, texts)
        if accelerator.is_main_process:
            self._keep(step, last, texts, [tokens for _, _, tokens in found])
            self._show(step, texts, figures)
        return figures

    def _keep(self, step: int, last: int, texts: Sequence[str], tokens: Sequence[int]) -> None:
        """Write the answers of the weights of ``step`` among those of others.

        Those of steps after the one that this run began at are of a run that it does not go on with: they go.
        """
        lines = [line for line in _lines(self._file) if line["step"] <= self._begun and line["step"] != step]
        self._begun = last
        new = [
            {
                "step": step,
                "task": one.question.task,
                "row": one.question.scene_id,
                "question": asked_words(one),
                "truth": one.truth,
                "answer": text,
                "tokens": count,
            }
            for one, text, count in zip(self._asked, texts, tokens, strict=True)
        ]
        lines = sorted([*lines, *new], key=lambda line: line["step"])
        write_text(self._file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def _show(self, step: int, texts: Sequence[str], figures: Mapping[str, float]) -> None:
        """Say how good the answers are, and the first few of them; trackers get them all."""
        said = f"exact match {figures[EXACT]:.1%}"
        self._say(f"answers to {len(texts)} held-out questions after step {step}: {said}")
        rows = [
            (one.question.task, asked_words(one), one.truth, text) for one, text in zip(self._asked, texts, strict=True)
        ]
        for task, question, *pair in _spread(rows, SHOWN):
            truth, text = (short(answered(one)) for one in pair)
            self._say(f"  {task}: {short(question)}\n    truth:  {truth}\n    answer: {text}")
        self._tracking.text("answers", [("task", "question", "truth", "answer"), *rows], step)


def answers_of(
    data: RunData, config: TrainConfig, seed: int, begun: int, tracking: Tracking, say: Callable[[str], None]
) -> HeldOutAnswers | None:
    """Return what answers held-out questions at each evaluation, None where nobody asked for it.

    ``begun`` is the step that the run goes on from, 0 for a fresh one.
    """
    if not config.watching.eval_generate or data.evaluation is None:
        return None
    tasks = task_names(data.train, data.evaluation)
    return HeldOutAnswers(data.evaluation, config, seed, begun, tasks, tracking, say)


def answering_problems(config: TrainConfig) -> Iterator[str]:
    """Yield why questions can't be answered in training as the run is set up: its weights are shared out."""
    if not config.watching.eval_generate:
        return
    stage = ((deepspeed_content(config) or {}).get("zero_optimization") or {}).get("stage")
    if by := "ZeRO-3 shares" if stage == 3 else "FSDP shares" if uses_fsdp(config) else "":
        yield (
            f"eval_generate needs whole weights in each process, and {by} them out; use ZeRO-2 "
            "(examples/deepspeed/ds_z2_config.json), plain processes, or gpt4scene infer on the checkpoints"
        )


def shares(asked: Sequence[HeldOut], processes: int) -> list[list[int]]:
    """Return the places of the questions that each process answers; those of the same images go to one."""
    by_images: dict[tuple[str, ...], list[int]] = {}
    for place, one in enumerate(asked):
        by_images.setdefault(one.question.images, []).append(place)
    found: list[list[int]] = [[] for _ in range(processes)]
    for group in sorted(by_images.values(), key=len, reverse=True):
        min(found, key=len).extend(group)
    return found


def asked_words(one: HeldOut) -> str:
    """Return the question without the marks of its images."""
    return " ".join(ALL_MARKS.question(one.question.prompt).split())


def answered(text: str) -> str:
    """Return what stands behind the thought of an answer, all of it where nothing does."""
    return split_thought(text)[1] or text


def short(text: str) -> str:
    """Return the text in one line of at most ``LONGEST`` letters."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"


def _spread(rows: Sequence[tuple[str, ...]], most: int) -> list[tuple[str, ...]]:
    """Return so many rows, evenly spread."""
    return [rows[place * len(rows) // min(most, len(rows))] for place in range(min(most, len(rows)))]


def _lines(file: Path) -> list[dict[str, Any]]:
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]  # splitlines() would cut at U+2028 in answers, too
