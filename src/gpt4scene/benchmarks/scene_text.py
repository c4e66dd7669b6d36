"""The geometry of prepared scenes as text before their images, for training rows and question files alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.matching import Scenes
from gpt4scene.data.marks import IMAGE_MARK
from gpt4scene.data.templates import ALL_MARKS
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.scenes import read_scene, scene_json
from gpt4scene.geometry.text import CameraPose, Frame, camera_pose, estimated_tokens, geometry_block

Geometry = Literal["none", "text", "text+cameras"]
CountTokens = Callable[[str], int]

NO_FRAME = Frame()


def with_geometry(
    scenes: Scenes, folder: Path, out: Path, geometry: Geometry, tokenizer: str, say: Callable[[str], None]
) -> Scenes:
    """Return ``scenes`` with a block of text for each that has images and boxes; ``scenes`` itself for ``none``.

    ``folder`` is that of the prepared scenes, and image paths are relative to ``out``. ``say`` gets the cost in tokens,
    counted by the tokenizer in the folder ``tokenizer`` or estimated, and how many scenes have no boxes. Raises
    ``ConfigError`` for a tokenizer that has nothing to count, ``DataError`` where no scene has boxes and where cameras
    are wanted that no ``scene.json`` tells.
    """
    if geometry == "none":
        if tokenizer:
            raise ConfigError("--tokenizer counts the tokens of --geometry; give --geometry text, or leave it out")
        return scenes
    count = _counter(tokenizer)
    shown = [scene for scene, images in scenes.images.items() if images]
    texts = {scene: text for scene in shown if (text := _block(scenes, scene, folder, out, geometry)) is not None}
    if not texts:
        raise DataError(
            f"{folder}: --geometry {geometry} needs marked objects with boxes, and none of {len(shown):,} scenes with "
            f"images has any in {scenes.proposals.source}; leave it out"
        )
    said = "counted" if tokenizer else "estimated as one a digit, word and run of signs; --tokenizer DIR counts"
    costs = sorted(map(count, texts.values()))
    median = f"{statistics.median(costs):,.0f}"
    say(f"geometry: {costs[0]:,} to {costs[-1]:,} tokens a scene, median {median}, shared by its questions ({said})")
    if len(texts) < len(shown):
        say(f"geometry: {len(shown) - len(texts):,} of {len(shown):,} scenes have no box; they show images alone")
    return replace(scenes, texts=texts)


def block_of(scenes: Scenes, scene: str) -> str:
    """Return the scene's block, in which all is letters; empty where it has none."""
    return ALL_MARKS.escaped(scenes.texts.get(scene, ""))


def before_images(scenes: Scenes, scene: str, prompt: str) -> str:
    """Return ``prompt``, which has no mark, behind the scene's block and its images; as it is without a block."""
    block = block_of(scenes, scene)
    return f"{block}{IMAGE_MARK * len(scenes.images[scene])}{prompt}" if block else prompt


def refuse_own_images(geometry: Geometry, named: Iterable[Benchmark]) -> None:
    """Raise ``ConfigError`` where ``geometry`` is wanted of a benchmark that shows no prepared scene."""
    for benchmark in named if geometry != "none" else ():
        if benchmark.own_images:
            raise ConfigError(
                f"--geometry {geometry} tells of prepared scenes, but {benchmark.title} brings its own images; leave "
                "it out, or name other tasks"
            )


def _block(scenes: Scenes, scene: str, folder: Path, out: Path, geometry: Geometry) -> str | None:
    """Return the block of a scene, or ``None`` where it has no box."""
    if scene not in scenes.proposals:
        return None
    path = scene_json(folder, scene)
    images = [(out / image).resolve() for image in scenes.images[scene]]
    content = read_scene(path) if path.is_file() else None
    if content is None and geometry == "text+cameras":
        raise DataError(f"{path}: is not there, and it alone tells cameras; prepare the scene, or use --geometry text")
    frame, cameras = NO_FRAME, ()
    if content is not None:
        frame, cameras = _read(content, path, folder, images, geometry == "text+cameras")
    return geometry_block(scenes.proposals[scene], scenes.proposals.labels.get(scene, ()), frame, cameras)


def _read(
    content: Mapping[str, Any], path: Path, folder: Path, images: Sequence[Path], with_cameras: bool
) -> tuple[Frame, tuple[CameraPose, ...]]:
    """Return the frame of the coordinates, and the cameras of those images that are frames of the recording."""
    try:
        bev = content["bev"]
        frame = Frame(float(bev["floor_height"]), (folder / bev["image"]).resolve() == images[0])
        poses = {
            (folder / one["image"]).resolve(): np.array(one["pose"], dtype=np.float64) for one in content["frames"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: is no description of a prepared scene ({type(error).__name__}: {error}); prepare it again with "
            "--overwrite"
        ) from None
    if not with_cameras:
        return frame, ()
    cameras = [camera_pose(number, poses[image]) for number, image in enumerate(images, 1) if image in poses]
    others = [image for image in images[frame.bev :] if image not in poses]
    if others:
        raise DataError(f"{path}: knows no camera of {others[0]}; prepare the scene again, or use --geometry text")
    return frame, tuple(cameras)


def _counter(folder: str) -> CountTokens:
    """Return what counts the tokens of a text: the tokenizer in ``folder``, or an estimate where that is empty."""
    if not folder:
        return estimated_tokens
    from transformers import AutoTokenizer

    if not Path(folder).is_dir():
        raise ConfigError(f"--tokenizer {folder} is no folder; give that of a model, which holds its tokenizer")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--tokenizer {folder} holds no tokenizer that can be read ({reason})") from None
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))
