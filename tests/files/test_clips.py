"""Videos as rows name them: what is known before they are decoded is what decoding gives, whatever holds them."""

import shutil
import sys

import numpy as np
import pytest
from videos import picture, write_frames, write_video

from gpt4scene.errors import ConfigError, DataError
from gpt4scene.files.clips import Clip, clip, clip_frames, moment
from gpt4scene.files.contents import Contents
from gpt4scene.files.media import called, is_video, paths_of, video_name


@pytest.mark.parametrize(
    ("file", "codec"),
    [("a.mp4", "mpeg4"), ("a.mov", "libx264"), ("a.mkv", "mpeg4"), ("a.webm", "libvpx"), ("a.avi", "mpeg4")],
)
def test_the_facts_of_a_file_are_those_of_its_decoded_frames(tmp_path, file, codec):
    name = video_name([write_video(tmp_path / file, frames=21, codec=codec)])
    facts = clip(name)
    assert (facts.frames, facts.size, facts.listed) == (21, (64, 48), False)
    assert facts.seconds == pytest.approx(2.1, abs=0.11)
    frames = list(clip_frames(name, facts, [0, 7, 20, 20]))
    for number, frame in zip((0, 7, 20, 20), frames, strict=True):
        assert np.abs(np.asarray(frame).astype(int) - picture(number)).mean() < 12, number


def test_frames_in_a_folder_and_in_a_list_have_no_times(tmp_path):
    paths = write_frames(tmp_path / "frames", 11)
    folder, listed = video_name([str(tmp_path / "frames")]), video_name(paths)
    assert clip(folder) == Clip(11, (64, 48)) and clip(listed) == Clip(11, (64, 48), listed=True)
    for name in (folder, listed):
        (frame,) = clip_frames(name, clip(name), [10])
        assert np.array_equal(np.asarray(frame), picture(10))
    assert clip(video_name(paths[:1])) == Clip(1, (64, 48), listed=True)


def test_a_video_is_as_large_as_players_show_it(tmp_path):
    name = video_name([write_video(tmp_path / "phone.mov", turned=90)])
    facts = clip(name)
    assert facts.size == (48, 64) and next(clip_frames(name, facts, [3])).size == (48, 64)


def test_a_file_that_is_broken_gone_or_without_pictures_is_refused_with_the_reason(tmp_path):
    av = pytest.importorskip("av")
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"b.mp4: can't be read as a video \(Invalid data [^/]*\); copy or download"):
        clip(video_name([str(tmp_path / "b.mp4")]))
    with pytest.raises(DataError, match="does not exist"):
        clip(video_name([str(tmp_path / "c.mp4")]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture"):
        clip(video_name([str(tmp_path / "empty")]))
    song = str(tmp_path / "song.mp3")
    with av.open(song, "w") as container:  # a song with its cover
        audio, cover = container.add_stream("libmp3lame", rate=44100), container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
        sound.rate = 44100
        container.mux([*cover.encode(None), *audio.encode(sound), *audio.encode(None)])
    with pytest.raises(DataError, match="song.mp3: holds no video; name a video file"):
        clip(video_name([song]))


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("a.mp4", {"movflags": "faststart"}),
        ("a.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mov", {"movflags": "frag_keyframe"}),
        ("a.mkv", {}),
        ("a.webm", {}),
        ("a.avi", {}),
    ],
)
def test_a_file_that_is_cut_off_is_told_from_a_short_one_without_decoding(tmp_path, file, options):
    codec = "libvpx" if file == "a.webm" else "mpeg4"
    name = video_name([write_video(tmp_path / file, frames=30, codec=codec, options=options)])
    whole = (tmp_path / file).read_bytes()
    assert clip(name).frames == 30
    for tenths in (8, 9):
        (tmp_path / file).write_bytes(whole[: tenths * len(whole) // 10])
        with pytest.raises(DataError, match=rf"{file}: is cut off: it goes to byte \d+ by its own index, .*; copy"):
            clip(name)


def test_pieces_that_no_player_shows_and_odd_names_and_titles_are_no_hindrance(tmp_path, monkeypatch):
    """VP8's hidden pictures, a title in Latin-1, a path that looks like an address, a last frame of no length."""
    path = tmp_path / "hidden.webm"
    write_video(path, frames=12, codec="libvpx")
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        pieces = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    hidden = path.read_bytes().replace(pieces[5], bytes([pieces[5][0] & ~0x10]) + pieces[5][1:])
    path.write_bytes(hidden)
    name = video_name([str(path)])
    assert clip(name).frames == len(list(clip_frames(name, clip(name), range(11)))) == 11
    monkeypatch.chdir(tmp_path)
    write_video("K\xfcche 1:2.avi", metadata={"title": "Kuche"})
    titled = (tmp_path / "K\xfcche 1:2.avi").read_bytes()
    (tmp_path / "walk:1.avi").write_bytes(titled.replace(b"Kuche", b"K\xfcche"))
    assert clip(video_name(["walk:1.avi"])).frames == 20
    assert clip(video_name([write_video("a.flv", frames=8, codec="flv", rate=4)])).seconds == pytest.approx(2.0)
    with pytest.raises(DataError, match="holds a line break; rename"):
        video_name(["a\nb.mp4"])


def test_a_video_that_became_shorter_or_smaller_says_so_when_it_is_decoded(tmp_path):
    name = video_name([write_video(tmp_path / "a.mp4", frames=20)])
    facts = clip(name)
    write_video(tmp_path / "a.mp4", frames=8)
    with pytest.raises(DataError, match="only 8 of its 20 frames can be decoded"):
        list(clip_frames(name, facts, [0, 19]))
    write_video(tmp_path / "a.mp4", size=(32, 32))
    with pytest.raises(DataError, match="32x32, the first frame 64x48"):
        list(clip_frames(name, facts, [0]))


def test_frames_of_several_sizes_are_no_video(tmp_path):
    paths = [*write_frames(tmp_path / "a", 2), *write_frames(tmp_path / "b", 1, (32, 32))]
    with pytest.raises(DataError, match="b/0.png is 32x32, the first frame 64x48"):
        clip(video_name(paths))


def test_without_the_package_a_file_says_how_to_get_it_and_frames_are_read(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"gpt4scene\[video\]"):
        clip(video_name([path]))
    assert clip(video_name(write_frames(tmp_path / "f", 2))).frames == 2


def test_names_tell_videos_from_images_and_messages_call_them_so():
    assert is_video(video_name(["a.mp4"])) and not is_video("a.mp4")
    assert paths_of(video_name(["a", "b"])) == ["a", "b"] and paths_of("a.png") == ["a.png"]
    assert [called(name) for name in ("a.png", video_name(["b.mp4"]), video_name(["0.jpg", "1.jpg"]))] == [
        "image a.png",
        "video b.mp4",
        "video of 2 frames, 0.jpg …",
    ]


def test_the_content_of_a_video_is_that_of_its_files_and_how_they_are_named_and_never_an_images(tmp_path):
    contents, paths = Contents(), write_frames(tmp_path / "f", 3)
    folder, listed, image = video_name([str(tmp_path / "f")]), video_name(paths), paths[0]
    shutil.copytree(tmp_path / "f", tmp_path / "g")
    assert contents(folder) == contents(video_name([str(tmp_path / "g")])) != contents(listed)
    assert contents(listed) not in (contents(folder), contents(video_name(paths[:2])), contents(image))
    assert contents(folder).startswith("v") and len(contents(folder)) == len(contents(image)) == 32
    assert contents(video_name([image])) != contents(image)
    before = contents(listed)
    write_frames(tmp_path / "f", 3, (32, 32))
    assert contents(listed) != before
    with pytest.raises(DataError, match="^video .*gone.mp4: the file does not exist"):
        contents(video_name([str(tmp_path / "gone.mp4")]))


def test_a_frame_without_a_time_is_not_said_to_be_the_first():
    assert [moment(second) for second in (None, 0.0, 2.6)] == ["at an unknown time", "0 s", "3 s"]
