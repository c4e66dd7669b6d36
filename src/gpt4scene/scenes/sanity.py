"""Whether a prepared scene can be right: what agrees, what is plausible, and the likely repair where it is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.repairs import Convention, Repairs, repaired
from gpt4scene.scans.types import Camera, Mesh, Scan
from gpt4scene.scenes.agreement import Agreement, Compared
from gpt4scene.scenes.floor import floor_and_cut
from gpt4scene.scenes.up_choice import Up

POOR, GOOD, DOUBT = 0.35, 0.5, 0.7
"""Agreement below which something is wrong, from which on a repair explains it, and below which one is looked for."""
BETTER = 0.2
"""By so much a repair must agree better than the scan as it is."""
DISTANCE, USUAL_DISTANCE = (0.25, 8.0), 2.8
"""Metres between which the usual reading of depth is, and the middle of them."""
EYES = (0.4, 3.2)
"""Metres above the floor between which cameras are usual."""
USUAL_EYES = 1.45
ROOM = (1.2, 60.0)
"""Metres between which the longer side of a scene is usual."""
NO_ROOM = (0.1, 500.0)
"""Metres outside of which a scene can't be drawn, whatever it is."""
FACTORS = (0.001, 0.01, 0.1, 0.2, 0.25, 0.5, 2, 4, 5, 10, 100, 1000)
"""Slips of units that happen."""
CONVENTIONS: tuple[Convention, ...] = ("opencv", "opengl", "world_to_camera")


@dataclass(frozen=True)
class Sanity:
    """The figures of a scene's report, JSON values by name, and a sentence for each that can't be right."""

    figures: Mapping[str, Any]
    warnings: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The report in one line."""
        figures = self.figures
        parts = [
            f"{figures['length']:.1f} x {figures['width']:.1f} m",
            f"cameras {figures['camera_height']:.2f} m above the floor",
        ]
        for name, words in (
            ("frames_agree", "frames agree"),
            ("mesh_agrees", "mesh agrees"),
            ("colors_agree", "colours agree"),
        ):
            if figures.get(name) is not None:
                parts.append(f"{words} {100 * figures[name]:.0f} %")
        if figures.get("frames_without_marks"):
            parts.append(f"{figures['frames_without_marks']} of {figures['frames']} frames without marks")
        return ", ".join(parts)


def raw_warnings(scan: Scan, repairs: Repairs, native: Convention) -> tuple[Agreement, tuple[str, ...]]:
    """Return how well a scan, repaired already, agrees with itself, and what to do where it does not.

    ``scan`` is the one before ``repairs``.
    """
    compared = Compared(scan)
    now = compared.agreement(repaired(scan, repairs, native))
    share = now.worst
    if share is None and not compared.several:
        return now, ()
    if share is not None and share >= DOUBT:
        return now, _distance_warnings(now, repairs)
    best, most = None, max(share or 0.0, 0.0)
    least = max(GOOD, most + BETTER)
    for other in _other_repairs(scan, repairs, native):
        found = compared.agreement(repaired(scan, other, native)).worst
        if found is not None and found >= least and found > most:
            best, most = other, found
    what = "frames and mesh" if now.mesh is not None or now.colors is not None else "frames"
    said = f"only {100 * max(share or 0.0, 0.0):.0f} % of what the {what} show agrees"
    if best is not None:
        return now, (f"{said}; with {best.flags()} it would be {100 * most:.0f} %: give that",)
    if share is None or share >= POOR:
        return now, _distance_warnings(now, repairs)
    hint = "are poses, depth and mesh of one world and in one unit (transforms.json: applied_transform)?"
    return now, (f"{said}, and neither --pose nor --depth_scale makes it better; {hint}",)


def _distance_warnings(now: Agreement, repairs: Repairs) -> tuple[str, ...]:
    """A sentence where depth is of another size than rooms are, although all agrees."""
    if now.distance is None or DISTANCE[0] <= now.distance <= DISTANCE[1]:
        return ()
    said = f"depth images show things {now.distance:.2f} m away on average; are lengths in metres?"
    fits = [one for one in FACTORS if 0.8 <= now.distance * one <= 4]
    if not fits:
        return (said,)
    factor = min(fits, key=lambda one: abs(np.log(now.distance * one / USUAL_DISTANCE)))
    return (f"{said} with --scale {factor * repairs.scale:g} they would be usual",)


def _other_repairs(scan: Scan, repairs: Repairs, native: Convention) -> Iterator[Repairs]:
    for pose in CONVENTIONS:
        if pose != (repairs.pose or native):
            yield replace(repairs, pose=None if pose == native else pose)
    deep = [frame for frame in scan.frames if frame.depth is not None]
    if deep:
        now = repairs.depth_scale or deep[0].depth_scale
        for factor in FACTORS:
            yield replace(repairs, depth_scale=now * factor)


def report(
    scan: Scan, surface: Mesh, agreement: Agreement, warnings: Sequence[str], up: Up | None, repairs: Repairs
) -> Sanity:
    """Return the report about an upright ``scan`` with the ``surface`` that its images are made from.

    Raises ``DataError`` for a scene of millimetres or kilometres.
    """
    cameras = [frame.camera for frame in scan.frames if frame.camera.tracked]
    floor = floor_and_cut(surface, cameras)[0]
    eyes = float(np.median([camera.pose[2, 3] for camera in cameras])) - floor
    low, high = np.percentile(surface.vertices[:, :2], [1, 99], axis=0)
    length, width = sorted((high - low).tolist(), reverse=True)
    figures = {
        "camera_height": round(eyes, 2),
        "length": round(length, 2),
        "width": round(width, 2),
        "cameras_inside": round(_inside(cameras, low, high), 2),
        "frames_agree": _share(agreement.frames),
        "mesh_agrees": _share(agreement.mesh),
        "colors_agree": _share(agreement.colors),
        "up": up.name if up is not None else "as the recording says",
    }
    if not NO_ROOM[0] < length < NO_ROOM[1]:
        raise DataError(f"{scan.source}: {'; '.join([*warnings, *_implausible(eyes, length, repairs)])}")
    found = [*warnings, *([] if warnings else _implausible(eyes, length, repairs)), *_outside(figures)]
    if up is not None and not up.certain:
        found.append(f"which way is up is not certain ({up.name} was taken); look at the images, and choose by --up")
    return Sanity(figures, tuple(found))


def with_marks(sanity: Sanity, marks: Sequence[int], objects: int, notes: Sequence[str] = ()) -> Sanity:
    """Return the report with the number of marks of each frame, and what the reader noted of its files."""
    without = sum(not number for number in marks)
    figures = {**sanity.figures, "frames": len(marks), "frames_without_marks": without, "notes": list(notes)}
    warnings = sanity.warnings
    if objects and without == len(marks):
        warnings += (
            f"none of the {len(marks)} frames shows a mark of the {objects} objects; are objects, mesh and poses "
            "of one world?",
        )
    return Sanity(figures, warnings)


def _share(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _inside(cameras: Sequence[Camera], low: np.ndarray, high: np.ndarray) -> float:
    places = np.array([camera.pose[:2, 3] for camera in cameras])
    room = (high - low) * 0.25 + 0.5
    return float(((places > low - room) & (places < high + room)).all(axis=1).mean())


def _outside(figures: Mapping[str, Any]) -> Iterator[str]:
    if figures["cameras_inside"] < 0.5:
        share = 100 * (1 - figures["cameras_inside"])
        yield f"{share:.0f} % of the cameras stand outside of the scene; are poses and mesh of one world?"


def _implausible(eyes: float, length: float, repairs: Repairs) -> Iterator[str]:
    """A sentence where cameras or the room have another size than people and rooms."""
    if EYES[0] <= eyes <= EYES[1] and ROOM[0] <= length <= ROOM[1]:
        return
    fits = [one for one in FACTORS if 0.8 <= eyes * one <= 2.0 and ROOM[0] <= length * one <= ROOM[1]]
    said = f"the cameras are {eyes:.3g} m above the floor of a scene of {length:.3g} m"
    if not NO_ROOM[0] < length < NO_ROOM[1]:  # nor is the floor found there
        fits = [one for one in FACTORS if 2 <= length * one <= 15]
    if fits:
        factor = min(fits, key=lambda one: abs(np.log(max(eyes, 1e-6) * one / USUAL_EYES))) * repairs.scale
        yield f"{said}; are lengths in metres? with --scale {factor:g} they would be usual"
    else:
        yield f"{said}, which is unusual; are lengths in metres (--scale), and is up right (--up)?"
