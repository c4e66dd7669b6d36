"""Whether a prepared scene can be right: what agrees, what is plausible, and the likely repair where it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.repairs import Convention, Repairs, repaired
from gpt4scene.scans.types import Camera, Mesh, Scan, SceneObject
from gpt4scene.scans.unused import Unused
from gpt4scene.scenes.agreement import Agreement, Compared
from gpt4scene.scenes.floor import floor_and_cut
from gpt4scene.scenes.up_choice import Up
from gpt4scene.scenes.upright import alignment_doubt
from gpt4scene.scenes.worlds import difference

POOR, GOOD, DOUBT = 0.6, 0.8, 0.88
POOR_COLORS, GOOD_COLORS = 0.35, 0.45
"""Agreement below which something is wrong, from which on a repair explains it, and below which one is looked for."""
BETTER, BETTER_COLORS = 0.12, 0.3
"""By so much a repair must agree better than the scan as it is. Colours of a mesh are those of no single image."""
DISTANCE, USUAL_DISTANCE = (0.15, 25.0), 2.0
"""Metres between which the middle reading of depth is, and where it mostly is."""
EYES = (0.4, 3.2)
"""Metres above the floor between which cameras of people are; lower ones are wrong in a small scene only, ..."""
SMALL, LARGE, HIGH = 3.0, 12.0, 5.0
"""... higher ones in a large one, or from so many metres on. A robot, or a scan without floor, is no slip."""
USUAL_EYES = 1.45
ROOM = (1.2, 150.0)
"""Metres between which the longer side of a scene is usual."""
NO_ROOM = (0.1, 500.0)
"""Metres outside of which a scene can't be drawn, whatever it is."""
BESIDE, STRAYS = 0.5, 0.2
"""Metres beside the scene in which boxes may lie, and the share of boxes that may lie farther away."""
MOST_NAMES = 6
"""Files that are named of those not read."""
FACTORS = (0.001, 0.01, 0.0254, 0.1, 0.2, 0.25, 0.3048, 0.5, 2, 4, 5, 10, 100, 1000)
"""Slips of units that happen."""
LEAST_REACH = 0.15
"""How far apart cameras must stand, for each metre that they see, so that their scale can be told."""
STILL = 3
"""Frames with one pose from which it is said, if they are half of all."""
SCALES = tuple(np.geomspace(0.02, 50, 36))
"""Scales that are tried, since a reconstruction from images has any."""
DEPTH_UNITS = (1, 100, 256, 1000, 4000, 5000, 6553.5, 10000)
"""What depth images hold for a metre in one format or another."""
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
        if figures.get("frames_asked", 0) > figures.get("frames", 0):
            parts.append(f"only {figures['frames']} of the {figures['frames_asked']} frames asked for")
        if figures["frames_without_pose"]:
            parts.append(f"{figures['frames_without_pose']} without pose")
        if figures.get("files_not_read"):
            parts.append(f"not read: {', '.join(figures['files_not_read'])}")
        return ", ".join(parts)


def raw_warnings(scan: Scan, repairs: Repairs, native: Convention) -> tuple[Agreement, tuple[str, ...]]:
    """Return how well a scan, repaired already, agrees with itself, and what to do where it does not.

    ``scan`` is the one before ``repairs``.
    """
    compared = Compared(scan)
    now = compared.agreement(repaired(scan, repairs, native))
    share = now.worst
    if compared.flat:
        return now, ("the depth images hold one and the same number everywhere; are they depth images?",)
    still, all_still = _still_warnings(scan)
    if all_still or (share is None and not compared.several) or (share is not None and share >= DOUBT):
        return now, still or _distance_warnings(now, scan, repairs)
    share = max(share or 0.0, 0.0)
    poor, good, better = (POOR, GOOD, BETTER) if compared.deep else (POOR_COLORS, GOOD_COLORS, BETTER_COLORS)
    least = max(good, share + better)
    tried = (_repairs(compared, scan, repairs, native), _pairs_of_repairs(compared, scan, repairs, native))
    found = next((good for one in tried if (good := [two for two in one if two.agreement >= least])), [])
    what = "frames and mesh" if now.mesh is not None or now.colors is not None else "frames"
    said = f"only {100 * share:.0f} % of what the {what} show agrees"
    if found:
        best = max(found, key=lambda one: one.agreement - 0.03 * one.unusual)
        return now, (f"{said}; with {best.repairs.flags()} it would be {100 * best.agreement:.0f} %: give that", *still)
    if now.worst is None:
        return now, still or _distance_warnings(now, scan, repairs)
    other = difference(compared, repaired(scan, repairs, native), FACTORS, least)
    if share >= poor and not other:
        return now, still or _distance_warnings(now, scan, repairs)
    hint = other or "are poses, depth and mesh of one world and in one unit (transforms.json: applied_transform)?"
    return now, (f"{said}, and none of --pose, --scale and --depth_scale makes it better; {hint}", *still)


def _still_warnings(scan: Scan) -> tuple[tuple[str, ...], bool]:
    """A sentence where most frames have one and the same pose, and whether all of several have."""
    poses = [frame.camera.pose for frame in scan.frames if frame.camera.tracked]
    most = max(Counter(np.round(pose, 6).tobytes() for pose in poses).values(), default=0)
    if most < 2 or (most < len(poses) and (most < STILL or most < len(poses) / 2)):
        return (), False
    said = f"{most} of the {len(poses)} frames have one and the same pose; are those the poses of these images?"
    return (said,), most == len(poses)


def _distance_warnings(now: Agreement, scan: Scan, repairs: Repairs) -> tuple[str, ...]:
    """A sentence where depth is of another size than rooms are, although all that can be compared agrees."""
    unit = _depth_unit(scan, repairs)
    if unit is not None and now.distance is None and any(frame.camera.tracked and frame.depth for frame in scan.frames):
        return ("the depth images hold no reading (0 and 65535 are none)",)
    if unit is None or now.distance is None or DISTANCE[0] <= now.distance <= DISTANCE[1]:
        return ()
    said = f"depth images show things {now.distance:.3g} m away on average"
    away = {other: abs(float(np.log(now.distance * unit / other / USUAL_DISTANCE))) for other in DEPTH_UNITS}
    best = min(away, key=lambda other: away[other])
    if away[best] > 1:
        return (f"{said}; what do they hold for a metre (--depth_scale)?",)
    return (f"{said}; with --depth_scale {best:g} that would be usual: give that",)


def _depth_unit(scan: Scan, repairs: Repairs) -> float | None:
    """What depth images hold for a metre, None where there are none."""
    unit = next((frame.depth_scale for frame in scan.frames if frame.depth is not None), None)
    return unit if unit is None or repairs.depth_scale is None else repairs.depth_scale


@dataclass(frozen=True)
class _Tried:
    """How well a scan agrees with other ``repairs``, and how far its depth is from the usual distance (a logarithm)."""

    repairs: Repairs
    agreement: float
    unusual: float


def _repairs(compared: Compared, scan: Scan, repairs: Repairs, native: Convention) -> Iterator[_Tried]:
    """What else the recording may be, as far as it can be compared and shows things at distances of a room."""
    for pose in _other_poses(repairs, native):
        yield from _tried(compared, scan, replace(repairs, pose=pose), native)
    yield from _other_lengths(compared, scan, repairs, repairs, native, (*FACTORS, *SCALES))


def _pairs_of_repairs(compared: Compared, scan: Scan, repairs: Repairs, native: Convention) -> Iterator[_Tried]:
    """The same with poses and lengths both written otherwise."""
    for pose in _other_poses(repairs, native):
        other = replace(repairs, pose=pose)
        yield from _other_lengths(compared, scan, repairs, other, native, (*FACTORS, *SCALES[::2]))


def _other_poses(repairs: Repairs, native: Convention) -> list[Convention | None]:
    others: list[Convention | None] = [pose for pose in CONVENTIONS if pose != (repairs.pose or native)]
    return [None if pose == native else pose for pose in others]


def _other_lengths(
    compared: Compared, scan: Scan, before: Repairs, repairs: Repairs, native: Convention, scales: Sequence[float]
) -> Iterator[_Tried]:
    """``repairs`` with other units of depth, and the likeliest of the scales; ``before`` says the unit of depth now."""
    unit = _depth_unit(scan, before)
    if unit is None:
        return
    for other in DEPTH_UNITS:
        if other != unit:
            yield from _tried(compared, scan, replace(repairs, depth_scale=float(other)), native)
    # Poses and mesh so many times larger are depth so many times smaller, for which no mesh is built again.
    scaled = []
    for by in scales:
        for one in _tried(compared, scan, replace(repairs, depth_scale=unit * by), native, by):
            meant = replace(repairs, depth_scale=before.depth_scale, scale=before.scale * by)
            scaled.append(replace(one, repairs=meant))
    if scaled:
        yield _usual_scale(scaled, before.scale)


def _tried(compared: Compared, scan: Scan, other: Repairs, native: Convention, larger: float = 1.0) -> Iterator[_Tried]:
    """``other`` as it is compared; with ``larger`` it stands for a scale, after which depth has its size again."""
    changed = repaired(scan, other, native)
    then = compared.agreement(changed)
    distance = then.distance * larger if then.distance is not None else None
    if larger != 1 and distance is not None and _reach(changed) * larger < LEAST_REACH * distance:
        return  # all cameras in one place see the same, whatever they see
    if then.worst is not None and (distance is None or DISTANCE[0] <= distance <= DISTANCE[1]):
        away = abs(float(np.log(distance / USUAL_DISTANCE))) if distance else 0.0
        yield _Tried(other, then.worst, away)


def _reach(scan: Scan) -> float:
    """How far apart the cameras stand."""
    places = np.array([frame.camera.pose[:3, 3] for frame in scan.frames if frame.camera.tracked])
    return float(np.ptp(places, axis=0).max())


def _usual_scale(scaled: Sequence[_Tried], before: float) -> _Tried:
    """Of the scales that are as good as the best one, that of a usual slip, or the middle one, rounded."""
    most = max(one.agreement for one in scaled)
    good = sorted((one for one in scaled if one.agreement >= most - 0.015), key=lambda one: one.repairs.scale)
    middle = float(np.sqrt(good[0].repairs.scale * good[-1].repairs.scale))
    slips = [one for one in good if any(np.isclose(one.repairs.scale, by * before) for by in FACTORS)]
    best = min(slips or good, key=lambda one: abs(np.log(one.repairs.scale / middle)))
    return best if slips else replace(best, repairs=replace(best.repairs, scale=float(f"{best.repairs.scale:.2g}")))


def report(
    scan: Scan,
    surface: Mesh,
    agreement: Agreement,
    warnings: Sequence[str],
    up: Up | None,
    repairs: Repairs,
    objects: Sequence[SceneObject] = (),
) -> Sanity:
    """Return the report about an upright ``scan``, the ``surface`` that images are made from, and its ``objects``.

    Raises ``DataError`` for a scene of millimetres or kilometres.
    """
    cameras = [frame.camera for frame in scan.frames if frame.camera.tracked]
    floor = floor_and_cut(surface, cameras)[0]
    eyes = float(np.median([camera.pose[2, 3] for camera in cameras])) - floor
    low, high = np.percentile(surface.vertices[:, :2], [1, 99], axis=0)
    length, width = sorted((high - low).tolist(), reverse=True)
    figures = {
        "frames_without_pose": len(scan.frames) - len(cameras),
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
        said = [*warnings, f"the scene is {length:.3g} m long"] if warnings else _implausible(eyes, length, repairs)
        raise DataError(f"{scan.source}: {'; '.join(said)}")
    found = [*warnings, *([] if warnings else _implausible(eyes, length, repairs)), *_outside(figures)]
    found += _strays(objects, surface)
    if up is None and not warnings and (wrong := alignment_doubt(cameras, surface)):
        found.append(wrong)
    if up is not None and not up.certain:
        why = f": {up.doubt}" if up.doubt else ""
        found.append(
            f"which way is up is not certain ({up.name} was taken){why}; look at the images, and choose by --up"
        )
    return Sanity(figures, tuple(found))


def with_marks(
    sanity: Sanity, marks: Sequence[int], objects: int, asked: int, unused: Unused, notes: Sequence[str] = ()
) -> Sanity:
    """Return the report with what became of the scene's files and frames.

    ``marks`` are the numbers of marks of each frame, of which ``asked`` were asked for; ``notes`` are the reader's.
    """
    without = sum(not number for number in marks)
    files = [*unused.names[:MOST_NAMES], *unused.counts[:MOST_NAMES]]
    left = len(unused.names) + len(unused.counts) - len(files)
    figures = {
        **sanity.figures,
        "frames": len(marks),
        "frames_asked": asked,
        "frames_without_marks": without,
        "files_not_read": [*files, *([f"and {left} more"] if left else [])],
        "notes": list(notes),
    }
    warnings = (*sanity.warnings, *unused.slips)
    if objects and without == len(marks):
        warnings += (
            f"none of the {len(marks)} frames shows a mark of the {objects} objects; are objects, mesh and poses "
            "of one world?",
        )
    return Sanity(figures, warnings)


def _strays(objects: Sequence[SceneObject], surface: Mesh) -> Iterator[str]:
    """A sentence where so many boxes lie where nothing of the scene is that it is no matter of single ones."""
    low, high = np.percentile(surface.vertices, [1, 99], axis=0)
    boxes = [item for item in objects if not item.empty]
    out = [
        item.id
        for item in boxes
        if (item.center - item.size / 2 > high + BESIDE).any() or (item.center + item.size / 2 < low - BESIDE).any()
    ]
    if len(out) > STRAYS * len(boxes):
        named = ", ".join(map(str, out[:5])) + (", ..." if len(out) > 5 else "")
        yield (
            f"{len(out)} of the {len(boxes)} objects lie outside of the scene ({named}); are their boxes metres of the "
            "aligned frame?"
        )


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
    small = eyes < EYES[0] and length < SMALL
    large = eyes > HIGH or (eyes > EYES[1] and length > LARGE)
    if not small and not large and ROOM[0] <= length <= ROOM[1]:
        return
    fits = [one for one in FACTORS if 0.8 <= eyes * one <= 2.0 and ROOM[0] <= length * one <= ROOM[1]]
    said = f"the cameras are {eyes:.3g} m above the floor of a scene of {length:.3g} m"
    if not NO_ROOM[0] < length < NO_ROOM[1]:  # nor is the floor found there
        fits = [one for one in FACTORS if 2 <= length * one <= 15]
    if fits:
        factor = min(fits, key=lambda one: abs(np.log(max(eyes, 1e-6) * one / USUAL_EYES))) * repairs.scale
        flags = replace(repairs, scale=factor).flags()
        yield f"{said}; are lengths in metres? with {flags} they would be usual"
    else:
        yield f"{said}, which is unusual; are lengths in metres (--scale), and is up right (--up)?"
