"""How long one scene of ScanNet's size takes to become marked frames and a bird's-eye view, and in how much memory.

Ours runs on one core, so that the seconds are those of a worker on a busy node. The straightforward way casts a ray
through every pixel of every frame with trimesh's ray queries and asks each object's mask; ours asks a quarter of the
resolution, in one call to Embree. Both must find the same objects in every frame.

    python scripts/bench/scene.py [--small] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import trimesh

from gpt4scene.files.whole import read_json, write_json
from gpt4scene.scans.geometry import box_of
from gpt4scene.scans.posed import read_posed, write_posed
from gpt4scene.scans.types import Camera, Mesh, SceneObject
from gpt4scene.scenes.render import Raycaster

FULL = {
    "faces": 150_000,
    "objects": 30,
    "frames": 40,
    "width": 1296,
    "height": 968,
    "chosen": 32,
    "bev": 1024,
    "repeats": 3,
}
SMALL = {"faces": 8_000, "objects": 8, "frames": 4, "width": 320, "height": 240, "chosen": 4, "bev": 256, "repeats": 1}
SCANNET_SCENES = 1513
ROOM = np.array([7.0, 5.0, 2.6])


def grid_box(center, size, per_metre: float, rng) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of a box whose sides are divided like a scan's, with a millimetre of noise."""
    vertices, faces = [], []
    for axis in range(3):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        counts = [max(2, int(np.ceil(size[k] * per_metre)) + 1) for k in (a, b)]
        u, v = np.meshgrid(np.linspace(-0.5, 0.5, counts[0]), np.linspace(-0.5, 0.5, counts[1]), indexing="ij")
        index = np.arange(u.size).reshape(u.shape)
        corner = [index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]]
        quads = np.stack([c.ravel() for c in corner], axis=1)
        for side in (-0.5, 0.5):
            points = np.zeros((u.size, 3))
            points[:, axis], points[:, a], points[:, b] = side, u.ravel(), v.ravel()
            first = sum(len(part) for part in vertices)
            order = quads if side > 0 else quads[:, ::-1]
            faces += [order[:, [0, 1, 2]] + first, order[:, [0, 2, 3]] + first]
            vertices.append(points * size + center + rng.normal(0, 0.001, points.shape))
    return np.concatenate(vertices), np.concatenate(faces)


def build_mesh(sizes: dict, per_metre: float) -> tuple[Mesh, list[SceneObject]]:
    """A room (floor and walls as one inverted box without lid) with furniture on a raster."""
    rng = np.random.default_rng(0)
    points, faces = grid_box(ROOM / 2, ROOM, per_metre, rng)
    faces = faces[:, ::-1]
    faces = faces[points[faces, 2].mean(axis=1) < ROOM[2] - 0.01]
    parts, colors = [(points, faces)], [np.tile([[180, 170, 150]], (len(points), 1))]
    objects, first = [], len(points)
    columns = int(np.ceil(np.sqrt(sizes["objects"])))
    for number in range(sizes["objects"]):
        size = rng.uniform([0.3, 0.3, 0.3], [0.7, 0.6, 1.2])
        spot = (np.array([number % columns, number // columns]) + 0.5) / columns * (ROOM[:2] - 1) + 0.5
        points, faces = grid_box(np.array([*spot, size[2] / 2]), size, per_metre, rng)
        parts.append((points, faces + first))
        colors.append(np.tile(rng.integers(30, 220, 3), (len(points), 1)))
        objects.append(SceneObject(number, "thing", *box_of(points), np.arange(first, first + len(points))))
        first += len(points)
    noise = rng.integers(-12, 12, (first, 3))
    shades = np.clip(np.concatenate(colors) + noise, 0, 255).astype(np.uint8)
    return Mesh(np.concatenate([p for p, _ in parts]), np.concatenate([f for _, f in parts]), shades), objects


def build_scan(folder: Path, sizes: dict) -> None:
    """Write a posed folder: cameras walk an ellipse and look across the room; depth has half the resolution."""
    area_density = 30.0
    for _ in range(4):  # find the division that gives the number of faces
        mesh, objects = build_mesh(sizes, area_density)
        area_density *= float(np.sqrt(sizes["faces"] / len(mesh.faces)))
    caster = Raycaster(mesh)
    images, depths, cameras = [], [], []
    focal = sizes["width"] * 0.9
    intrinsics = np.array([[focal, 0, sizes["width"] / 2], [0, focal, sizes["height"] / 2], [0, 0, 1]])
    for index in range(sizes["frames"]):
        angle = 2 * np.pi * index / sizes["frames"]
        eye = np.array([*(ROOM[:2] / 2 * (1 + 0.8 * np.array([np.cos(angle), np.sin(angle)]))), 1.6])
        forward = np.array([*(ROOM[:2] / 2), 0.5]) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = np.stack([right, np.cross(forward, right), forward], axis=1), eye
        camera = Camera(intrinsics, pose, sizes["width"], sizes["height"])
        half = camera.resized(sizes["width"] // 2, sizes["height"] // 2)
        hits = caster.first_hits(half)
        image = caster.colors(hits).astype(np.uint8).reshape(half.height, half.width, 3)
        rows = np.arange(camera.height) * half.height // camera.height
        columns = np.arange(camera.width) * half.width // camera.width
        images.append(image[rows[:, None], columns[None]])
        depths.append(np.where(hits.found, hits.depth, 0).reshape(half.height, half.width))
        cameras.append(camera)
    write_posed(folder, images, cameras, depths=depths, mesh=mesh, align=np.eye(4), objects=objects)


def ours(folder: Path, out: Path, sizes: dict) -> dict:
    """Seconds by the clock and of the processor, and peak MiB, of `gpt4scene prepare` in a process of its own.

    It is bound to one core, start included. Other load slows the clock; the processor's seconds hardly change.
    """
    command = [sys.executable, "-m", "gpt4scene", "prepare", "--scans", str(folder), "--out", str(out)]
    command += ["--overwrite", "--frames", str(sizes["chosen"]), "--bev_size", str(sizes["bev"])]
    code = (
        "import json, os, resource, subprocess, sys, time; "
        "sys.platform == 'linux' and os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}); "
        "start = time.perf_counter(); "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
        "wall = time.perf_counter() - start; used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps([wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    return dict(zip(("wall", "cpu", "mib"), json.loads(done.stdout), strict=True))


Areas = dict[str, dict[int, float]]
"""Frame -> object -> share of the image that it covers."""


def straightforward(folder: Path, names: list[str]) -> tuple[float, Areas]:
    """Seconds for the visibility alone of some frames at full resolution, and what each shows."""
    scan = read_posed(folder)
    assert scan.mesh is not None, "the scan has a mesh"
    start = time.perf_counter()
    surface = trimesh.Trimesh(scan.mesh.vertices, scan.mesh.faces, process=False)
    owners = np.full(len(scan.mesh.vertices), -1)
    for item in scan.objects:
        owners[item.vertices] = item.id
    found = {}
    for frame in scan.frames:
        if frame.name not in names:
            continue
        camera = frame.camera
        columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        rays = camera.rays(np.stack([columns.ravel(), rows.ravel()], axis=1))
        origins = np.broadcast_to(camera.pose[:3, 3], rays.shape)
        _, index, face = surface.ray.intersects_location(origins, rays, multiple_hits=False)
        image = np.full(len(rays), -1)
        image[index] = owners[scan.mesh.faces[face, 0]]
        found[frame.name] = {item.id: float((image == item.id).mean()) for item in scan.objects}
    return time.perf_counter() - start, found


def same_objects(a: Areas, b: Areas, least: float) -> bool:
    """Whether each side shows what covers twice the least area on the other (grids differ at the limit itself)."""
    return all(
        other[name].get(number, 0.0) >= least
        for one, other in ((a, b), (b, a))
        for name in one
        for number, area in one[name].items()
        if area >= 2 * least
    )


def measure(sizes: dict, folder: Path) -> dict:
    """One line of results."""
    scan, out = folder / "scan", folder / "out"
    build_scan(scan, sizes)
    runs = [ours(scan, out, sizes) for _ in range(sizes["repeats"])]
    content = read_json(out / "scenes" / "scan" / "scene.json")
    frames = content["frames"][:: max(1, sizes["chosen"] // 4)]
    shown = {frame["name"]: {m["id"]: m["area"] for m in frame["markers"]} for frame in frames}
    usual, expected = straightforward(scan, list(shown))
    usual *= sizes["chosen"] / len(shown)
    seconds = [run["wall"] for run in runs]
    middle, cpu = statistics.median(seconds), statistics.median(run["cpu"] for run in runs)
    return {
        "frames": sizes["chosen"],
        "usual_s": round(usual, 2),
        "ours_s": round(middle, 2),
        "ours_cpu_s": round(cpu, 2),
        "scannet_hours_on_16_cores_extrapolated": round(SCANNET_SCENES * cpu / 16 / 3600, 3),
        "ratio": round(usual / middle, 2),
        "spread": round((max(seconds) - min(seconds)) / middle, 3),
        "peak_mib": round(max(run["mib"] for run in runs)),
        "equal": same_objects(shown, expected, content["settings"]["least_area"]),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table, write JSON on request; 1 when the two ways disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--json", metavar="FILE", help="write the figures here, too")
    options = parser.parse_args(argv)
    sizes = SMALL if options.small else FULL
    with tempfile.TemporaryDirectory() as folder:
        line = measure(sizes, Path(folder))
    print(f"{sizes['faces']} faces, {sizes['chosen']} frames {sizes['width']}x{sizes['height']}, BEV {sizes['bev']}")
    print(f"  whole scene on one core, process start included: {line['ours_s']} s by the clock, ", end="")
    print(f"{line['ours_cpu_s']} s of the processor, {line['peak_mib']} MiB at most")
    minutes = line["scannet_hours_on_16_cores_extrapolated"] * 60
    print(f"  extrapolated, not measured: {SCANNET_SCENES} such scenes on 16 such cores {minutes:.0f} minutes", end="")
    print(" (if disks and memory keep up)")
    print(f"  visibility alone, every pixel through trimesh: {line['usual_s']} s ({line['ratio']} x the whole of ours)")
    print(f"  the same objects in every frame compared: {line['equal']}")
    if options.json:
        report = {
            "bench": "scene",
            "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "system": platform.system()},
            "versions": {name: version(name) for name in ("numpy", "scipy", "trimesh", "embreex", "pillow")},
            "sizes": sizes,
            "results": [line],
        }
        write_json(options.json, report)
    return 0 if line["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
