"""Which frames of a video are shown, how large and when: LLaMA-Factory's choice, the families' own sizes and times."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.data.video_rule import VideoLimits, VideoRule, VideoStyle, chosen_frames, frame_size, showing
from gpt4scene.files.clips import Clip
from gpt4scene.files.whole import write_json

QWEN3 = VideoRule(VideoLimits(2.0, 128, 10**9, 1), VideoStyle("text", whole=True), 4096, 25165824)

sides = st.integers(28, 1500)


@given(st.integers(1, 4000), st.floats(0.05, 400), st.sampled_from([0.5, 1.0, 2.0, 7.5]), st.integers(1, 200))
def test_frames_are_those_that_llamafactory_takes(frames, seconds, fps, most):
    chosen = chosen_frames(Clip(frames, (64, 48), seconds), VideoLimits(fps, most))
    wanted = min(frames, most, max(1, math.floor(seconds * fps)))
    assert chosen == np.linspace(0, frames - 1, wanted).astype(np.int32).tolist()
    assert len(set(chosen)) == len(chosen)


def test_a_list_is_shown_whole_and_a_folder_spread():
    limits = VideoLimits(video_maxlen=4)
    assert chosen_frames(Clip(9, (64, 48), listed=True), limits) == list(range(9))
    assert chosen_frames(Clip(9, (64, 48)), limits) == [0, 2, 5, 8]


@given(sides, sides, st.integers(100, 10**6), st.integers(1, 100))
def test_each_frame_of_qwen2_is_resized_as_an_image_is(width, height, most, least):
    """The areas of LLaMA-Factory's keys first, as its plugin has them; then the family's smart resize."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    rule = VideoRule(VideoLimits(video_max_pixels=most, video_min_pixels=least))
    scaled = width, height
    if width * height > most:
        factor = math.sqrt(most / (width * height))
        scaled = int(width * factor), int(height * factor)
    if min(scaled) < 28:
        scaled = max(scaled[0], 28), max(scaled[1], 28)
    try:
        wanted = smart_resize(scaled[1], scaled[0], 28, rule.least, rule.most)
    except ValueError:
        with pytest.raises(ValueError, match="200 times"):
            frame_size((width, height), 8, rule, 28, 2)
        return
    assert frame_size((width, height), 8, rule, 28, 2) == wanted[::-1]


@given(sides, sides, st.integers(1, 384).map(lambda pairs: 2 * pairs))
def test_the_bounds_of_qwen3_are_those_of_all_frames_together(width, height, frames):
    """The published arithmetic, written out: time counts as a side, and both bounds are of the whole video."""
    new_height, new_width = round(height / 32) * 32, round(width / 32) * 32
    if height < 32 or width < 32:
        scale = max(32 / height, 32 / width)
        height_, width_ = int(height * scale), int(width * scale)
        new_height, new_width = round(height_ / 32) * 32, round(width_ / 32) * 32
    else:
        height_, width_ = height, width
    if frames * new_height * new_width > QWEN3.most:
        beta = math.sqrt(frames * height_ * width_ / QWEN3.most)
        new_height = max(32, math.floor(height_ / beta / 32) * 32)
        new_width = max(32, math.floor(width_ / beta / 32) * 32)
    elif frames * new_height * new_width < QWEN3.least:
        beta = math.sqrt(QWEN3.least / (frames * height_ * width_))
        new_height, new_width = (math.ceil(side * beta / 32) * 32 for side in (height_, width_))
    assert frame_size((width, height), frames, QWEN3, 32, 2) == (new_width, new_height)


@given(sides, sides, st.integers(1, 60).map(lambda pairs: 2 * pairs))
def test_sizes_of_qwen3_are_those_of_its_processor(width, height, frames):
    pytest.importorskip("torchvision", reason="transformers' video processors need torchvision")
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize

    wanted = smart_resize(frames, height, width, 2, 32, QWEN3.least, QWEN3.most)
    assert frame_size((width, height), frames, QWEN3, 32, 2) == wanted[::-1]


def test_times_are_written_as_qwen3s_processor_writes_them():
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

    for frames, seconds in ((50, 5.0), (75, 2.5), (7, 3.5), (1, 1.0)):
        facts = Clip(frames, (64, 64), seconds)
        shown = showing(facts, QWEN3, 16, 2, 2)
        times = Qwen3VLProcessor._calculate_timestamps(None, chosen_frames(facts, QWEN3.limits), frames / seconds, 2)
        assert shown.texts == tuple(f"<{time:.1f} seconds>" for time in times)
        assert len(shown.texts) == shown.grid[0] and len(shown.chosen) == 2 * shown.grid[0]
    assert showing(Clip(5, (64, 64), listed=True), QWEN3, 16, 2, 2).texts == (
        "<0.2 seconds>",
        "<1.2 seconds>",
        "<2.0 seconds>",
    )


@pytest.mark.parametrize(("seconds", "step"), [(10.0, 2 * 2 / 2.0), (10.4, 2 * 2 * 10.4 / 20), (None, 2 * 2 / 2.0)])
def test_the_step_of_qwen2_5_is_the_time_between_pairs(seconds, step):
    """``second_per_grid_ts`` x ``tokens_per_second``: frames of a pair over the rate that they were taken at."""
    rule = VideoRule(style=VideoStyle("seconds", tokens_per_second=2))
    shown = showing(Clip(20 if seconds is None else 300, (640, 480), seconds), rule, 14, 2, 2)
    assert shown.grid[3] == pytest.approx(step) and shown.texts == ()


def test_the_last_frame_fills_the_last_pair_and_sizes_are_whole_patches():
    shown = showing(Clip(30, (640, 480), 3.5), VideoRule(), 14, 2, 2)
    assert shown.chosen == (0, 4, 9, 14, 19, 24, 29, 29)
    assert shown.size == (308, 224) and shown.grid == (4, 16, 22, 1.0)


def test_bounds_come_from_the_file_of_the_video_processor_or_what_stands_for_it(tmp_path):
    limits, style = VideoLimits(), VideoStyle()
    assert VideoRule.from_folder(tmp_path, limits, style) == VideoRule()
    write_json(tmp_path / "preprocessor_config.json", {"min_pixels": 3136, "max_pixels": 12845056})
    assert VideoRule.from_folder(tmp_path, limits, style).most == 12845056
    write_json(
        tmp_path / "processor_config.json", {"video_processor": {"size": {"shortest_edge": 1, "longest_edge": 2}}}
    )
    assert VideoRule.from_folder(tmp_path, limits, style).least == 1
    write_json(tmp_path / "video_preprocessor_config.json", {"size": {"shortest_edge": 4096, "longest_edge": 25165824}})
    found = VideoRule.from_folder(tmp_path, limits, QWEN3.style)
    assert (found.least, found.most) == (QWEN3.least, QWEN3.most)
