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
from gpt4scene.files.thoughts import split_thought
from gpt4scene.metrics.exact_match import clean, strict_matches, trim
from gpt4scene.metrics.object_ids import object_ids
from gpt4scene.metrics.texts import TextScorer
from gpt4scene.training.answering import HeldOut
from gpt4scene.training.tasks import spelled, spellings
from gpt4scene.types import Question

Pair = tuple[Question, str, str]
"""A question, its truth and what was said, thoughts left out."""

EXACT, REFINED, WORDS, OBJECTS = "exact_match", "refined_match", "word_f1", "object_f1"


def figures_of(asked: Sequence[HeldOut], answers: Sequence[str]) -> dict[str, float]:
    """Return figures from 0 to 1 by name, of all answers and, where there are several tasks, of each.

    Thoughts are left out on both sides. ``exact_match`` and ``refined_match`` are those of our strict rules,
    ``word_f1`` compares words as bags, ``object_f1`` sets of objects, of rows that name some. ``<task>_<metric>`` is a
    benchmark's main metric by its own rules, for rows of a benchmark that needs nothing but the accepted answers, and
    types that prompts tell.
    """
    pairs = [(one.question, _answer(one.truth), _answer(said)) for one, said in zip(asked, answers, strict=True)]
    found, words = _simple(pairs), spellings({one.question.task for one in asked})
    for task in dict.fromkeys(one.question.task for one in asked):
        mine = [pair for pair in pairs if pair[0].task == task]
        if len(words) > 1:
            found |= {f"{name}_{words[task]}": value for name, value in _simple(mine).items()}
        found |= {f"{words[task]}_{name}": value for name, value in _by_benchmark(task, mine).items()}
    return found


def _answer(text: str) -> str:
    """Return what is compared of a text: thoughts are no part of an answer."""
    return split_thought(text)[1].strip()


def _simple(pairs: Sequence[Pair]) -> dict[str, float]:
    cleaned = [clean(trim(said)) for _, _, said in pairs]
    truths = [[truth] for _, truth, _ in pairs]
    exact, refined = strict_matches(cleaned, truths).values()
    words = [_f1(said.split(), clean(trim(truth)).split()) for said, (truth,) in zip(cleaned, truths, strict=True)]
    found = {EXACT: _mean(exact), REFINED: _mean(refined), WORDS: _mean(words)}
    objects = [
        _f1(sorted(set(object_ids(said))), sorted(set(object_ids(truth))))
        for _, truth, said in pairs
        if object_ids(truth)
    ]
    return found | ({OBJECTS: _mean(objects)} if objects else {})


def _by_benchmark(task: str, pairs: Sequence[Pair]) -> dict[str, float]:
    """Return the main metric of the benchmark called ``task``, empty where there is none that training rows suffice."""
    if task not in BENCHMARKS:
        return {}
    benchmark, known = BENCHMARKS[task], {"ref_captions"}
    type_of = benchmark.type_of
    known |= {"type_info"} if type_of else set()
    if not known.issuperset(benchmark.needs) or benchmark.marking or benchmark.about_objects:
        return {}
    rows = [
        AnswerRow(
            question.scene_id,
            said,
            prompt=question.prompt,
            ref_captions=(trim(truth),),
            type_info=type_of(question.prompt) if type_of else None,
            index=question.index,
            task=task,
        )
        for question, truth, said in pairs
    ]
    annotation = Annotation(None)
    with TextScorer(()) as scorer:
        scorer.ask(benchmark.text_groups(rows, annotation) if benchmark.text_groups else {})
        texts = scorer.scores()
    score = benchmark.report(rows, annotation, texts).scores.get(benchmark.main_metric)
    return {} if score is None else {spelled(benchmark.main_metric): float(score)}


def _f1(said: Sequence[object], wanted: Sequence[object]) -> float:
    """Return F1 of two bags; 1 for two empty ones."""
    if not said and not wanted:
        return 1.0
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))


def _mean(values: Sequence[float]) -> float:
    return round(float(sum(values)) / max(len(values), 1), 6)
