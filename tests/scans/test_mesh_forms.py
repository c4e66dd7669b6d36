"""Meshes as tools write them: colours of many kinds, surfaces that are not read, and the order that masks count."""

import json

import numpy as np
import pytest
import trimesh
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans.mesh_files import read_mesh
from gpt4scene.scans.objects import parse_objects
from gpt4scene.scans.ply import read_ply

POINTS = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
COLORS = np.array([[255, 0, 10], [0, 200, 20], [30, 40, 50], [60, 70, 80]])
FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
KINDS = {"uchar": "u1", "ushort": "u2", "int": "i4", "float": "f4", "double": "f8"}


def ply(path, form, columns, faces=((0, 1, 2, 3),), extra="", rows=POINTS):
    """A file with ``columns`` of vertices besides their places: ``{name: (type, values)}``."""
    order = FORMATS[form]
    columns = {**{axis: ("double", rows[:, i]) for i, axis in enumerate("xyz")}, **columns}
    head = ["ply", f"format {form} 1.0", "comment x", f"element vertex {len(rows)}"]
    head += [f"property {kind} {name}" for name, (kind, _) in columns.items()]
    if faces:
        head += [f"element face {len(faces)}", f"property list uchar int {extra or 'vertex_indices'}"]
    head = ("\n".join([*head, "end_header"]) + "\n").encode()
    if not order:
        lines = [" ".join(str(values[i]) for _, values in columns.values()) for i in range(len(rows))]
        lines += [" ".join(map(str, (len(face), *face))) for face in faces]
        path.write_bytes(head + ("\n".join(lines) + "\n").encode())
        return path
    table = np.zeros(len(rows), [(name, order + KINDS[kind]) for name, (kind, _) in columns.items()])
    for name, (_, values) in columns.items():
        table[name] = values
    blob = b"".join(bytes([len(face)]) + np.array(face, order + "i4").tobytes() for face in faces)
    path.write_bytes(head + table.tobytes() + blob)
    return path


def colored(names, kind, scale):
    values = COLORS * scale
    return {
        name: (kind, values[:, i] if kind in ("float", "double") else values[:, i].astype(int))
        for i, name in enumerate(names)
    }


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("names", [("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), "rgb"])
@pytest.mark.parametrize(
    "kind, scale", [("uchar", 1), ("ushort", 257), ("ushort", 1), ("int", 1), ("float", 1 / 255), ("double", 1)]
)
def test_colours_of_every_name_and_type_are_read(tmp_path, form, names, kind, scale):
    extra = {"quality": ("float", np.arange(4.0)), "alpha": ("uchar", np.full(4, 255))}
    mesh = read_ply(ply(tmp_path / "a.ply", form, {**colored(names, kind, scale), **extra}))
    assert np.allclose(mesh.vertices, POINTS) and mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert np.array_equal(mesh.colors, COLORS) and mesh.notes == ()


def test_dark_bytes_in_a_text_file_are_no_fractions(tmp_path):
    dark = {name: ("uchar", np.array([0, 1, 1, 0])) for name in ("red", "green", "blue")}
    assert read_ply(ply(tmp_path / "a.ply", "ascii", dark)).colors.max() == 1


@pytest.mark.parametrize("form", FORMATS)
def test_a_mesh_without_colours_says_so(tmp_path, form):
    mesh = read_ply(ply(tmp_path / "a.ply", form, {"s": ("float", np.zeros(4)), "t": ("float", np.zeros(4))}))
    assert len(mesh.notes) == 1 and "no colours of vertices beside its texture and is shown grey" in mesh.notes[0]


def test_colours_of_faces_go_to_their_corners(tmp_path):
    head = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element face 2\nproperty list uchar int vertex_indices\nproperty uchar red\nproperty uchar green\n"
    head += "property uchar blue\nend_header\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2 200 0 0\n3 0 2 3 0 100 0\n"
    (tmp_path / "a.ply").write_text(head)
    assert read_ply(tmp_path / "a.ply").colors.tolist() == [[100, 50, 0], [200, 0, 0], [100, 50, 0], [0, 100, 0]]


@pytest.mark.parametrize("form", FORMATS)
def test_faces_under_another_name_are_refused_and_no_cloud(tmp_path, form):
    path = ply(tmp_path / "a.ply", form, {}, extra="corner_list")
    with pytest.raises(DataError, match="its 1 face have no list 'vertex_indices'.*triangles"):
        read_ply(path)


def test_strips_of_triangles_are_refused_and_no_cloud(tmp_path):
    path = ply(tmp_path / "a.ply", "ascii", {})
    path.write_text(path.read_text().replace("element face", "element tristrips"))
    with pytest.raises(DataError, match="tristrips"):
        read_ply(path)


def test_negative_corners_are_named(tmp_path):
    with pytest.raises(DataError, match="names vertex -1"):
        read_ply(ply(tmp_path / "a.ply", "ascii", {}, faces=((0, -1, 2),)))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_vertices_that_are_not_finite_go_with_their_faces_in_every_form(tmp_path, form, bad):
    rows = np.array([*POINTS, [2, 2, bad]])
    colors = {name: ("uchar", np.arange(5)) for name in ("red", "green", "blue")}
    mesh = read_ply(ply(tmp_path / "a.ply", form, colors, faces=((0, 1, 2), (1, 2, 4)), rows=rows))
    assert mesh.faces.tolist() == [[0, 1, 2]] and "1 of 5 vertices" in mesh.notes[0]


OBJ = "v 0 0 0\nv 9 9 9\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"


def masked(folder, mesh):
    (folder / "mask.txt").write_text("3\n4\n")
    content = {"objects": [{"id": 1, "label": "box", "mask": "mask.txt"}]}
    return parse_objects(folder / "objects.json", content, mesh, None).objects[0]


@pytest.mark.parametrize("kind", ["plain", "colours", "texture"])
def test_masks_count_the_vertices_of_an_obj_as_its_file_does(tmp_path, kind):
    text = OBJ + "f 5 1 3\nf 4 3 5\n"
    if kind == "colours":
        text = "\n".join(f"{line} 1 0 0" if line[:1] == "v" else line for line in text.splitlines())
    if kind == "texture":
        Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "t.png")
        (tmp_path / "m.mtl").write_text("newmtl m\nmap_Kd t.png\n")
        text = f"mtllib m.mtl\n{OBJ}vt 0 0\nvt 1 0\nvt 1 1\nusemtl m\nf 5/1 1/2 3/3\nf 4/3 3/1 5/2\n"
    (tmp_path / "a.obj").write_text(text)
    mesh = read_mesh(tmp_path / "a.obj")
    box = masked(tmp_path, mesh)
    assert box.center.tolist() == [0.5, 1, 0] and box.size.tolist() == [1, 0, 0]
    if kind == "plain":
        assert "no colours" in mesh.notes[0]
    else:
        assert mesh.colors[0].tolist() == [255, 0, 0] and mesh.notes == ()


@pytest.mark.parametrize("gone", ["m.mtl", "t.png"])
def test_a_texture_that_is_not_there_is_said(tmp_path, gone):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "t.png")
    (tmp_path / "m.mtl").write_text("newmtl m\nmap_Kd t.png\n")
    (tmp_path / "a.obj").write_text(f"mtllib m.mtl\n{OBJ}vt 0 0\nvt 1 0\nvt 1 1\nusemtl m\nf 5/1 1/2 3/3\n")
    (tmp_path / gone).unlink()
    assert any(f"{gone} is not there" in note for note in read_mesh(tmp_path / "a.obj").notes)


def test_a_vertex_of_an_obj_that_is_not_finite_is_left_out(tmp_path):
    (tmp_path / "a.obj").write_text(OBJ.replace("9 9 9", "nan 9 9") + "f 5 1 3\nf 4 2 5\n")
    mesh = read_mesh(tmp_path / "a.obj")
    assert len(mesh.vertices) == 4 and len(mesh.faces) == 1 and "1 of 5 vertices" in mesh.notes[-1]
    assert masked(tmp_path, mesh).center.tolist() == [0.5, 1, 0]


def test_no_mask_counts_the_vertices_of_a_glb_of_several_parts(tmp_path):
    part = trimesh.Trimesh(POINTS, [[0, 1, 2], [0, 2, 3]], process=False)
    other = part.copy().apply_translation([0, 0, 2])
    trimesh.Scene([part]).export(tmp_path / "one.glb")
    trimesh.Scene([part, other]).export(tmp_path / "two.glb")
    (tmp_path / "mask.txt").write_text("1")
    row = json.loads('{"objects": [{"id": 1, "label": "box", "mask": "mask.txt"}]}')
    assert parse_objects(tmp_path / "o.json", row, read_mesh(tmp_path / "one.glb"), None).objects
    mesh = read_mesh(tmp_path / "two.glb")
    assert len(mesh.vertices) == 8
    with pytest.raises(DataError, match="several parts"):
        parse_objects(tmp_path / "o.json", row, mesh, None)
