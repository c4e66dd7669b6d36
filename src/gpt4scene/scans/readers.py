"""The kinds of recordings that can be prepared, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.errors import DataError
from gpt4scene.registry import Registry
from gpt4scene.scans.arkit import is_arkit, read_arkit
from gpt4scene.scans.colmap import colmap_reads, is_colmap, read_colmap
from gpt4scene.scans.posed import MESHES, is_posed, read_posed
from gpt4scene.scans.repairs import Convention
from gpt4scene.scans.scannet import is_scannet, read_scannet
from gpt4scene.scans.transforms import is_transforms, read_transforms, transforms_reads
from gpt4scene.scans.tum import is_tum, read_tum
from gpt4scene.scans.types import Scan


@dataclass(frozen=True)
class ScanReader:
    """``read`` makes a scan of a path; ``accepts`` tells cheaply whether a path is of this kind.

    ``poses`` is how the format writes poses; ``reads`` are its files besides the frames' images, as ``unused_files``
    takes them, from the scan's folder; ``meshes`` are the names of a mesh. A folder that has one of ``parts`` (``*``
    stands for its name), but not all that makes it a scan, is a broken one.
    """

    read: Callable[[Path], Scan]
    accepts: Callable[[Path], bool]
    parts: tuple[str, ...]
    about: str
    poses: Convention = "opencv"
    reads: Callable[[Path], tuple[str, ...]] = lambda folder: ()
    meshes: tuple[str, ...] = ()

    def begun(self, path: Path) -> bool:
        """True for what is, or was meant to be, a scan of this kind."""
        return self.accepts(path) or any((path / p.replace("*", path.resolve().name)).exists() for p in self.parts)


_ANNOTATION = "axis_align.txt objects.json masks/*"
_READS = {
    "posed": f"poses.txt intrinsics.txt depth_intrinsics.txt mesh.ply|mesh.obj|mesh.glb {_ANNOTATION}",
    "scannet": "{0}_vh_clean_2.ply {0}.txt {0}.aggregation.json {0}_vh_clean_2.0.010000.segs.json pose/*.txt "
    "intrinsic/intrinsic_color.txt|intrinsic_color.txt intrinsic/intrinsic_depth.txt|intrinsic_depth.txt",
    "transforms": _ANNOTATION,
    "colmap": _ANNOTATION,
    "tum": f"rgb.txt depth.txt groundtruth.txt intrinsics.txt {_ANNOTATION}",
    "arkit": "*lowres_wide.traj *.pincam {0}_3dod_mesh.ply {0}_3dod_annotation.json",
}
"""What each format reads besides images, see ``unused_files``."""
_MESHES = {
    **{"posed": MESHES, "transforms": MESHES, "colmap": MESHES},
    **{"scannet": ("<scene>_vh_clean_2.ply",), "arkit": ("<scene>_3dod_mesh.ply",)},
}
"""How the mesh of a format is called."""
_READS_THERE = {"transforms": transforms_reads, "colmap": colmap_reads}
"""What a format reads besides, where the folder tells."""


def _readers() -> Registry[ScanReader]:
    readers: Registry[ScanReader] = Registry("scan format")

    def add(
        name: str,
        read: Callable[[Path], Scan],
        accepts: Callable[[Path], bool],
        parts: str,
        about: str,
        poses: Convention = "opencv",
    ) -> None:
        def reads(folder: Path) -> tuple[str, ...]:
            told = _READS_THERE[name](folder) if name in _READS_THERE else ()
            return (*_READS[name].split(), *(pattern.replace("{", "{{").replace("}", "}}") for pattern in told))

        readers.add(name, ScanReader(read, accepts, tuple(parts.split()), about, poses, reads, _MESHES.get(name, ())))

    add("posed", read_posed, is_posed, "images poses.txt", "images/, poses.txt, intrinsics.txt, depth/ or mesh.ply")
    add("scannet", read_scannet, is_scannet, "color *.txt", "<scene>_vh_clean_2.ply, <scene>.sens or color/, ...")
    add("transforms", read_transforms, is_transforms, "images", "transforms.json and a .ply, as nerfstudio", "opengl")
    layout = "sparse/0/cameras.txt, images.txt and images/"
    add("colmap", read_colmap, is_colmap, "sparse images", layout, "world_to_camera")
    add("tum", read_tum, is_tum, "rgb.txt groundtruth.txt", "rgb.txt, depth.txt, groundtruth.txt")
    add("arkit", read_arkit, is_arkit, "lowres_wide *_frames", "lowres_wide/, lowres_depth/, lowres_wide.traj")
    return readers


SCAN_READERS = _readers()


def find_scans(format_name: str, paths: list[str]) -> list[Path]:
    """Every scan among ``paths``: a path that is one, else the scans directly inside it, sorted by name.

    Broken scans are among them, so that reading them says what they lack. Raises ValueError for an unknown format,
    DataError for a path that neither is nor holds a scan, and for two scans of one name.
    """
    reader = SCAN_READERS[format_name]
    found: list[Path] = []
    for text in paths:
        path = Path(text)
        if not path.exists():
            raise DataError(f"{path}: there is no such file or folder")
        inside = [path] if reader.accepts(path) else sorted(p for p in _children(path) if reader.begun(p))
        if reader.begun(path) and not any(reader.accepts(p) for p in inside):
            inside = [path]
        if not inside:
            raise DataError(
                f"{path}: neither is nor holds a scan of format '{format_name}' ({reader.about}){_other_format(path)}"
            )
        found += inside
    names: dict[str, Path] = {}
    for path in found:
        if path.resolve() == names.setdefault(path.resolve().name, path.resolve()):
            continue
        raise DataError(f"two scans are called '{path.name}': {names[path.resolve().name]} and {path}; rename one")
    return list(dict.fromkeys(found))


def _other_format(path: Path) -> str:
    """A hint at the format that the path has instead, empty when it has none."""
    for name in SCAN_READERS:
        if any(SCAN_READERS[name].accepts(one) for one in (path, *sorted(_children(path)))):
            return f"; --format {name} is what it looks like"
    return ""


def _children(path: Path) -> list[Path]:
    return list(path.iterdir()) if path.is_dir() else []
