"""Answers to held-out questions while a model learns: by our own engine, on the weights as they are at that moment.

Prompts are those of the rows, so an answer is what the model would say in place of the one it is taught. Nothing of the
training changes by it: neither random states nor gradients, modes or kept features.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from gpt4scene.data.encoding import Encoder
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.engine import Engine
from gpt4scene.inference.scheduler import BRANCH_LIMIT, Scheduler
from gpt4scene.model.features import FeatureCache
from gpt4scene.model.recompute import inner_model
from gpt4scene.training.tasks import task_of
from gpt4scene.types import Answer, Conversation, Question

MEMORY_SHARE = 4
"""Prefixes, and the keys of questions, may each take one part in so many of the memory that is free."""
MOST_MEMORY = 4 * 2**30


@dataclass(frozen=True)
class HeldOut:
    """A question of a held-out row, and the ``truth``: the answer that the row has."""

    question: Question
    truth: str


def held_out_questions(
    rows: Sequence[Conversation], amount: float, seed: int, tasks: Container[str] | None = None
) -> list[HeldOut]:
    """Return ``amount`` of the rows as questions (a share below 1, else a number), in the order of the rows.

    Drawn by ``seed``, from every task in turn, so that each has its share. ``tasks`` are those that are told apart, as
    for losses; those of ``rows`` when left out. What is asked is the last question of a row; what was said before it
    stays.
    """
    tasks = {row.origin.group for row in rows} if tasks is None else tasks
    named = [task_of(row.origin, tasks) for row in rows]
    generator = np.random.default_rng(seed)
    by_task: dict[str, list[int]] = {}
    for index in generator.permutation(len(rows)).tolist():
        by_task.setdefault(named[index], []).append(index)
    wanted = max(1, round(amount * len(rows))) if amount < 1 else int(amount)
    chosen: list[int] = []
    while len(chosen) < min(wanted, len(rows)):
        for task in sorted(by_task):
            if by_task[task] and len(chosen) < wanted:
                chosen.append(by_task[task].pop())
    return [_held_out(rows[index], named[index]) for index in sorted(chosen)]


def _held_out(row: Conversation, task: str) -> HeldOut:
    *earlier, asked, answer = row.turns
    origin = row.origin
    question = Question(
        task=task,
        index=origin.row,
        scene_id=f"{origin.dataset}/{origin.row}",
        prompt=asked.text,
        images=row.images,
        ref_captions=(answer.text,),
        earlier=tuple(earlier),
    )
    return HeldOut(question, answer.text)


def answer(
    model: torch.nn.Module,
    encoder: Encoder,
    questions: Sequence[Question],
    settings: GenerationSettings,
    autocast: Callable[[], AbstractContextManager[object]],
    features: FeatureCache | None = None,
) -> list[Answer]:
    """Return the answers of a model in training, in the order of ``questions``; greedy unless ``settings`` draw.

    ``model`` may be wrapped by peft: its adapters are used as they are. ``autocast`` makes the context that it
    computes in, ``features`` are those that its tower keeps. All weights must be whole in this process.
    """
    if not questions:
        return []
    with as_in_inference(model), autocast():
        memory = _memory(next(model.parameters()).device)
        limit = min(BRANCH_LIMIT, len(questions))
        scheduler = Scheduler(inner_model(model), encoder, limit, memory, memory, features, graphs=False)
        try:
            found = list(Engine(scheduler).answer(questions, settings))
        finally:
            scheduler.close()
    places = {id(question): place for place, question in enumerate(questions)}
    return sorted(found, key=lambda one: places[id(one.question)])


@contextmanager
def as_in_inference(model: torch.nn.Module) -> Iterator[None]:
    """Set all modules of ``model`` to evaluation in the block, and back to what each was."""
    trained = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in trained:
            module.training = True


def _memory(device: torch.device) -> int | None:
    """Return the bytes that prefixes, and those that questions' keys may take; None leaves it to the engine.

    What PyTorch holds of a GPU and does not use counts as free: in training that is most of it.
    """
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(MOST_MEMORY, free // MEMORY_SHARE)
