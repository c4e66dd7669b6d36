"""Our images and videos beside those of Qwen's own package and of transformers' processors, where they are there."""

import numpy as np
import pytest
import torch
from PIL import Image
from videos import picture, write_frames, write_video

from gpt4scene.data.image_files import patches
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.video import Clips, video_patches
from gpt4scene.data.video_rule import VideoLimits
from gpt4scene.data.vision import VisionRule
from gpt4scene.files.clips import clip, clip_frames
from gpt4scene.files.media import video_name
from gpt4scene.files.whole import write_json
from gpt4scene.model.pixels import normalise


@pytest.fixture
def theirs():
    return pytest.importorskip("qwen_vl_utils", reason="the extra 'qwen-vl-utils' or its torchvision is not there")


@pytest.mark.parametrize(("patch", "size"), [(14, (300, 200)), (14, (90, 700)), (16, (640, 480))])
def test_images_have_the_sizes_and_pixels_of_theirs(theirs, tmp_path, patch, size):
    Image.fromarray(picture(3, size)).save(tmp_path / "a.png")
    rule = VisionRule(patch_size=patch, min_pixels=4 * (2 * patch) ** 2, max_pixels=100 * (2 * patch) ** 2)
    asked = {"image": str(tmp_path / "a.png"), "min_pixels": rule.min_pixels, "max_pixels": rule.max_pixels}
    image = theirs.fetch_image(asked, image_patch_size=patch)
    rule = VisionRule(**{**vars(rule), "image_resolution": None})
    assert image.size == rule.fit(size)
    assert np.array_equal(rule.patchify(np.asarray(image)), patches(str(tmp_path / "a.png"), rule))


def test_frames_in_a_list_have_the_sizes_and_pixels_of_theirs(theirs, tmp_path):
    """Both are given bounds. Theirs (0.0.14) rounds a listed frame to twice the factor first, which 56 divides here."""
    frames = write_frames(tmp_path / "frames", 5, (168, 112))
    rule = _rule(tmp_path, "qwen2_vl", {"min_pixels": 4 * 28 * 28, "max_pixels": 60 * 28 * 28})
    bounds = {"min_pixels": 4 * 28 * 28, "max_pixels": 60 * 28 * 28}
    made = theirs.fetch_video({"video": frames, **bounds})
    shown = rule.showing(clip(video_name(frames)))
    assert tuple(made.shape) == (6, 3, *shown.size[::-1])
    ours = rule.cut_video(made.permute(0, 2, 3, 1).numpy())
    assert np.array_equal(ours, video_patches(video_name(frames), rule))


def test_frames_of_a_file_are_theirs_where_both_take_as_many(theirs, tmp_path):
    """They round places, LLaMA-Factory and we cut them: 16 frames, of which 6 are taken, are places 0, 3, 6 and on."""
    pytest.importorskip("decord", reason="qwen_vl_utils needs a reader of videos")
    path = write_video(tmp_path / "a.mp4", frames=16, rate=8, size=(112, 84))
    rule = _rule(tmp_path, "qwen2_vl", {"min_pixels": 28 * 28, "max_pixels": 10**6}, VideoLimits(3.0))
    asked = {"video": path, "nframes": 6, "min_pixels": 28 * 28, "max_pixels": 10**6}
    (made, metadata), rate = theirs.vision_process.fetch_video(
        asked, return_video_sample_fps=True, return_video_metadata=True
    )
    facts = clip(video_name([path]))
    shown = rule.showing(facts)
    assert list(shown.chosen) == [int(place) for place in metadata["frames_indices"]]
    assert rate == pytest.approx(len(shown.chosen) / facts.seconds) and tuple(made.shape[2:]) == shown.size[::-1]
    for frame, ours in zip(made, clip_frames(video_name([path]), facts, shown.chosen), strict=True):
        off = np.abs(frame.permute(1, 2, 0).numpy() - np.asarray(ours.resize(shown.size, Image.Resampling.BICUBIC)))
        assert off.mean() < 2, "two decoders turn YUV into RGB with other roundings"


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_pixels_and_grids_are_those_of_transformers_video_processor(tmp_path, family):
    """It is given the frames that we take, limited by nothing; torchvision's resizing rounds in another way."""
    pytest.importorskip("torchvision", reason="transformers' video processors need torchvision")
    from transformers import Qwen2VLVideoProcessor, Qwen3VLVideoProcessor

    patch, kind = (16, Qwen3VLVideoProcessor) if family == "qwen3_vl" else (14, Qwen2VLVideoProcessor)
    least, most = (4096, 200_000) if family == "qwen3_vl" else (3136, 40_000)
    rule = _rule(tmp_path, family, {"min_pixels": least, "max_pixels": most}, patch=patch)
    name = video_name([write_video(tmp_path / "a.mp4", frames=40, rate=10, size=(320, 180))])
    shown = Clips().showing(name, rule)
    frames = np.stack([np.asarray(frame) for frame in clip_frames(name, clip(name), shown.chosen)])
    processor = kind(size={"shortest_edge": least, "longest_edge": most}, image_mean=rule.mean, image_std=rule.std)
    made = processor([torch.from_numpy(frames).permute(0, 3, 1, 2)], do_sample_frames=False, return_tensors="pt")
    assert made["video_grid_thw"][0].tolist() == list(shown.grid[:3])
    ours = normalise(torch.from_numpy(video_patches(name, rule)), rule)
    off = (ours - made["pixel_values_videos"]).abs() * 255 * min(rule.std)
    assert float(off.mean()) < 0.5 and float(off.max()) < 12


def _rule(folder, family, bounds, limits=None, patch=14):
    write_json(folder / "config.json", {"model_type": family})
    write_json(folder / "preprocessor_config.json", {"patch_size": patch, **bounds})
    return image_rule(folder, None, video=limits or VideoLimits(2.0, 128, 10**9, 1))
