"""The steps of the demo. Each calls the function behind a command, with the folders that the demo lays out.

``rooms/`` posed folders, ``raw/`` official question files, ``scenes/`` and ``scenes_held_out/`` marked images,
``data/`` training rows, ``annotation/`` and ``annotation_held_out/`` question files, ``model/`` the untrained
checkpoint, ``run/`` the trained one, ``predictions/`` answers by what was asked of whom.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpt4scene.benchmarks import spatial_questions
from gpt4scene.benchmarks.annotate import AnnotateArguments, annotate
from gpt4scene.benchmarks.score import score_folders
from gpt4scene.demo.arguments import DemoArguments
from gpt4scene.demo.balance import choose_plans
from gpt4scene.demo.controls import write_controls
from gpt4scene.demo.kinds import KINDS, write_kinds
from gpt4scene.demo.raw import write_raw
from gpt4scene.demo.rooms import View, write_room
from gpt4scene.errors import DataError
from gpt4scene.files.images import image_list_file, read_image_list
from gpt4scene.files.whole import copy_file, read_json, write_json
from gpt4scene.scenes.prepare import prepare
from gpt4scene.scenes.prepare_arguments import PrepareArguments

FOLDERS = (
    *("rooms", "raw", "scenes", "scenes_held_out", "data", "annotation", "annotation_held_out"),
    *("model", "run", "predictions", "images", "answers"),
)
"""Folders that the demo writes and clears when it starts over."""
FILES = ("scores.json", KINDS, "summary.json", "index.html")
ASKED = {
    "before": "annotation",
    "after": "annotation",
    "commonest": "annotation",
    "wording": "annotation",
    "swapped": "annotation",
    "held_out": "annotation_held_out",
}
"""Folder under ``predictions/`` -> folder of its questions."""
SWAPPED = "images_of_another_scene.json"
_LONGEST_ANSWER = 40


def make_rooms(arguments: DemoArguments, out: Path) -> None:
    """Write posed folders and the raw question files about them."""
    for name in ("rooms", "raw"):
        shutil.rmtree(out / name, ignore_errors=True)
    plans = choose_plans(arguments.rooms + arguments.held_out, arguments.seed)
    groups = {"training": plans[: arguments.rooms], "held_out": plans[arguments.rooms :]}
    view = View(arguments.image_width, arguments.image_width * 3 // 4, 2 * arguments.frames)
    for group, members in groups.items():
        for plan in members:
            write_room(plan, out / "rooms" / group, view, arguments.seed)
        write_raw(members, out / "raw" / group, "val")
    write_raw(groups["training"], out / "raw" / "training", "train")


def prepare_rooms(arguments: DemoArguments, out: Path) -> None:
    """Mark the images of all rooms; those of the training rooms serve training and validation."""
    for group, folder, split in (("training", "scenes", "train"), ("held_out", "scenes_held_out", "val")):
        report = prepare(
            PrepareArguments(
                scans=(str(out / "rooms" / group),),
                out=str(out / folder),
                split=split,
                frames=arguments.frames,
                bev_size=arguments.image_width,
            )
        )
        if report.failed:
            scene, reason = next(iter(report.failed.items()))
            raise DataError(f"{len(report.failed)} rooms could not be prepared; {scene}: {reason}")
    scenes = out / "scenes"
    for path in sorted(scenes.glob("*_train_*")):
        copy_file(path, path.with_name(path.name.replace("_train_", "_val_")))


def annotate_rooms(arguments: DemoArguments, out: Path) -> None:
    """Write training rows, question files, the answers of the two controls, and the list of swapped images."""
    raw, scenes = out / "raw" / "training", str(out / "scenes")
    for name in ("data", "annotation", "annotation_held_out"):
        shutil.rmtree(out / name, ignore_errors=True)
    held_out = str(out / "scenes_held_out")
    tasks = {}
    for words in ({}, {"task": spatial_questions.NAME, "per_kind": 1}):
        official, apart_raw = ("", "") if words else (str(raw), str(out / "raw" / "held_out"))
        rows = AnnotateArguments(raw=official, scenes=scenes, out=str(out / "data"), split="train", wordings=1)
        asked = AnnotateArguments(raw=official, scenes=scenes, out=str(out / "annotation"))
        apart = AnnotateArguments(raw=apart_raw, scenes=held_out, out=str(out / "annotation_held_out"))
        tasks |= annotate(replace(rows, **words), _quiet).tasks
        for arguments_of_questions in (asked, apart):
            annotate(replace(arguments_of_questions, **words), _quiet)
    write_controls({task: made.rows for task, made in tasks.items()}, out / "annotation", out / "predictions")
    listed = image_list_file(out / "annotation")
    write_json(out / "annotation" / SWAPPED, swapped(read_image_list(listed)))


def swapped(images: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return ``images`` with every scene showing those of the next one, the last those of the first."""
    scenes = list(images)
    return {scene: images[scenes[(place + 1) % len(scenes)]] for place, scene in enumerate(scenes)}


def _quiet(_: str) -> None:
    """Counts of rows are on the page; warnings of the stages are errors here."""


def make_model(arguments: DemoArguments, out: Path) -> None:
    """Write the untrained checkpoint."""
    from gpt4scene.demo.tiny_model import build

    build(out / "model", seed=arguments.seed)


def training_flags(arguments: DemoArguments, out: Path) -> list[str]:
    """Return the flags of ``gpt4scene train`` for the demo's training run."""
    words = ("chat_scene", spatial_questions.NAME)
    dataset = ",".join(f"sharegpt_data_{word}_{arguments.frames}_images_3D_mark" for word in words)
    values: dict[str, Any] = {
        "model_name_or_path": out / "model",
        "dataset": dataset,
        "dataset_dir": out / "data",
        "output_dir": out / "run",
        "overwrite_output_dir": "true",
        "finetuning_type": "full",
        "freeze_vision_tower": "true",
        "image_resolution": arguments.image_resolution,
        "scene_packing": arguments.questions_per_step,
        "per_device_train_batch_size": arguments.questions_per_step,
        "num_train_epochs": arguments.epochs,
        "learning_rate": arguments.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "disable_gradient_checkpointing": "true",
        "dataloader_num_workers": 1,  # decoding images takes a quarter of such a small step
        "dataloader_persistent_workers": "true",
        "logging_steps": 5,
        "save_strategy": "no",
        "plot_loss": "true",
        "report_to": "none",
        "seed": arguments.seed,
    }
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def train_model(arguments: DemoArguments, out: Path) -> None:
    """Train on the rows of the training rooms."""
    from gpt4scene.report.training import page_at_end
    from gpt4scene.settings.config import parse
    from gpt4scene.training import sft

    sft.run(parse(training_flags(arguments, out)), page_at_end)


def ask_before(arguments: DemoArguments, out: Path) -> None:
    """Ask the untrained model about the training rooms."""
    _ask(arguments, out, "model", "before")


def ask_after(arguments: DemoArguments, out: Path) -> None:
    """Ask the trained model about the training rooms."""
    _ask(arguments, out, "run", "after")


def ask_swapped(arguments: DemoArguments, out: Path) -> None:
    """Ask the trained model about the training rooms while it is shown another room."""
    _ask(arguments, out, "run", "swapped", str(out / "annotation" / SWAPPED))


def ask_held_out(arguments: DemoArguments, out: Path) -> None:
    """Ask the trained model about the rooms that it has never seen."""
    _ask(arguments, out, "run", "held_out")


def _ask(arguments: DemoArguments, out: Path, model: str, name: str, images: str | None = None) -> None:
    from gpt4scene.inference.arguments import InferArguments
    from gpt4scene.inference.run import infer

    infer(
        InferArguments(
            model=str(out / model),
            annotation_dir=str(out / ASKED[name]),
            output_dir=str(out / "predictions" / name),
            images=images,
            image_resolution=arguments.image_resolution,
            max_new_tokens=_LONGEST_ANSWER,
            num_processes="1",
            keep_empty=True,
        )
    )


def score_all(arguments: DemoArguments, out: Path) -> None:
    """Write ``scores.json``: who was asked -> task -> metric -> value."""
    reports = score_folders({name: (out / "predictions" / name, out / folder) for name, folder in ASKED.items()})
    scores = {name: {task: dict(each.scores) for task, each in found.items()} for name, found in reports.items()}
    write_json(out / "scores.json", scores)
    write_kinds(out, out / ASKED["after"], scores)


def write_summary(settings: dict, out: Path, took: dict[str, float]) -> None:
    """Write ``summary.json``: ``wall_s`` by step and in all, ``scores``, settings, and the sizes of the demo."""
    summary = {
        "wall_s": {**took, "total": round(sum(took.values()), 2)},
        "settings": settings,
        "questions": {name: count_rows(out / name) for name in ("annotation", "annotation_held_out")},
        "training_rows": _training_rows(out / "data"),
        "scores": read_json(out / "scores.json"),
    }
    write_json(out / "summary.json", summary)


def count_rows(annotation_dir: Path) -> dict[str, int]:
    """Return the number of questions of each task in an annotation folder."""
    from gpt4scene.benchmarks.questions import find_tasks, question_file
    from gpt4scene.files.questions import read_question_rows

    counts = {}
    for task in find_tasks(annotation_dir, "all"):
        path = question_file(annotation_dir, task)
        assert path is not None
        counts[task] = len(read_question_rows(path))
    return counts


def _training_rows(dataset_dir: Path) -> int:
    info = read_json(dataset_dir / "dataset_info.json")
    return sum(entry["num_samples"] for entry in info.values())
