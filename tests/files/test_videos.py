"""Frames of recordings: which are taken, of folders of pictures and of videos, and what can't be read."""

import struct
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from spatial_files import picture

from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files import videos
from gpt4scene.files.videos import frames_of, pictures_of, recordings, spread


@given(st.integers(1, 5000), st.integers(1, 64))
def test_frames_are_spread_from_the_first_to_the_last_and_none_comes_twice(count, wanted):
    chosen = spread(count, wanted)
    assert len(set(chosen)) == len(chosen) == min(count, wanted)
    assert chosen == sorted(chosen) and chosen[0] == 0 and (chosen[-1] == count - 1 or wanted == 1)
    if count > wanted:
        assert chosen == list(np.linspace(0, count - 1, wanted).astype(int))


def test_pictures_go_by_their_numbers(tmp_path):
    for name in ("10.jpg", "9.jpg", "1.png", "notes.txt"):
        (tmp_path / name).write_bytes(picture(0, form="JPEG"))
    assert [path.name for path in pictures_of(tmp_path)] == ["1.png", "9.jpg", "10.jpg"]
    assert recordings(tmp_path.parent, "frames.json")[tmp_path.name] == [tmp_path]
    (tmp_path / "frames.json").write_text("{}")
    assert recordings(tmp_path, "frames.json") == {}


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "0.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"0.jpg: can't be read"):
        list(frames_of(tmp_path, 4))


def test_without_the_package_a_video_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "room.mp4").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"room.mp4: videos are read with the package av, .*gpt4scene\[video\]"):
        list(frames_of(tmp_path / "room.mp4", 4))


@pytest.fixture
def video(tmp_path):
    """A video of 24 frames, each of one grey, which tells its number."""
    av = pytest.importorskip("av", reason="the extra 'video' is not installed")
    path = tmp_path / "room.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(24):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * number, dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("wanted", [1, 8, 24, 64])
def test_a_video_gives_the_chosen_frames(video, wanted):
    found = list(frames_of(video, wanted))
    assert [number for number, _ in found] == spread(24, wanted)
    for number, image in found:
        assert isinstance(image, Image.Image) and image.size == (64, 48) and image.mode == "RGB"
        assert abs(float(np.asarray(image).mean()) - 10 * number) < 6


def test_a_video_that_was_cut_off_gives_frames_of_what_is_there_or_is_named(video):
    content = video.read_bytes()
    for part in (0, 40, len(content) // 2):
        video.write_bytes(content[:part])
        with pytest.raises(DataError, match=r"room.mp4: (can't be read as a video|holds no)"):
            list(frames_of(video, 4))


CORNERS = np.repeat(np.repeat(np.uint8([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]]), 24, 0), 32, 1)
"""A frame of 64 by 48 pixels: red and green above, blue and white below."""


def test_a_list_of_files_is_no_video_and_a_made_up_size_is_refused(video, monkeypatch):
    """FFmpeg would open whatever a playlist names, files and addresses alike; so it is given none to read."""
    for name, text in (
        ("hls.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nroom.mp4\n#EXT-X-ENDLIST\n"),
        ("concat.mp4", "ffconcat version 1.0\nfile room.mp4\n"),
    ):
        video.with_name(name).write_text(text)
        with pytest.raises(DataError, match=f"{name}: can't be read as a video"):
            list(frames_of(video.with_name(name), 2))
    monkeypatch.setattr(videos, "MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(DataError, match="its frames have 64x48 pixels, past 3071; make it smaller"):
        list(frames_of(video, 2))


def shown(path, a, b, c, d):
    """Return the letters of the corners, row by row, and the size of a video whose file says to show it so."""
    av = pytest.importorskip("av", reason="the extra 'video' is not installed")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(CORNERS, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    matrix = content.find(b"tkhd") + 44  # behind version, times, track, duration, layer, group, volume (ISO 14496-12)
    content[matrix : matrix + 20] = struct.pack(">5i", *(int(65536 * one) for one in (a, b, 0, c, d)))
    path.write_bytes(content)
    [(_, image)] = frames_of(path, 1)
    pixels, (width, height) = np.asarray(image).astype(int), image.size
    found = [pixels[y, x] for y in (5, height - 6) for x in (5, width - 6)]
    return "".join("W" if min(one) > 128 else "RGB"[int(np.argmax(one))] for one in found), image.size


@pytest.mark.parametrize(
    ("matrix", "corners", "size"),
    [
        ((1, 0, 0, 1), "RGBW", (64, 48)),
        ((0, 1, -1, 0), "BRWG", (48, 64)),  # a quarter turn to the right, as of a phone held upright
        ((-1, 0, 0, -1), "WBGR", (64, 48)),
        ((0, -1, 1, 0), "GWRB", (48, 64)),
        ((-1, 0, 0, 1), "GRWB", (64, 48)),
        ((1, 0, 0, -1), "BWRG", (64, 48)),
        ((0, 1, 1, 0), "RBGW", (48, 64)),
        ((0, -1, -1, 0), "WGBR", (48, 64)),
    ],
)
def test_a_video_is_turned_and_mirrored_as_players_show_it(tmp_path, matrix, corners, size):
    assert shown(tmp_path / "phone.mp4", *matrix) == (corners, size)


def test_a_video_to_be_shown_at_a_slant_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"phone.mp4: .* at a slant.*ffmpeg -i phone.mp4 upright.mp4"):
        shown(tmp_path / "phone.mp4", 0.8, 0.6, -0.6, 0.8)


@pytest.mark.parametrize("version", ["13.1.0", "14.4.0"])
def test_a_package_that_is_too_old_says_so(tmp_path, monkeypatch, version):
    av = pytest.importorskip("av")
    monkeypatch.setattr(av, "__version__", version)
    (tmp_path / "room.mp4").write_bytes(b"x")
    with pytest.raises(ConfigError, match=rf"room.mp4: .* av {version} is too old .*'av>=15', or give"):
        list(frames_of(tmp_path / "room.mp4", 4))
