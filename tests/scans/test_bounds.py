"""Files that are cut off or lie about their size: every one is an error sentence, in bounded memory.

The readers run in a process whose address space is limited to what it needs plus ``ROOM``; more would end it.
"""

import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans.sens import read_sens

ROOM = 300 << 20
READ = """
import resource, sys
import gpt4scene.scenes.prepare
import embreex.mesh_construction, embreex.rtcore_scene
from gpt4scene.scans.readers import SCAN_READERS
from gpt4scene.scans.images import read_color, read_depth
from pathlib import Path
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[1]),) * 2)
for folder in sys.argv[3:]:
    try:
        for frame in SCAN_READERS[sys.argv[2]].read(Path(folder)).frames:
            read_color(frame)
            read_depth(frame)
        print("read")
    except (ValueError, OSError) as error:
        print(type(error).__name__, str(error).splitlines()[0])
"""


def read_in_bounds(kind, folders):
    """A line for each folder: "read", or the error. Any other error, and one of memory, ends the process."""
    command = [sys.executable, "-c", READ, str(ROOM), kind, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(folders)
    return lines


@pytest.fixture(scope="module")
def good(make_room, tmp_path_factory):
    return make_room(2, 40, 30).write(tmp_path_factory.mktemp("good") / "room", align=np.eye(4))


def changed(good, folder, name, content):
    """A copy of the good recording with one file replaced."""
    shutil.copytree(good, folder)
    (folder / name).write_bytes(content)
    return folder


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, depth, color, data):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def endless():
    """A megabyte that inflates to a gigabyte."""
    packer = zlib.compressobj(9)
    return b"".join([packer.compress(bytes(1 << 20)) for _ in range(1024)] + [packer.flush()])


def sens(path, *, frames=2, color=b"", depth=b"", size=(40, 30), codecs=(2, 1), **claims):
    """A recording byte by byte; ``claims`` replace numbers of its header or of its first frame."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IQ", claims.get("version", 4), claims.get("name", 4)) + b"name")
        for _ in range(4):
            file.write(np.eye(4, dtype="<f4").tobytes())
        width, height = claims.get("size", size)
        file.write(struct.pack("<2i4IfQ", *codecs, width, height, width, height, 1000.0, claims.get("count", frames)))
        for index in range(frames):
            lengths = claims.get("lengths", (len(color), len(depth))) if index == 0 else (len(color), len(depth))
            file.write(claims.get("pose", np.eye(4)).astype("<f4").tobytes())
            file.write(struct.pack("<4Q", 0, 0, *lengths) + color + depth)
    return path


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory):
    path = tmp_path_factory.mktemp("jpeg") / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)).save(path)
    return path.read_bytes()


@pytest.mark.slow
def test_recordings_cut_off_at_every_byte_of_their_structure_are_errors(jpeg, tmp_path):
    depth = zlib.compress(bytes(2400))
    blob = sens(tmp_path / "a.sens", color=jpeg, depth=depth).read_bytes()
    assert len(read_sens(tmp_path / "a.sens")) == 2
    header, frame = 4 + 8 + 4 + 256 + 36, 64 + 32
    first, second = header + frame, header + 2 * frame + len(jpeg) + len(depth)
    places = [*range(first + 1), first + len(jpeg) - 1, first + len(jpeg), *range(second - frame - 1, second + 1)]
    for place in [*places, second + len(jpeg), len(blob) - 1]:
        (tmp_path / "cut.sens").write_bytes(blob[:place])
        with pytest.raises(DataError, match=r"cut\.sens"):
            read_sens(tmp_path / "cut.sens")


HUGE = 2**63 - 1
CLAIMS = {
    "a name": {"name": HUGE},
    "a version": {"version": 2**32 - 1},
    "frames": {"count": HUGE},
    "some frames": {"count": 3},
    "pixels": {"size": (2**32 - 1, 2**32 - 1)},
    "many pixels": {"size": (16000, 16000)},
    "bytes of colour": {"lengths": (HUGE, 10)},
    "bytes of depth": {"lengths": (10, HUGE)},
    "bytes whose sum turns over": {"lengths": (2**63, 2**63 + 700)},
    "codecs": {"codecs": (-1, 99)},
}


@pytest.mark.slow
def test_recordings_that_claim_too_much_are_errors_in_bounded_memory(jpeg, tmp_path):
    folders = []
    for number, claims in enumerate(CLAIMS.values()):
        folders.append(tmp_path / f"scene{number:04d}_00")
        folders[-1].mkdir()
        path = folders[-1] / f"{folders[-1].name}.sens"
        sens(path, color=jpeg, depth=zlib.compress(bytes(2400)), **claims)
    for claim, folder, said in zip(CLAIMS, folders, read_in_bounds("scannet", folders), strict=True):
        assert said.startswith("DataError") and f"{folder.name}.sens" in said, (claim, said)


def test_recordings_of_lost_and_broken_poses_are_read_or_named(jpeg, tmp_path):
    depth = zlib.compress(bytes(2400))
    for value in (-np.inf, np.nan, np.inf):
        path = sens(tmp_path / "a.sens", color=jpeg, depth=depth, pose=np.full((4, 4), value))
        assert not any(frame.camera.tracked for frame in read_sens(path))


@pytest.mark.slow
def test_images_that_inflate_without_end_stay_in_bounds(good, jpeg, endless, tmp_path):
    small, image = zlib.compress(bytes(2400)), png(40, 30, 8, 2, chunk(b"IDAT", endless))
    recordings = {"scene0_00": (jpeg, endless, (2, 1)), "scene1_00": (image, small, (1, 1))}
    for scene, (color, depth, codecs) in recordings.items():
        (tmp_path / scene).mkdir()
        sens(tmp_path / scene / f"{scene}.sens", color=color, depth=depth, codecs=codecs)
    said = read_in_bounds("scannet", [tmp_path / scene for scene in recordings])
    assert "pixels need" in said[0] and said[1]  # Pillow stops at an image's last row: it may be read or named
    deep = png(40, 30, 16, 0, chunk(b"IDAT", endless))
    folders = [
        changed(good, tmp_path / "color", "images/00000.png", image),
        changed(good, tmp_path / "depth", "depth/00000.png", deep),
    ]
    assert all(read_in_bounds("posed", folders))


def bombs(endless):
    empty = chunk(b"IDAT", b"")
    return {
        "a text of a gigabyte": png(40, 30, 8, 2, chunk(b"zTXt", b"a\0\0" + endless) + empty),
        "a profile of a gigabyte": png(40, 30, 8, 2, chunk(b"iCCP", b"a\0\0" + endless) + empty),
        "gigapixels": png(60000, 60000, 8, 2, chunk(b"IDAT", zlib.compress(bytes(1000)))),
        "a side of millions": png(2**31 - 1, 1, 8, 2, chunk(b"IDAT", zlib.compress(bytes(1000)))),
        "no side": png(0, 0, 8, 2, empty),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images/00000.png", "images/00001.png", "depth/00000.png"])
def test_images_that_claim_too_much_are_named(good, endless, tmp_path, name):
    contents = bombs(endless)
    folders = [changed(good, tmp_path / str(i), name, content) for i, content in enumerate(contents.values())]
    for bomb, said in zip(contents, read_in_bounds("posed", folders), strict=True):
        assert said.startswith("DataError") and name in said, (bomb, said)


def ply(header, body=b""):
    return ("ply\nformat binary_little_endian 1.0\n" + header + "\nend_header\n").encode() + body


XYZ = "\n".join(f"property float {axis}" for axis in "xyz")
LISTS = "property list uchar int vertex_indices"
MESHES = {
    "vertices": ply(f"element vertex {2**40}\n{XYZ}"),
    "faces": ply(f"element vertex 0\n{XYZ}\nelement face {2**62}\n{LISTS}"),
    "corners": ply(
        f"element vertex 1\n{XYZ}\nelement face 1\nproperty list uint int vertex_indices", bytes(12) + b"\xff" * 8
    ),
    "properties": ply("element vertex 1\n" + "\n".join(f"property double p{i}" for i in range(20000))),
    "a vertex that is not there": ply(
        f"element vertex 1\n{XYZ}\nelement face 1\n{LISTS}", bytes(12) + b"\x03" + struct.pack("<3i", 0, 1, 2**31 - 1)
    ),
    "infinity": ply(f"element vertex 1\n{XYZ}", struct.pack("<3f", 0, np.inf, 0)),
}


@pytest.mark.slow
def test_meshes_that_claim_too_much_are_named(good, tmp_path):
    folders = [changed(good, tmp_path / str(i), "mesh.ply", content) for i, content in enumerate(MESHES.values())]
    for mesh, said in zip(MESHES, read_in_bounds("posed", folders), strict=True):
        assert said.startswith("DataError") and "mesh.ply" in said, (mesh, said)


TEXTS = (b"", b"\xff\xfe\x00", b"[" * 100_000, b"9" * 5000, b"nan inf -inf 1e999")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["poses.txt", "intrinsics.txt", "objects.json", "masks/0.txt", "mesh.ply"])
def test_texts_that_are_none_are_named(good, tmp_path, name):
    folders = [changed(good, tmp_path / f"room{i}", name, content) for i, content in enumerate(TEXTS)]
    for content, said in zip(TEXTS, read_in_bounds("posed", folders), strict=True):
        if name == "masks/0.txt" and content == b"":
            assert said == "read"  # a mask of no vertices
        else:
            assert said.startswith("DataError") and "room" in said, (content, said)
