"""The worked example of docs/adding-a-reader.md reads a folder, and the entries of the page fit the registry."""

import sys
import types

import numpy as np
import pytest
from doc_pages import ROOT, blocks
from PIL import Image

from gpt4scene.errors import DataError
from gpt4scene.scans import readers

PAGE = ROOT / "docs" / "adding-a-reader.md"


@pytest.fixture
def reader():
    (block,) = blocks(PAGE, "python")
    module = types.ModuleType("listed")
    exec(compile(block.text, str(PAGE), "exec"), module.__dict__)
    return module


@pytest.fixture
def folder(tmp_path, reader):
    (tmp_path / "color").mkdir()
    for number in range(2):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "color" / f"{number}.png")
    rows = [",".join(reader.COLUMNS), "0.png,50,1,0,0,0,1,2,3", "1.png,50,0.7071068,0,0,0.7071068,0,0,1"]
    (tmp_path / "cameras.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "mesh.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    )
    return tmp_path


def test_the_example_reads_a_folder(reader, folder):
    assert reader.is_listed(folder) and not reader.is_listed(folder / "color")
    scan = reader.read_listed(folder)
    assert [frame.name for frame in scan.frames] == ["0", "1"] and len(scan.mesh.vertices) == 3
    assert scan.frames[0].camera.pose[:3, 3].tolist() == [1, 2, 3]
    assert np.allclose(scan.frames[1].camera.pose[:3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-6)


def test_the_example_refuses_what_it_does_not_understand(reader, folder):
    path = folder / "cameras.csv"
    good = path.read_text()
    for old, new, said in (
        ("qw", "w", "columns"),
        ("0.png", "9.png", "row 0: there is no image 9.png"),
        (",50,1", ",x,1", "row 0"),
    ):
        path.write_text(good.replace(old, new, 1))
        with pytest.raises(DataError, match=said):
            reader.read_listed(folder)


def test_the_entries_of_the_page_make_it_known(reader, folder, monkeypatch):
    """The two lines go where the page says, and the registry made of that file finds the folder."""
    entry, line = (block.text for block in blocks(PAGE, "text"))
    text = (ROOT / "src" / "gpt4scene" / "scans" / "readers.py").read_text(encoding="utf-8")
    text = text.replace('    "tum": ', entry + '    "tum": ', 1).replace('    add("tum"', line + '    add("tum"', 1)
    made = types.ModuleType("readers")
    monkeypatch.setitem(sys.modules, "readers", made)
    made.__dict__.update(read_listed=reader.read_listed, is_listed=reader.is_listed)
    exec(compile(text, "readers.py", "exec"), made.__dict__)
    assert list(made.SCAN_READERS) == sorted([*readers.SCAN_READERS, "listed"], key=list(made.SCAN_READERS).index)
    assert made.find_scans("listed", [str(folder)]) == [folder]
    assert made.SCAN_READERS["listed"].begun(folder) and made.SCAN_READERS["listed"].reads(folder)
