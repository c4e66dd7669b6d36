"""An inference run: questions in, a journal of answers out, on one process or several.

``gpt4scene infer`` and ``evaluate/infer.py`` come here. A run that was stopped goes on when the same command is given
again, with any number of processes.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpt4scene.benchmarks.questions import find_tasks, load_questions, question_file
from gpt4scene.errors import DataError
from gpt4scene.files import journal
from gpt4scene.files.predictions import write_public
from gpt4scene.inference import launcher
from gpt4scene.inference.arguments import InferArguments, to_flags
from gpt4scene.inference.progress import Progress, duration
from gpt4scene.inference.shards import questions_per_scene, shard
from gpt4scene.types import Question

Say = Callable[[str], None]


@dataclass(frozen=True)
class InferSummary:
    """What a run left behind: ``files`` by task (``<task>.jsonl``), answers of this run and of earlier ones."""

    output_dir: Path
    files: dict[str, Path]
    answered: int
    kept: int
    seconds: float


@dataclass(frozen=True)
class _Plan:
    """The questions of a run, and for each task the settings that shape its answers."""

    questions: list[Question]
    settings: dict[str, dict[str, Any]]

    @property
    def tasks(self) -> list[str]:
        """The tasks asked, in published order."""
        return list(self.settings)


def infer(arguments: InferArguments, say: Say | None = None) -> InferSummary:
    """Answer the questions of this shard (all of them without shards) that have no answer yet.

    Raises ``DataError`` for wrong files and for a folder of another run, ``WorkerError`` when a process fails. ``say``
    takes lines for the user; they go to stderr when left out.
    """
    say = say or (lambda line: print(line, file=sys.stderr, flush=True))
    arguments.check()
    start = time.monotonic()
    plan = _make_plan(arguments)
    out = Path(arguments.output_dir)
    gpus, processes = _processes(arguments)
    parts, first = arguments.num_shards * processes, arguments.shard * processes
    if arguments.overwrite:
        for task in plan.tasks:
            for index in range(first, first + processes):
                journal.clear_for_shard(out, task, plan.settings[task], index, parts)
    for task in plan.tasks:
        journal.check_settings(out, task, plan.settings[task])
    mine = _scenes_of(plan, parts, range(first, first + processes))
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
    missing = asked - journal.done(out, plan.tasks)
    if missing:
        raise DataError(f"{out}: {len(missing)} questions have no answer; run the same command again")
    files = _finish(arguments, plan, mine)
    return InferSummary(out, files, len(asked) - kept, kept, time.monotonic() - start)


def _processes(arguments: InferArguments) -> tuple[list[str], int]:
    """Return the GPUs and the number of processes to work on them."""
    if arguments.engine == "server" or arguments.num_processes == "1":
        return [], 1
    gpus: list[str] = []
    if arguments.device == "auto":
        import torch

        gpus = launcher.visible_gpus(os.environ, torch.cuda.device_count)
    if arguments.num_processes == "auto":
        return gpus, max(1, len(gpus))
    return gpus, int(arguments.num_processes)


def _make_plan(arguments: InferArguments) -> _Plan:
    tasks = find_tasks(arguments.annotation_dir, arguments.tasks, arguments.split)
    questions = load_questions(
        arguments.annotation_dir,
        tasks,
        arguments.media_dir,
        split=arguments.split,
        images=arguments.images,
    )
    shared = _shared_settings(arguments)
    settings = {}
    for task in tasks:
        path = question_file(arguments.annotation_dir, task, arguments.split)
        assert path is not None
        settings[task] = {
            **shared,
            "questions": hashlib.sha256(path.read_bytes()).hexdigest()[:16],
            "pictures": _hash_images(question for question in questions if question.task == task),
        }
    return _Plan(questions, settings)


def _shared_settings(arguments: InferArguments) -> dict[str, Any]:
    """Return everything but the questions that answers depend on; not shards, device or branch limit."""
    from gpt4scene.model.folder import find_model, identity

    local = arguments.engine == "local"
    settings = {
        "engine": arguments.engine,
        "model": identity(find_model(arguments.model)) if local else arguments.model,
        "dtype": arguments.dtype,
        "template": arguments.template,
        "image_resolution": arguments.image_resolution,
        "max_new_tokens": arguments.max_new_tokens,
        "temperature": arguments.temperature,
        "repetition_penalty": arguments.repetition_penalty,
    }
    if arguments.temperature:
        settings |= {"top_p": arguments.top_p, "seed": arguments.seed}
    return settings


def _hash_images(questions: Iterable[Question]) -> str:
    """Return a hash of the scenes' images by order, name and size in bytes, the same wherever they lie."""
    digest = hashlib.sha256()
    for scene, images in sorted({question.scene_id: question.images for question in questions}.items()):
        parts = [f"{os.path.basename(path)} {os.path.getsize(path)}" for path in images]
        digest.update("\n".join([scene, *parts, ""]).encode())
    return digest.hexdigest()[:16]


def _scenes_of(plan: _Plan, parts: int, indices: Iterable[int]) -> set[str]:
    loads = questions_per_scene(plan.questions)
    return {scene for index in indices for scene in shard(loads, parts, index)}


def _answer_shard(arguments: InferArguments, plan: _Plan, say: Say) -> None:
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
    with ExitStack() as stack:
        journals = {}
        for task in plan.tasks:
            path = journal.journal_path(out, task, arguments.shard, arguments.num_shards)
            journals[task] = stack.enter_context(journal.Journal(path, plan.settings[task]))
        engine = _engine(arguments, say)
        progress = Progress(sum(map(len, visits)), len(visits), sys.stderr)
        for answers in engine.answer_scenes(visits, _generation(arguments)):
            for answer in answers:
                launcher.check_launcher()
                journals[answer.question.task].append(answer)
                progress.answer()
            for file in journals.values():
                file.sync()
            progress.scene()


def _generation(arguments: InferArguments):
    from gpt4scene.inference.decoding import GenerationSettings

    return GenerationSettings(
        max_new_tokens=arguments.max_new_tokens,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
        repetition_penalty=arguments.repetition_penalty,
    )


def _engine(arguments: InferArguments, say: Say):
    """Return the local engine, or the one in front of a server."""
    if arguments.engine == "server":
        from gpt4scene.data.vision import VisionRule
        from gpt4scene.inference.client import REQUEST_LIMIT, ServerEngine

        vision = VisionRule(image_resolution=arguments.image_resolution)
        if Path(arguments.model).is_dir():
            vision = VisionRule.from_folder(arguments.model, arguments.image_resolution)
        limit = arguments.branch_limit or REQUEST_LIMIT
        assert arguments.base_url is not None
        return ServerEngine(arguments.base_url, arguments.model, vision, limit)
    from transformers.utils.logging import disable_progress_bar

    from gpt4scene.inference.local import load_engine
    from gpt4scene.settings.arguments import attention_backend

    if not sys.stderr.isatty():
        disable_progress_bar()
    attention, note = attention_backend(arguments.flash_attn)
    if note:
        say(f"note: {note}")
    return load_engine(
        arguments.model,
        image_resolution=arguments.image_resolution,
        template=arguments.template,
        dtype=arguments.dtype,
        attention=attention,
        device=arguments.device,
        branch_limit=arguments.branch_limit,
    )


def _finish(arguments: InferArguments, plan: _Plan, scenes: set[str]) -> dict[str, Path]:
    """Join the journals of a whole run, write the public form where asked; return the journal of each task."""
    out, files = Path(arguments.output_dir), {}
    for task in plan.tasks:
        if arguments.num_shards == 1:
            files[task] = journal.merge(out, task, plan.settings[task])
        else:
            files[task] = journal.journal_path(out, task, arguments.shard, arguments.num_shards)
        if arguments.public_name:
            write_public(out, task, arguments.public_name, arguments.shard, arguments.num_shards, scenes)
    return files


def main(arguments: InferArguments) -> int:
    """Infer as the arguments say; return 0 when done."""
    summary = infer(arguments)
    for task, path in summary.files.items():
        print(f"{task}: {path}")
    print(f"{summary.answered} questions answered in {duration(summary.seconds)}, {summary.kept} kept", file=sys.stderr)
    return 0
