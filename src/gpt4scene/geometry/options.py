"""Options in their final order: the right ones are spread evenly over the letters, so that no letter pays."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from gpt4scene.geometry.question import GeometryQuestion


def balanced(questions: Sequence[GeometryQuestion], seed: int = 0) -> tuple[GeometryQuestion, ...]:
    """Return the questions in their order, options reordered so that letters are right equally often.

    Among the questions of one kind with one number of options, the counts of any two letters differ by one at most.
    The wrong options stand in a drawn order. Questions without options stay as they are.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    for place, question in enumerate(questions):
        if question.options:
            groups.setdefault((question.kind, len(question.options)), []).append(place)
    done = list(questions)
    for (kind, number), places in groups.items():
        generator = random.Random(f"{seed} {kind} {number}")
        letters = generator.sample(range(number), number)
        targets = [letters[turn % number] for turn in range(len(places))]
        generator.shuffle(targets)
        for place, target in zip(places, targets, strict=True):
            done[place] = _with_truth_at(done[place], target, generator)
    return tuple(done)


def _with_truth_at(question: GeometryQuestion, target: int, generator: random.Random) -> GeometryQuestion:
    options = question.options
    assert len(set(options)) == len(options) and question.truth in options, f"odd options {options}"
    wrong = [option for option in options if option != question.truth]
    wrong = generator.sample(wrong, len(wrong))
    return replace(question, options=(*wrong[:target], question.truth, *wrong[target:]))
