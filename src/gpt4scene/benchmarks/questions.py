"""The questions of an annotation folder, of any benchmark, with the images of their scenes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from gpt4scene.benchmarks.registry import BENCHMARKS, task_names
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.images import ImageSearch, image_list_file, read_image_list, scene_images
from gpt4scene.files.questions import find_question_file, read_questions
from gpt4scene.registry import nearest
from gpt4scene.types import Question


def question_file(annotation_dir: str | Path, task: str, split: str = "val") -> Path | None:
    """Return the question file of ``task``, or ``None`` where the folder has none."""
    return find_question_file(annotation_dir, BENCHMARKS[task].question_name(split))


def find_tasks(annotation_dir: str | Path, tasks: str | Sequence[str], split: str = "val") -> list[str]:
    """Return the tasks to ask, in the published order; ``all`` stands for every task that has a question file.

    ``tasks`` is a comma-separated text or names. A missing folder, a named task without a file and an ``all`` that
    finds nothing raise ``DataError``, unknown names ``ConfigError``.
    """
    folder = Path(annotation_dir)
    if not folder.is_dir():
        raise DataError(f"{folder}: the annotation folder does not exist; give it with --annotation_dir")
    names = task_names(tasks)
    if names is None:
        found = [task for task in BENCHMARKS if question_file(folder, task, split)]
        if not found:
            example = next(iter(BENCHMARKS.values())).question_name(split)
            raise DataError(f"{folder}: no question file of the split '{split}' (such as {example}) is in this folder")
        return found
    for name in names:
        if question_file(folder, name, split) is None:
            wanted = folder / BENCHMARKS[name].question_name(split)
            raise DataError(f"{wanted}: the question file of {name} does not exist")
    return names


def load_questions(
    annotation_dir: str | Path,
    tasks: str | Sequence[str] = "all",
    media_dir: str | Path | None = None,
    *,
    split: str = "val",
    images: str | Path | None = None,
    scenes: Sequence[str] | None = None,
    limit: int | None = None,
) -> list[Question]:
    """Return all questions of ``tasks`` with their images resolved, in file order, task after task.

    A row with ``videos`` shows these, which are found as images are, and needs no list. Images come from the list that
    ``list_of_task`` returns; ``images`` names one, where the folder holds several.
    ``scenes`` leaves only questions about these, ``limit`` then the first so many of each task. Rows without ``qid``
    and rows that share one are all asked.
    ``DataError`` names file, row or scene and the way out; a scene without a question is a ``ConfigError``.
    """
    questions: list[Question] = []
    files: dict[str, Path] = {}
    for task in find_tasks(annotation_dir, tasks, split):
        path = question_file(annotation_dir, task, split)
        assert path is not None, "find_tasks names tasks with a file only"
        files[task] = path
        questions += _of_equal_videos(read_questions(path, task, BENCHMARKS[task].type_key), path)
    questions = _with_videos(_chosen(questions, scenes, limit), files, media_dir)
    if not questions:
        return []
    asked: dict[str, set[str]] = {}
    for question in (one for one in questions if not one.images):
        asked.setdefault(question.task, set()).add(question.scene_id)
    lists = {task: list_of_task(annotation_dir, task, of_task, split, images) for task, of_task in asked.items()}
    wanted: dict[Path, set[str]] = {}
    for task, path in lists.items():
        wanted.setdefault(path, set()).update(asked[task])
    found = {path: scene_images(path, of_list, media_dir) for path, of_list in wanted.items()}
    return [
        question
        if question.images
        else dataclasses.replace(question, images=found[lists[question.task]][question.scene_id])
        for question in questions
    ]


def _of_equal_videos(questions: list[Question], path: Path) -> list[Question]:
    """Return the questions of the file ``path`` as they are.

    Raises ``DataError`` where those about a scene show different videos: answers are kept by scene.
    """
    shown: dict[str, Question] = {}
    for question in questions:
        first = shown.setdefault(question.scene_id, question)
        if first.images != question.images:
            raise DataError(
                f"{path}, row {question.index}: shows other 'videos' than row {first.index} of the same scene "
                f"'{question.scene_id}'; give rows that show something else a scene_id of their own"
            )
    return questions


def _with_videos(questions: list[Question], files: Mapping[str, Path], media_dir: str | Path | None) -> list[Question]:
    """Return the questions with their own videos found; ``files`` are those of the tasks.

    Raises ``DataError`` for one that is not there. Videos that no question is about need not be.
    """
    found: dict[tuple[Path, tuple[str, ...]], tuple[str, ...]] = {}
    searches = {path: ImageSearch.around(path, media_dir) for path in files.values()}
    for question in (one for one in questions if one.images):
        path = files[question.task]
        if (path, question.images) in found:
            continue
        try:
            found[path, question.images] = tuple(map(searches[path].find_named, question.images))
        except DataError as error:
            raise DataError(f"{path}, row {question.index}: {error}") from None
    return [
        dataclasses.replace(question, images=found.get((files[question.task], question.images), ()))
        for question in questions
    ]


def list_of_task(
    annotation_dir: str | Path,
    task: str,
    scenes: Collection[str],
    split: str = "val",
    images: str | Path | None = None,
) -> Path:
    """Return the list of images that questions of ``task`` about ``scenes`` show.

    That is the one that ``images`` names; but a task with a list of its own keeps it where the named one lacks one of
    the scenes. Without ``images`` it is the task's own list, else the one that tasks share.
    """
    benchmark = BENCHMARKS[task]
    own = Path(annotation_dir) / benchmark.image_list.format(split=split) if benchmark.image_list else None
    there = own is not None and own.is_file()
    if images is not None:
        named = image_list_file(annotation_dir, split, images)
        return own if own is not None and there and not set(scenes) <= set(read_image_list(named)) else named
    if own is not None and there:
        return own
    if own is not None and benchmark.own_images:
        raise DataError(
            f"{own}: the list of the images of {task} is not there; `gpt4scene annotate` writes it with the questions, "
            "and --images names another"
        )
    return image_list_file(annotation_dir, split)


def _chosen(questions: list[Question], scenes: Sequence[str] | None, limit: int | None) -> list[Question]:
    if scenes is not None:
        known = list(dict.fromkeys(question.scene_id for question in questions))
        unknown = [scene for scene in scenes if scene not in known]
        if unknown:
            raise ConfigError(
                *(f"no question is about a scene '{scene}'{nearest(scene, known)}" for scene in unknown[:-1]),
                f"no question is about a scene '{unknown[-1]}'{nearest(unknown[-1], known)} ({len(known)} scenes have "
                f"questions, the first is {known[0]})"
                if known
                else "there are no questions",
            )
        questions = [question for question in questions if question.scene_id in scenes]
    if limit is None:
        return questions
    asked: Counter[str] = Counter()
    first = []
    for question in questions:
        asked[question.task] += 1
        if asked[question.task] <= limit:
            first.append(question)
    return first
