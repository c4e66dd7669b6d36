"""The sampler's buffers follow the slots, whatever mixture of settings came before."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpt4scene.inference.decoding import GenerationSettings, draw, penalise
from gpt4scene.inference.sampling import BROKEN, Choice, Sampler

KINDS = {
    "greedy": (0.0, 1.0),
    "drawn": (1.0, 1.0),
    "penalised": (0.0, 1.5),
    "both": (1.0, 1.5),
}


def choice(kind, number):
    temperature, penalty = KINDS[kind]
    wanted = GenerationSettings(max_new_tokens=16, temperature=temperature)
    draws = torch.full((16,), (number % 10) / 10) if temperature else None
    return Choice(wanted, penalty, draws, [np.array([number % 7])] if penalty != 1 else [])


WORK = st.lists(
    st.tuples(
        st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=12), st.sets(st.integers(0, 30), max_size=12)
    ),
    max_size=5,
)


@settings(max_examples=40)
@given(WORK)
@example([(["drawn"], {0}), (["greedy"] * 12, {0, 1})])
@example([(["drawn"] * 12 + ["penalised"], {12}), (["drawn"] * 4, {0, 1})])
def test_slots_come_and_go_in_any_mixture(work):
    sampler, slots, number = Sampler(64, 20, torch.device("cpu")), [], 0
    scores = torch.randn(20, generator=torch.Generator().manual_seed(0))
    for kinds, gone in work:
        fresh = [(kind, number + place) for place, kind in enumerate(kinds)]
        number += len(kinds)
        sampler.add([choice(*one) for one in fresh])
        sampler.choose(scores.expand(len(fresh), -1).clone(), len(slots))
        slots += fresh
        ids, _ = sampler.choose(scores.expand(len(slots), -1).clone())
        assert len(ids) == len(slots)
        kept = [place for place in range(len(slots)) if place not in gone]
        count = len(kept)
        late = [place for place in kept if place >= count]
        free = [place for place in range(count) if place not in kept]
        moves = list(zip(free, late, strict=True))
        sampler.keep(moves, count)
        for to, source in moves:
            slots[to] = slots[source]
        del slots[count:]
        for place, (kind, own) in enumerate(slots):
            assert KINDS[kind][1] == 1 or bool(sampler._seen[place, own % 7]), "what it has seen moved with it"


@pytest.mark.parametrize("top_p", [None, 0.9, 1e-300])
@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-39, 5e-324])
def test_a_temperature_near_zero_draws_the_likeliest_token(temperature, top_p):
    scores = torch.tensor([[4.0, 20.0, 12.0, 8.0]])
    limits = None if top_p is None else torch.tensor([top_p])
    assert draw(scores, torch.tensor([temperature]), limits, torch.tensor([0.99])).tolist() == [1]


LOW = st.one_of(st.floats(0, 1, exclude_min=True), st.sampled_from([5e-324, 1e-300, 1e-45, 1e-39]))
ANY = st.one_of(st.floats(0, 1e308, exclude_min=True), LOW)
SCORE = st.one_of(st.sampled_from([0.0, -0.0, 3e38, -3e38]), st.floats(-40, 40, width=32))


@pytest.mark.slow
@settings(max_examples=300)
@given(ANY, ANY, LOW, st.lists(SCORE, min_size=4, max_size=4), st.floats(0, 1, exclude_max=True, width=32))
@example(1e300, 1e-300, 1e-300, [4.0, 20.0, -12.0, 0.0], 0.3)
@example(1e308, 1e308, 0.9, [-4.0, 20.0, -12.0, 0.0], 0.3)
def test_whatever_the_settings_a_token_is_drawn(temperature, penalty, top_p, scores, number):
    """An index out of bounds would end the engine of all."""
    wanted = GenerationSettings(temperature=temperature, repetition_penalty=penalty, top_p=top_p)
    sampler = Sampler(4, 4, torch.device("cpu"))
    sampler.add([Choice(wanted, penalty, torch.full((1,), number), [np.array([0, 2, 3])])])
    ids, _ = sampler.choose(torch.tensor([scores]))
    assert ids.tolist()[0] in range(4)
    lowered = penalise(torch.tensor([scores]), torch.tensor([[True, False, True, True]]), torch.tensor([penalty]))
    assert not lowered.isnan().any()


def test_scores_that_are_no_numbers_break_their_own_row_only():
    scores = torch.randn(6, 20, generator=torch.Generator().manual_seed(1))
    drawn = GenerationSettings(max_new_tokens=4, temperature=1.0, top_p=0.5, return_logprobs=True, top_logprobs=1)
    chosen = {}
    for broken in (False, True):
        rows = scores.clone()
        if broken:
            rows[1, 3], rows[3, 7], rows[5] = float("nan"), float("inf"), float("nan")
        sampler = Sampler(8, 20, torch.device("cpu"))
        sampler.add([choice(kind, 3) for kind in KINDS] + [Choice(drawn, 1.0, torch.full((4,), 0.6))] * 2)
        ids, chosen[broken] = sampler.choose(rows)
        assert ids.min() >= 0 and ids.max() < 20, "an index out of bounds would end the engine of all"
    assert [one.id for one in chosen[True]][1::2] == [BROKEN] * 3 and BROKEN not in {one.id for one in chosen[False]}
    assert chosen[True][::2] == chosen[False][::2]
