"""``gpt4scene annotate``: official benchmark files and a folder of scenes become training rows or question files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpt4scene.benchmarks import multi3dref, referit, scan2cap, scanqa, scanrefer, sqa3d
from gpt4scene.benchmarks.labels import LABEL_MAP, plain_classes, read_label_map
from gpt4scene.benchmarks.matching import Drawing, Made, Rooms
from gpt4scene.benchmarks.questions import QUESTION_FILES
from gpt4scene.benchmarks.records import read_raw
from gpt4scene.benchmarks.score import task_names
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.annotation import GROUND_TRUTH, PROPOSALS, read_attributes
from gpt4scene.files.images import IMAGE_LIST, ImageSearch, image_list_file, read_image_list
from gpt4scene.files.raw import Record, find_raw
from gpt4scene.files.whole import copy_file, read_json, write_json
from gpt4scene.settings.arguments import Arguments, key
from gpt4scene.types import TASKS

BENCHMARKS = {"scanqa": scanqa, "sqa3d": sqa3d, "scan2cap": scan2cap, "scanrefer": scanrefer, "multi3dref": multi3dref}


@dataclass(frozen=True)
class AnnotateArguments(Arguments):
    """What to annotate; every field is a flag of ``gpt4scene annotate``."""

    raw: str = key("folder of the official benchmark files")
    scenes: str = key("folder that `gpt4scene prepare` wrote")
    out: str = key("folder to write; becomes a dataset_dir (train) or an annotation_dir (val)")
    split: Literal["train", "val"] = key("train: training rows; val: question files", "val")
    task: str = key("names separated by commas, or all five whose files are there", "all")
    raw_split: str = key("read the raw files of another split, such as test of SQA3D", "")
    frames: int = key("frames a scene, where images were selected for several counts", 0)
    label_map: str = key(f"ScanNet's {LABEL_MAP} (found by itself in the raw folder)", "")
    min_iou: float = key("least IoU of a proposal in a training row", 0.5)
    seed: int = key("seed of the wordings that training rows get", 0)
    wordings: int = key("draw from the first n wordings only (1: those of the question files); 0 draws from all", 0)


@dataclass(frozen=True)
class Annotated:
    """What was made: rows by task, dropped rows by task and reason, and the files written."""

    made: dict[str, Made]
    skipped: dict[str, str]
    written: list[Path]


def annotate(arguments: AnnotateArguments, say: Callable[[str], None] = print) -> Annotated:
    """Write training rows or question files to ``arguments.out`` and return what was made.

    ``say`` gets a line per task with the number of rows and, by reason, how many were dropped. Raises ``ConfigError``
    for an unknown task or split and ``DataError`` for missing or broken files; then nothing is written.
    """
    arguments.check()
    named, extra = _tasks(arguments)
    scenes, out = Path(arguments.scenes), Path(arguments.out)
    rooms, frames = read_rooms(scenes, arguments.split, out, arguments.frames, arguments.min_iou)
    made, skipped, records = {}, {}, {}
    for task in extra:
        source = _source(Path(arguments.raw), task)
        if arguments.split == "train":
            generator = Drawing(f"{arguments.seed} {task}", arguments.wordings)
            made[task] = referit.training(source, rooms, generator, task)
        else:
            made[task] = referit.questions(source, rooms)
        say(summary(task, made[task]))
    for task in TASKS if named is None else named:
        try:
            records[task] = read_raw(Path(arguments.raw), task, arguments.raw_split or arguments.split)
        except FileNotFoundError as error:
            if named is not None:
                raise DataError(str(error)) from None
            skipped[task] = str(error)
            say(f"{task}: skipped, {error}")
            continue
        if arguments.split == "train":
            generator = Drawing(f"{arguments.seed} {task}", arguments.wordings)
            made[task] = BENCHMARKS[task].training(records[task], rooms, generator)
        else:
            made[task] = BENCHMARKS[task].questions(records[task], rooms)
        say(summary(task, made[task]))
    if not any(result.rows for result in made.values()):
        raise DataError(f"{arguments.raw}: no row could be made for the scenes of {scenes}; nothing was written")
    out.mkdir(parents=True, exist_ok=True)
    if arguments.split == "train":
        written = write_training(made, rooms, out, frames)
    else:
        written = write_questions(made, rooms, out, frames)
        written += _write_companions(arguments, records, scenes, out, say)
    return Annotated(made, skipped, written)


def _tasks(arguments: AnnotateArguments) -> tuple[list[str] | None, list[str]]:
    """Return the tasks named (``None`` for all whose files are there) and the further sources named."""
    words = [word.strip() for word in arguments.task.split(",") if word.strip()]
    extra = [word for word in words if word in referit.RAW_FILES]
    tasks = [word for word in words if word not in extra]
    if extra and arguments.split != "train":
        only = [word for word in extra if referit.FORMS[word] != "scanrefer"]
        if only:
            raise ConfigError(f"'{only[0]}' makes training rows only; use --split train")
        if len(extra) > 1 or tasks:
            raise ConfigError(
                f"the questions of '{extra[0]}' become {QUESTION_FILES['scanrefer'].format(split='val')}, in its form; "
                "name it alone and give it an --out folder of its own"
            )
    return ([] if extra and not tasks else task_names(tasks)), extra


def _source(raw: Path, name: str) -> list[Record]:
    path = find_raw(raw, referit.RAW_FILES[name])
    if path is None:
        raise DataError(f"{referit.RAW_FILES[name]} is not in {raw}")
    return referit.read_source(path, name)


def summary(task: str, made: Made) -> str:
    """Return one line: the number of rows, and the dropped ones by reason."""
    dropped = ", ".join(f"{reason}: {count}" for reason, count in sorted(made.dropped.items()) if count)
    return f"{task}: {len(made.rows)} rows" + (f"; dropped: {dropped}" if dropped else "")


def read_rooms(scenes: Path, split: str, out: Path, frames: int = 0, min_iou: float = 0.5) -> tuple[Rooms, int]:
    """Return the scenes of ``split`` in the folder ``scenes`` and the number of frames a scene.

    Image paths are given relative to ``out``; a scene with an image that is not there counts as one without images.
    Raises ``DataError`` when files are missing.
    """
    listed_in = image_list_file(scenes, split, frames=frames or None, flag="--frames")
    search = ImageSearch.around(listed_in)
    images = {scene: _from_out(paths, search, out) for scene, paths in read_image_list(listed_in).items()}
    proposals = read_attributes(scenes / PROPOSALS.format(split=split))
    ground_truth = read_attributes(scenes / GROUND_TRUTH.format(split=split))
    return Rooms(images, proposals, ground_truth, min_iou), int(listed_in.stem.rsplit("_", 1)[1])


def _from_out(paths: Sequence[str], search: ImageSearch, out: Path) -> tuple[str, ...]:
    found = [search.find(path) for path in paths]
    if None in found:
        return ()
    return tuple(Path(os.path.relpath(Path(path).resolve(), out.resolve())).as_posix() for path in found if path)


def write_training(made: dict[str, Made], rooms: Rooms, out: Path, frames: int) -> list[Path]:
    """Write all tasks' rows as one ShareGPT file and enter it in ``dataset_info.json``; return both paths."""
    name = f"sharegpt_data_chat_scene_{frames}_images_3D_mark"
    rows = []
    for result in made.values():
        for row in result.rows:
            images = rooms.images[row.scene_id]
            question = {"role": "user", "content": "<image>" * len(images) + row.question}
            answer = {"role": "assistant", "content": row.answer}
            rows.append({"messages": [question, answer], "images": list(images)})
    info_path = out / "dataset_info.json"
    info = read_json(info_path) if info_path.is_file() else {}
    if not isinstance(info, dict):
        raise DataError(f"{info_path}: expected {{name: {{'file_name': …}}}}; move it away")
    tags = {"role_tag": "role", "content_tag": "content"}
    tags |= {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
    entry = {"file_name": f"{name}.json", "formatting": "sharegpt", "num_samples": len(rows)}
    entry |= {"columns": {"messages": "messages", "images": "images"}, "tags": tags}
    return [write_json(out / f"{name}.json", rows, indent=None), write_json(info_path, {**info, name: entry}, indent=2)]


def write_questions(made: dict[str, Made], rooms: Rooms, out: Path, frames: int) -> list[Path]:
    """Write each task's question file and the list of images; return the paths."""
    names = {task: QUESTION_FILES[referit.FORMS.get(task, task)].format(split="val") for task in made}
    written = [write_json(out / names[task], result.rows) for task, result in made.items()]
    images = {scene: list(paths) for scene, paths in rooms.images.items() if paths}
    return [*written, write_json(out / IMAGE_LIST.format(split="val", frames=frames), images)]


def _write_companions(
    arguments: AnnotateArguments, records: dict[str, list[Record]], scenes: Path, out: Path, say: Callable[[str], None]
) -> list[Path]:
    written = []
    for pattern in (PROPOSALS, GROUND_TRUTH):
        name = pattern.format(split="val")
        written.append(copy_file(scenes / name, out / name))
    if "scan2cap" in records:
        written.append(write_json(out / scan2cap.CORPUS, scan2cap.caption_corpus(records["scan2cap"])))
    if "scanrefer" in records:
        path = Path(arguments.label_map) if arguments.label_map else find_raw(Path(arguments.raw), LABEL_MAP)
        if path is None:
            say(f"scanrefer: no {LABEL_MAP}; unique and multiple go by the raw object names")
        classes = plain_classes() if path is None else read_label_map(path)
        written.append(write_json(out / scanrefer.LOOKUP, scanrefer.unique_multiple(records["scanrefer"], classes)))
    return written


def main(arguments: AnnotateArguments) -> int:
    """Annotate as the arguments say; return 0 when done."""
    result = annotate(arguments)
    print(f"wrote {len(result.written)} files to {arguments.out}")
    return 0
