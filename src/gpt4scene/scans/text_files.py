"""Rows of numbers and matrices in text files, as recordings hold their poses and intrinsics."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.whole import read_text


def read_lines(path: Path) -> list[str]:
    """The lines of a text file; DataError when it is missing or no text."""
    return read_text(path).splitlines()


def read_numbers(path: Path) -> list[list[float]]:
    """The rows of numbers in a text file (``inf``, ``nan`` allowed); DataError names the first bad line."""
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split("#")[0].replace(",", " ").split()
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise DataError(f"{path}, line {number}: '{line[:60]}' is not a row of numbers") from error
        if row:
            rows.append(row)
    return rows


def read_values(path: Path) -> np.ndarray:
    """All numbers in a text file, row after row, float64; DataError as ``read_numbers`` has it."""
    words = read_text(path).split()
    try:
        return np.array([float(word) for word in words])
    except ValueError:  # a comment, a comma, or a mistake
        return np.array([value for row in read_numbers(path) for value in row])


def read_matrices(path: Path, side: int) -> list[np.ndarray]:
    """One ``side`` x ``side`` matrix for each line, row-major."""
    rows = read_numbers(path)
    for number, row in enumerate(rows, start=1):
        if len(row) != side * side:
            raise DataError(f"{path}, row {number}: has {len(row)} numbers, a {side}x{side} matrix needs {side * side}")
    return [np.array(row).reshape(side, side) for row in rows]


def read_matrix(path: Path, side: int) -> np.ndarray:
    """The matrix in a file, on one line or several; a 4x4 intrinsic matrix gives its 3x3 corner."""
    values = read_values(path)
    if side == 3 and values.size == 16:
        return values.reshape(4, 4)[:3, :3]
    if values.size != side * side:
        raise DataError(f"{path}: has {values.size} numbers, a {side}x{side} matrix needs {side * side}")
    return values.reshape(side, side)


def number_lines(rows: Iterable[np.ndarray]) -> str:
    """A line for each row, its numbers written so that reading gives the same bits."""
    return "".join(" ".join(repr(float(value)) for value in np.ravel(row)) + "\n" for row in rows)
