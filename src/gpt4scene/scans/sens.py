"""ScanNet's ``.sens`` recordings, read by position: only the small frame headers are read here, images when needed.

Layout (version 4, little endian), as ScanNet's SensReader has it: version u32; length u64 and name of the sensor; four
4x4 float32 matrices (colour intrinsics and extrinsics, depth intrinsics and extrinsics); codecs i32 of colour and
depth; width and height u32 of colour, then of depth; depth units per metre float32; number of frames u64. Each frame:
camera-to-world 4x4 float32, two time stamps u64, number of colour and of depth bytes u64, and these bytes.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.scans.types import Camera, Frame, StoredImage

COLOR_CODECS = {1: "png", 2: "jpeg"}
DEPTH_CODECS = {0: "raw_ushort", 1: "zlib_ushort"}
_FRAME = struct.Struct("<16f4Q")
_LARGEST_SIDE = 16384


def read_sens(path: str | Path) -> tuple[Frame, ...]:
    """The frames of a recording, named by their six-digit number; images stay in the file until they are asked for.

    Lost frames keep their non-finite pose. Raises DataError when the file is cut off, has another version, or a codec
    that holds no whole images (raw colour, occipital depth).
    """
    path = Path(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        version, name_length = struct.unpack("<IQ", _bytes(path, file, 12))
        if version != 4:
            raise DataError(f"{path}: is no .sens file of version 4 (it says {version})")
        if name_length > 4096:
            raise DataError(f"{path}: the header is damaged (a sensor name of {name_length} letters)")
        _bytes(path, file, name_length)
        matrices = np.frombuffer(_bytes(path, file, 256), "<f4").reshape(4, 4, 4).astype(np.float64)
        color_code, depth_code, cw, ch, dw, dh, units, count = struct.unpack("<2i4IfQ", _bytes(path, file, 36))
        color_codec, depth_codec = _codecs(path, color_code, depth_code)
        if not (0 < cw <= _LARGEST_SIDE and 0 < ch <= _LARGEST_SIDE and dw <= _LARGEST_SIDE and dh <= _LARGEST_SIDE):
            raise DataError(f"{path}: the header is damaged (images of {cw}x{ch} and {dw}x{dh} pixels)")
        if count * _FRAME.size > size:
            raise DataError(f"{path}: is cut off: {count} frames cannot be in {size} bytes; copy it again")
        frames = []
        for index in range(count):
            *pose, _, _, color_bytes, depth_bytes = _FRAME.unpack(_bytes(path, file, _FRAME.size))
            start = file.tell()
            end = start + color_bytes + depth_bytes
            if end > size:
                raise DataError(f"{path}: is cut off inside frame {index} of {count}; copy it again")
            matrix = np.array(pose).reshape(4, 4)
            frames.append(
                Frame(
                    f"{index:06d}",
                    StoredImage(path, start, color_bytes, color_codec),
                    Camera(matrices[0, :3, :3], matrix, cw, ch),
                    StoredImage(path, start + color_bytes, depth_bytes, depth_codec) if depth_bytes else None,
                    Camera(matrices[2, :3, :3], matrix, dw, dh) if depth_bytes else None,
                    float(units) if units > 0 else 1000.0,
                )
            )
            file.seek(end)
    return tuple(frames)


def _codecs(path: Path, color_code: int, depth_code: int) -> tuple[str, str]:
    try:
        return COLOR_CODECS[color_code], DEPTH_CODECS[depth_code]
    except KeyError as error:
        raise DataError(
            f"{path}: codec {error} is not read (colour png or jpeg, depth raw or zlib); export the frames as files"
        ) from error


def _bytes(path: Path, file: BinaryIO, count: int) -> bytes:
    blob = file.read(count)
    if len(blob) != count:
        raise DataError(f"{path}: is cut off at byte {file.tell()}; copy it again")
    return blob
