"""Images of every kind become the same 8-bit colours in scans, training and pages."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gpt4scene.data.image_files import ImageSizes, patches
from gpt4scene.data.vision import VisionRule
from gpt4scene.errors import DataError
from gpt4scene.files.pixels import eight_bits
from gpt4scene.inference.pictures import picture
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


@pytest.fixture(params=["RGB 16", "grey 16", "RGB", "L", "P", "P see-through", "1", "LA", "RGBA", "CMYK"])
def stored(request, tmp_path):
    random, mode = np.random.default_rng(0), request.param
    if mode.endswith("16"):
        path = tmp_path / "a.png"
        png16(path, random.integers(0, 2**16, (SIDE, SIDE, 3 if mode.startswith("RGB") else 1), dtype=np.uint16))
        return path
    values = random.integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    if mode == "P see-through":
        Image.fromarray(values[..., 0]).convert("P").save(path, transparency=bytes(range(256)))
        return path
    Image.fromarray(values, "RGBA").convert("RGB" if mode == "CMYK" else "RGBA").convert(mode).save(path)
    return path


def test_training_and_scenes_see_the_same_pixels(stored, frame_of):
    scene = read_color(frame_of(stored))
    rule = VisionRule(image_resolution=None)
    assert np.array_equal(patches(str(stored), rule), rule.patchify(scene))


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
        eight_bits(Image.open(path))
    assert "fractions" in shrink(path, tmp_path, "a.jpg", SIDE, "a").missing


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white_everywhere(tmp_path, frame_of, kind):
    grey = np.arange(SIDE * SIDE, dtype=np.int64).reshape(SIDE, SIDE) % 200
    clear = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 3 == 0
    path = tmp_path / "a.png"
    if kind == "P":
        image = Image.fromarray(np.where(clear, 255, grey).astype(np.uint8)).convert("P")
        image.save(path, transparency=255)
    else:
        bands = [grey] * (len(kind) - 1) + [np.where(clear, 0, 255)]
        Image.fromarray(np.dstack(bands).astype(np.uint8), kind).save(path)
    expected = np.repeat(np.where(clear, 255, grey).astype(np.uint8)[..., None], 3, axis=2)
    rule = VisionRule(image_resolution=None)
    assert np.array_equal(read_color(frame_of(path)), expected)
    assert np.array_equal(patches(str(path), rule), rule.patchify(expected))
    shown = shrink(path, tmp_path, "a.jpg", SIDE, "a")
    with Image.open(tmp_path / str(shown.file)) as small:
        assert abs(float(np.asarray(small).mean()) - float(expected.mean())) < 4


def _deep(path, most):
    Image.fromarray(np.full((SIDE, SIDE), most, np.uint16)).save(path)


def _whole_numbers(path, value):
    Image.fromarray(np.full((SIDE, SIDE), value, np.int32)).save(path)


def _moving(path, pictures=2):
    first, *rest = [Image.new("RGB", (SIDE, SIDE), (9 * number, 0, 0)) for number in range(1, pictures + 1)]
    first.save(path, save_all=True, append_images=rest)


REFUSED = {
    "8 bits as 16": ("a.png", lambda path: _deep(path, 255), "reach to 255 of 65535"),
    "32 bits": (
        "a.tiff",
        lambda path: _whole_numbers(path, 70000),
        "past 16 bits",
    ),
    "below 0": (
        "a.tiff",
        lambda path: _whole_numbers(path, -1),
        "from -1 to -1",
    ),
    "see-through": ("a.png", lambda path: Image.new("RGBA", (SIDE, SIDE), (9, 9, 9, 0)).save(path), "throughout"),
    **{kind: (f"a.{kind}", _moving, "holds 2 pictures") for kind in ("gif", "webp", "tiff", "png")},
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_seen_wrongly_is_refused_everywhere(tmp_path, frame_of, kind):
    name, write, words = REFUSED[kind]
    path = tmp_path / name
    write(path)
    with pytest.raises(DataError, match=rf"{name}.*{words}"):
        read_color(frame_of(path))
    with pytest.raises(DataError, match=rf"{name}.*{words}"):
        patches(str(path), VisionRule())
    with pytest.raises(DataError, match=words):
        picture(str(path), VisionRule())
    assert words in shrink(path, tmp_path, "a.jpg", SIDE, "a").missing
    if "pictures" in words:
        with pytest.raises(DataError, match=rf"{name}.*{words}"):
            ImageSizes()(str(path))


@pytest.mark.parametrize("kind", ["black", "dark", "gif", "webp", "tiff", "mpo"])
def test_what_is_one_picture_is_read(tmp_path, frame_of, kind):
    path = tmp_path / ("a.png" if kind in ("black", "dark") else f"a.{kind}")
    if kind in ("black", "dark"):
        _deep(path, 0 if kind == "black" else 256)
    else:
        _moving(path, 1 if kind != "mpo" else 2)  # a phone's second picture is a preview
    assert read_color(frame_of(path)).shape == (SIDE, SIDE, 3)
    assert ImageSizes()(str(path)) == (SIDE, SIDE) and len(patches(str(path), VisionRule())) > 0
