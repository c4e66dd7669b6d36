"""Videos in packs: the same loss, gradients and answers as the family's own model gives on its own inputs."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText
from videos import write_frames, write_video

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.groups import group_rows
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import collate, make_pack
from gpt4scene.data.positions import pack_positions
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.data.video_rule import VideoLimits
from gpt4scene.demo import tiny_model
from gpt4scene.families.registry import FAMILIES
from gpt4scene.files.media import video_name
from gpt4scene.files.tokenized import read_tokenized, write_tokenized
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.engine import Engine
from gpt4scene.inference.scheduler import Scheduler
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import load_model, load_tokenizer
from gpt4scene.model.pixels import normalise
from gpt4scene.types import IGNORED, Conversation, Origin, Question, Turn

NAMES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5")
ROWS = (("What color is the chair?", "Red."), ("How many lamps are in the room?", "Two lamps."), ("Where?", "No."))
LIMITS = VideoLimits(video_fps=2.0, video_maxlen=8, video_max_pixels=64 * 64)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A video, an image and a list of frames: what the prefix of each row shows, in order."""
    folder = tmp_path_factory.mktemp("videos")
    video = video_name([write_video(folder / "room.mp4", frames=33, rate=10, size=(96, 64))])
    frames = write_frames(folder / "frames", 3, (64, 64))
    return video, frames[0], video_name(frames)


@pytest.fixture(scope="module", params=NAMES)
def setting(request, tmp_path_factory, shown):
    folder = tiny_model.build(tmp_path_factory.mktemp(request.param) / "model", request.param)
    rule = image_rule(folder, 64, video=LIMITS)
    encoder = Encoder(load_tokenizer(folder), TEMPLATES[FAMILIES[request.param].template], rule)
    rows = [
        Conversation(
            (Turn("user", "Look: <video> and <image><video>" + question), Turn("assistant", answer)),
            shown,
            Origin("d", "f", number),
        )
        for number, (question, answer) in enumerate(ROWS)
    ]
    return folder, encoder, [encoder.encode(row) for row in rows]


def as_theirs(encoder, sample, model):
    """What Hugging Face's model takes for a row: pads of videos, their pixels and grids apart from those of images."""
    batch = collate(make_pack([sample]), encoder)
    ids = batch.input_ids.clone()
    parts = normalise(batch.pixel_values, encoder.vision).split([encoder.vision.patches(grid) for grid in sample.grids])
    videos = [len(grid) > 3 for grid in sample.grids]
    pads = (ids[0] == encoder.special.image_pad).nonzero()[:, 0]
    of_video = np.repeat(videos, [encoder.vision.tokens(grid) for grid in sample.grids])
    kinds = torch.zeros_like(ids, dtype=torch.int32)
    kinds[0, pads] = torch.from_numpy(1 + of_video).int()
    ids[0, pads[torch.from_numpy(of_video)]] = model.config.video_token_id
    chosen = {kind: [one for one, is_video in enumerate(videos) if is_video == kind] for kind in (False, True)}
    inputs = {
        "input_ids": ids,
        "pixel_values": torch.cat([parts[one] for one in chosen[False]]),
        "image_grid_thw": torch.tensor([sample.grids[one][:3] for one in chosen[False]]),
        "pixel_values_videos": torch.cat([parts[one] for one in chosen[True]]),
        "video_grid_thw": torch.tensor([sample.grids[one][:3] for one in chosen[True]]),
        "mm_token_type_ids": kinds,
    }
    if model.config.model_type == "qwen2_5_vl":
        rate = model.config.vision_config.tokens_per_second
        inputs["second_per_grid_ts"] = [sample.grids[one][3] / rate for one in chosen[True]]
    return inputs, batch.position_ids


def test_positions_are_those_of_the_family_and_the_original_ones_behind_a_long_video(setting):
    """transformers 5 goes on behind a video at its longer side; 4.x and the paper do where time is shorter alone."""
    folder, encoder, (sample, *_) = setting
    model = AutoModelForImageTextToText.from_pretrained(folder)
    inputs, positions = as_theirs(encoder, sample, model)
    keys = ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw", "second_per_grid_ts")
    theirs = model.model.get_rope_index(**{key: inputs[key] for key in keys if key in inputs})[0]
    grid = sample.grids[0]
    first = int((inputs["mm_token_type_ids"][0] == 2).nonzero()[0])
    behind = first + encoder.vision.tokens(grid) if grid[3] else len(sample.ids_L)
    assert torch.equal(positions[..., :behind], theirs[..., :behind])
    if grid[3]:
        places = positions[:, 0, first:behind]
        assert positions[:, 0, behind].tolist() == [int(places.max()) + 1] * 3
        assert places[0].unique().tolist() == [first + int(step * grid[3]) for step in range(grid[0])]


def test_rows_of_videos_come_back_from_their_tokens_and_join_the_same_packs(setting, shown, tmp_path):
    """Rows with an image of their own behind the videos join the scene's packs; positions are those of each alone."""
    _, encoder, _ = setting
    own = write_frames(tmp_path / "own", 2, (64, 96))
    rows = [
        Conversation(
            (Turn("user", f"Look: <video> and <image><video>{'<image>' * len(more)}{asked}"), Turn("assistant", said)),
            (*shown, *more),
            Origin("d", "f", number),
        )
        for number, (more, (asked, said)) in enumerate(zip(((), (), own[:1], own[1:]), (*ROWS, ROWS[0]), strict=True))
    ]
    samples = [encoder.encode(row) for row in rows]
    write_tokenized(tmp_path / "tokens", samples, {})
    found = read_tokenized(tmp_path / "tokens", {})
    for one, sample in zip(found, samples, strict=True):
        assert np.array_equal(one.ids_L, sample.ids_L) and np.array_equal(one.labels_L, sample.labels_L)
        assert (one.images, one.grids, one.cut) == (sample.images, sample.grids, sample.cut)
    groups = group_rows(rows, encoder)
    assert group_rows(found, encoder) == groups and len({groups.root(key) for key in groups.keys}) == 1
    pack, pad, rule = make_pack(list(found), encoder), encoder.special.image_pad, encoder.vision
    packed, start = pack_positions(pack, pad, rule), len(pack.prefix_P)
    assert start == samples[0].cut < samples[2].cut
    for sample, branch in zip(samples, pack.branches, strict=True):
        alone = rule.positions(sample.ids_L, sample.grids, pad)
        end = start + len(branch.ids_L)
        assert np.array_equal(packed[:, : samples[0].cut], alone[:, : samples[0].cut])
        assert np.array_equal(packed[:, start:end], alone[:, samples[0].cut :])
        start = end


@pytest.mark.slow
def test_loss_and_gradients_of_a_pack_are_those_of_the_familys_own_model(setting):
    folder, encoder, samples = setting
    ours = load_model(folder).train()
    theirs = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager").train()
    losses = row_losses(ours, collate(make_pack(samples, encoder), encoder), encoder.vision)
    losses.sum().backward()
    for number, sample in enumerate(samples):
        inputs, positions = as_theirs(encoder, sample, theirs)
        labels = torch.from_numpy(sample.labels_L)[None]
        loss = theirs(**inputs, position_ids=positions, labels=labels).loss
        assert torch.allclose(loss, losses[number], rtol=2e-5, atol=2e-6), number
        loss.backward()
    gradients = {name: part.grad for name, part in theirs.named_parameters() if part.grad is not None}
    assert any("visual" in name for name in gradients) and (labels != IGNORED).any()
    for name, part in ours.named_parameters():
        if part.grad is not None:
            scale = gradients[name].abs().max().clamp(min=1e-6)
            assert float((part.grad - gradients[name]).abs().max() / scale) < 2e-4, name


@pytest.mark.slow
def test_answers_about_a_video_are_those_of_generate(setting, shown):
    folder, encoder, _ = setting
    model = load_model(folder).eval()
    engine = Engine(Scheduler(model, encoder))
    questions = [
        Question("vsibench", number, "room", "Look: <video> and <image><video>" + asked, shown)
        for number, (asked, _) in enumerate(ROWS)
    ]
    answers = {
        answer.question.index: answer for answer in engine.answer(questions, GenerationSettings(max_new_tokens=6))
    }
    theirs = AutoModelForImageTextToText.from_pretrained(folder).eval()
    for question in questions:
        sample = encoder.encode_question(question)
        inputs, positions = as_theirs(encoder, sample, theirs)
        said = []
        with torch.inference_mode():
            for _ in range(len(answers[question.index].token_ids)):
                logits = theirs(**inputs, position_ids=positions).logits[0, -1]
                said.append(int(logits.argmax()))
                more = torch.tensor([[said[-1]]])
                inputs["input_ids"] = torch.cat([inputs["input_ids"], more], 1)
                inputs["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, 1))
                positions = torch.cat([positions, positions[..., -1:] + 1], -1)
        assert tuple(said) == answers[question.index].token_ids, question.index
