import pytest
import torch

from gpt4scene.errors import DataError
from gpt4scene.files.annotation import attributes_of, read_attributes, write_attributes


def test_rows_are_numbers_and_gaps_are_six_zeros(tmp_path):
    objects = [
        {"id": 3, "label": "sofa", "center": [1, 2, 3.5], "size": [1, 1, 2.0]},
        {"id": 1, "label": "cup", "center": [9.0, 9, 9], "size": [0, 0, 0]},
    ]
    write_attributes(tmp_path / "a.pt", {"scene0000_00": attributes_of(objects), "empty": attributes_of([])})
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    assert content["scene0000_00"]["objects"] == ["", "cup", "", "sofa"]
    assert content["scene0000_00"]["locs"].dtype == torch.float32
    assert content["scene0000_00"]["locs"].tolist() == [[0] * 6, [0] * 6, [0] * 6, [1, 2, 3.5, 1, 1, 2]]
    read = read_attributes(tmp_path / "a.pt")
    assert read["empty"].shape == (0, 6) and read.label("scene0000_00", 3) == "sofa"


def test_equal_content_gives_equal_bytes(tmp_path):
    entry = attributes_of([{"id": 0, "label": "x", "center": [1, 1, 1], "size": [1, 1, 1]}])
    write_attributes(tmp_path / "a.pt", {"s": entry})
    first = (tmp_path / "a.pt").read_bytes()
    write_attributes(tmp_path / "a.pt", {"s": entry})
    assert (tmp_path / "a.pt").read_bytes() == first


@pytest.mark.parametrize("content", [None, b"", b"no pickle", "list"])
def test_other_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "bad.pt"
    if content == "list":
        torch.save([1], path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.pt"):
        read_attributes(path)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"s": {"objects": [print], "locs": torch.zeros(1, 6)}}, tmp_path / "evil.pt")
    with pytest.raises(DataError, match=r"evil\.pt"):
        read_attributes(tmp_path / "evil.pt")


@pytest.mark.parametrize("labels", ["chair", {"0": "chair"}, None, 3])
def test_labels_stand_in_a_list(tmp_path, labels):
    torch.save({"s": {"objects": labels, "locs": torch.zeros(5, 6)}}, tmp_path / "a.pt")
    with pytest.raises(DataError, match="a.pt: scene 's' must hold labels in 'objects'"):
        read_attributes(tmp_path / "a.pt")


@pytest.mark.parametrize("shape", [(5, 7), (5, 8, 3), (6,), (5, 3)])
def test_boxes_of_another_shape_are_named_with_what_is_wanted(tmp_path, shape):
    torch.save({"s": {"objects": [], "locs": torch.ones(shape)}}, tmp_path / "a.pt")
    with pytest.raises(DataError, match="a.pt: boxes of scene 's' have the shape .*; a box is its centre and its size"):
        read_attributes(tmp_path / "a.pt")
