"""What a user says of videos, for training and for answers: LLaMA-Factory's keys, with its meanings and defaults."""

from __future__ import annotations

from dataclasses import dataclass

from gpt4scene.data.video_rule import VideoLimits
from gpt4scene.settings.arguments import Arguments, key

FPS, MAXLEN, MOST_AREA, LEAST_AREA = 2.0, 128, 256 * 256, 16 * 16

FPS_HELP = "Frames of a video that are shown for each second; a list of frames is shown whole."
MAXLEN_HELP = "Frames that are shown of a video, at most."
MOST_HELP = "Largest area of a frame of a video in pixels."
LEAST_HELP = "Smallest area of a frame of a video in pixels."

LEAST_OLD_AREA = 4096
"""Pixels; a smaller ``video_resolution`` is a side, as LLaMA-Factory 0.9.0 had it."""


@dataclass(frozen=True)
class VideoArguments(Arguments):
    """Which frames of a video are shown, and how large."""

    video_fps: float = key(FPS_HELP, FPS, least=0.001)
    video_maxlen: int = key(MAXLEN_HELP, MAXLEN, least=1)
    video_max_pixels: int = key(MOST_HELP, MOST_AREA, least=1)
    video_min_pixels: int = key(LEAST_HELP, LEAST_AREA, least=1)

    @property
    def limits(self) -> VideoLimits:
        """The limits that the keys say."""
        return VideoLimits(self.video_fps, self.video_maxlen, self.video_max_pixels, self.video_min_pixels)


def area_problems(most: int | None, least: int | None) -> list[str]:
    """Return a sentence where the areas exclude each other; None is a key that was left out."""
    most, least = most or MOST_AREA, least or LEAST_AREA
    return [f"video_max_pixels {most} is below video_min_pixels {least}"] if most < least else []
