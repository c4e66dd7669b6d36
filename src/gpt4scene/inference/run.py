"""An inference run: questions in, a journal of answers out, on one process or several.

``gpt4scene infer`` and ``evaluate/infer.py`` come here. A run that was stopped goes on when the same command is given
again, with any number of processes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gpt4scene import talk
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.errors import DataError, WorkError
from gpt4scene.files import journal
from gpt4scene.files.predictions import write_public
from gpt4scene.files.thoughts import split_thought
from gpt4scene.inference import launcher
from gpt4scene.inference.arguments import InferArguments, to_flags
from gpt4scene.inference.opening import decoding_settings, look_for_model, open_engine, server_vision
from gpt4scene.inference.plan import Plan, View, make_plan
from gpt4scene.inference.progress import Progress
from gpt4scene.inference.reply import is_empty
from gpt4scene.inference.shards import questions_per_scene, shard
from gpt4scene.progress import duration
from gpt4scene.types import Answer, Question

if TYPE_CHECKING:
    from gpt4scene.inference.client import ServerEngine
    from gpt4scene.inference.engine import Engine

Say = Callable[[str], None]


@dataclass(frozen=True)
class InferSummary:
    """What a run left behind: ``files`` by task (``<task>.jsonl``), answers of this run and of earlier ones.

    ``cut`` counts those among them that were cut at the longest length.
    """

    output_dir: Path
    files: dict[str, Path]
    answered: int
    kept: int
    seconds: float
    cut: int = 0


def infer(arguments: InferArguments, say: Say | None = None) -> InferSummary:
    """Answer the questions of this shard (all of them without shards) that have no answer yet.

    Raises ``DataError`` for wrong files and for a folder of another run, ``WorkerError`` when a process fails. ``say``
    takes lines for the user; they go to stderr when left out.
    """
    say = say or talk.say
    arguments.check()
    look_for_model(arguments)
    check_device(arguments)
    start = time.monotonic()
    is_worker = launcher.PARENT in os.environ
    plan = make_plan(arguments, (lambda line: None) if is_worker else say)
    out = Path(arguments.output_dir)
    if not is_worker:
        say(plan.summary(arguments))
    gpus, processes = _processes(arguments, len(plan.scenes))
    parts, first = arguments.num_shards * processes, arguments.shard * processes
    if arguments.overwrite:
        for task in plan.tasks:
            for index in range(first, first + processes):
                journal.clear_for_shard(out, task, plan.settings[task], index, parts)
    mine = _scenes_of(plan, parts, range(first, first + processes))
    plan.check_journals(out, mine)
    asked = {question.key for question in plan.questions if question.scene_id in mine}
    kept = len(asked & journal.done(out, plan.tasks))
    if kept:
        say(f"{kept} of {len(asked)} questions have answers in {out}; asking the other {len(asked) - kept}")
    if kept < len(asked):
        if processes == 1:
            _answer_shard(arguments, plan, say)
        else:
            work = replace(arguments, num_shards=parts, num_processes="1", overwrite=False, public_name=None)
            commands = [to_flags(replace(work, shard=index)) for index in range(first, first + processes)]
            say(f"starting {processes} processes" + (f" on GPUs {', '.join(gpus)}" if gpus else " on the CPU"))
            launcher.run_workers(commands, gpus, say)
    missing = sorted(asked - journal.done(out, plan.tasks))
    if missing and not is_worker:
        task, index = missing[0]
        raise DataError(
            f"{out}: {len(missing)} of {len(asked)} questions have no answer (the first: {task}, row {index}); "
            "the same command asks them again, and --keep_empty writes an empty answer where the model says nothing"
        )
    files = {} if missing else _finish(arguments, plan, mine)
    cut = _count_cut(out, plan.tasks, asked)
    return InferSummary(out, files, len(asked) - kept - len(missing), kept, time.monotonic() - start, cut)


def check_device(arguments: InferArguments) -> None:
    """Raise ``ConfigError`` for a device that is not here, before anything is read."""
    if arguments.local and arguments.device not in ("auto", "cpu"):
        from gpt4scene.inference.local import choose_device, choose_dtype

        choose_dtype(arguments.dtype, choose_device(arguments.device))


def _count_cut(folder: Path, tasks: Iterable[str], asked: set[journal.Key]) -> int:
    """Return how many of the answers in the journals were cut at the longest length."""
    return len(
        {
            (task, row["index"])
            for task in tasks
            for row in journal.ordered_rows(folder, task)
            if row.get("finish_reason") == "length" and (task, row["index"]) in asked
        }
    )


def _processes(arguments: InferArguments, scenes: int) -> tuple[list[str], int]:
    """Return the GPUs and the number of processes to work on them, at most one a scene."""
    if arguments.engine == "server" or arguments.num_processes == "1":
        return [], 1
    gpus: list[str] = []
    if arguments.device == "auto":
        import torch

        gpus = launcher.visible_gpus(os.environ, torch.cuda.device_count)
    if arguments.num_processes == "auto":
        return gpus, max(1, min(len(gpus), scenes))
    return gpus, int(arguments.num_processes)


def _scenes_of(plan: Plan, parts: int, indices: Iterable[int]) -> set[str]:
    loads = questions_per_scene(plan.questions)
    return {scene for index in indices for scene in shard(loads, parts, index)}


def _answer_shard(arguments: InferArguments, plan: Plan, say: Say) -> None:
    """Answer in this process what the shard's scenes still lack, scene by scene, and write each answer at once."""
    out = Path(arguments.output_dir)
    scenes = shard(questions_per_scene(plan.questions), arguments.num_shards, arguments.shard)
    done = journal.done(out, plan.tasks)
    pending: dict[str, list[Question]] = {scene: [] for scene in scenes}
    for question in plan.questions:
        if question.scene_id in pending and question.key not in done:
            pending[question.scene_id].append(question)
    visits = [questions for questions in pending.values() if questions]
    if not visits:
        return
    launcher.check_launcher()
    server = _asked_server(arguments, plan, say) if arguments.engine == "server" else None
    hashes = plan.hash_images(scene for scene, questions in pending.items() if questions)
    with ExitStack() as stack:
        journals, name = {}, arguments.model if arguments.local else ""
        for task in plan.tasks:
            path = journal.journal_path(out, task, arguments.shard, arguments.num_shards)
            journals[task] = stack.enter_context(journal.Journal(path, plan.settings[task], plan.earlier[task], name))
        engine = server or open_engine(
            arguments,
            say,
            branch_limit=arguments.branch_limit,
            longest=arguments.max_new_tokens,
            video=arguments.video_limits,
        )
        _ask(engine, visits, _Writer(journals, hashes, arguments.keep_empty), arguments, plan, say)


@dataclass
class _Writer:
    """Writes answers into the journals of their tasks, but for empty ones, unless they are wanted."""

    journals: dict[str, journal.Journal]
    images: dict[View, str]
    keep_empty: bool
    empty: int = 0
    first_empty: Question | None = None

    def shows_now(self, view: View, plan: Plan) -> bool:
        """Return whether a scene's images still are those that its answers are written with."""
        try:
            return plan.contents.together(plan.images[view]) == self.images[view]
        except (DataError, OSError):  # an image that went away is not the one of before either
            return False

    def write(self, answer: Answer) -> None:
        """Write one answer, or count it where it is empty."""
        question = answer.question
        if is_empty(split_thought(answer.text)[1]) and not self.keep_empty:
            self.empty += 1
            self.first_empty = self.first_empty or question
            return
        self.journals[question.task].append(replace(answer, images=self.images[question.task, question.scene_id]))


def _ask(
    engine: Engine | ServerEngine,
    visits: list[list[Question]],
    writer: _Writer,
    arguments: InferArguments,
    plan: Plan,
    say: Say,
) -> None:
    """Ask scene by scene and write each answer at once; what came before an error or Ctrl-C is written, too."""
    import torch

    progress = Progress(sum(map(len, visits)), len(visits))
    try:
        for questions, answers in zip(visits, engine.answer_scenes(visits, decoding_settings(arguments)), strict=True):
            views = dict.fromkeys((question.task, question.scene_id) for question in questions)
            if not all(writer.shows_now(view, plan) for view in views):
                raise DataError(
                    f"the images of scene '{questions[0].scene_id}' were changed while the run went on; run it again"
                )
            for answer in answers:
                launcher.check_launcher()
                writer.write(answer)
                progress.answer()
            for file in writer.journals.values():
                file.sync()
            progress.scene()
    except torch.OutOfMemoryError as error:
        raise WorkError(
            f"the GPU's memory ran out ({str(error).splitlines()[0]}); lower --branch_limit or --image_resolution, or "
            "free the GPU; answers so far are kept, and the same command goes on"
        ) from None
    finally:
        progress.close()
        for answer in engine.received():
            if writer.shows_now((answer.question.task, answer.question.scene_id), plan):
                writer.write(answer)
    if writer.first_empty is not None:
        talk.note(
            f"{_are(writer.empty, 'answer')} empty and not written (the first: "
            f"{writer.first_empty.task}, row {writer.first_empty.index}); --keep_empty writes empty answers",
            say,
        )


def _asked_server(arguments: InferArguments, plan: Plan, say: Say) -> ServerEngine:
    """Return the engine in front of the server, which has said what it serves; a journal of another one is refused."""
    from gpt4scene.inference.client import ServerEngine

    assert arguments.base_url is not None
    engine = ServerEngine(
        arguments.base_url,
        arguments.model,
        server_vision(arguments),
        arguments.branch_limit,
        arguments.timeout,
        arguments.retries,
        say,
    )
    served = engine.identity()
    for task, settings in plan.settings.items():
        settings["server"] = served
        plan.earlier[task].append({**settings, "server": {}})  # written when the server had said nothing of itself
        journal.check_settings(Path(arguments.output_dir), task, settings, earlier=plan.earlier[task])
    return engine


def _finish(arguments: InferArguments, plan: Plan, scenes: set[str]) -> dict[str, Path]:
    """Join the journals of a whole run, write the public form where asked; return the journal of each task."""
    out, files = Path(arguments.output_dir), {}
    for task in plan.tasks:
        if arguments.num_shards == 1:
            files[task] = journal.merge(out, task, plan.settings[task])
        else:
            files[task] = journal.journal_path(out, task, arguments.shard, arguments.num_shards)
        if arguments.public_name:
            place = arguments.shard, arguments.num_shards
            reads = task in BENCHMARKS and BENCHMARKS[task].reads_thoughts
            write_public(out, task, arguments.public_name, *place, scenes, thoughts=reads)
    return files


def _are(number: int, kind: str) -> str:
    return f"{number} {kind} is" if number == 1 else f"{number} {kind}s are"


def main(arguments: InferArguments) -> int:
    """Infer as the arguments say; return 0 when done."""
    summary = infer(arguments)
    cut = f"; {_are(summary.cut, 'answer')} cut at --max_new_tokens {arguments.max_new_tokens}" if summary.cut else ""
    took = duration(summary.seconds)
    counts = {name: getattr(summary, name) for name in ("answered", "kept", "cut")}
    files = {task: str(path) for task, path in summary.files.items()}
    lines = "\n".join(f"{task}: {path}" for task, path in files.items())
    talk.result(lines, **counts, seconds=round(summary.seconds, 3), files=files)
    talk.say(f"{summary.answered} questions answered in {took}, {summary.kept} kept{cut}")
    return 0
