"""What answers to held-out questions are worth: simple figures of any row, and a benchmark's own where rows are of one.

Truths are the answers of training rows, which end with a full stop and begin with a capital letter; both sides are
cleaned alike before they are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.files.answers import AnswerRow
from gpt4scene.metrics.exact_match import clean, strict_matches, trim
from gpt4scene.metrics.object_ids import object_ids
from gpt4scene.metrics.texts import TextScorer
from gpt4scene.training.answering import HeldOut
from gpt4scene.training.tasks import spelled

EXACT, REFINED, WORDS, OBJECTS = "exact_match", "refined_match", "word_f1", "object_f1"


def figures_of(asked: Sequence[HeldOut], answers: Sequence[str]) -> dict[str, float]:
    """Return figures from 0 to 1 by name, of all answers and, where there are several tasks, of each.

    ``exact_match`` and ``refined_match`` are those of our strict rules, ``word_f1`` compares words as bags,
    ``object_f1`` sets of objects, of rows that name some. ``<task>_<metric>`` is a benchmark's main metric by its own
    rules, for rows of a benchmark that needs nothing but the accepted answers.
    """
    found = _simple(asked, answers)
    tasks = list(dict.fromkeys(one.question.task for one in asked))
    for task in tasks:
        chosen = [place for place, one in enumerate(asked) if one.question.task == task]
        mine, said = [asked[place] for place in chosen], [answers[place] for place in chosen]
        if len(tasks) > 1:
            found |= {f"{name}_{spelled(task)}": value for name, value in _simple(mine, said).items()}
        found |= _by_benchmark(task, mine, said)
    return found


def _simple(asked: Sequence[HeldOut], answers: Sequence[str]) -> dict[str, float]:
    cleaned = [clean(trim(answer.strip())) for answer in answers]
    truths = [[one.truth.strip()] for one in asked]
    exact, refined = strict_matches(cleaned, truths).values()
    words = [_f1(said.split(), clean(trim(truth)).split()) for said, (truth,) in zip(cleaned, truths, strict=True)]
    found = {EXACT: _mean(exact), REFINED: _mean(refined), WORDS: _mean(words)}
    objects = [
        _f1(sorted(set(object_ids(answer))), sorted(set(object_ids(one.truth))))
        for one, answer in zip(asked, answers, strict=True)
        if object_ids(one.truth)
    ]
    return found | ({OBJECTS: _mean(objects)} if objects else {})


def _by_benchmark(task: str, asked: Sequence[HeldOut], answers: Sequence[str]) -> dict[str, float]:
    """Return the main metric of the benchmark called ``task``, empty where there is none that training rows suffice."""
    if task not in BENCHMARKS:
        return {}
    benchmark = BENCHMARKS[task]
    if benchmark.needs != ("ref_captions",) or benchmark.marking or benchmark.about_objects:
        return {}
    rows = [
        AnswerRow(
            one.question.scene_id,
            answer,
            prompt=one.question.prompt,
            ref_captions=(trim(one.truth.strip()),),
            index=one.question.index,
            task=task,
        )
        for one, answer in zip(asked, answers, strict=True)
    ]
    annotation = Annotation(None)
    with TextScorer(()) as scorer:
        scorer.ask(benchmark.text_groups(rows, annotation) if benchmark.text_groups else {})
        texts = scorer.scores()
    score = benchmark.report(rows, annotation, texts).scores.get(benchmark.main_metric)
    return {} if score is None else {f"{spelled(task)}_{spelled(benchmark.main_metric)}": float(score)}


def _f1(said: Sequence[object], wanted: Sequence[object]) -> float:
    """Return F1 of two bags; 1 for two empty ones."""
    if not said and not wanted:
        return 1.0
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))


def _mean(values: Sequence[float]) -> float:
    return round(float(sum(values)) / max(len(values), 1), 6)
