"""The doctor of scans: each is read, the first made ready, and nothing is written."""

import pytest
from box_scene import build_room
from commands import doctor as doctor_command


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    for name in ("a", "b"):
        build_room(cameras=4, width=120, height=90).write(folder / name)
    return folder


def test_scans_with_nothing_wrong(scans, capsys, tmp_path):
    assert doctor_command(["--scans", str(scans), "--full"]) == 0
    said = capsys.readouterr().out
    assert "2 found" in said and said.count("objects in an upright scene") == 2 and "nothing is wrong" in said
    assert [path.name for path in tmp_path.iterdir()] == ["scans"]


@pytest.mark.parametrize("broken", ["poses.txt", "images/00002.png"])
def test_a_broken_scan_is_named_and_the_others_are_looked_at(scans, capsys, broken):
    (scans / "a" / broken).write_bytes(b"nothing")
    assert doctor_command(["--scans", str(scans)]) == 1
    said = capsys.readouterr().out
    assert any(line.startswith("wrong a:") for line in said.splitlines()) and "ok    b:" in said


def test_a_place_without_scans(tmp_path, capsys):
    assert doctor_command(["--scans", str(tmp_path / "none")]) == 1
    assert "there is no such file or folder" in capsys.readouterr().out
