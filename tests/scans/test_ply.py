import numpy as np
import pytest
import trimesh

from gpt4scene.errors import DataError
from gpt4scene.scans.mesh_files import read_mesh
from gpt4scene.scans.ply import read_ply, write_ply
from gpt4scene.scans.types import Mesh


@pytest.fixture
def mesh():
    rng = np.random.default_rng(1)
    return Mesh(
        rng.normal(size=(50, 3)).astype(np.float32),
        rng.integers(0, 50, size=(30, 3)),
        rng.integers(0, 256, size=(50, 3)).astype(np.uint8),
    )


def same(a, b):
    return (
        np.allclose(a.vertices, b.vertices, atol=1e-6)
        and np.array_equal(a.faces, b.faces)
        and np.array_equal(a.colors, b.colors)
    )


def test_round_trip(tmp_path, mesh):
    write_ply(tmp_path / "a.ply", mesh)
    assert same(read_ply(tmp_path / "a.ply"), mesh)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_files_of_another_writer_are_read_in_their_vertex_order(tmp_path, mesh, encoding):
    other = trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=mesh.colors, process=False)
    (tmp_path / "b.ply").write_bytes(trimesh.exchange.ply.export_ply(other, encoding=encoding))
    assert same(read_ply(tmp_path / "b.ply"), mesh)


def test_polygons_become_triangles_and_big_endian_is_read(tmp_path):
    header = (
        b"ply\nformat binary_big_endian 1.0\ncomment x\nelement vertex 4\nproperty double x\nproperty double y\n"
        b"property double z\nelement face 1\nproperty list uchar uint vertex_index\nend_header\n"
    )
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], ">f8").tobytes()
    (tmp_path / "quad.ply").write_bytes(header + vertices + b"\x04" + np.array([0, 1, 2, 3], ">u4").tobytes())
    mesh = read_ply(tmp_path / "quad.ply")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert (mesh.colors == mesh.colors[0, 0]).all()


@pytest.mark.parametrize("keep", [0, 3, 30, 150, 400, -1])
def test_a_cut_file_is_an_error_that_names_it(tmp_path, mesh, keep):
    write_ply(tmp_path / "a.ply", mesh)
    blob = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(blob[:keep])
    with pytest.raises(DataError, match="a.ply"):
        read_ply(tmp_path / "a.ply")


def test_absurd_counts_are_refused_before_anything_is_allocated(tmp_path, mesh):
    write_ply(tmp_path / "a.ply", mesh)
    blob = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(blob.replace(b"element vertex 50", b"element vertex 5000000000000"))
    with pytest.raises(DataError, match="promises more"):
        read_ply(tmp_path / "a.ply")


def test_faces_outside_the_vertices_are_refused(tmp_path, mesh):
    write_ply(tmp_path / "a.ply", Mesh(mesh.vertices, mesh.faces + 1000, mesh.colors))
    with pytest.raises(DataError, match="a face names vertex"):
        read_ply(tmp_path / "a.ply")


def test_a_vertex_that_is_not_finite_goes_with_its_faces_and_masks_stay_right(tmp_path, mesh):
    broken = Mesh(mesh.vertices.copy(), mesh.faces, mesh.colors)
    broken.vertices[2] = np.nan
    write_ply(tmp_path / "a.ply", broken)
    found = read_ply(tmp_path / "a.ply")
    others = np.delete(np.arange(len(mesh.vertices)), 2)
    assert np.allclose(found.vertices, mesh.vertices[others].astype(np.float32))
    assert len(found.faces) == int((mesh.faces != 2).all(axis=1).sum())
    assert found.kept(np.array([1, 2, 3])).tolist() == [1, 2]
    assert "1 of " in found.notes[0] and "not finite" in found.notes[0]


def test_gaussian_splats_have_their_colors_and_only_what_can_be_seen(tmp_path):
    names = ("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity")
    rows = np.array([[0, 0, 0, 1.77, 0, -1.77, 5], [1, 0, 0, 0, 0, 0, 5], [2, 0, 0, 0, 0, 0, -9]], dtype="<f4")
    head = ["ply", "format binary_little_endian 1.0", "element vertex 3", *(f"property float {n}" for n in names)]
    (tmp_path / "a.ply").write_bytes("\n".join([*head, "end_header\n"]).encode() + rows.tobytes())
    found = read_ply(tmp_path / "a.ply")
    assert found.colors.tolist() == [[255, 128, 0], [128, 128, 128]]
    assert found.vertices[:, 0].tolist() == [0, 1] and "1 of 3 splats" in found.notes[0]


@pytest.mark.parametrize("ending", ["obj", "glb"])
def test_meshes_of_scanning_apps_are_read(tmp_path, mesh, ending):
    whole = trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=mesh.colors, process=False)
    whole.export(tmp_path / f"a.{ending}")
    found = read_mesh(tmp_path / f"a.{ending}")  # an OBJ's vertices may be numbered anew
    assert np.allclose(found.vertices[found.faces], mesh.vertices[mesh.faces], atol=1e-4)
    assert np.abs(found.colors[found.faces].astype(int) - mesh.colors[mesh.faces]).max() <= 1


def test_a_mesh_that_is_none_is_named(tmp_path):
    (tmp_path / "a.glb").write_bytes(b"glb")
    with pytest.raises(DataError, match="a.glb: .*save it as .ply"):
        read_mesh(tmp_path / "a.glb")
