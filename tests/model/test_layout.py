"""Layouts of packs: what sees what, and branches as padded batches and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.data.layout import pack_layout
from gpt4scene.model.layout import padded, seen, unpadded


def test_branches_see_the_prefix_and_themselves():
    found = seen(pack_layout(2, (2, 2)), torch.device("cpu")).int().tolist()
    prefix = [[1, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]]
    assert found == [*prefix, [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 0], [1, 1, 0, 0, 1, 1]]


def test_the_last_branches_may_not_see_the_prefix():
    found = seen(pack_layout(1, (1, 2), apart=1), torch.device("cpu")).int().tolist()
    assert found == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("prefix", "lengths", "apart", "plain"),
    [
        (5, (), 0, True),
        (5, (3,), 0, True),
        (0, (3,), 1, True),
        (5, (3,), 1, False),
        (5, (3, 3), 0, False),
        (0, (3, 3), 0, False),
    ],
)
def test_a_row_of_one_sequence_is_plainly_causal(prefix, lengths, apart, plain):
    layout = pack_layout(prefix, lengths, apart)
    assert layout.plain == plain
    causal = torch.ones(prefix + sum(lengths), prefix + sum(lengths), dtype=torch.bool).tril()
    assert torch.equal(seen(layout, torch.device("cpu")), causal) == plain


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=20))
def test_padding_is_undone_and_bounded(lengths):
    layout = pack_layout(7, lengths)
    states = torch.arange(1.0, 1 + 2 * sum(lengths)).view(1, 2, -1, 1)
    batches = padded(states, layout)
    assert torch.equal(unpadded(batches, layout), states)
    assert sum(batch.numel() for batch in batches) <= 4 * states.numel()
    assert sum(int((batch != 0).sum()) for batch in batches) == states.numel(), "all else is zero"
    for batch in batches:  # each row begins with its branch, so that causal masks hide the padding
        filled = (batch[:, 0, :, 0] != 0).int()
        assert torch.equal(filled, filled.sort(descending=True, dim=1).values)


def test_branches_of_one_length_are_not_copied():
    states = torch.randn(1, 2, 12, 4).transpose(1, 2).contiguous().transpose(1, 2)
    layout = pack_layout(3, (4, 4, 4))
    (batch,) = padded(states, layout)
    assert batch.shape == (3, 2, 4, 4) and batch.data_ptr() == states.data_ptr()
    assert unpadded([batch], layout).data_ptr() == states.data_ptr()


def test_a_long_branch_does_not_pad_short_ones():
    assert pack_layout(9, (1000, 90, 110, 100)).groups == ((1, 1000), (3, 110))
