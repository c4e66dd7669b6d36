"""Recurrent layers behind a prefix that many branches share: each carries on as if it were one sequence, alone."""

import pytest
import torch
from torch.nn.functional import conv1d, silu

from gpt4scene.model.branches import BranchFill, BranchStep, PrefixDone, PrefixFill
from gpt4scene.model.carried import LayerKinds, kinds_of

HEADS, CHANNELS, WINDOW = 2, 3, 3
MIXED = 3 * HEADS * CHANNELS
KINDS = LayerKinds((True, False, True), (HEADS, CHANNELS, CHANNELS), (WINDOW, MIXED))
PREFIX, LENGTHS, STEPS = 9, (5, 1, 7, 2), 3
KERNEL = torch.randn(MIXED, 1, WINDOW + 1, generator=torch.Generator().manual_seed(1))


def mix(inputs, decay, beta, memory):
    """The gated delta rule, token by token, behind a short convolution."""
    mixed = silu(conv1d(inputs.transpose(1, 2), KERNEL, groups=MIXED)).transpose(1, 2)
    query, key, value = (one.unflatten(-1, (HEADS, CHANNELS)) for one in mixed.chunk(3, -1))
    found = []
    for t in range(query.shape[1]):
        memory = memory * decay[:, t].exp()[..., None, None]
        missed = value[:, t] - (memory * key[:, t].unsqueeze(-1)).sum(-2)
        memory = memory + (key[:, t] * beta[:, t].unsqueeze(-1)).unsqueeze(-1) * missed.unsqueeze(-2)
        found.append((memory * query[:, t].unsqueeze(-1)).sum(-2))
    return torch.stack(found, 1), memory


def tokens(count):
    return torch.randn(1, count, MIXED), -torch.rand(1, count, HEADS), torch.rand(1, count, HEADS)


def cut(states, *places):
    return [one[:, slice(*places)] for one in states]


def alone(*parts):
    """What one sequence of all these tokens gives."""
    mixed, decay, beta = (torch.cat(one, 1) for one in zip(*parts, strict=True))
    inputs = torch.cat([torch.zeros(1, WINDOW, MIXED), mixed], 1)
    return mix(inputs, decay, beta, torch.zeros(1, HEADS, CHANNELS, CHANNELS))[0]


def keys(*sizes):
    return torch.zeros(KINDS.key_layers, 2, *sizes, CHANNELS)


def same(found, wanted):
    return torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("pieces", [(PREFIX,), (4, 8, PREFIX), (1, 2, 3, PREFIX)])
def test_branches_go_on_from_a_fork_of_their_prefix(pieces):
    torch.manual_seed(0)
    prefix, branches, steps = tokens(PREFIX), [tokens(n) for n in LENGTHS], tokens(STEPS * len(LENGTHS))
    kept = KINDS.new(1, torch.float32, torch.device("cpu"))
    starts = (0, *pieces)
    found = [
        PrefixFill(keys(1, PREFIX), start, kept).advance(0, *cut(prefix, start, end), mix)
        for start, end in zip(starts, pieces, strict=False)
    ]
    assert same(torch.cat(found, 1), alone(prefix))
    before, slots = kept.memory.clone(), KINDS.new(6, torch.float32, torch.device("cpu"))
    slots.memory[:], slots.window[:] = float("nan"), float("nan")  # what ended branches left
    slots.fork(slice(1, 5), kept)
    states = keys(6, 1, 16)
    row = [torch.cat(parts, 1) for parts in zip(*branches, strict=True)]
    layout = BranchFill.build(states, 1, [0] * 4, LENGTHS, [[]], carried=slots)
    out = layout.advance(0, *row, mix).split(LENGTHS, 1)
    for part, branch in zip(out, branches, strict=True):
        assert same(part, alone(prefix, branch)[:, PREFIX:])
    slots.move(0, 4)  # the last branch to the first slot
    order = (3, 0, 1, 2)
    for step in range(STEPS):
        now = cut(steps, 4 * step, 4 * step + 4)
        layout = BranchStep.build(states, torch.tensor(LENGTHS), 8, [], slots)
        out = layout.advance(0, *now, mix)
        for place, branch in enumerate(order):
            said = [cut(steps, 4 * one + place, 4 * one + place + 1) for one in range(step + 1)]
            assert same(out[:, place], alone(prefix, branches[branch], *said)[:, -1])
    assert torch.equal(kept.memory, before), "a prefix is never written by its branches"
    assert not kept.memory[1].any() and slots.memory[:, 5].isnan().all()


def test_the_last_layer_ends_a_call_that_predicts_nothing():
    one = KINDS.new(1, torch.float32, torch.device("cpu"))
    fill = BranchFill.build(keys(1, 1, 4), 0, [0], [4], [[]], predict=False, carried=one)
    for layout in (PrefixFill(keys(1, 4), 0, one), fill):
        layout.advance(0, *tokens(4), mix)
        with pytest.raises(PrefixDone):
            layout.advance(2, *tokens(4), mix)
        assert one.memory[1].any() and one.window[1].any()
        one.fork(slice(0, 1), None)
        assert not one.memory.any() and not one.window.any()


def test_keys_are_kept_for_the_layers_that_have_any():
    one = KINDS.new(1, torch.float32, torch.device("cpu"))
    layout = PrefixFill(keys(1, 4), 0, one)
    key = torch.randn(1, 1, 4, CHANNELS)
    layout.attend(1, key, key, key, 1.0)
    assert torch.equal(layout.states[0, 0], key[0])


def test_sizes_are_those_of_the_tensors():
    class Config:
        layer_types = ("linear_attention", "full_attention", "linear_attention")
        linear_num_value_heads, linear_num_key_heads = HEADS, HEADS
        linear_key_head_dim = linear_value_head_dim = CHANNELS
        linear_conv_kernel_dim = WINDOW + 1

    assert kinds_of(Config()) == KINDS
    one = KINDS.new(5, torch.bfloat16, torch.device("cpu"))
    assert one.nbytes == 5 * KINDS.sequence_bytes(torch.bfloat16)
    Config.layer_types = ("full_attention",) * 2
    assert kinds_of(Config()) is None
