"""PLY files: coloured meshes and point clouds in, binary meshes out. Vertex order is kept, because masks count on it.

Format: Greg Turk's Polygon File Format 1.0 (ascii, binary little and big endian).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt4scene.errors import DataError
from gpt4scene.files.whole import write_bytes
from gpt4scene.scans.types import Mesh
from gpt4scene.scans.vertices import colors_of, transparent, without_lost


def read_ply(path: str | Path) -> Mesh:
    """The mesh in ``path``; polygons are cut into fans of triangles; a file without faces is a point cloud.

    Raises DataError naming the file when the header is no PLY header, counts pass the file's end, or a face names a
    vertex that is not there.
    """
    path = Path(path)
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    header = _header(path, blob)
    body = memoryview(blob)[header.length :]  # a copy would double the memory of a large cloud
    try:
        tables = _ascii_tables(header, body) if header.byte_order == "" else _binary_tables(header, body)
    except (ValueError, IndexError, OverflowError) as error:
        raise DataError(f"{path}: the data ends early or does not fit the header ({error}); write it anew") from error
    return _mesh(path, tables)


def write_ply(path: str | Path, mesh: Mesh) -> None:
    """Write ``mesh`` as binary little-endian PLY with float32 positions and uint8 colours."""
    vertices = np.zeros(len(mesh.vertices), dtype=[("p", "<f4", 3), ("c", "u1", 3)])
    vertices["p"], vertices["c"] = mesh.vertices, mesh.colors
    faces = np.zeros(len(mesh.faces), dtype=[("n", "u1"), ("i", "<i4", 3)])
    faces["n"], faces["i"] = 3, mesh.faces
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    write_bytes(path, ("\n".join(lines) + "\n").encode() + vertices.tobytes() + faces.tobytes())


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: tuple[tuple[str, str, str], ...]
    """(name, value type, count type or "") as numpy type letters."""


@dataclass(frozen=True)
class _Header:
    length: int
    byte_order: str
    elements: tuple[_Element, ...]


_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


def _header(path: Path, blob: bytes) -> _Header:
    mark = b"end_header"
    end = blob.find(mark, 0, 1 << 20)
    if not blob.startswith(b"ply") or end < 0:
        raise DataError(f"{path}: is no PLY file (no header was found)")
    length = blob.find(b"\n", end) + 1
    order, elements = None, []
    for line in blob[:end].decode("latin-1").splitlines():
        words = line.split()
        try:
            if words[:1] == ["format"]:
                order = _ORDERS[words[1]]
            elif words[:1] == ["element"]:
                elements.append((words[1], int(words[2]), []))
            elif words[:2] == ["property", "list"]:
                elements[-1][2].append((words[4], _TYPES[words[3]], _TYPES[words[2]]))
            elif words[:1] == ["property"]:
                elements[-1][2].append((words[2], _TYPES[words[1]], ""))
        except (KeyError, IndexError, ValueError) as error:
            raise DataError(f"{path}: header line '{line}' is not understood") from error
    if order is None or length == 0 or any(count < 0 or count > len(blob) for _, count, _ in elements):
        raise DataError(f"{path}: the header promises more than the file holds; it is cut off or damaged")
    return _Header(length, order, tuple(_Element(name, count, tuple(p)) for name, count, p in elements))


def _binary_tables(header: _Header, body: memoryview) -> dict[str, dict]:
    tables, offset = {}, 0
    for element in header.elements:
        if not any(counter for _, _, counter in element.properties):
            dtype = np.dtype([(name, header.byte_order + kind) for name, kind, _ in element.properties])
            rows = np.frombuffer(body, dtype, element.count, offset) if element.count else np.zeros(0, dtype)
            tables[element.name] = {name: rows[name] for name in dtype.names or ()}
            offset += rows.nbytes
        else:
            tables[element.name], offset = _binary_lists(header, element, body, offset)
    return tables


def _binary_lists(header: _Header, element: _Element, body: memoryview, offset: int) -> tuple[dict, int]:
    """Rows with lists: in one step where all are triangles, else row by row."""
    fields = []
    for name, kind, counter in element.properties:
        if counter:
            fields += [(f"{name}#", header.byte_order + counter), (name, header.byte_order + kind, 3)]
        else:
            fields.append((name, header.byte_order + kind))
    dtype = np.dtype(fields)
    if element.count * dtype.itemsize <= len(body) - offset:
        rows = np.frombuffer(body, dtype, element.count, offset)
        if all((rows[name] == 3).all() for name in dtype.names or () if name.endswith("#")):
            return {name: rows[name] for name, _, _ in element.properties}, offset + rows.nbytes
    columns: dict[str, list] = {name: [] for name, _, _ in element.properties}
    for _ in range(element.count):
        for name, kind, counter in element.properties:
            count = 1
            if counter:
                count = int(np.frombuffer(body, header.byte_order + counter, 1, offset)[0])
                if count < 0:
                    raise ValueError(f"a list of {count} numbers")
                offset += np.dtype(counter).itemsize
            values = np.frombuffer(body, header.byte_order + kind, count, offset) if count else np.zeros(0)
            offset += values.nbytes if count else 0
            columns[name].append(values if counter else values[0])
    return columns, offset


def _ascii_tables(header: _Header, body: memoryview) -> dict[str, dict]:
    words, position = bytes(body).split(), 0
    tables = {}
    for element in header.elements:
        if not any(counter for _, _, counter in element.properties):
            width = len(element.properties)
            values = np.array(words[position : position + width * element.count], dtype=np.float64)
            rows = values.reshape(element.count, width)
            tables[element.name] = {n: rows[:, i].astype(kind) for i, (n, kind, _) in enumerate(element.properties)}
            position += width * element.count
            continue
        columns: dict[str, list] = {name: [] for name, _, _ in element.properties}
        for _ in range(element.count):
            for name, _, counter in element.properties:
                count = int(words[position]) if counter else 1
                position += 1 if counter else 0
                if count < 0 or position + count > len(words):
                    raise ValueError("a list passes the end of the file")
                values = np.array(words[position : position + count], dtype=np.float64)
                position += count
                columns[name].append(values if counter else values[0])
        tables[element.name] = columns
    return tables


def _mesh(path: Path, tables: dict[str, dict]) -> Mesh:
    vertex = tables.get("vertex", {})
    if not all(axis in vertex for axis in "xyz"):
        raise DataError(f"{path}: has no vertices with x, y and z")
    vertices = np.stack([np.asarray(vertex[axis], dtype=np.float64) for axis in "xyz"], axis=1)
    lists = _corner_lists(path, tables)
    faces = lists if isinstance(lists, np.ndarray) else _fans(lists)
    faces = np.asarray(faces).astype(np.int64).reshape(-1, 3)
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        wrong = int(faces.min() if faces.min() < 0 else faces.max())
        raise DataError(f"{path}: a face names vertex {wrong} but there are {len(vertices)}")
    colors, notes = colors_of(path, vertex, tables.get("face", {}), lists)
    return without_lost(path, Mesh(vertices, faces, colors, notes=notes), transparent(vertex, faces))


def _corner_lists(path: Path, tables: dict[str, dict]) -> np.ndarray | list:
    """The corners of each face as the file has them. Raises DataError for surfaces in a form that is not read."""
    face = tables.get("face", {})
    for name in ("vertex_indices", "vertex_index"):
        if name in face:
            return face[name]
    rows = len(next(iter(face.values()), ()))
    for name, count in (("face", rows), ("tristrips", len(next(iter(tables.get("tristrips", {}).values()), ())))):
        if count:
            raise DataError(
                f"{path}: its {count} {name} have no list 'vertex_indices' or 'vertex_index', so the surface can't be "
                "read; save it as a mesh of triangles"
            )
    return np.zeros((0, 3))


def _fans(polygons: list) -> np.ndarray:
    triangles = [(polygon[0], polygon[i], polygon[i + 1]) for polygon in polygons for i in range(1, len(polygon) - 1)]
    return np.array(triangles, dtype=np.int64).reshape(-1, 3)
