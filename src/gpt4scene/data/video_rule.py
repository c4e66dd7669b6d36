"""Which frames of a video are shown, how large, and at what times: LLaMA-Factory's sampling, the family's own sizes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.clips import Clip
from gpt4scene.files.whole import read_json
from gpt4scene.types import Grid

Size = tuple[int, int]

Times = Literal["index", "seconds", "text"]
"""What tells a model when a frame was: its number, its second in the positions, or a second written before it."""

MAX_ASPECT = 200
LEAST_SIDE = 28
"""Shortest side in pixels that LLaMA-Factory leaves to a frame."""


@dataclass(frozen=True)
class VideoLimits:
    """What a user says of videos, in LLaMA-Factory's words: frames a second and in all, and the area of one frame."""

    video_fps: float = 2.0
    video_maxlen: int = 128
    video_max_pixels: int = 256 * 256
    video_min_pixels: int = 16 * 16


@dataclass(frozen=True)
class VideoStyle:
    """What differs between families. ``whole``: the processor's bounds are those of all frames together, not of one.

    ``tokens_per_second`` counts time positions, where ``times`` is ``seconds``.
    """

    times: Times = "index"
    whole: bool = False
    tokens_per_second: float = 1.0


_WITH_TIMES = VideoStyle("text", whole=True)
STYLES: Mapping[str, VideoStyle] = MappingProxyType(
    {
        "qwen2_vl": VideoStyle(),
        "qwen2_5_vl": VideoStyle("seconds"),
        **dict.fromkeys(("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"), _WITH_TIMES),
    }
)
"""Styles by the ``model_type`` of a checkpoint: the families whose videos are read."""

TOKENS_PER_SECOND = 4
"""What transformers takes for Qwen2.5-VL where ``vision_config`` does not say; released checkpoints say 2."""


def style_of(model: Mapping[str, Any]) -> VideoStyle | None:
    """Return the style of a model by its ``config.json``, None where its videos are not read."""
    style = STYLES.get(str(model.get("model_type")))
    if style is None or style.times != "seconds":
        return style
    vision = model.get("vision_config") or {}
    return replace(style, tokens_per_second=float(vision.get("tokens_per_second", TOKENS_PER_SECOND)))


@dataclass(frozen=True)
class VideoRule:
    """How a video becomes frames and their sizes: a user's limits, a family's style, a processor's bounds in pixels."""

    limits: VideoLimits = VideoLimits()
    style: VideoStyle = VideoStyle()
    least: int = 56 * 56
    most: int = 28 * 28 * 1280

    @classmethod
    def from_folder(cls, folder: str | os.PathLike, limits: VideoLimits, style: VideoStyle) -> VideoRule:
        """Read the bounds from ``video_preprocessor_config.json``, or what stands for it in a checkpoint folder.

        That is ``video_processor`` in ``processor_config.json``, and else the image processor's file: transformers and
        LLaMA-Factory take a processor of videos from there too. Raises DataError for an unreadable file.
        """
        defaults = cls()
        return cls(limits, style, *area_bounds(_video_config(Path(folder)), defaults.least, defaults.most))


def area_bounds(config: Mapping[str, Any], least: int, most: int) -> tuple[int, int]:
    """Return the smallest and largest area in pixels that a processor's config says; ``least`` and ``most`` without.

    Both spellings are taken: ``min_pixels`` / ``max_pixels``, which win, and ``size: {shortest_edge, longest_edge}``.
    """
    size = config.get("size") or {}
    if not isinstance(size, Mapping):
        raise DataError(f"an image or video processor says size: {size!r}; it must have shortest_edge and longest_edge")

    def bound(flat: str, nested: str, default: int) -> int:
        for value in (config.get(flat), size.get(nested), size.get(flat)):
            if value is not None:
                return int(value)
        return default

    return bound("min_pixels", "shortest_edge", least), bound("max_pixels", "longest_edge", most)


def _video_config(folder: Path) -> dict[str, Any]:
    path = folder / "video_preprocessor_config.json"
    if path.is_file():
        return read_json(path, "description of the video processor")
    path = folder / "processor_config.json"
    if path.is_file():
        whole = read_json(path, "description of the processor")
        for name in ("video_processor", "image_processor"):
            if isinstance(whole.get(name), dict):
                return whole[name]
    path = folder / "preprocessor_config.json"
    return read_json(path, "description of the image processor") if path.is_file() else {}


@dataclass(frozen=True)
class Showing:
    """What is shown of a video: the places of its frames, one after another, whole pairs of them; and their size.

    ``grid`` counts patches, and says how far the time position goes on from one pair to the next (see
    ``types.Grid``). ``texts`` are written before each pair, or there are none.
    """

    chosen: tuple[int, ...]
    size: Size
    grid: Grid
    texts: tuple[str, ...] = ()


def showing(clip: Clip, rule: VideoRule, patch: int, merge: int, pair: int) -> Showing:
    """Return what ``rule`` shows of a video, in patches of ``patch`` pixels, ``merge`` x ``merge`` to a token.

    ``pair`` frames are one step of time; the last frame is repeated until they come out even. Raises ValueError for
    frames more than 200 times as long as wide.
    """
    places = chosen_frames(clip, rule.limits)
    fps = rule.limits.video_fps if clip.seconds is None else len(places) / clip.seconds
    filled = places + [places[-1]] * (-len(places) % pair)
    size = frame_size(clip.size, len(filled), rule, patch * merge, pair)
    step, texts = 1.0, ()
    if rule.style.times == "seconds":
        step = rule.style.tokens_per_second * (pair / fps)
    if rule.style.times == "text":
        step = 0.0
        texts = tuple(f"<{second:.1f} seconds>" for second in pair_seconds(clip, places, rule.limits, pair))
    return Showing(tuple(filled), size, (len(filled) // pair, size[1] // patch, size[0] // patch, step), texts)


def chosen_frames(clip: Clip, limits: VideoLimits) -> list[int]:
    """Return the places of the frames that are shown, as LLaMA-Factory chooses them.

    ``video_fps`` for each second, at least 1 and at most ``video_maxlen``, spread from the first to the last, cut to
    whole numbers. A list of frames is shown whole. Frames in a folder have no times, so that ``video_maxlen`` alone
    counts.
    """
    if clip.listed:
        return list(range(clip.frames))
    wanted = clip.frames if clip.seconds is None else max(1, math.floor(clip.seconds * limits.video_fps))
    wanted = min(clip.frames, limits.video_maxlen, wanted)
    return np.linspace(0, clip.frames - 1, wanted).astype(np.int32).tolist()


def pair_seconds(clip: Clip, places: list[int], limits: VideoLimits, pair: int) -> list[float]:
    """Return the second in the middle of each step of time, as Qwen3-VL's processor writes it.

    Frames without times of their own stand ``video_fps`` to the second, in the order shown.
    """
    if clip.seconds is None:
        seconds = [number / limits.video_fps for number in range(len(places))]
    else:
        seconds = [place * clip.seconds / clip.frames for place in places]
    seconds += [seconds[-1]] * (-len(seconds) % pair)
    return [(seconds[start] + seconds[start + pair - 1]) / 2 for start in range(0, len(seconds), pair)]


def frame_size(size: Size, frames: int, rule: VideoRule, factor: int, pair: int) -> Size:
    """Return the width and height that frames of ``size`` are resized to, multiples of ``factor``.

    First the user's areas, as LLaMA-Factory applies them: too large is shrunk, then too small grown, no side below 28.
    Then the processor's bounds, of one frame or of all ``frames``. Raises ValueError as ``showing`` does.
    """
    width, height = _limited(size, rule.limits)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ValueError(f"frames of {size[0]}x{size[1]} are over {MAX_ASPECT} times as long as wide")
    count = rounded = 1
    if rule.style.whole:
        count, rounded = frames, round(frames / pair) * pair
        if min(width, height) < factor:
            scale = max(factor / height, factor / width)
            width, height = int(width * scale), int(height * scale)
    new_width, new_height = round(width / factor) * factor, round(height / factor) * factor
    if rounded * new_width * new_height > rule.most:
        shrink = math.sqrt(count * height * width / rule.most)
        new_height = max(factor, math.floor(height / shrink / factor) * factor)
        new_width = max(factor, math.floor(width / shrink / factor) * factor)
    elif rounded * new_width * new_height < rule.least:
        grow = math.sqrt(rule.least / (count * height * width))
        new_height = math.ceil(height * grow / factor) * factor
        new_width = math.ceil(width * grow / factor) * factor
    return new_width, new_height


def _limited(size: Size, limits: VideoLimits) -> Size:
    width, height = size
    if width * height > limits.video_max_pixels:
        scale = math.sqrt(limits.video_max_pixels / (width * height))
        width, height = max(1, int(width * scale)), max(1, int(height * scale))
    if width * height < limits.video_min_pixels:
        scale = math.sqrt(limits.video_min_pixels / (width * height))
        width, height = int(width * scale), int(height * scale)
    return max(width, LEAST_SIDE), max(height, LEAST_SIDE)


def refuse_other_patches(folder: str | os.PathLike, patch: int, mean: tuple[float, ...]) -> None:
    """Raise DataError where a checkpoint cuts or colours videos in another way than images."""
    config = _video_config(Path(folder))
    for key, wanted in (("patch_size", patch), ("image_mean", list(mean))):
        if (said := config.get(key)) is not None and said != wanted:
            raise DataError(
                f"{folder}: videos have {key} {said}, images {wanted}; one tower takes both, so correct the "
                "checkpoint's video_preprocessor_config.json"
            )
