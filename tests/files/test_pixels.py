"""Images of every kind become the same 8-bit colours in scans, training and pages."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gpt4scene.data.vision import VisionRule, patches, patchify
from gpt4scene.errors import DataError
from gpt4scene.files.pixels import to_rgb
from gpt4scene.report.images import shrink
from gpt4scene.scans.images import read_color
from gpt4scene.scans.types import Camera, Frame

SIDE = 56


def png16(path, values_HWC):
    """Write uint16 values as a PNG of 16 bits a channel, which Pillow writes in grey only."""
    height, width, channels = values_HWC.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values_HWC)
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 3: 2}[channels], 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(content)


@pytest.fixture
def frame_of():
    def make(path):
        camera = Camera(np.eye(3), np.eye(4), SIDE, SIDE)
        return Frame("a", path, camera)

    return make


@pytest.fixture(
    params=["RGB 16", "grey 16", "RGB", "L", "P", "1", "LA", "RGBA", "CMYK", "RGBA clear", "LA clear", "P clear"]
)
def stored(request, tmp_path):
    random, mode = np.random.default_rng(0), request.param
    if mode.endswith("16"):
        path = tmp_path / "a.png"
        png16(path, random.integers(0, 2**16, (SIDE, SIDE, 3 if mode.startswith("RGB") else 1), dtype=np.uint16))
        return path
    values = random.integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
    mode, clear = mode.removesuffix(" clear"), mode.endswith(" clear")
    if not clear:
        values[..., 3] = 255
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image = Image.fromarray(values, "RGBA").convert("RGB" if mode == "CMYK" else "RGBA").convert(mode)
    image.save(path, **({"transparency": 3} if clear and mode == "P" else {}))
    return path


def test_training_and_scenes_see_the_same_pixels(stored, frame_of):
    scene = read_color(frame_of(stored))
    rule = VisionRule(image_resolution=None)
    assert np.array_equal(patches(str(stored), rule), patchify(scene, rule))


@pytest.mark.parametrize("channels", [1, 3])
def test_of_16_bits_the_upper_8_are_kept(tmp_path, frame_of, channels):
    values = np.random.default_rng(1).integers(0, 2**16, (SIDE, SIDE, channels), dtype=np.uint16)
    png16(tmp_path / "a.png", values)
    expected = np.broadcast_to(values >> 8, (SIDE, SIDE, 3)).astype(np.uint8)
    assert np.array_equal(read_color(frame_of(tmp_path / "a.png")), expected)
    shown = shrink(tmp_path / "a.png", tmp_path, "a.jpg", SIDE, "a")
    with Image.open(tmp_path / str(shown.file)) as image:
        assert abs(float(np.asarray(image).mean()) - float(expected.mean())) < 4


def test_fractions_are_refused_everywhere(tmp_path, frame_of):
    path = tmp_path / "a.tiff"
    Image.fromarray(np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)).save(path)
    with pytest.raises(DataError, match=r"a\.tiff.*fractions"):
        read_color(frame_of(path))
    with pytest.raises(DataError, match=r"a\.tiff.*fractions"):
        patches(str(path), VisionRule())
    with pytest.raises(ValueError, match="fractions"):
        to_rgb(Image.open(path))
    assert "fractions" in shrink(path, tmp_path, "a.jpg", SIDE, "a").missing


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((SIDE, SIDE), 200, dtype=np.uint16), "no value above 200"),
        (np.full((SIDE, SIDE), 70000, dtype=np.int32), "beyond 16 bits"),
        (np.full((SIDE, SIDE), -1, dtype=np.int32), "beyond 16 bits"),
    ],
)
def test_whole_numbers_of_which_nothing_says_what_is_white_are_refused(values, reason, tmp_path, frame_of):
    path = tmp_path / "a.tiff"
    Image.fromarray(values).save(path)
    with pytest.raises(DataError, match=rf"a\.tiff.*{reason}"):
        read_color(frame_of(path))
    with pytest.raises(DataError, match=rf"a\.tiff.*{reason}"):
        patches(str(path), VisionRule())
    assert reason in shrink(path, tmp_path, "a.jpg", SIDE, "a").missing


def test_what_is_transparent_is_laid_on_white(tmp_path, frame_of):
    values = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
    values[: SIDE // 2, :, 3] = 255
    Image.fromarray(values, "RGBA").save(tmp_path / "a.png")
    seen = read_color(frame_of(tmp_path / "a.png"))
    assert (seen[: SIDE // 2] == 0).all() and (seen[SIDE // 2 :] == 255).all()


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "tiff"])
def test_a_file_of_several_images_is_refused(tmp_path, ending):
    first, second = (Image.new("RGB", (SIDE, SIDE), color) for color in ("red", "blue"))
    first.save(tmp_path / f"a.{ending}", save_all=True, append_images=[second])
    with pytest.raises(DataError, match=rf"a\.{ending}.*several images"):
        patches(str(tmp_path / f"a.{ending}"), VisionRule())
    first.save(tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[second])
    assert len(patches(str(tmp_path / "photo.jpg"), VisionRule()))
