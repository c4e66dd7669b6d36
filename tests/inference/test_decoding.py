"""How tokens are drawn: by which numbers, and among which tokens."""

import dataclasses

import pytest
import torch

from gpt4scene.inference.decoding import GenerationSettings, draw, uniforms_of
from gpt4scene.types import Question, Turn


def test_each_part_of_a_question_and_its_settings_has_numbers_of_its_own_but_not_its_images():
    question, settings = Question("scanqa", 1, "room", "And there?"), GenerationSettings(seed=1)
    first = Turn("user", "What is it?"), Turn("assistant", "A chair.")
    others = [{"task": "sqa3d"}, {"index": 2}, {"scene_id": "hall"}, {"prompt": "Why?"}, {"earlier": first}]
    others += [{"earlier": (Turn("user", "What is it?"), Turn("assistant", "A bed."))}]
    drawn = [uniforms_of(dataclasses.replace(question, **other), settings) for other in others]
    drawn += [uniforms_of(question, settings, 1), uniforms_of(question, dataclasses.replace(settings, seed=2))]
    drawn += [uniforms_of(question, settings)]
    assert len({tuple(one.tolist()) for one in drawn}) == len(drawn)
    assert torch.equal(drawn[-1], uniforms_of(dataclasses.replace(question, images=("a.png",)), settings))
    assert torch.allclose(drawn[-1][:2], torch.tensor([0.7010, 0.7354]), atol=1e-4), (
        "answers of earlier versions come again"
    )


def test_sampling_takes_the_likeliest_tokens_that_make_up_top_p():
    scores = torch.tensor([[0.1, 0.5, 0.3, 0.1]]).log().repeat(200, 1)
    uniforms = torch.rand(200, generator=torch.Generator().manual_seed(0))
    for top_p, kept in ((0.4, {1}), (0.6, {1, 2}), (0.999, {0, 1, 2, 3}), (None, {0, 1, 2, 3})):
        limit = None if top_p is None else torch.full((200,), top_p)
        assert set(draw(scores, torch.ones(200), limit, uniforms).tolist()) == kept


def test_settings_out_of_range_are_named():
    for wrong in ({"max_new_tokens": 0}, {"temperature": -1}, {"top_p": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            GenerationSettings(**wrong)
