"""Two prepared rooms with points, and the rooms as the view opens them."""

import json

import pytest
from box_scene import box_room, box_room_folder  # noqa: F401

from gpt4scene.files.prepared import find_scenes
from gpt4scene.scenes.prepare import PrepareArguments, prepare
from gpt4scene.view.rooms import Rooms, named


@pytest.fixture(scope="session")
def prepared_rooms(box_room_folder, tmp_path_factory):  # noqa: F811
    """A folder of prepared scenes: ``boxes``, and ``other``, which shows the same under another name."""
    out = tmp_path_factory.mktemp("for_view")
    done = prepare(PrepareArguments(scans=(str(box_room_folder),), out=str(out), frames=3, bev_size=160, points=6000))
    assert done.done == ["boxes"] and not done.failed
    record = out / "scenes" / "boxes" / "scene.json"
    content = json.loads(record.read_text()) | {"scene_id": "other"}
    (out / "scenes" / "other").mkdir()
    (out / "scenes" / "other" / "scene.json").write_text(json.dumps(content))
    return out


@pytest.fixture
def rooms(prepared_rooms, tmp_path):
    """Both scenes; edits go to a folder of the test."""
    return Rooms(named(find_scenes([prepared_rooms])), save=str(tmp_path / "edits"))
