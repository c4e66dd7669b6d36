"""Options in their final form: no letter is right more often than another, and no text more often than it is shown."""

from __future__ import annotations

import random
from collections import Counter
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


def matched(questions: Sequence[GeometryQuestion], kind: str, seed: int = 0) -> tuple[GeometryQuestion, ...]:
    """Return the questions, those of ``kind`` with wrong options that are right elsewhere, in place of drawn ones.

    Every text is to be wrong as many times oftener than right as a question has wrong options; then knowing which texts
    are often right helps nobody. Texts that stand for the same number of steps change places. Where too few other
    answers are left, a question keeps options of its own.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for place, question in enumerate(questions):
        if question.kind == kind:
            groups.setdefault((len(question.options), question.truth.count(",")), []).append(place)
    done = list(questions)
    for (number, steps), places in groups.items():
        generator = random.Random(f"{seed} {kind} {number} {steps} wrong options")
        left = Counter({text: (number - 1) * count for text, count in Counter(done[p].truth for p in places).items()})
        for place in generator.sample(places, len(places)):
            done[place] = _with_wrong_of(done[place], left, generator)
    return tuple(done)


def _with_wrong_of(question: GeometryQuestion, left: Counter[str], generator: random.Random) -> GeometryQuestion:
    """The question with wrong options drawn from ``left``, from which they are taken."""
    number = len(question.options) - 1
    wrong: list[str] = []
    while len(wrong) < number:
        free = {text: count for text, count in left.items() if count > 0 and text not in (question.truth, *wrong)}
        if not free:
            break
        text = generator.choices(list(free), list(free.values()))[0]
        left[text] -= 1
        wrong.append(text)
    own = [text for text in question.options if text not in (question.truth, *wrong)]
    return replace(question, options=(question.truth, *wrong, *own[: number - len(wrong)]))


def _with_truth_at(question: GeometryQuestion, target: int, generator: random.Random) -> GeometryQuestion:
    options = question.options
    assert len(set(options)) == len(options) and question.truth in options, f"odd options {options}"
    wrong = [option for option in options if option != question.truth]
    wrong = generator.sample(wrong, len(wrong))
    return replace(question, options=(*wrong[:target], question.truth, *wrong[target:]))
