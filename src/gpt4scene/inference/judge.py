"""``gpt4scene judge``: a language model marks answers that no rule can, one after another into a journal.

The judge is any OpenAI-compatible server. It gets exactly the messages and settings of the benchmark's own script. A
run that was stopped goes on when the same command is given again; a judgement without a mark is kept and asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt4scene import talk
from gpt4scene.benchmarks.answers import read_answered
from gpt4scene.benchmarks.marking import Marking, Prompts, Told, question_names, read_prompts
from gpt4scene.benchmarks.references import read_references, reference_files
from gpt4scene.benchmarks.registry import BENCHMARKS, task_names
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.answers import AnswerRow
from gpt4scene.files.journal import Journal, differences, read_journal
from gpt4scene.files.judgements import Judgements, judged_path, marks_path, read_judged, told_hash
from gpt4scene.files.predictions import lies_there, tasks_in
from gpt4scene.inference.judge_arguments import JudgeArguments
from gpt4scene.inference.reply import Reply
from gpt4scene.inference.requests import Requests, ServerRefusal
from gpt4scene.inference.served import served
from gpt4scene.inference.side_by_side import SideBySide
from gpt4scene.progress import track
from gpt4scene.types import Judgement

Say = Callable[[str], None]

HOPELESS = 20
"""So many judgements in a row without a mark, and none with one before, end a run: this is no judge."""

_SHOWN, _LISTED = 60, 5


@dataclass(frozen=True)
class JudgeSummary:
    """What came of one task: answers that a rule marks, judgements kept from earlier runs and new ones.

    ``unreadable`` are the questions whose last judgement holds no mark.
    """

    path: Path
    by_rule: int
    kept: int
    asked: int
    unreadable: tuple[str, ...]
    left: int = 0


@dataclass(frozen=True)
class _Asked:
    """An answer to be judged: the name of its question, its row, and what the judge is told."""

    name: str
    row: AnswerRow
    told: Told


def judge(arguments: JudgeArguments, say: Say | None = None) -> dict[str, JudgeSummary]:
    """Have the answers of all tasks marked that need it; return what came of each task.

    Raises ``DataError`` for wrong files and judgements of another judge, of other prompts or of other answers,
    ``WorkError`` when the server fails. ``say`` takes lines for the user; they go to stderr when left out.
    """
    say = say or talk.say
    arguments.check()
    place, tasks = Path(arguments.predictions), _tasks(arguments)
    files = reference_files(arguments.references, tasks)
    references = {task: read_references(task, paths) for task, paths in files.items()}
    prompts = {task: read_prompts(_marking(task), arguments.prompts) for task in tasks}
    rows = {}
    for task in tasks:  # all are read before the judge is asked about the first
        _refuse_marks(place, task)
        official = references.get(task)
        rows[task] = read_answered(place, arguments.annotation_dir, task, official, references, alone=True).rows
    found = {}
    for task in tasks:
        if arguments.overwrite:
            judged_path(place, task).unlink(missing_ok=True)
        found[task] = _judge_task(arguments, task, rows[task], prompts[task], say)
    return found


def _tasks(arguments: JudgeArguments) -> list[str]:
    """Return the tasks to judge: those named, else those of the answers that a judge marks."""
    named, place = task_names(arguments.tasks), Path(arguments.predictions)
    tasks = [task for task in named or tasks_in(place, BENCHMARKS) if BENCHMARKS[task].marking is not None]
    known = [task for task, benchmark in BENCHMARKS.items() if benchmark.marking is not None]
    if place.is_file() and len(tasks) != 1:
        raise ConfigError(f"{place}: a file holds the answers of one task; say which with --tasks ({', '.join(known)})")
    if not tasks:
        raise DataError(f"{place}: no answers here that a judge marks ({', '.join(known)}); {lies_there(place, known)}")
    return tasks


def _marking(task: str) -> Marking:
    marking = BENCHMARKS[task].marking
    assert marking is not None, "only tasks that a judge marks are taken"
    return marking


def _refuse_marks(place: Path, task: str) -> None:
    marks = marks_path(place, task)
    if marks.is_file():
        raise DataError(f"{marks}: holds marks of these answers already; move it away to have them judged")


def _judge_task(
    arguments: JudgeArguments, task: str, rows: Sequence[AnswerRow], prompts: Prompts, say: Say
) -> JudgeSummary:
    marking, path = _marking(task), judged_path(Path(arguments.predictions), task)
    settings = _settings(arguments, task, marking, prompts)
    earlier = read_judged(path) if path.is_file() else Judgements(path, {})
    if earlier.settings is not None and (changed := differences(earlier.settings, settings)):
        raise DataError(
            f"{path}: holds judgements of another judge ({'; '.join(changed)}); judge as before, move the file away, "
            "or start over with --overwrite"
        )
    named = zip(question_names(rows), rows, strict=True)
    needing = [_Asked(name, row, told) for name, row in named if (told := marking.told(row)) is not None]
    _check_answers(needing, earlier)
    waiting = [asked for asked in needing if not _is_done(earlier.found.get(asked.name), arguments.asks)]
    kept = len(needing) - len(waiting)
    asked = waiting[: arguments.limit]
    say(
        f"{task}: {len(rows):,} answers, {len(rows) - len(needing):,} of them marked by rule, {kept:,} judged before, "
        f"{len(asked):,} to judge by {arguments.model} with {_source(prompts)}; judgements go to {path}"
    )
    if asked:
        proven = any(one.mark is not None for one in earlier.found.values())
        bodies = [_body(arguments, marking, prompts, one.told) for one in asked]
        with Journal(path, settings) as journal:
            try:
                _ask_all(arguments, task, marking, asked, bodies, journal, proven, say)
                journal.sync()
            finally:
                if not journal.answers:
                    path.unlink(missing_ok=True)  # so that other prompts can be tried
    now = read_judged(path) if path.is_file() else earlier
    unreadable = tuple(one.name for one in needing if one.name in now.found and now.found[one.name].mark is None)
    summary = JudgeSummary(path, len(rows) - len(needing), kept, len(asked), unreadable, len(waiting) - len(asked))
    _say_end(summary, now, arguments.asks, task, say)
    return summary


def _settings(arguments: JudgeArguments, task: str, marking: Marking, prompts: Prompts) -> dict[str, Any]:
    longest, name = arguments.max_new_tokens, arguments.model
    published = marking.settings.get("max_tokens")
    if longest is not None and longest != published:
        name = f"{name}, max_tokens {longest}"
    return {"task": task, "judge": name, "prompts": prompts.source, "request": _request(arguments, marking)}


def _request(arguments: JudgeArguments, marking: Marking) -> dict[str, Any]:
    longest = {} if arguments.max_new_tokens is None else {"max_tokens": arguments.max_new_tokens}
    return {**marking.settings, **longest}


def _body(arguments: JudgeArguments, marking: Marking, prompts: Prompts, told: Told) -> dict[str, Any]:
    return {
        "model": arguments.model,
        "messages": marking.messages(prompts, told),
        **_request(arguments, marking),
    }


def _source(prompts: Prompts) -> str:
    kind, _, digits = prompts.source.partition(" ")
    return {"official": "the official prompts", "gpt4scene": f"our own prompts ({digits})"}.get(
        kind, f"the given prompts ({digits}), which are not the official ones"
    )


def _check_answers(needing: Sequence[_Asked], earlier: Judgements) -> None:
    """Raise ``DataError`` where a judgement is of another answer than is here."""
    for asked in needing:
        judgement = earlier.found.get(asked.name)
        if judgement is not None and judgement.answer != told_hash(asked.told):
            raise DataError(
                f"{judgement.origin}: judges another answer to question '{asked.name}' than {asked.row.origin} has; "
                "give the answers that were judged, or start over with --overwrite"
            )


def _is_done(judgement: Judgement | None, asks: int) -> bool:
    return judgement is not None and (judgement.mark is not None or judgement.times >= asks)


def _models(path: Path) -> set[str]:
    """Return the names under which the judge has answered in a journal."""
    return {row["model"] for _, row in read_journal(path).rows if isinstance(row.get("model"), str)}


def _ask_all(
    arguments: JudgeArguments,
    task: str,
    marking: Marking,
    asked: Sequence[_Asked],
    bodies: Sequence[dict[str, Any]],
    journal: Journal,
    proven: bool,
    say: Say,
) -> None:
    """Write each judgement as it comes; those that came before an end by an error or by Ctrl-C as well.

    ``proven`` says that the judge has given a mark before.
    """
    requests = Requests(arguments.base_url, arguments.timeout, arguments.retries, say)
    asking = SideBySide(requests, task, arguments.request_limit, say)
    served(requests, arguments.model)
    models, unread = _models(journal.path), 0
    try:
        replies = asking.replies([(one.name, body) for one, body in zip(asked, bodies, strict=True)])
        for place, reply in track(replies, f"judgements of {task}", len(asked)):
            mark = _write(journal, task, marking, asked[place], reply, models, arguments.model)
            proven = proven or mark is not None
            unread += mark is None
            if unread == HOPELESS and not proven:
                raise DataError(
                    f"{arguments.base_url}, {task}: the first {HOPELESS} judgements hold no mark (the last: "
                    f"'{_words(reply)}'); let a model judge that follows the prompt, or raise --max_new_tokens"
                )
    finally:
        requests.close()
        for place, reply in asking.received():
            _write(journal, task, marking, asked[place], reply, models, arguments.model)


def _write(
    journal: Journal,
    task: str,
    marking: Marking,
    asked: _Asked,
    reply: Reply | ServerRefusal,
    models: set[str],
    served_as: str,
) -> int | None:
    """Write a judgement and return its mark. ``DataError`` where another model answers than before."""
    words, name = _words(reply), reply.model if isinstance(reply, Reply) else None
    if name is not None and models and name not in models:
        raise DataError(
            f"{journal.path}: '{name}' judges now, and '{min(models)}' before it; let one model answer to the name "
            f"'{served_as}', and run the same command again"
        )
    models |= {name} if name else set()
    mark = marking.read(words) if isinstance(reply, Reply) else None
    row = asked.row
    journal.append_row(
        {
            "task": task,
            "index": row.index if row.index is not None else journal.answers,
            "question": asked.name,
            "answer": told_hash(asked.told),
            "pred": words,
            "mark": mark,
            "model": name,
        }
    )
    return mark


def _words(reply: Reply | ServerRefusal) -> str:
    return reply.text if isinstance(reply, Reply) else f"no judgement: {reply}"


def _say_end(summary: JudgeSummary, now: Judgements, asks: int, task: str, say: Say) -> None:
    if summary.left:
        say(f"{task}: {summary.left:,} answers are still to be judged; the same command without --limit goes on")
    if not summary.unreadable:
        return
    for name in summary.unreadable[:_LISTED]:
        one = now.found[name]
        again = "is asked again by the same command" if one.times < asks else f"was asked {one.times} times (--asks)"
        say(f"{task}: question {name}: no mark in '{one.text[:_SHOWN]}'; {again}")
    say(f"{task}: {len(summary.unreadable):,} judgements hold no mark; the figures leave those answers out")


def main(arguments: JudgeArguments) -> int:
    """Judge as the arguments say; return 0 when done."""
    for task, summary in judge(arguments).items():
        marked, unmarked = summary.kept + summary.asked - len(summary.unreadable), len(summary.unreadable)
        counts = {"by_rule": summary.by_rule, "by_judge": marked, "without_mark": unmarked, "left": summary.left}
        talk.result(
            f"{task}: {summary.by_rule:,} marked by rule, {marked:,} by the judge, "
            f"{unmarked:,} without a mark, {summary.left:,} left: {summary.path}",
            **{task: counts | {"path": str(summary.path)}},
        )
    return 0
