"""Colour and depth images of frames, decoded with bounded memory wherever they are stored."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from gpt4scene.errors import DataError
from gpt4scene.files.pixels import rgb, still
from gpt4scene.scans.types import Camera, Frame, StoredImage

MOST_PIXELS = 64_000_000
"""No scanner writes larger frames; a header that claims more is damaged or hostile."""
NO_READING = 65535
"""The largest number of 16 bits, which some sensors write where they measured nothing."""
DEPTH_ENDINGS = (".png", ".tiff", ".tif", ".pgm")
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
UNREAD_ENDINGS = (".heic", ".heif", ".webp", ".bmp", ".tif", ".tiff", ".dng", ".mp4", ".mov")
"""Images and videos that recordings hold and that are not read."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what shows the image upright."""


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name; DataError when there is none or two share a name."""
    if not folder.is_dir():
        raise DataError(f"{folder}: is missing; a scan needs a folder of colour images{_images_elsewhere(folder)}")
    files = sorted(path for path in folder.iterdir() if _is_file_with(path, IMAGE_ENDINGS))
    if not files:
        seen = sorted({path.suffix.lower() for path in folder.iterdir() if path.suffix.lower() in UNREAD_ENDINGS})
        way = f"; seen {', '.join(seen)} files, which are not read: save them as .jpg" if seen else ""
        raise DataError(f"{folder}: holds no .jpg or .png image{way}")
    stems = [path.stem for path in files]
    if len(set(stems)) != len(stems):
        double = next(stem for stem in stems if stems.count(stem) > 1)
        raise DataError(f"{folder}: two images are called '{double}'; remove one")
    return files


def _is_file_with(path: Path, endings: tuple[str, ...]) -> bool:
    """Whether a path is called as a file with one of ``endings`` is, hidden ones (``._1.jpg`` of a Mac) left out."""
    return path.suffix.lower() in endings and not path.name.startswith(".") and not path.is_dir()


def _images_elsewhere(folder: Path) -> str:
    """A hint at the folders beside a missing one that hold images."""
    beside = sorted(place for place in folder.parent.iterdir() if place.is_dir()) if folder.parent.is_dir() else []
    seen = [
        place.name
        for place in beside
        if "depth" not in place.name.lower() and any(path.suffix.lower() in IMAGE_ENDINGS for path in place.iterdir())
    ]
    return f"; seen {', '.join(f'{name}/' for name in seen)} with images: call it {folder.name}/" if seen else ""


def depth_files(folder: Path) -> dict[str, Path]:
    """The depth images of a folder, by name without ending; none where it is missing.

    Raises DataError where it holds depth in other formats alone.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    found: dict[str, Path] = {}
    for path in files:
        if _is_file_with(path, DEPTH_ENDINGS) and found.setdefault(path.stem, path) is not path:
            raise DataError(f"{folder}: two depth images are called '{path.stem}'; remove one")
    others = sorted({path.suffix for path in files if path.is_file() and not path.name.startswith(".")})
    if others and not found:
        raise DataError(
            f"{folder}: seen {', '.join(others)} files, which are not read as depth; save them as 16-bit .png, in "
            "millimetres"
        )
    return found


def depth_of(images: Sequence[Path], folder: Path) -> dict[str, Path]:
    """The depth images of a folder as ``depth_files`` finds them. Raises DataError where none belongs to an image."""
    found = depth_files(folder)
    if found and not any(image.stem in found for image in images):
        one = next(iter(found.values()))
        raise DataError(
            f"{folder}: none of its {len(found)} depth images is called as a colour image is ({one.name}, but "
            f"{images[0].name}); name them alike, or take the folder away"
        )
    return found


def depth_notes(folder: Path, frames: Sequence[Frame]) -> tuple[str, ...]:
    """A note on the frames without depth where others have it."""
    without = [frame.name for frame in frames if frame.depth is None]
    if not without or len(without) == len(frames):
        return ()
    names = ", ".join(without[:3]) + (", …" if len(without) > 3 else "")
    return (f"{folder}: {len(without)} of {len(frames)} images have no depth image: {names}",)


def read_color(frame: Frame) -> np.ndarray:
    """The colour image as uint8 ``[H, W, 3]``; DataError when unreadable or of another size than its camera.

    Pixels are taken as they are stored, which is what reconstruction tools do, and turned as the EXIF data say only
    where they fit the camera no other way. Grey images become colour, 16 bits become 8, transparency is laid on white.
    """
    size = _stored_size(frame.camera, frame)
    with _opened(frame.image) as image:
        turn = _turn(image) if image.size != size else None
        if turn is not None and image.size == size[::-1]:
            return _shown(_rgb(frame.image, _decoded(frame.image, image).transpose(turn)), frame)
        _check_size(frame.image, image.size, size, "the camera says")
        return _shown(_rgb(frame.image, _decoded(frame.image, image)), frame)


def _stored_size(camera: Camera, frame: Frame) -> tuple[int, int]:
    """Width and height of the stored image, which ``camera`` sees turned by the frame's quarters."""
    turned = frame.quarters % 2
    return (camera.height, camera.width) if turned else (camera.width, camera.height)


def _shown(stored: np.ndarray, frame: Frame) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(stored, frame.quarters)) if frame.quarters else stored


def _rgb(source: Path | StoredImage, image: Image.Image) -> np.ndarray:
    try:
        return np.asarray(rgb(image))
    except ValueError as error:
        raise DataError(f"{_place(source)}: {error}") from None


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How EXIF data in the header want the image to be shown; None for as it is stored."""
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        return TURNS.get(exif.get(ExifTags.Base.Orientation, 1))
    except (SyntaxError, ValueError, OSError, TypeError, KeyError, IndexError, struct.error):
        return None  # a camera's notes are damaged; nothing depends on them


def read_depth(frame: Frame) -> np.ndarray | None:
    """Depth in metres, float32 ``[H, W]``, 0 where nothing was measured; None for a frame without depth."""
    if frame.depth is None:
        return None
    assert frame.depth_camera is not None, "a frame with depth has a depth camera"
    size = _stored_size(frame.depth_camera, frame)
    if isinstance(frame.depth, StoredImage) and frame.depth.codec in ("raw_ushort", "zlib_ushort"):
        raw = _stored_depth(frame.depth, size)
    else:
        with _opened(frame.depth) as image:
            _check_size(frame.depth, image.size, size, "the depth camera says")
            raw = np.asarray(_decoded(frame.depth, image))
        if raw.ndim != 2 or raw.dtype.kind not in "ui" or raw.dtype.itemsize < 2:
            raise DataError(f"{_place(frame.depth)}: depth must be a single-channel 16-bit image, in millimetres")
    measured = np.where((raw > 0) & (raw < NO_READING), raw, 0)
    return _shown(measured.astype(np.float32) / np.float32(frame.depth_scale), frame)


def image_size(source: Path | StoredImage) -> tuple[int, int]:
    """Width and height from the header alone; DataError where EXIF data leave open which side is the width."""
    with _opened(source) as image:
        if _turn(image) is not None:
            raise DataError(
                f"{_place(source)}: is stored turned (EXIF orientation), and nothing says whether the camera's numbers "
                "are about the stored pixels; save the images upright and without that tag (exiftran -ai, or "
                "ImageMagick's mogrify -auto-orient)"
            )
        return image.size


def _place(source: Path | StoredImage) -> str:
    return str(source) if isinstance(source, Path) else f"{source.path}, byte {source.offset}"


def _opened(source: Path | StoredImage) -> Image.Image:
    try:
        image = Image.open(source if isinstance(source, Path) else io.BytesIO(read_stored(source)))
    except FileNotFoundError as error:
        raise DataError(f"{source}: is missing") from error
    except DataError:
        raise
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        phone = isinstance(source, Path) and source.suffix.lower() in (".heic", ".heif")
        way = "HEIC is not read; save the images as .jpg (heif-convert does)" if phone else "export it again"
        raise DataError(f"{_place(source)}: is no readable image; {way}") from error
    if image.size[0] * image.size[1] > MOST_PIXELS:
        raise DataError(f"{_place(source)}: claims {image.size[0]}x{image.size[1]} pixels, more than a frame can have")
    try:
        return still(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{_place(source)}: {error}") from None


def _decoded(source: Path | StoredImage, image: Image.Image) -> Image.Image:
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{_place(source)}: the image is cut off or damaged ({error}); export it again") from error
    return image


def _check_size(source: Path | StoredImage, found: tuple[int, int], wanted: tuple[int, int], who: str) -> None:
    if found != wanted:
        raise DataError(f"{_place(source)}: is {found[0]}x{found[1]} pixels but {who} {wanted[0]}x{wanted[1]}")


def read_stored(source: StoredImage) -> bytes:
    """The bytes of a stored image; DataError when the file ends before them."""
    with open(source.path, "rb") as file:
        file.seek(source.offset)
        blob = file.read(source.length)
    if len(blob) != source.length:
        raise DataError(f"{_place(source)}: the file ends inside this frame; copy it again")
    return blob


def _stored_depth(source: StoredImage, size: tuple[int, int]) -> np.ndarray:
    """uint16 ``[H, W]`` from raw or zlib bytes; never inflates more than one image's worth."""
    wanted = size[0] * size[1] * 2
    blob = read_stored(source)
    if source.codec == "zlib_ushort":
        inflater = zlib.decompressobj()
        try:
            blob = inflater.decompress(blob, wanted + 1)
        except zlib.error as error:
            raise DataError(f"{_place(source)}: depth cannot be inflated ({error}); copy the file again") from error
    if len(blob) != wanted:
        raise DataError(f"{_place(source)}: depth has {len(blob)} bytes where {size[0]}x{size[1]} pixels need {wanted}")
    return np.frombuffer(blob, "<u2").reshape(size[1], size[0])
