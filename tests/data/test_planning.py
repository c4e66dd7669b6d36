from collections import Counter
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.data.planning import PackSampler, plan_packs, scene_keys

KEYS = [row % 7 for row in range(100)]


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


def test_the_sampler_follows_the_epoch():
    sampler = PackSampler(KEYS, 4, seed=5, rank=1, ranks=2)
    first = list(sampler)
    assert first == [tuple(pack) for pack in plan_packs(KEYS, 4, 5, 0, 2)[1]] and len(sampler) == len(first)
    sampler.set_epoch(1)
    second = list(sampler)
    assert second == [tuple(pack) for pack in plan_packs(KEYS, 4, 5, 1, 2)[1]] != first
    assert len(sampler) == len(second) == len(first)
