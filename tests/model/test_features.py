"""Features that are kept are those that the tower makes, whatever happens to memory, disk and weights."""

import errno
import os
from dataclasses import replace

import pytest
import torch
from hybrid import HYBRID
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import AutoModelForImageTextToText

from gpt4scene.data.image_files import image_pixels
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.video_rule import VideoLimits, VideoRule
from gpt4scene.data.vision import VisionRule
from gpt4scene.demo import tiny_model
from gpt4scene.files import features as files
from gpt4scene.files.contents import Contents
from gpt4scene.files.features import FeatureFolder
from gpt4scene.model import tower as tower_module
from gpt4scene.model.features import FeatureCache, feature_key, weights_digest
from gpt4scene.model.loading import load_model
from gpt4scene.model.tower import Tower
from gpt4scene.types import Content, Images

GRIDS = ((1, 8, 6), (1, 8, 6), (1, 4, 10))
LARGE = 10**9


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl", HYBRID])
def model(request, tmp_path_factory):
    folder = tiny_model.build(tmp_path_factory.mktemp(request.param) / "model", request.param)
    return load_model(folder).eval().requires_grad_(False), image_rule(folder)


@pytest.fixture
def keeping(model):
    """A model that takes features in place of pixels: transformers 5.17 has no way for Qwen3-VL."""
    if not Tower(*model).can_keep:
        pytest.skip("this version of transformers takes no features for this family")
    return model


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tiny_model.build(tmp_path_factory.mktemp("small") / "model")
    return load_model(folder).eval().requires_grad_(False), image_rule(folder)


def scene(rule, names=("a", "b", "c"), grids=GRIDS):
    """Images of certain contents, and their patches: equal names are equal pixels."""
    parts = []
    for name, (_, rows, columns) in zip(names, grids, strict=True):
        generator = torch.Generator().manual_seed(ord(name))
        shape = rows * columns, rule.patch_length
        parts.append(torch.randint(0, 255, shape, dtype=torch.uint8, generator=generator))
    images = Images(tuple(grids), tuple(f"{name}.png" for name in names), tuple(Content(name) for name in names))
    return images, torch.cat(parts)


class Counted(Tower):
    """A tower that notes how many images it was run on."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.ran = []

    def encode(self, grids, pixels):
        self.ran.append(len(grids))
        return super().encode(grids, pixels)


IDS = torch.tensor([[5, 6]])


def features(tower, images, patches, mark=None):
    encoded = tower._encoded(images, patches, torch.device("cpu"), mark)
    return [*encoded.pooler_output, *(one for layer in encoded.deepstack_features for one in layer)]


def equal(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


def test_a_second_visit_does_not_run_the_tower_and_is_bit_equal(keeping):
    network, rule = keeping
    tower = Counted(network, rule, cache=FeatureCache(LARGE))
    images, patches = scene(rule)
    plain = features(Tower(network, rule), images, patches)
    assert equal(features(tower, images, patches), plain)
    assert tower.knows(["a", "b", "c"]) and not tower.knows(["a", "d"]) and not tower.knows(["a", None])
    assert equal(features(tower, images, patches), plain) and tower.ran == [3]
    assert equal(features(tower, images, patches[:0]), plain) and tower.ran == [3]  # no pixels are needed


def test_only_images_that_are_not_known_are_run(keeping):
    network, rule = keeping
    tower = Counted(network, rule, cache=FeatureCache(LARGE))
    features(tower, *scene(rule))
    images, patches = scene(rule, ("d", "b", "c"))
    got, plain = features(tower, images, patches), features(Tower(network, rule), images, patches)
    assert tower.ran == [3, 1]
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(got, plain, strict=True))


def test_images_whose_content_nobody_knows_are_not_kept(small):
    network, rule = small
    tower = Counted(network, rule, cache=FeatureCache(LARGE))
    images, patches = scene(rule)
    unknown = Images(images.grids, images.paths, (images.contents[0], None, images.contents[2]))
    features(tower, unknown, patches)
    features(tower, unknown, patches)
    blank = Images((*images.grids, (1, 2, 2)), images.paths, images.contents)
    features(tower, blank, torch.cat([patches, patches.new_zeros(4, rule.patch_length)]))
    assert tower.ran == [3, 1, 2]


def test_weights_that_changed_are_never_answered_from(small):
    network, rule = small
    tower = Counted(network, rule, cache=FeatureCache(LARGE))
    images, patches = scene(rule)
    before = features(tower, images, patches)
    weight = tower.module.get_submodule("blocks.0.attn.qkv").weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    try:
        after = features(tower, images, patches)
        assert not equal(before, after) and tower.ran == [3, 3]
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    features(tower, images, patches, mark=1)
    weight.data += 1.0  # as PEFT merges: PyTorch does not count it, so the caller's mark must
    try:
        assert equal(features(tower, images, patches, mark=2), after)
    finally:
        weight.data.copy_(kept)


def test_a_key_hangs_on_all_that_features_hang_on(small, tmp_path):
    network, rule = small
    base = feature_key("a", rule, "w", "c")
    others = [feature_key("b", rule, "w", "c"), feature_key("a", rule, "v", "c"), feature_key("a", rule, "w", "d")]
    others.append(feature_key("a", VisionRule(image_resolution=100), "w", "c"))
    fewer = replace(rule, video=VideoRule(VideoLimits(video_maxlen=4)))
    assert feature_key("a", fewer, "w", "c") == base, "what is said of videos is nothing to images"
    assert feature_key("va", fewer, "w", "c") != feature_key("va", rule, "w", "c")
    assert len({base, *others}) == 5
    folder = tiny_model.build(tmp_path / "model")
    keys = set()
    for dtype, attention in ((torch.float32, "sdpa"), (torch.float32, "eager"), (torch.bfloat16, "sdpa")):
        tower = Tower(load_model(folder, dtype=dtype, attention=attention), rule, cache=FeatureCache(LARGE))
        keys.add(tower._keys(["a"], None)[0])
    cast = Tower(load_model(folder), rule, cache=FeatureCache(LARGE), autocast=lambda: torch.autocast("cpu"))
    assert len({*keys, cast._keys(["a"], None)[0]}) == 4
    other = load_model(folder)
    other.config.vision_config.hidden_act = "gelu"  # the same weights, and other features
    assert Tower(other, rule, cache=FeatureCache(LARGE))._keys(["a"], None)[0] not in keys
    assert weights_digest(network) == weights_digest(load_model(folder))  # of values, not of addresses


def test_the_scale_of_an_adapter_in_the_tower_is_part_of_its_weights(small):
    def digest(alpha):
        torch.manual_seed(0)
        config = LoraConfig(r=2, lora_alpha=alpha, target_modules=r".*visual.*qkv")
        return weights_digest(get_peft_model(load_model(small[0].name_or_path), config).base_model.model.model.visual)

    assert digest(4) == digest(4) != digest(8)


def test_a_folder_serves_a_later_run(keeping, tmp_path):
    network, rule = keeping
    images, patches = scene(rule)
    first = FeatureCache(0, FeatureFolder(tmp_path, LARGE))
    wanted = features(Tower(network, rule, cache=first), images, patches)
    first.close()
    later = Counted(network, rule, cache=FeatureCache(LARGE, FeatureFolder(tmp_path, LARGE)))
    assert later.knows(["a", "b", "c"])
    assert equal(features(later, images, patches[:0]), wanted) and not later.ran
    assert later.cache.bytes  # read once


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"x"), lambda path: os.truncate(path, 900)])
def test_a_torn_file_is_said_once_and_made_again(small, tmp_path, damage):
    network, rule = small
    images, patches = scene(rule)
    cache = FeatureCache(0, FeatureFolder(tmp_path, LARGE))
    wanted = features(Tower(network, rule, cache=cache), images, patches)
    cache.close()
    for path in tmp_path.rglob("*.safetensors"):
        damage(path)
    said = []
    tower = Counted(network, rule, cache=FeatureCache(0, FeatureFolder(tmp_path, LARGE), said.append))
    assert equal(features(tower, images, patches), wanted) and tower.ran == [3]
    tower.cache.close()
    assert len(said) == 1 and "not whole" in said[0] and "made again" in said[0]
    assert equal(features(tower, images, patches), wanted) and tower.ran == [3]


def test_a_full_disk_is_said_once_and_the_run_goes_on(small, tmp_path, monkeypatch):
    network, rule = small
    images, patches = scene(rule)

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.Path, "write_bytes", full)
    said = []
    tower = Counted(network, rule, cache=FeatureCache(0, FeatureFolder(tmp_path, LARGE), said.append))
    plain = features(Tower(network, rule), images, patches)
    for _ in range(2):
        assert equal(features(tower, images, patches), plain)
        tower.cache.close()
    assert len(said) == 1 and "No space left" in said[0] and not list(tmp_path.rglob("*.safetensors"))


def test_a_folder_that_cannot_be_made_is_said_once(small, tmp_path):
    network, rule = small
    (tmp_path / "file").write_text("x")
    said = []
    tower = Tower(network, rule, cache=FeatureCache(LARGE, FeatureFolder(tmp_path / "file" / "in", LARGE), said.append))
    images, patches = scene(rule)
    features(tower, images, patches)
    tower.cache.close()
    features(tower, *scene(rule, ("x", "y", "z")))
    tower.cache.close()
    assert said and all("file/in" in sentence for sentence in said) and len(said) <= 2


def test_features_kept_in_inference_mode_can_be_learned_from(small):
    network, rule = small
    tower = Tower(network, rule, cache=FeatureCache(LARGE))
    images, patches = scene(rule)
    with torch.inference_mode():
        features(tower, images, patches)
    weight = torch.ones(len(features(tower, images, patches)[0]), requires_grad=True)
    (features(tower, images, patches)[0] * weight[:, None]).sum().backward()
    assert weight.grad.abs().sum() > 0


def ids_with_images(network, rule):
    pads = [network.config.image_token_id] * sum(rows * columns // 4 for _, rows, columns in GRIDS)
    return torch.tensor([[5, *pads, 7]])


def test_the_model_computes_the_same_from_features_as_from_pixels(keeping):
    network, rule = keeping
    tower = Tower(network, rule, cache=FeatureCache(LARGE))
    images, patches = scene(rule)
    ids = ids_with_images(network, rule)
    positions = torch.arange(ids.shape[1]).expand(3, 1, -1)
    known = [network(**{"input_ids": ids, "position_ids": positions} | tower.inputs(images, patches, ids)).logits]
    known.append(
        network(**{"input_ids": ids, "position_ids": positions} | tower.inputs(images, patches[:0], ids)).logits
    )
    sharded = Tower(network, rule, whole=False, cache=FeatureCache(LARGE))
    assert sharded.cache is None
    given = sharded.inputs(images, patches, ids)
    assert "pixel_values" in given
    known.append(network(input_ids=ids, position_ids=positions, **given).logits)
    assert torch.equal(known[0], known[1]) and torch.allclose(known[0], known[2], atol=1e-5)


def test_transformers_without_an_argument_for_features_gets_embeddings(model):
    """As with transformers 5.17: Qwen2's families take embeddings; Qwen3-VL, whose later layers add more, pixels."""
    network, rule = model
    tower = Tower(network, rule)
    tower._takes_features = False
    images, patches = scene(rule)
    ids = ids_with_images(network, rule)
    positions = torch.arange(ids.shape[1]).expand(3, 1, -1)
    given = tower.inputs(images, patches, ids)
    plain = Tower(network, rule).inputs(images, patches, ids)
    assert ("pixel_values" in given) == tower._deepstack and ("inputs_embeds" in given) != tower._deepstack
    base = {"input_ids": ids, "position_ids": positions}
    assert torch.allclose(network(**base | given).logits, network(**base | plain).logits, atol=1e-5)


def test_a_tower_that_learns_gets_pixels_and_keeps_nothing(small):
    network, rule = small
    images, patches = scene(rule)
    merger = network.get_submodule("model.visual.merger")
    merger.requires_grad_(True)
    try:
        given = Tower(network, rule).inputs(images, patches, IDS)
        assert "pixel_values" in given
        with torch.no_grad():
            assert "pixel_values" not in Tower(network, rule).inputs(images, patches, IDS)
    finally:
        merger.requires_grad_(False)


def test_missing_features_of_files_are_made_from_the_files(small, tmp_path):
    """Where features were dropped after a loader had been told that they are known."""
    network, rule = small
    path = str(tmp_path / "a.png")
    Image.effect_mandelbrot((80, 60), (-2, -1, 1, 1), 20).convert("RGB").save(path)
    grids = ((1, 4, 6), (1, 2, 2))
    patches = torch.from_numpy(image_pixels([path], grids, rule))
    tower = Tower(network, rule, cache=FeatureCache(LARGE))
    images = Images(grids, (path,))
    assert equal(features(tower, images, patches[:0]), features(Tower(network, rule), images, patches))
    tower.contents.learn(path, tower.contents.content(path))
    assert tower.cache.bytes > 0


@pytest.mark.parametrize("known", [False, True], ids=["looked at now", "looked at before"])
def test_a_file_that_changes_while_it_is_decoded_is_not_kept(small, tmp_path, monkeypatch, known):
    network, rule = small
    path = tmp_path / "a.png"
    colour = (80, 60)
    Image.new("RGB", colour, "red").save(path)
    first = path.read_bytes()

    def changed(paths, *args, **options):
        Image.new("RGB", colour, "blue").save(path)
        return image_pixels(paths, *args, **options)

    held = (Contents().content(str(path)),) if known else ()
    images, none = Images(((1, 4, 6),), (str(path),), held), torch.empty(0, rule.patch_length, dtype=torch.uint8)
    tower = Tower(network, rule, cache=FeatureCache(LARGE))
    wanted = features(Tower(network, rule), images, none)
    monkeypatch.setattr(tower_module, "image_pixels", changed)
    assert not equal(features(tower, images, none), wanted)
    monkeypatch.undo()
    path.write_bytes(first)
    assert equal(features(tower, images, none), wanted)


def test_a_folder_that_may_only_be_read_serves_what_is_whole(small, tmp_path, monkeypatch):
    network, rule = small
    images, patches = scene(rule)
    cache = FeatureCache(0, FeatureFolder(tmp_path, LARGE))
    wanted = features(Tower(network, rule, cache=cache), images, patches)
    cache.close()
    sorted(tmp_path.rglob("*.safetensors"))[0].write_bytes(b"x")

    def refused(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("unlink", "replace", "utime", "mkdir"):
        monkeypatch.setattr(os, name, refused)
    said = []
    tower = Counted(network, rule, cache=FeatureCache(0, FeatureFolder(tmp_path, LARGE), said.append))
    got = features(tower, images, patches)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(got, wanted, strict=True))
    assert tower.ran == [1]  # by itself, so that its products are rounded otherwise
    tower.cache.close()
    features(tower, images, patches)
    assert tower.ran == [1, 1] and ["not whole" in said[0], "can't be written" in said[1], len(said)] == [True, True, 2]


def test_the_reference_is_the_tower_of_transformers(small, tmp_path):
    network, rule = small
    images, patches = scene(rule)
    reference = AutoModelForImageTextToText.from_pretrained(network.name_or_path, attn_implementation="sdpa")
    from gpt4scene.model.pixels import normalise

    with torch.no_grad():
        theirs = reference.model.get_image_features(normalise(patches, rule), torch.tensor(GRIDS)).pooler_output
    tower = Tower(network, rule, cache=FeatureCache(LARGE))
    for _ in range(2):
        ours = features(tower, images, patches)
        assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(ours, theirs, strict=True))


def test_a_cpu_runs_few_images_at_a_time_and_the_features_are_the_same(keeping, monkeypatch):
    tower, (images, patches) = Counted(*keeping), scene(keeping[1])
    wanted = features(tower, images, patches)
    monkeypatch.setattr("gpt4scene.model.tower._AT_A_TIME", 2 * 48 + 39)  # patches: the third image has 40
    found = features(tower, images, patches)
    assert tower.ran == [3, 2, 1] and len(found) == len(wanted)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, wanted, strict=True))
