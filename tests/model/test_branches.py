"""Attention over kept keys equals attention of every branch alone, on the keys that it sees written one by one."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from gpt4scene.model.branches import BranchFill, BranchStep, PrefixDone, PrefixFill
from gpt4scene.model.kept_attention import own_by_flash, own_by_products

HEADS, KEY_HEADS, CHANNELS, SCALE = 6, 2, 16, 0.3
LENGTHS, SPARE = (5, 1, 9, 3), 2


def states(heads, length):
    return torch.randn(1, heads, length, CHANNELS, dtype=torch.float64)


def alone(query, key, value, **options):
    return scaled_dot_product_attention(query, key, value, scale=SCALE, enable_gqa=True, **options)


@pytest.fixture
def prefixes():
    torch.manual_seed(0)
    return [torch.randn(2, 2, KEY_HEADS, length, CHANNELS, dtype=torch.float64) for length in (40, 23)]


CASES = {
    "one for all": [(0, None)],
    "several, and a branch without any": [(0, (0, 2)), (1, (3,))],
    "none": [],
}


def used(case, prefixes):
    """The prefixes as a layout takes them for rows that are branches, and the prefix of each branch."""
    parts = [(prefixes[one], None if rows is None else torch.tensor(rows)) for one, rows in CASES[case]]
    of_branch = {
        branch: prefixes[one] for one, rows in CASES[case] for branch in (range(len(LENGTHS)) if rows is None else rows)
    }
    return parts, of_branch


def whole_keys(of_branch, branch, own, layer=1):
    """Keys or values of a branch with those of its prefix before them; ``own`` is (0 or 1, states)."""
    kind, states = own
    return torch.cat([of_branch[branch][layer, kind][None], states], 2) if branch in of_branch else states


STARTS = (0, 4, 0, 2)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layer", [0, 1])
def test_questions_are_filled_as_if_each_were_alone(case, layer, prefixes):
    total = sum(LENGTHS)
    query, key, value = states(HEADS, total), states(KEY_HEADS, total), states(KEY_HEADS, total)
    first_level = [(prefixes[one], rows) for one, rows in CASES[case]]
    stems = [
        (torch.randn(2, 2, KEY_HEADS, STARTS[branch], CHANNELS, dtype=torch.float64), [branch]) for branch in (1, 3)
    ]
    _, of_branch = used(case, prefixes)
    slots = torch.zeros(2, 2, len(LENGTHS) + SPARE, KEY_HEADS, 14, CHANNELS, dtype=torch.float64)
    layout = BranchFill.build(slots, SPARE, STARTS, LENGTHS, [first_level, stems])
    out = layout.attend(layer, query, key, value, SCALE)
    start = 0
    for branch, length in enumerate(LENGTHS):
        rows = slice(start, start + length)
        own = [new[:, :, rows] for new in (key, value)]
        for stem, (member,) in stems:
            if member == branch:
                own = [torch.cat([stem[layer, kind][None], one], 2) for kind, one in enumerate(own)]
        keys, values = (whole_keys(of_branch, branch, (kind, one), layer) for kind, one in enumerate(own))
        seen = torch.ones(length, keys.shape[2], dtype=torch.bool).tril(keys.shape[2] - length)
        wanted = alone(query[:, :, rows], keys, values, attn_mask=seen).transpose(1, 2)
        kept = slice(length - 1 if layer else 0, length)  # the last layer counts at the last token only
        assert torch.allclose(out[:, rows][:, kept], wanted[:, kept], atol=1e-14)
        places = slice(STARTS[branch], STARTS[branch] + length)
        assert torch.equal(slots[layer, 0, SPARE + branch, :, places], key[0, :, rows])
        assert torch.equal(slots[layer, 1, SPARE + branch, :, places], value[0, :, rows])
        start += length
    assert not slots[:, :, :SPARE].any() and not slots[1 - layer].any()


def test_words_that_predict_nothing_are_kept_and_go_no_further():
    slots = torch.zeros(2, 2, 1, KEY_HEADS, 7, CHANNELS, dtype=torch.float64)
    key = states(KEY_HEADS, 7)
    with pytest.raises(PrefixDone):
        BranchFill.build(slots, 0, [0], [7], [[]], predict=False).attend(1, states(HEADS, 7), key, key, SCALE)
    assert torch.equal(slots[1, 0, 0], key[0])


@pytest.mark.parametrize("case", CASES)
def test_a_step_attends_as_if_each_branch_were_alone(case, prefixes):
    parts, of_branch = used(case, prefixes)
    slots = torch.randn(2, 2, len(LENGTHS) + SPARE, KEY_HEADS, 12, CHANNELS, dtype=torch.float64)
    before = slots.clone()
    rows = len(LENGTHS)
    query, key, value = states(HEADS, rows), states(KEY_HEADS, rows), states(KEY_HEADS, rows)
    layout = BranchStep.build(slots, torch.tensor(LENGTHS), max(LENGTHS) + 1, parts)
    out = layout.attend(1, query, key, value, SCALE)
    for branch, length in enumerate(LENGTHS):
        own = [
            torch.cat([before[1, kind, branch][None, :, :length], new[:, :, branch : branch + 1]], 2)
            for kind, new in enumerate((key, value))
        ]
        keys, values = (whole_keys(of_branch, branch, (kind, one)) for kind, one in enumerate(own))
        wanted = alone(query[:, :, branch : branch + 1], keys, values).transpose(1, 2)
        assert torch.allclose(out[:, branch : branch + 1], wanted, atol=1e-14)
        assert torch.equal(slots[1, 0, branch, :, length], key[0, :, branch])
    assert torch.equal(slots[0], before[0]) and torch.equal(slots[:, :, rows:], before[:, :, rows:])


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)]
)
def test_both_ways_to_attend_to_own_keys_agree(dtype, tolerance):
    torch.manual_seed(0)
    query = torch.randn(5, KEY_HEADS, 3, CHANNELS).to(dtype)
    key, value = (torch.randn(5, KEY_HEADS, 8, CHANNELS).to(dtype) for _ in range(2))
    hidden = torch.where(torch.arange(8) <= torch.tensor([0, 7, 3, 5, 1])[:, None], 0.0, float("-inf"))
    flash, products = (own(query, key, value, hidden, SCALE) for own in (own_by_flash, own_by_products))
    assert torch.allclose(flash[0], products[0], atol=tolerance) and torch.allclose(
        flash[1], products[1], atol=tolerance
    )
    assert products[1].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_a_prefix_is_kept_whole_and_its_last_layer_goes_no_further():
    torch.manual_seed(0)
    layout = PrefixFill(torch.full((2, 2, KEY_HEADS, 7, CHANNELS), float("nan"), dtype=torch.float64))
    rows = [(states(HEADS, 7), states(KEY_HEADS, 7), states(KEY_HEADS, 7)) for _ in range(2)]
    out = layout.attend(0, *rows[0], SCALE)
    assert torch.allclose(out, alone(*rows[0], is_causal=True).transpose(1, 2), atol=1e-14)
    with pytest.raises(PrefixDone):
        layout.attend(1, *rows[1], SCALE)
    for layer, (_, key, value) in enumerate(rows):
        assert torch.equal(layout.states[layer, 0], key[0]) and torch.equal(layout.states[layer, 1], value[0])


def test_a_prefix_in_pieces_attends_as_a_whole_one():
    torch.manual_seed(0)
    query, key, value = states(HEADS, 7), states(KEY_HEADS, 7), states(KEY_HEADS, 7)
    kept = torch.full((2, 2, KEY_HEADS, 7, CHANNELS), float("nan"), dtype=torch.float64)
    cuts = (0, 3, 4, 7)
    found = [
        PrefixFill(kept, start).attend(0, *(one[:, :, start:end] for one in (query, key, value)), SCALE)
        for start, end in zip(cuts, cuts[1:], strict=False)
    ]
    assert torch.allclose(torch.cat(found, 1), alone(query, key, value, is_causal=True).transpose(1, 2), atol=1e-14)
