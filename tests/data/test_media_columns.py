"""Images and videos of a row: named in the order of their marks, each list in its own order; what is wrong is named."""

import json

import pytest

from gpt4scene.benchmarks.annotated_files import write_training
from gpt4scene.benchmarks.rows import TrainingRow
from gpt4scene.benchmarks.scene_frames import without_boxes
from gpt4scene.data.conversations import FORMATS, Columns, Tags
from gpt4scene.errors import DataError
from gpt4scene.files.media import video_name
from gpt4scene.types import Origin

ORIGIN = Origin("demo", "rows.json", 4)


def read(text, **media):
    row = {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": "That."}], **media}
    return FORMATS["sharegpt"](row, Columns(), Tags(), ORIGIN)


def test_names_are_in_the_order_of_the_marks():
    found = read(r"<video>a<image>\<video> <video>?", images=["i.png"], videos=["v.mp4", ["0.jpg", "1.jpg"]])
    assert found.images == (video_name(["v.mp4"]), "i.png", video_name(["0.jpg", "1.jpg"]))
    assert read("<video>?", videos="frames").images == (video_name(["frames"]),)


@pytest.mark.parametrize(
    ("text", "media", "words"),
    [
        (
            "<video>?",
            {"videos": []},
            r"1 <video> marks, but 0 videos under 'videos'; write one mark for each video, and \\",
        ),
        ("<video>?", {"images": ["a.mp4"]}, "0 <image> marks, but 1 images under 'images'"),
        ("?", {"videos": ["a.mp4"]}, "0 <video> marks, but 1 videos"),
        ("?", {"clip": "walk.ts"}, "'clip' holds 'walk.ts', but the row shows no image and no video"),
        ("<video>?", {"videos": [""]}, "'videos' is no list of videos"),
        ("<image>?", {"images": ["video:1.png"]}, "image 'video:1.png': a path may not begin with 'video:'; write"),
        ("<video>?", {"videos": ["a\nb.mp4"]}, "the path holds a line break; rename the file"),
        ("<video>?", {"videos": [{"path": "a.mp4"}]}, "'videos' is no list of videos .*or a list of the paths of its"),
        ("<video>?", {"videos": [[]]}, "'videos' is no list of videos"),
        ("<video>?", {"video": "a.mp4"}, "'video' holds 'a.mp4', but videos are listed under 'videos'"),
        ("<video><audio>?", {"videos": ["a.mp4"]}, "<audio>; audio is not supported"),
        ("<|video|>?", {"videos": ["a.mp4"]}, "the mark of a video is <video>"),
    ],
)
def test_what_does_not_fit_is_named(text, media, words):
    with pytest.raises(DataError, match=f"row 4 .*{words}"):
        read(text, **media)


def test_an_answer_may_not_show_a_video():
    row = {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "<video>"}], "videos": ["a.mp4"]}
    with pytest.raises(DataError, match="a assistant message holds <video>; videos belong to user messages"):
        FORMATS["sharegpt"](row, Columns(), Tags(), ORIGIN)


def test_annotated_rows_that_show_videos_are_read_by_their_own_entry(tmp_path):
    """Other programs read the columns that the entry names alone."""
    images = {"walk": (video_name(["walk.mp4"]), "map.png")}
    write_training([(TrainingRow("walk", "Where?", "There."), without_boxes(images), "t")], tmp_path, "walks")
    entry = json.loads((tmp_path / "dataset_info.json").read_text())["walks"]
    assert entry["columns"] == {"messages": "messages", "images": "images", "videos": "videos"}
    (row,) = json.loads((tmp_path / "walks.json").read_text())
    found = FORMATS["sharegpt"](row, Columns(**entry["columns"]), Tags(**entry["tags"]), ORIGIN)
    assert found.images == images["walk"]
    write_training([(TrainingRow("walk", "Where?", "There."), without_boxes({"walk": ("a.png",)}), "t")], tmp_path, "b")
    assert "videos" not in json.loads((tmp_path / "dataset_info.json").read_text())["b"]["columns"]
