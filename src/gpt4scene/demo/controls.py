"""What can be scored without looking: answers chosen by how common they are among the training rows.

Two controls: the commonest answer of the whole task, and the commonest answer to the same wording. A model that beats
both has used the images, and one that looks loses its lead when it is shown those of another room.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from gpt4scene.benchmarks.questions import question_file
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.rows import TrainingRow
from gpt4scene.files.answers import record_of
from gpt4scene.files.questions import read_questions
from gpt4scene.files.whole import write_json
from gpt4scene.types import Answer, Question

_FIELD = re.compile(r"\\\{(\w+)\\\}")


def core(task: str, prompt: str) -> str:
    """Return what ``prompt`` asks, without the sentence of ``wordings.yaml`` around it.

    Two prompts with the same core ask the same thing in the words of two templates. A prompt that fits no template
    is returned as it is.
    """
    texts = BENCHMARKS[task].wordings()
    names = re.findall(r"\{(\w+)\}", texts[0])
    for text in texts:
        pattern = _FIELD.sub(lambda match: f"(?P<{match[1]}>.+)", re.escape(text))
        found = re.fullmatch(pattern, prompt, flags=re.DOTALL)
        if found:
            return " ".join(found[name] for name in names)
    return prompt


def commonest(rows: Sequence[TrainingRow]) -> str:
    """Return the commonest answer of ``rows``; of several, the one that comes first."""
    return Counter(row.answer for row in rows).most_common(1)[0][0]


def answers_by_task(rows: Sequence[TrainingRow], questions: Sequence[Question]) -> list[str]:
    """Return the commonest answer of all ``rows``, once for each question."""
    return [commonest(rows)] * len(questions)


def answers_by_wording(task: str, rows: Sequence[TrainingRow], questions: Sequence[Question]) -> list[str]:
    """Return for each question the commonest answer to its wording; the task's commonest where nobody asked it.

    Questions made of scenes name other objects every time: there the kind of the question stands for its wording.
    """
    kinds = {question.prompt: str(question.type_info) for question in questions if BENCHMARKS[task].from_scenes}

    def wording(prompt: str) -> str:
        return kinds[prompt] if prompt in kinds else core(task, prompt)

    groups: dict[str, list[TrainingRow]] = {}
    for row in rows:
        groups.setdefault(wording(row.question), []).append(row)
    best = {asked: commonest(group) for asked, group in groups.items()}
    fallback = commonest(rows)
    return [best.get(wording(question.prompt), fallback) for question in questions]


def write_controls(rows: Mapping[str, Sequence[TrainingRow]], annotation_dir: Path, out: Path) -> None:
    """Write ``out/commonest`` and ``out/wording``: predictions for the question files of ``annotation_dir``."""
    for task, learned in rows.items():
        path = question_file(annotation_dir, task)
        assert path is not None, "annotate has written the questions of every task"
        questions = read_questions(path, task, BENCHMARKS[task].type_key)
        _write(out / "commonest", task, questions, answers_by_task(learned, questions))
        _write(out / "wording", task, questions, answers_by_wording(task, learned, questions))


def _write(folder: Path, task: str, questions: Sequence[Question], answers: Sequence[str]) -> None:
    said = [Answer(question, answer) for question, answer in zip(questions, answers, strict=True)]
    write_json(folder / f"{task}.json", [record_of(answer) for answer in said])
