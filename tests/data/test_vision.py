import json

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from gpt4scene.data.image_files import ImageSizes, patches
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.vision import VisionRule
from gpt4scene.demo.tiny_model import build
from gpt4scene.errors import DataError
from gpt4scene.model.inputs import normalise
from gpt4scene.types import Origin

ORIGIN = Origin("demo", "rows.json", 7)


@pytest.fixture
def rule():
    return VisionRule()


@pytest.fixture
def unbound():
    return VisionRule(image_resolution=None)


def reference(image: Image.Image, rule: VisionRule):
    processor = Qwen2VLImageProcessorPil(
        patch_size=rule.patch_size,
        merge_size=rule.merge_size,
        temporal_patch_size=rule.temporal_patch_size,
        size={"shortest_edge": rule.min_pixels, "longest_edge": rule.max_pixels},
        image_mean=list(rule.mean),
        image_std=list(rule.std),
    )
    return processor(image, return_tensors="np")


def noise(size, mode="RGB", seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    if mode == "RGBA":
        return Image.fromarray(values)
    image = Image.fromarray(values[:, :, :3])
    return image.quantize(64) if mode == "P" else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "LA", "1"])
@pytest.mark.parametrize("size", [(57, 56), (201, 99), (28, 300)])
def test_pixels_equal_the_hugging_face_processor_bit_for_bit(tmp_path, unbound, size, mode):
    if mode == "RGBA" and Version(transformers.__version__) < Version("5.23"):
        pytest.skip("before 5.23, the processor drops alpha without blending: 5.17 was tried")
    path = tmp_path / "a.png"
    noise(size, mode).save(path)
    ours = patches(str(path), unbound)
    with Image.open(path) as image:
        theirs = reference(image, unbound)
    assert ours.dtype == np.uint8
    assert unbound.grid(size) == tuple(theirs["image_grid_thw"][0])
    assert np.array_equal(normalise(torch.from_numpy(ours), unbound).numpy(), theirs["pixel_values"])


def test_pixels_are_one_bicubic_step_from_the_original_to_the_grid(tmp_path, rule):
    path = tmp_path / "a.png"
    noise((1296, 968)).save(path)
    with Image.open(path) as image:
        theirs = reference(image.resize((504, 392), Image.Resampling.BICUBIC), rule)
    ours = patches(str(path), rule)
    assert tuple(theirs["image_grid_thw"][0]) == (1, 28, 36)
    assert np.array_equal(normalise(torch.from_numpy(ours), rule).numpy(), theirs["pixel_values"])


def test_every_byte_value_normalises_as_the_reference_does():
    rule = VisionRule(patch_size=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.3), min_pixels=32 * 32)
    values = np.arange(256, dtype=np.uint8).repeat(12).reshape(32, 32, 3)
    image = Image.fromarray(values)
    theirs = reference(image, rule)["pixel_values"]
    assert np.array_equal(normalise(torch.from_numpy(rule.patchify(values)), rule).numpy(), theirs)


def test_the_input_of_normalise_stays_as_it_was(rule):
    values = torch.full((4, rule.patch_length), 9, dtype=torch.uint8)
    normalise(values, rule)
    assert values.unique().tolist() == [9]


def test_published_grid_and_token_count(rule):
    assert rule.fit((1296, 968)) == (504, 392)
    assert rule.grid((1296, 968)) == (1, 28, 36)
    assert rule.tokens((1, 28, 36)) == 252


@pytest.mark.parametrize("size", [(3, 5), (10, 900), (5000, 4000), (28, 28), (1, 1)])
def test_fit_respects_bounds_and_the_reference(unbound, size):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    height, width = smart_resize(size[1], size[0], unbound.factor, unbound.min_pixels, unbound.max_pixels)
    assert unbound.fit(size) == (width, height)


def test_a_sliver_is_refused_with_its_name(tmp_path, rule):
    path = tmp_path / "sliver.png"
    noise((900, 3)).save(path)
    with pytest.raises(DataError, match=r"sliver\.png.*rows\.json, row 7.*200 times"):
        ImageSizes().grid(str(path), rule, ORIGIN)


def test_sizes_read_the_header_once(tmp_path):
    path = tmp_path / "a.png"
    noise((57, 40)).save(path)
    path.write_bytes(path.read_bytes()[:200])
    sizes = ImageSizes()
    assert sizes(str(path)) == (57, 40)
    path.unlink()
    assert sizes(str(path)) == (57, 40)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "does not exist"), (b"", "is empty"), (b"no image at all", "is no image")]
)
def test_bad_files_are_named_with_their_row(tmp_path, rule, content, words):
    path = tmp_path / "bad.jpg"
    if content is not None:
        path.write_bytes(content)
    for read in (ImageSizes(), lambda name, origin: patches(name, rule, origin)):
        with pytest.raises(DataError, match=rf"bad\.jpg \(needed by rows\.json, row 7 \(dataset 'demo'\)\).*{words}"):
            read(str(path), ORIGIN)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_image_is_named_when_decoded(tmp_path, rule, suffix):
    path = tmp_path / f"cut.{suffix}"
    noise((200, 150)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"cut\.{suffix}.*row 7.*can't be decoded"):
        patches(str(path), rule, ORIGIN)


def test_orientation_tags_are_not_applied(tmp_path, rule):
    path, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[0x0112] = 6
    noise((112, 56)).save(path, exif=exif)
    assert ImageSizes()(str(path)) == (112, 56)
    assert len(patches(str(path), rule)) == 8 * 4


def write_config(folder, name="preprocessor_config.json", **values):
    (folder / name).write_text(json.dumps(values))
    return folder


def test_spec_reads_old_and_new_spelling(tmp_path):
    old = image_rule(write_config(tmp_path, patch_size=14, min_pixels=784, max_pixels=7840))
    assert (old.min_pixels, old.max_pixels) == (784, 7840)
    size = {"shortest_edge": 65536, "longest_edge": 16777216}
    new = image_rule(write_config(tmp_path, patch_size=16, size=size, image_mean=[0.5] * 3))
    assert (new.min_pixels, new.max_pixels, new.factor, new.mean) == (65536, 16777216, 32, (0.5, 0.5, 0.5))


def test_spec_reads_a_combined_processor_file(tmp_path):
    write_config(tmp_path, "processor_config.json", image_processor={"patch_size": 16, "merge_size": 2})
    assert image_rule(tmp_path).patch_size == 16


def test_a_model_folder_without_processor_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no preprocessor_config\.json"):
        image_rule(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("")
    with pytest.raises(ValueError, match=r"preprocessor_config\.json: the description of the image processor is empty"):
        image_rule(tmp_path)


def test_a_processor_that_does_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match="do_normalize"):
        image_rule(write_config(tmp_path, do_normalize=False))


def test_pixels_of_a_real_photograph(shared_data, rule):
    path = sorted((shared_data / "scenes" / "hololens_000" / "images").iterdir())[0]
    with Image.open(path) as image:
        size = rule.fit(image.size)
        theirs = reference(image.convert("RGB").resize(size, Image.Resampling.BICUBIC), rule)
    ours = normalise(torch.from_numpy(patches(str(path), rule)), rule)
    assert np.array_equal(ours.numpy(), theirs["pixel_values"])


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl"])
def test_the_spec_of_a_checkpoint_is_that_of_its_processor(tmp_path, family):
    folder = build(tmp_path / "model", family)
    rule, theirs = image_rule(folder), Qwen2VLImageProcessorPil.from_pretrained(folder)
    assert (rule.patch_size, rule.merge_size, rule.temporal_patch_size) == (
        theirs.patch_size,
        theirs.merge_size,
        theirs.temporal_patch_size,
    )
    assert (list(rule.mean), list(rule.std)) == (list(theirs.image_mean), list(theirs.image_std))
    assert (rule.min_pixels, rule.max_pixels) == (theirs.size["shortest_edge"], theirs.size["longest_edge"])


def area_rule(size, most, least):
    """LLaMA-Factory's rule, done on an image: shrunk, grown, and no side below 28, one resize after the other."""
    image = Image.new("L", size)
    for too_much, area in ((True, most), (False, least)):
        have = image.width * image.height
        if have > area if too_much else have < area:
            factor = (area / have) ** 0.5
            image = image.resize((int(image.width * factor), int(image.height * factor)))
    if min(image.size) < 28:
        image = image.resize((max(image.width, 28), max(image.height, 28)))
    return image.size


SIZES = [(1296, 968), (640, 480), (968, 1296), (4000, 3000), (20, 20), (10, 300), (1440, 30), (29, 31)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("most", "least"), [(768 * 768, 32 * 32), (262144, 1024), (50176, 3136), (10**8, 10**6)])
def test_the_area_limits_of_llamafactory(size, most, least, unbound):
    ours = VisionRule(image_resolution=None, image_max_pixels=most, image_min_pixels=least)
    assert ours.fit(size) == unbound.fit(area_rule(size, most, least))


def test_side_and_area_are_both_obeyed_the_side_first():
    both = VisionRule(image_resolution=512, image_max_pixels=100_000, image_min_pixels=1024)
    side_alone = VisionRule(image_resolution=512)
    area_alone = VisionRule(image_resolution=None, image_max_pixels=100_000, image_min_pixels=1024)
    assert both.fit((1296, 968)) == area_alone.fit((512, 382))
    assert both.fit((512, 100)) == side_alone.fit((512, 100))


def test_an_area_changes_nothing_of_an_image_within_it():
    rule = VisionRule(image_resolution=None, image_max_pixels=10**7, image_min_pixels=1)
    assert rule.fit((1296, 968)) == VisionRule(image_resolution=None).fit((1296, 968))
