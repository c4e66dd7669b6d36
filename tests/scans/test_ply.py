import numpy as np
import pytest
import trimesh

from gpt4scene.errors import DataError
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
