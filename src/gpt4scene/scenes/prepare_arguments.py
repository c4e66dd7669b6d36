"""What ``gpt4scene prepare`` can be told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from gpt4scene.scans.readers import SCAN_READERS
from gpt4scene.scenes.marker_placement import MarkerPlace
from gpt4scene.scenes.object_sources import OBJECT_SOURCES, object_source
from gpt4scene.settings.arguments import Arguments, key


@dataclass(frozen=True)
class PrepareArguments(Arguments):
    """Everything that ``gpt4scene prepare`` can be told."""

    scans: tuple[str, ...] = key("scan folders, or folders that hold scan folders")
    out: str = key("folder that receives images, lists and attributes")
    format: str = key(f"kind of recording: {', '.join(SCAN_READERS)}", "posed")
    objects: str = key("; ".join(f"{name}: {source.about}" for name, source in OBJECT_SOURCES.items()), "scan")
    frames: int = key("frames of each scene, besides the bird's-eye view", 32, least=1)
    split: str = key("word in the names of lists and attribute files", "val")
    frame_choice: Literal["even", "coverage"] = key(
        "evenly spaced as published, or showing as many objects as possible", "even"
    )
    marker_place: MarkerPlace = key("pixel farthest from the visible surface's edge, or nearest its centroid", "inside")
    bev_size: int = key("longest side of the bird's-eye view in pixels", 1024, least=64, most=8192)
    least_area: float = key("least share of a frame that a marked object covers", 0.001, least=0)
    geometry: Literal["voxels", "tsdf"] = key(
        "what depth frames become where there is no mesh; tsdf: smoother, slower", "voxels"
    )
    outlines: bool = key("draw a line around what is visible of each object, too", False)
    keep_unmarked: bool = key("write every image without markers, too", False)
    contact_sheet: bool = key("write a page a scene: views, objects with crops", False)
    overwrite: bool = key("prepare finished scenes again", False)
    workers: int = key("processes; 0 takes one for each core", 1, least=0)
    num_shards: int = key("parts into which the scans are divided over machines", 1, least=1)
    shard: int = key("this machine's part, from 0", 0, least=0)

    def settings(self) -> dict:
        """What a finished scene must have been made with to be kept.

        Options that came later are named where they are used only, so that scenes of before have the settings of today.
        """
        ignored = ("scans", "out", "contact_sheet", "overwrite", "workers", "num_shards", "shard")
        ignored += () if self.outlines else ("outlines",)
        return {key: value for key, value in asdict(self).items() if key not in ignored}

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        if self.least_area >= 1:
            wrong.append(f"--least_area is {self.least_area}, must be from 0 to below 1")
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
