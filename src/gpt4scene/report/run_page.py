"""A training run as one HTML page in its own folder: curves, answers, settings, data, cost, warnings, what to do next.

``gpt4scene train`` writes it at the end of every run, ``gpt4scene report --run DIR`` again for any. It needs no network
and no script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.files.run_folder import ANSWERS, PAGE, RunRecord, SaidAnswer, is_page, read_run
from gpt4scene.files.thoughts import split_thought
from gpt4scene.files.whole import write_text
from gpt4scene.metrics.exact_match import clean, strict_matches, trim
from gpt4scene.report import run_facts
from gpt4scene.report.calling import short_path
from gpt4scene.report.curve import number, spread
from gpt4scene.report.rendering import render
from gpt4scene.report.run_charts import curves
from gpt4scene.report.run_next import next_steps, unknown

MOST_QUESTIONS = 12
"""Held-out questions that the page shows with their answers."""
MOST_STEPS = 4
"""Steps whose answers it shows."""
MOST_SKIPPED = 50
"""Rows left out that it names."""

STATES = {
    "finished": ("right", "finished"),
    "stopped": ("partly", "stopped"),
    "failed": ("wrong", "failed"),
    "running": ("partly", "not ended"),
    "": ("partly", "no run.json"),
}
"""``status`` of ``run.json`` -> the colour of its word on the page, and the word."""


@dataclass(frozen=True)
class Said:
    """What the model said after a step, and whether that is the answer of the row."""

    step: str
    text: str
    right: bool


@dataclass(frozen=True)
class Example:
    """A held-out question, the answer that its row has, and what the model said as it learned."""

    task: str
    question: str
    truth: str
    said: Sequence[Said]


def write_run_page(folder: str | Path) -> Path:
    """Write ``folder/index.html`` about the run in the folder, and return it.

    Raises ``DataError`` where the folder has no figures of a run, or an ``index.html`` that is no page of one.
    """
    record = read_run(folder)
    page = record.folder / PAGE
    if page.exists() and not is_page(page):
        raise DataError(f"{page}: was not written by gpt4scene train, so it is left alone; move it to have the page")
    return write_text(page, run_page(record))


def run_page(record: RunRecord) -> str:
    """Return the page about a run."""
    known, steps = run_facts.settings(record), next_steps(record)
    skipped = [str(one) for one in record.part("data").get("skipped") or ()]
    shown, asked = examples(record.answers)
    return render(
        "run.html",
        name=record.folder.absolute().name,
        state=STATES.get(str(record.about.get("status", "")), STATES["running"]),
        note=str(record.about.get("note") or ""),
        started=str(record.about.get("started") or "").replace("T", " ").replace("+00:00", " UTC"),
        warnings=run_facts.warnings(record),
        steps=steps,
        unknown=unknown(steps),
        here=str(Path.cwd()),
        place=short_path(record.folder),
        curves=curves(record.log),
        results=run_facts.results(record),
        cost=run_facts.cost(record),
        model=run_facts.model_facts(record),
        machine=run_facts.machine(record),
        versions=run_facts.versions(record),
        rows=run_facts.rows_used(record),
        data_sets=run_facts.data_sets(record),
        skipped=skipped[:MOST_SKIPPED],
        all_skipped=len(skipped),
        examples=shown,
        asked=asked,
        answers_file=ANSWERS,
        differing=[one for one in known if one.differs],
        others=[one for one in known if not one.differs],
        given=run_facts.given_to_transformers(record),
        parts_of_model=_parts(record),
    )


def examples(answers: Sequence[SaidAnswer]) -> tuple[list[Example], int]:
    """Return some of the held-out questions with answers of some steps, and the number of all questions."""
    by_row: dict[str, list[SaidAnswer]] = {}
    for one in answers:
        by_row.setdefault(f"{one.task}\n{one.row}", []).append(one)
    rows = list(by_row.values())
    chosen = [rows[int(place)] for place in spread(range(len(rows)), MOST_QUESTIONS)]
    steps = set(spread(sorted({one.step for one in answers}), MOST_STEPS))
    found = []
    for row in chosen:
        said = [Said(number(one.step), one.answer, _right(one)) for one in row if one.step in steps]
        found.append(Example(row[0].task, row[0].question, row[0].truth, said))
    return found, len(rows)


def _right(one: SaidAnswer) -> bool:
    """Return whether an answer is that of its row, by our strict rules; thoughts are no part of either."""
    said, truth = (split_thought(text)[1].strip() for text in (one.answer, one.truth))
    return strict_matches([clean(trim(said))], [[truth]])["strict EM1"][0]


def _parts(record: RunRecord) -> list[dict[str, str]]:
    """Return how each part of the model was trained."""
    found = []
    for part in record.about.get("parts") or ():
        if not isinstance(part, dict):
            continue
        rates = [number(rate) for rate in part.get("learning_rates") or ()]
        found.append(
            {
                "name": str(part.get("name", "")),
                "how": str(part.get("how", "")),
                "parameters": number(part.get("parameters") or 0),
                "trained": number(part.get("trained") or 0),
                "precision": str(part.get("precision", "")),
                "rates": ", ".join(rates) or "–",
            }
        )
    return found
