"""What ``annotate`` writes: training rows with their entry in the registry, question files, lists of images, boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.benchmarks.rows import AnnotatedRows, QuestionRow, TrainingRow
from gpt4scene.benchmarks.scene_frames import Shown
from gpt4scene.benchmarks.scene_text import before_images, block_of
from gpt4scene.data.marks import mark_of
from gpt4scene.data.templates import ALL_MARKS
from gpt4scene.errors import DataError
from gpt4scene.files.annotation import GROUND_TRUTH, PROPOSALS
from gpt4scene.files.media import is_video, paths_of
from gpt4scene.files.raw import Record
from gpt4scene.files.whole import copy_file, read_json, write_json


def write_training(made: Iterable[tuple[TrainingRow, Scenes, str]], out: Path, name: str) -> list[Path]:
    """Write the rows, each with the scenes and the task it is of, as one ShareGPT file, and enter it in the registry.

    Returns both paths. Training counts losses by the rows' ``task``; other programs pass over the key. Official texts
    are letters: what would be a mark in them gets a backslash.
    """
    rows = []
    for row, scenes, task in made:
        images = scenes.images[row.scene_id]
        shown = block_of(scenes, row.scene_id) + "".join(map(mark_of, images))
        question = {"role": "user", "content": shown + ALL_MARKS.escaped(row.question)}
        answer = {"role": "assistant", "content": ALL_MARKS.escaped(row.answer)}
        videos = {"videos": [path for name in images if is_video(name) for path in paths_of(name)]}
        rows.append({"messages": [question, answer], "images": [name for name in images if not is_video(name)]})
        rows[-1] |= (videos if videos["videos"] else {}) | {"task": task}
    info_path = out / "dataset_info.json"
    info = read_json(info_path) if info_path.is_file() else {}
    if not isinstance(info, dict):
        raise DataError(f"{info_path}: expected {{name: {{'file_name': …}}}}; move it away")
    tags = {"role_tag": "role", "content_tag": "content"}
    tags |= {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
    entry = {"file_name": f"{name}.json", "formatting": "sharegpt", "num_samples": len(rows)}
    videos = {"videos": "videos"} if any("videos" in row for row in rows) else {}
    entry |= {"columns": {"messages": "messages", "images": "images", **videos}, "tags": tags}
    return [write_json(out / f"{name}.json", rows, indent=None), write_json(info_path, {**info, name: entry}, indent=2)]


def dataset_name(word: str, shown: Shown, frames: int) -> str:
    """Return the name of the training rows called ``word`` that show such images."""
    kind = "3D" if shown.bev else "2D"
    return f"sharegpt_data_{word}_{frames}_images_{kind}" + ("_mark" if shown.marks else "")


def write_questions(benchmark: Benchmark, made: AnnotatedRows[QuestionRow], scenes: Scenes, out: Path) -> list[Path]:
    """Write the question file of one task and, where it has one of its own, its list of images; return the paths.

    Prompts are letters: what would be a mark in them gets a backslash.
    """
    prompts = [before_images(scenes, row["scene_id"], ALL_MARKS.escaped(row["prompt"])) for row in made.rows]
    rows = [{**row, "prompt": prompt} for row, prompt in zip(made.rows, prompts, strict=True)]
    written = [write_json(out / benchmark.question_name("val"), rows)]
    if benchmark.image_list:
        asked = {row["scene_id"]: _listed(scenes.images[row["scene_id"]]) for row in rows}
        written.append(write_json(out / benchmark.image_list.format(split="val"), asked))
    return written


def write_images(scenes: Scenes, out: Path, name: str) -> Path:
    """Write the list of images that tasks share; return its path."""
    return write_json(out / name, {scene: _listed(paths) for scene, paths in scenes.images.items() if paths})


def _listed(names: Iterable[str]) -> list[str]:
    """Return images and videos as a list of images names them: by their paths."""
    return [path for name in names for path in paths_of(name)]


def copy_boxes(scenes: Path, out: Path) -> list[Path]:
    """Copy the boxes of prepared scenes beside the question files; return the paths."""
    names = [pattern.format(split="val") for pattern in (PROPOSALS, GROUND_TRUTH)]
    return [copy_file(scenes / name, out / name) for name in names]


def write_companions(
    benchmark: Benchmark,
    records: list[Record],
    label_map: Callable[[], Path | None],
    out: Path,
    say: Callable[[str], None],
) -> list[Path]:
    """Write the companion files of a benchmark; return their paths."""
    contents = benchmark.companions(records, label_map, say) if benchmark.companions else {}
    return [write_json(out / name, content) for name, content in contents.items()]
