"""Archives of strangers: what is taken, and what is refused with one sentence before it can do harm."""

import json
import os
import threading
import zipfile

import pytest
from chat_scenes import Parrot, write_scene
from PIL import Image

from gpt4scene.chat import uploads
from gpt4scene.chat.desk import Desk
from gpt4scene.chat.line import Line
from gpt4scene.chat.uploads import UploadBounds, find_recording, scenes_of_upload
from gpt4scene.chat.visits import Scenes
from gpt4scene.errors import DataError, WorkError


def packed(path, folder, skip=()):
    """Pack all files of a folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.name not in skip:
                archive.write(file, file.relative_to(folder.parent))
    return path


def taken(archive, folder, bounds=None, stop=None):
    """Return the scenes of an upload and the sentences on the way."""
    folder.mkdir()
    steps, said = scenes_of_upload(archive, folder, bounds or UploadBounds(), 2, stop or threading.Event()), []
    try:
        while True:
            said.append(next(steps))
    except StopIteration as end:
        return end.value, said


def test_a_prepared_scene_is_taken_and_no_pickle_in_it_is_opened(tmp_path):
    write_scene(tmp_path / "mine")
    (tmp_path / "mine" / "scannet_val_attributes.pt").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    (scene,), said = taken(packed(tmp_path / "a.zip", tmp_path / "mine"), tmp_path / "in")
    assert scene.scene_id == "room" and said == ["unpacking the archive …"]
    assert all(image.is_relative_to(tmp_path / "in") for image in scene.images)


def scene_json(**changes):
    def change(folder):
        record = folder / "scenes" / "room" / "scene.json"
        content = json.loads(record.read_text())
        content["bev"] |= changes
        record.write_text(json.dumps(content))

    return change


def an_html_page(folder):
    (folder / "images_3D/room/bev.html").write_text("<script>alert(1)</script>")
    scene_json(image="images_3D/room/bev.html")(folder)


def a_wrong_ending(folder):
    os.link(folder / "images_3D/room/bev.jpg", folder / "images_3D/room/bev.html")
    scene_json(image="images_3D/room/bev.html")(folder)


def too_many_pixels(folder):
    Image.new("1", (7000, 6000)).save(folder / "images_3D/room/bev.png")
    scene_json(image="images_3D/room/bev.png")(folder)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (scene_json(image="../../other/secret.jpg"), "leads out"),
        (scene_json(image="/etc/hostname"), "leads out"),
        (scene_json(image="images_3D/room/gone.jpg"), "is not in the upload"),
        (an_html_page, "no JPEG, PNG or WebP"),
        (a_wrong_ending, "does not say what the image is"),
        (too_many_pixels, "7000 x 6000 pixels"),
        (lambda folder: (folder / "scenes/room/scene.json").write_text("{"), "damaged"),
    ],
)
def test_scenes_that_are_not_what_they_say_are_refused(tmp_path, spoil, words):
    write_scene(tmp_path / "mine")
    spoil(tmp_path / "mine")
    with pytest.raises(DataError, match=words) as refused:
        taken(packed(tmp_path / "a.zip", tmp_path / "mine"), tmp_path / "in")
    assert str(tmp_path) not in str(refused.value) and "\n" not in str(refused.value)


def test_a_scene_whose_folder_would_be_another_one_is_refused(tmp_path):
    record = write_scene(tmp_path / "mine")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(record, "scene.json")
    with pytest.raises(DataError, match="pack the whole folder"):
        taken(tmp_path / "a.zip", tmp_path / "in")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda archive: archive.writestr("../../evil.txt", "x"), "outside its folder"),
        (lambda archive: archive.writestr("/evil.txt", "x"), "evil.txt"),
        (lambda archive: archive.writestr("zeros", b"\0" * 20_000_000, zipfile.ZIP_DEFLATED), "times its size"),
        (lambda archive: [archive.writestr(f"{n}", "") for n in range(12)], "more than the 10 files"),
        (lambda archive: archive.writestr("readme.txt", "x"), "neither a prepared scene"),
    ],
)
def test_archives_that_do_harm_or_hold_no_scene_are_refused(tmp_path, make, words):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        make(archive)
    with pytest.raises(DataError, match=words) as refused:
        taken(tmp_path / "a.zip", tmp_path / "in", UploadBounds(files=10))
    assert str(tmp_path) not in str(refused.value) and not (tmp_path / "evil.txt").exists()


def test_what_is_too_large_or_no_archive_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no archive at all")
    with pytest.raises(DataError, match="at most 0 MB"):
        taken(tmp_path / "a.zip", tmp_path / "one", UploadBounds(size=10))
    with pytest.raises(DataError):
        taken(tmp_path / "a.zip", tmp_path / "two")


def recording(folder):
    """A folder that looks like a recording, and is none that can be prepared."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name in ("poses.txt", "intrinsics.txt", "images/0.jpg"):
        (folder / name).write_text("x")
    return folder


def test_a_recording_is_found_one_at_a_time(tmp_path):
    recording(tmp_path / "in" / "mine")
    assert find_recording(tmp_path / "in") == (tmp_path / "in" / "mine", "posed")
    recording(tmp_path / "in" / "other")
    with pytest.raises(DataError, match=r"2 recordings \(mine, other\)"):
        find_recording(tmp_path / "in")


@pytest.fixture
def child(monkeypatch, tmp_path):
    """Let this script run in place of the preparation."""

    def use(text):
        script = tmp_path / "child"
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        monkeypatch.setattr(uploads.sys, "executable", str(script))
        return packed(tmp_path / "a.zip", recording(tmp_path / "room"))

    return use


def test_a_preparation_ends_when_it_fails_is_stopped_or_takes_too_long(child, tmp_path):
    with pytest.raises(DataError, match="can't be prepared: the poses are no numbers"):
        taken(child("echo the poses are no numbers; exit 1"), tmp_path / "one")
    archive = child(f"echo $$ > {tmp_path}/pid; sleep 60 & wait")
    with pytest.raises(WorkError, match="longer than 1 s and was ended"):
        taken(archive, tmp_path / "two", UploadBounds(prepare_seconds=0.6))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    with pytest.raises(WorkError, match="stopped"):
        taken(archive, tmp_path / "three", stop=stop)


def test_the_desk_deletes_what_it_refuses_and_keeps_what_it_takes(tmp_path):
    desk = Desk(Parrot(), None, Scenes([]), Line(1, 1), tmp_path / "private")
    desk.folder.mkdir()
    visit = desk.visits.of("one")
    (tmp_path / "bad.zip").write_bytes(b"x")
    with pytest.raises(DataError):
        [*desk.upload(visit, tmp_path / "bad.zip", "bad.zip")]
    assert not [*desk.folder.iterdir()] and not (tmp_path / "bad.zip").exists()
    write_scene(tmp_path / "mine", "my_room")
    archive = packed(tmp_path / "a.zip", tmp_path / "mine")
    assert [*desk.upload(visit, archive, "a.zip")][-1] == "ready: my_room, 2 marked objects."
    assert desk.scenes.get(visit.uploads[0]).scene_id == "my_room" and not archive.exists()
    desk.visits.end("one")
    assert not [*desk.folder.iterdir()]
