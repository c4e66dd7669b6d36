"""What ``gpt4scene prepare`` can be told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from gpt4scene.files.points import MOST
from gpt4scene.scans.readers import SCAN_READERS
from gpt4scene.scans.repairs import Convention, Repairs
from gpt4scene.scenes.marker_placement import MarkerPlace
from gpt4scene.scenes.object_sources import OBJECT_SOURCES, object_source
from gpt4scene.scenes.up_choice import UPS
from gpt4scene.settings.arguments import Arguments, key

LATER = ("outlines", "up", "pose", "scale", "depth_scale")
"""Options that scenes of before do not name."""


@dataclass(frozen=True)
class PrepareArguments(Arguments):
    """Everything that ``gpt4scene prepare`` can be told."""

    scans: tuple[str, ...] = key("scan folders, or folders that hold scan folders")
    out: str = key("folder that receives images, lists and attributes")
    format: str = key(f"kind of recording: {', '.join(SCAN_READERS)}", "posed", group="What is read")
    objects: str = key(
        "; ".join(f"{name}: {source.about}" for name, source in OBJECT_SOURCES.items()), "scan", group="What is read"
    )
    frames: int = key(
        "frames of each scene, besides the bird's-eye view", 32, least=1, group="Frames and bird's-eye view"
    )
    split: str = key("word in the names of lists and attribute files", "val", group="Frames and bird's-eye view")
    frame_choice: Literal["even", "coverage"] = key(
        "evenly spaced as published, or showing as many objects as possible", "even", group="Frames and bird's-eye view"
    )
    marker_place: MarkerPlace = key(
        "pixel farthest from the visible surface's edge, or nearest its centroid", "inside", group="Marks"
    )
    bev_size: int = key(
        "longest side of the bird's-eye view in pixels", 1024, least=64, most=8192, group="Frames and bird's-eye view"
    )
    least_area: float = key("least share of a frame that a marked object covers", 0.001, least=0, group="Marks")
    geometry: Literal["voxels", "tsdf"] = key(
        "what depth frames become where there is no mesh; tsdf: smoother, slower",
        "voxels",
        group="Frames and bird's-eye view",
    )
    up: str = key(
        f"which way is up, where the recording does not say: {', '.join(UPS)} (sides of images, axes)",
        "auto",
        group="What is read",
    )
    pose: Convention | None = key("how poses are written, where not as the format says", None, group="What is read")
    scale: float = key("factor that makes metres of the recording's lengths", 1.0, group="What is read")
    depth_scale: float | None = key(
        "what depth images hold for a metre, where not as the format says", None, group="What is read"
    )
    strict: bool = key("refuse a scene whose report has a warning", False, group="What is read")
    inside_only: bool = key(
        "refuse a recording whose images lie outside its folder, as of a stranger's", False, group="What is read"
    )
    outlines: bool = key("draw a line around what is visible of each object, too", False, group="Marks")
    keep_unmarked: bool = key("write every image without markers, too", False, group="Marks")
    contact_sheet: bool = key("write a page a scene: views, objects with crops", False, group="Files and processes")
    points: int = key(
        "points of each scene kept for gpt4scene view; 0: none", 200_000, least=0, most=MOST, group="Marks"
    )
    overwrite: bool = key("prepare finished scenes again", False, group="Files and processes")
    workers: int = key("processes; 0 takes one for each core", 1, least=0, group="Files and processes")
    num_shards: int = key(
        "parts into which the scans are divided over machines", 1, least=1, group="Files and processes"
    )
    shard: int = key("this machine's part, from 0", 0, least=0, group="Files and processes")

    @property
    def repairs(self) -> Repairs:
        """What is different from the format."""
        return Repairs(self.pose, self.scale, self.depth_scale)

    def settings(self) -> dict:
        """What a finished scene must have been made with to be kept.

        Options that came later are named where they are used only, so that scenes of before have the settings of today.
        """
        ignored = ("scans", "out", "contact_sheet", "points", "overwrite", "workers", "num_shards", "shard", "strict")
        ignored += ("inside_only",)
        ignored += tuple(
            name for name in LATER if getattr(self, name) == PrepareArguments.__dataclass_fields__[name].default
        )
        return {key: value for key, value in asdict(self).items() if key not in ignored}

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        if self.least_area >= 1:
            wrong.append(f"--least_area is {self.least_area}, must be from 0 to below 1")
        if self.up not in UPS:
            wrong.append(f"--up '{self.up}' is none of {', '.join(UPS)}")
        for name in ("scale", "depth_scale"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                wrong.append(f"--{name} must be a number above 0, not {value}")
        if self.shard >= self.num_shards:
            wrong.append(f"--shard is {self.shard}, must be from 0 to {self.num_shards - 1}")
        if not self.split.replace("_", "a").isalnum():
            wrong.append(f"--split '{self.split}' must be a plain word")
        for look_up in (lambda: SCAN_READERS[self.format], lambda: object_source(self.objects)):
            try:
                look_up()
            except ValueError as error:
                wrong.append(str(error))
        return wrong
