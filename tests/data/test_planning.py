from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.data.planning import (
    PackPlan,
    PackSampler,
    make_pack,
    packs_per_step,
    plan_packs,
    scene_keys,
    with_dummy_image,
)
from gpt4scene.types import IGNORED

KEYS = [row % 7 for row in range(100)]


def test_a_pack_holds_the_prefix_once(encoder, make_row, images):
    samples = [encoder.encode(make_row(images, f"Question {i}?", "Yes.", i)) for i in range(3)]
    pack = make_pack(samples)
    assert len(pack.branches) == 3 and pack.images == images and pack.grids == samples[0].grids
    assert pack.length == samples[0].cut + sum(len(sample.ids_L) - sample.cut for sample in samples)
    for sample, branch in zip(samples, pack.branches, strict=True):
        assert np.concatenate([pack.prefix_P, branch.ids_L]).tolist() == sample.ids_L.tolist()
        assert branch.labels_L.tolist() == sample.labels_L[sample.cut :].tolist() and branch.weight == 1.0


def test_the_first_label_of_a_branch_is_ignored(encoder, make_row, images):
    sample = encoder.encode(make_row(images, "A?", "Yes."))
    labels = sample.labels_L.copy()
    labels[sample.cut] = 5
    changed = type(sample)(sample.ids_L, labels, sample.cut, sample.images, sample.grids, sample.origin)
    assert make_pack([changed]).branches[0].labels_L[0] == IGNORED
    assert labels[sample.cut] == 5


def test_rows_of_different_scenes_are_refused(encoder, make_row, images):
    one, two = make_row(images, "A?", "Yes."), make_row(images[::-1], "A?", "Yes.", 1)
    with pytest.raises(ValueError, match="row 0.*row 1"):
        make_pack([encoder.encode(one), encoder.encode(two)])
    alone = encoder.encode(make_row((), "A?", "Yes."))
    assert len(make_pack([alone]).prefix_P) == 0
    with pytest.raises(ValueError, match="can't share a pack"):
        make_pack([alone, alone])


def test_keys_number_the_scenes(encoder, make_row, images):
    rows = [make_row(shown, "A?", "Yes.") for shown in (images, images[:1], images, ())]
    assert scene_keys(rows, encoder) == [0, 1, 0, None]


@given(st.lists(st.none() | st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_a_plan_takes_every_row_once_and_never_mixes_scenes(keys, branches, ranks):
    plan = plan_packs(keys, branches, 3, 1, ranks)
    assert len(plan) == ranks and len({len(share) for share in plan}) == 1
    packs = list(chain(*plan))
    assert Counter(chain(*packs)) == Counter(range(len(keys)))
    assert sum(not pack for pack in packs) < ranks
    for pack in packs:
        assert len(pack) <= branches
        assert len({keys[row] for row in pack}) <= 1 and (len(pack) == 1 or None not in {keys[row] for row in pack})


def test_a_plan_depends_on_seed_and_epoch_alone():
    plan = plan_packs(KEYS, 4, 0, 0, 2)
    assert plan == plan_packs(KEYS, 4, 0, 0, 2)
    assert plan != plan_packs(KEYS, 4, 0, 1, 2) != plan_packs(KEYS, 4, 1, 1, 2)


def test_questions_meet_anew_and_scenes_are_interleaved():
    epochs = [[frozenset(pack) for pack in chain(*plan_packs(KEYS, 4, 0, epoch, 1))] for epoch in (0, 1)]
    assert len(set(epochs[0]) & set(epochs[1])) < 3
    scenes = [KEYS[min(pack)] for pack in epochs[0]]
    assert sum(a != b for a, b in zip(scenes, scenes[1:], strict=False)) > len(scenes) // 2


def test_all_ranks_together_take_the_same_rows_in_a_step():
    alone = plan_packs(KEYS, 4, 0, 0, 1)[0]
    two = plan_packs(KEYS, 4, 0, 0, 2)
    for step in range(len(alone) // 4):
        together = two[0][2 * step : 2 * step + 2] + two[1][2 * step : 2 * step + 2]
        assert sorted(together) == sorted(alone[4 * step : 4 * step + 4])


def test_packs_are_as_even_as_the_rows_allow():
    sizes = sorted(len(pack) for pack in plan_packs([0] * 9, 4, 0, 0, 1)[0])
    assert sizes == [3, 3, 3]


def test_the_sampler_follows_the_epoch_and_resumes_inside_it():
    plan = PackPlan(KEYS, 4, seed=5, ranks=2)
    sampler = PackSampler(plan, rank=1)
    first = list(sampler)
    assert first == [tuple(pack) for pack in plan.epoch(0)[1]] and len(sampler) == len(first)
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first
    resumed = PackSampler(plan, rank=1, resume=(1, 3))
    resumed.set_epoch(1)
    assert list(resumed) == second[3:] and len(resumed) == len(second) - 3
    resumed.set_epoch(2)
    assert len(list(resumed)) == len(resumed) == len(second)


def test_without_a_rank_the_ranks_take_turns():
    plan = PackPlan(KEYS, 4, seed=5, ranks=3)
    packs = list(PackSampler(plan))
    assert [packs[rank::3] for rank in range(3)] == [[tuple(pack) for pack in share] for share in plan.epoch(0)]
    assert len(PackSampler(plan)) == len(packs)


def test_branches_must_divide_the_questions_of_a_step():
    assert packs_per_step(4, 2, 8) == 4 and packs_per_step(1, 1, 2) == 2
    with pytest.raises(ValueError, match="scene_packing 3 must divide the 8 questions.*size 1 x gradient.*steps 8"):
        packs_per_step(3, 1, 8)
    with pytest.raises(ValueError, match="scene_packing 16 must divide the 8"):
        packs_per_step(16, 1, 8)


def test_a_filling_pack_weighs_nothing(encoder):
    pack = with_dummy_image(None, encoder.spec, encoder.special)
    assert [branch.weight for branch in pack.branches] == [0.0] and pack.images == () and pack.grids == ((1, 2, 2),)
    assert (pack.branches[0].labels_L != IGNORED).sum() == 1
