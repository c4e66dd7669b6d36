"""Tiles of InternVL and LLaVA-OneVision: pixels and token counts are those of Hugging Face's processors."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor

from gpt4scene.data.anyres import AnyresRule
from gpt4scene.data.image_files import patches
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.tiles import TileRule
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.model.pixels import normalise

RELEASED = tuple((384 * rows, 384 * columns) for rows in range(1, 7) for columns in range(1, 7))
"""Resolutions of the released LLaVA-OneVision checkpoints."""
SIZES = [(640, 480), (100, 300), (56, 30)]


def small(kind, side=None):
    """A rule of tiles so small that a test is quick; 44 is no multiple of a patch, as in the released LLaVA."""
    if kind == "internvl":
        return TileRule(image_resolution=side, tile=56, crop_to_patches=True)
    sizes = tuple((44 * rows, 44 * columns) for rows in range(1, 7) for columns in range(1, 7))
    return AnyresRule(image_resolution=side, tile=44, resolutions=sizes)


def processed(rule, image, images):
    shared = {"size": {"height": rule.tile, "width": rule.tile}}
    shared |= {"image_mean": list(rule.mean), "image_std": list(rule.std)}
    if isinstance(rule, TileRule):
        return GotOcr2ImageProcessorPil(**shared, crop_to_patches=True)(image, return_tensors="pt")["pixel_values"]
    processor = LlavaOnevisionImageProcessorPil(**shared, image_grid_pinpoints=[list(one) for one in rule.resolutions])
    return processor([[image] * images], return_tensors="pt")["pixel_values"][0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "images"), [("internvl", 1), ("llava", 1), ("llava", 2)])
def test_tiles_are_those_of_the_processor_bit_for_bit(tmp_path, size, kind, images):
    rule = small(kind, 200)
    values = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(values)
    image.save(tmp_path / "a.png")
    if rule.fit(size) != size:  # the processor sees what the limits leave
        image = image.resize(rule.fit(size), Image.Resampling.BICUBIC)
    wanted = processed(rule, image, images)
    grid = rule.grid(size, images)
    found = patches(str(tmp_path / "a.png"), rule, grid=grid)
    side = rule.tile // 14
    assert len(found) == rule.patches(grid) == len(wanted) * side**2
    ours = normalise(torch.from_numpy(found), rule).view(-1, side, side, 3, 14, 14).permute(0, 3, 1, 4, 2, 5)
    assert torch.equal(ours.reshape(len(wanted), 3, side * 14, -1), wanted[:, :, : side * 14, : side * 14])


@given(st.tuples(st.integers(16, 4000), st.integers(16, 4000)))
@settings(max_examples=40)
def test_tokens_of_released_checkpoints_are_counted_from_sizes_alone(size):
    width, height = size
    tiles = TileRule(image_resolution=None, crop_to_patches=True)
    processor = GotOcr2ImageProcessorPil(size={"height": 448, "width": 448})
    count = processor.get_number_of_image_patches(height, width, {"crop_to_patches": True})
    assert tiles.tokens(tiles.grid(size)) == 256 * count
    anyres = AnyresRule(image_resolution=None, resolutions=RELEASED)
    theirs = LlavaOnevisionProcessor.__new__(LlavaOnevisionProcessor)  # its video processor wants torchvision
    theirs.image_processor, theirs.num_image_tokens = LlavaOnevisionImageProcessorPil(), 729
    theirs.vision_aspect_ratio = "anyres_max_9"
    assert anyres.tokens(anyres.grid(size)) == theirs._get_number_of_features(height, width, 384, 384)
    assert anyres.tokens(anyres.grid(size, 2)) == 730


def test_one_tile_an_image_unless_cutting_is_asked_for():
    plain = TileRule()
    assert [plain.tokens(plain.grid(size)) for size in SIZES] == [256] * len(SIZES)
    assert plain.tokens(plain.blank) == 256
    cut = dataclasses.replace(plain, crop_to_patches=True)
    assert cut.grid((1296, 968)) == (13, 32, 32) and cut.ways_out([]) == ["set crop_to_patches to false"]


def write(folder, config, model):
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps(model))
    return folder


TILES = {"image_processor_type": "GotOcr2ImageProcessorFast", "size": {"height": 448, "width": 448}}
VISION = {"vision_config": {"image_size": [448, 448], "patch_size": [14, 14]}}
ANYRES = {"image_processor_type": "LlavaOnevisionImageProcessor", "size": {"height": 384, "width": 384}}
SIGLIP = {
    "vision_config": {"image_size": 384, "patch_size": 14},
    "image_grid_pinpoints": [list(one) for one in RELEASED],
}


def test_released_files_give_released_rules(tmp_path):
    assert image_rule(write(tmp_path, TILES, VISION)) == TileRule()
    assert image_rule(write(tmp_path, ANYRES, SIGLIP)) == AnyresRule(resolutions=RELEASED)


@pytest.mark.parametrize(
    ("config", "model", "words"),
    [
        (TILES, {}, "vision_config is missing"),
        (TILES | {"size": {"height": 224, "width": 224}}, VISION, "tiles of 224 pixels .config.json: 448"),
        (TILES | {"size": {"height": 448, "width": 224}}, VISION, "only squares"),
        (TILES | {"size": None}, VISION, "size is None, and only squares"),
        (TILES | {"resample": 2}, VISION, "resampled by 2"),
        (TILES | {"do_normalize": False}, VISION, "do_normalize"),
        (ANYRES, {}, "image_grid_pinpoints is missing"),
        (ANYRES | {"image_grid_pinpoints": [[384, 384]]}, SIGLIP, "different image_grid_pinpoints"),
        (ANYRES, SIGLIP | {"vision_aspect_ratio": "square"}, "vision_aspect_ratio 'square'"),
        (ANYRES, SIGLIP | {"vision_feature_select_strategy": "default"}, "vision_feature_select_strategy default"),
        ({"image_processor_type": "CLIPImageProcessor"}, {}, "'CLIPImageProcessor' is none that is known here"),
    ],
)
def test_files_that_mean_something_else_are_refused(tmp_path, config, model, words):
    with pytest.raises(DataError, match=words):
        image_rule(write(tmp_path, config, model))


def test_cutting_is_refused_where_a_family_does_not_do_it(tmp_path):
    with pytest.raises(ConfigError, match="crop_to_patches"):
        image_rule(write(tmp_path, ANYRES, SIGLIP), crop_to_patches=True)
