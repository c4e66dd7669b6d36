"""Videos of rows: what is shown of one is refused where frames differ in size, and where the file became another."""

import pytest
from videos import write_frames, write_video

from gpt4scene.data.image_files import image_pixels
from gpt4scene.data.video import Clips
from gpt4scene.data.video_rule import VideoLimits, VideoRule, VideoStyle
from gpt4scene.data.vision import VisionRule
from gpt4scene.errors import DataError
from gpt4scene.files.media import video_name
from gpt4scene.types import Origin

RULE = VisionRule(video=VideoRule(VideoLimits(2.0, 4), VideoStyle("seconds")))
ORIGIN = Origin("walks", "walks.json", 7)


def test_frames_of_a_folder_that_are_shown_have_one_size_before_anything_is_decoded(tmp_path):
    paths = write_frames(tmp_path / "f", 9)
    name = video_name([str(tmp_path / "f")])
    write_frames(tmp_path / "g", 9, (32, 32))
    (tmp_path / "g" / "1.png").replace(paths[1])  # frames 0, 2, 5 and 8 are shown
    assert Clips().showing(name, RULE, ORIGIN).chosen == (0, 2, 5, 8)
    (tmp_path / "g" / "5.png").replace(paths[5])
    with pytest.raises(DataError, match=r"^video .*f .needed by walks.json, row 7.*5.png is 32x32, the first frame 64"):
        Clips().showing(name, RULE, ORIGIN)


def test_a_video_that_became_another_one_of_as_many_patches_is_named(tmp_path):
    name = video_name([write_video(tmp_path / "a.mp4", frames=20, rate=10, size=(112, 56))])
    grid = Clips().showing(name, RULE, ORIGIN).grid
    assert len(image_pixels([name], [grid], RULE, [ORIGIN])) == RULE.patches(grid)
    for change in ({"rate": 5}, {"size": (56, 112)}):  # the times of frames, then their shape
        write_video(tmp_path / "a.mp4", **{"frames": 20, "rate": 10, "size": (112, 56)} | change)
        with pytest.raises(DataError, match=r"^video .*a.mp4 .needed by walks.json, row 7 .*: the file changed after"):
            image_pixels([name], [grid], RULE, [ORIGIN])
