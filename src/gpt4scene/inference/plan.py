"""What a run asks, and what its answers depend on: all of it is known, and checked, before a model is loaded."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt4scene import talk
from gpt4scene.benchmarks.questions import find_tasks, load_questions, question_file
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.data.encoding import HALF
from gpt4scene.data.templates import ALL_MARKS, TEMPLATES
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files import journal
from gpt4scene.files.contents import Contents
from gpt4scene.files.images import odd_scenes
from gpt4scene.files.media import is_video, paths_of
from gpt4scene.files.whole import read_json
from gpt4scene.inference.arguments import InferArguments, names_in
from gpt4scene.inference.opening import check_model
from gpt4scene.types import Question

if TYPE_CHECKING:
    from gpt4scene.model.folder import ModelFolder

Say = Callable[[str], None]
View = tuple[str, str]
"""A task and a scene: what questions show of a scene is a matter of both."""
SIDE = "image_resolution"
"""The limit of images that every journal names; the others are named where they are used."""


@dataclass(frozen=True)
class Plan:
    """The questions of a run, and for each task the settings that shape its answers.

    ``earlier`` are the settings of each task as earlier versions wrote them, where its journals are of such a one.
    ``images`` are the paths of the images that each task shows of each scene; their hashes go into the journal with
    every answer.
    """

    questions: list[Question]
    settings: dict[str, dict[str, Any]]
    earlier: dict[str, list[dict[str, Any]]]
    images: dict[View, tuple[str, ...]]
    contents: Contents = field(default_factory=Contents)

    @property
    def tasks(self) -> list[str]:
        """The tasks asked, in published order."""
        return list(self.settings)

    @property
    def scenes(self) -> list[str]:
        """The scenes that questions are about."""
        return list(dict.fromkeys(scene for _, scene in self.images))

    def hash_images(self, scenes: Iterable[str]) -> dict[View, str]:
        """Return a hash of what the images of ``scenes`` hold, in their order, for every task that shows them.

        Raises ``DataError`` for one that can't be read.
        """
        wanted = set(scenes)
        views = [view for view in self.images if view[1] in wanted]
        self.contents.read_ahead(path for view in views for path in self.images[view])
        known = {images: self.contents.together(images) for images in {self.images[view] for view in views}}
        return {view: known[self.images[view]] for view in views}

    def check_journals(self, folder: Path, scenes: Iterable[str]) -> None:
        """Raise ``DataError`` where the folder's answers are of another run: other settings, other images."""
        answered = {
            row["scene_id"]
            for task in self.tasks
            for path in journal.journal_files(folder, task)
            for _, row in journal.read_journal(path).rows
            if "images" in row and "scene_id" in row
        }
        hashes = self.hash_images(scene for scene in scenes if scene in answered)
        for task in self.tasks:
            of_task = {scene: found for (name, scene), found in hashes.items() if name == task}
            journal.check_settings(folder, task, self.settings[task], of_task, self.earlier[task])

    def summary(self, arguments: InferArguments) -> str:
        """Return the first line of a run: the model, how much is asked, and where answers go."""
        asked = Counter(question.task for question in self.questions)
        tasks = ", ".join(f"{task} {count}" for task, count in asked.items())
        where = f" at {arguments.base_url}" if arguments.engine == "server" else ""
        return (
            f"model {arguments.model}{where}: {_count(len(self.questions), 'question')} ({tasks}) about "
            f"{_count(len(self.scenes), 'scene')}; answers go to {arguments.output_dir}"
        )


def _count(number: int, kind: str) -> str:
    return f"{number} {kind}{'' if number == 1 else 's'}"


def make_plan(arguments: InferArguments, say: Say = lambda line: None) -> Plan:
    """Return the questions that the arguments choose, their settings and images. ``say`` takes notes on odd inputs."""
    if arguments.media_dir and not Path(arguments.media_dir).is_dir():
        raise ConfigError(f"--media_dir {arguments.media_dir} is no folder; give the one that image paths start from")
    settings = _shared_settings(arguments)
    tasks = find_tasks(arguments.annotation_dir, arguments.tasks, arguments.split)
    questions = _questions(arguments, tasks, arguments.scenes, arguments.limit)
    asked = {question.task for question in questions}
    if any(is_video(name) for question in questions for name in question.images):
        if arguments.engine == "server":
            raise ConfigError("questions show videos, which are not sent to servers; ask with --engine local")
        settings |= asdict(arguments.video_limits)
    for task in tasks:
        if task not in asked:
            talk.note(f"{task} has no question here" + (" about these scenes" if arguments.scenes else ""), say)
    if not questions:
        raise DataError(f"{arguments.annotation_dir}: the question files of {', '.join(tasks)} hold no questions")
    _check_prompts(questions)
    images = {(question.task, question.scene_id): question.images for question in questions}
    for note in [*arguments.notes(), *_odd_images(images)]:
        talk.note(note, say)
    scenes = len({scene for _, scene in images})
    if arguments.num_processes.isdecimal() and int(arguments.num_processes) > scenes:
        raise ConfigError(
            f"--num_processes {arguments.num_processes} is more than the {_count(scenes, 'scene')} that questions are "
            "about; a scene is answered by one process"
        )
    mine: dict[str, dict[str, Any]] = {}
    earlier: dict[str, list[dict[str, Any]]] = {}
    for task in tasks:
        if task not in asked:
            continue
        path = question_file(arguments.annotation_dir, task, arguments.split)
        assert path is not None
        own = {**settings, "questions": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}
        old = _written(arguments, task)
        if arguments.engine == "server" and old is not None and "server" in old:
            own["server"] = old["server"]  # until the server itself is asked
        mine[task], earlier[task] = own, []
        if old is not None and "pictures" in old and not arguments.overwrite:
            earlier[task] = [{**own, "pictures": _names_and_sizes(_questions(arguments, [task], None, None))}]
    return Plan(questions, mine, earlier, images)


def _odd_images(images: Mapping[View, tuple[str, ...]]) -> list[str]:
    """Return a note on odd scenes of each list of images; rows that bring their own have as many as they need."""
    by_list: dict[str, dict[str, tuple[str, ...]]] = {}
    for (task, scene), paths in images.items():
        if not BENCHMARKS[task].own_images:
            by_list.setdefault(BENCHMARKS[task].image_list, {})[scene] = paths
    return list(dict.fromkeys(note for shown in by_list.values() for note in odd_scenes(shown)))


def _check_prompts(questions: Iterable[Question]) -> None:
    """Raise ``DataError`` for the first prompt that can't be asked.

    That is one with other marks than one for each image of its scene, or none, and one with half a character.
    """
    for question in questions:
        if half := HALF.search(question.prompt):
            raise DataError(
                f"{place_of(question)}: the prompt holds half a character (\\u{ord(half[0]):04x}), which no tokenizer "
                "takes; mend it"
            )
        ALL_MARKS.asked(question.prompt, question.images, place_of(question))


def place_of(question: Question) -> str:
    """Return the words for a question in messages."""
    return f"{question.task}, row {question.index}, scene {question.scene_id}"


def _questions(arguments: InferArguments, tasks: list[str], scenes: str | None, limit: int | None) -> list[Question]:
    return load_questions(
        arguments.annotation_dir,
        tasks,
        arguments.media_dir,
        split=arguments.split,
        images=arguments.images,
        scenes=None if scenes is None else names_in(scenes),
        limit=limit,
    )


def _written(arguments: InferArguments, task: str) -> dict[str, Any] | None:
    """Return the settings of the first journal of ``task`` in the output folder, if there is one.

    With ``overwrite`` a damaged one is passed over, since it will be deleted.
    """
    for path in journal.journal_files(arguments.output_dir, task):
        try:
            settings = journal.read_journal(path).settings
        except DataError:
            if not arguments.overwrite:
                raise
            continue
        if settings is not None:
            return settings
    return None


def _shared_settings(arguments: InferArguments) -> dict[str, Any]:
    """Return everything but the questions that answers depend on; not shards, device or branch limit."""
    from gpt4scene.model.folder import find_model, identity

    folder = find_model(arguments.model) if arguments.local else None
    if folder is not None:
        check_model(arguments, folder, arguments.max_new_tokens)
    settings = {
        "engine": arguments.engine,
        "model": arguments.model if folder is None else identity(folder),
        "dtype": arguments.dtype,
        "template": arguments.template,
        **{key: limit for key, limit in asdict(arguments.image_limits).items() if key == SIDE or limit},
        "max_new_tokens": arguments.max_new_tokens,
        "temperature": arguments.temperature,
        "repetition_penalty": arguments.repetition_penalty,
    }
    if arguments.enable_thinking is not None or (arguments.template and TEMPLATES[arguments.template].thinks):
        settings["enable_thinking"] = arguments.enable_thinking is not False
    if folder is not None and (told := _told_otherwise(arguments, folder)) is not None:
        settings["trained_with"] = told
    if arguments.temperature:
        settings |= {"top_p": arguments.top_p, "seed": arguments.seed}
    return settings


def _told_otherwise(arguments: InferArguments, folder: ModelFolder) -> list[str | bool | None] | None:
    """Return how the model's training spoke, where thoughts in its answers may hang on that alone; else None."""
    from gpt4scene.families.registry import FAMILIES
    from gpt4scene.model.trained_with import trained_with

    kind = read_json(folder.base / "config.json", "description of the model").get("model_type")
    thinks = kind in FAMILIES and FAMILIES[kind].thinking
    if not thinks or (arguments.template and arguments.enable_thinking is not None):
        return None
    trained = trained_with(folder)
    return None if trained is None else list(trained)


def _names_and_sizes(questions: Iterable[Question]) -> str:
    """Return the hash of one task's images by order, name and size in bytes, which earlier versions wrote."""
    digest = hashlib.sha256()
    for scene, images in sorted({question.scene_id: question.images for question in questions}.items()):
        parts = [f"{os.path.basename(path)} {os.path.getsize(path)}" for name in images for path in paths_of(name)]
        digest.update("\n".join([scene, *parts, ""]).encode())
    return digest.hexdigest()[:16]
