"""Points, boxes and rotations in three dimensions: what readers, scenes and tests compute in one way."""

from __future__ import annotations

import numpy as np


def product(points_N3: np.ndarray, matrix_33: np.ndarray) -> np.ndarray:
    """``points_N3 @ matrix_33.T``, float64 [N, 3], without BLAS.

    BLAS splits even these over threads that wait for each other when all cores are at work: a scene of ScanNet's size
    took twice as long with it beside other work on two cores. It also rounds as the kind of processor has it.
    """
    out = np.empty((len(points_N3), 3))
    x, y, z = np.ascontiguousarray(points_N3.T)
    for row, (a, b, c) in enumerate(matrix_33):
        total = x * a
        total += y * b
        total += z * c
        out[:, row] = total
    return out


def product_of_pixels(pixels_N2: np.ndarray, matrix_33: np.ndarray) -> np.ndarray:
    """``product`` of pixels (x, y) with a third coordinate of 1, float64 [N, 3]."""
    out = np.empty((len(pixels_N2), 3))
    x, y = np.ascontiguousarray(pixels_N2.T, dtype=np.float64)
    for row, (a, b, c) in enumerate(matrix_33):
        total = x * a
        total += y * b
        total += c
        out[:, row] = total
    return out


def transformed(points_N3: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points ``[N, 3]`` after a 4x4 transform, in double precision."""
    return product(np.asarray(points_N3, dtype=np.float64), transform[:3, :3]) + transform[:3, 3]


def box_of(points_N3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and size of the axis-aligned box around points; six zeros when there is none."""
    if len(points_N3) == 0:
        return np.zeros(3), np.zeros(3)
    low, high = points_N3.min(axis=0).astype(np.float64), points_N3.max(axis=0).astype(np.float64)
    return (low + high) / 2, high - low


def rotation_of(w: float, x: float, y: float, z: float) -> np.ndarray:
    """The 3x3 rotation matrix of a quaternion, which need not have length 1; ValueError for zero."""
    length = float(np.sqrt(w * w + x * x + y * y + z * z))
    if not length > 0:
        raise ValueError("a quaternion of length zero is no rotation")
    w, x, y, z = w / length, x / length, y / length, z / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation_about(vector: np.ndarray) -> np.ndarray:
    """The 3x3 rotation about an axis by the axis' length in radians."""
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle > 0 else vector
    return rotation_of(np.cos(angle / 2), *(axis * np.sin(angle / 2)))
