from collections import Counter
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from gpt4scene.data.planning import PackSampler, StepSampler, plan_packs, plan_steps, scene_keys

KEYS = [row % 7 for row in range(100)]


def test_keys_number_the_scenes(encoder, make_row, images):
    rows = [make_row(shown, "A?", "Yes.") for shown in (images, images[:1], images, ())]
    assert scene_keys(rows, encoder) == [0, 1, 0, None]


@given(st.lists(st.none() | st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=80)
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


def rows_of(step):
    return list(chain(*step))


@given(
    st.lists(st.none() | st.integers(0, 5), min_size=1, max_size=90),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 4),
)
@settings(max_examples=120)
def test_a_step_takes_the_questions_that_it_states(keys, branches, times, ranks):
    """Every row once; every full step the same rows on each rank; equally many passes; no scenes mixed."""
    questions = branches * times
    plan = plan_steps(keys, branches, questions, 3, 1, ranks)
    assert {len(steps) for steps in plan} == {-(-len(keys) // (questions * ranks))}
    assert Counter(row for steps in plan for step in steps for row in rows_of(step)) == Counter(range(len(keys)))
    for together in zip(*plan, strict=True):
        assert len({len(step) for step in together}) == 1
        assert all(len(rows_of(step)) <= questions for step in together)
    for together in list(zip(*plan, strict=True))[:-1]:
        assert all(len(rows_of(step)) == questions for step in together)
    for pack in (pack for steps in plan for step in steps for pack in step):
        assert len(pack) <= branches
        assert len({keys[row] for row in pack}) <= 1 and (len(pack) <= 1 or None not in {keys[row] for row in pack})


def sizes(steps):
    return [sorted(map(len, step), reverse=True) for step in steps]


def test_rows_that_can_share_nothing_still_fill_a_step():
    assert sizes(plan_steps([None] * 16, 8, 8, 0, 0, 1)[0]) == [[1] * 8, [1] * 8]


def test_one_row_over_a_pack_stays_one_row_over():
    assert sizes(plan_steps([0] * 9, 8, 8, 0, 0, 1)[0]) == [[8], [1]]
    nine = [scene for scene in range(8) for _ in range(9)]
    steps = sizes(plan_steps(nine, 8, 8, 0, 0, 1)[0])
    assert sorted(steps) == [[1] * 8] + [[8]] * 8


def test_full_packs_are_never_cut():
    keys = [scene for scene in range(10) for _ in range(43)]
    packs = [len(pack) for step in plan_steps(keys, 8, 16, 0, 0, 1)[0] for pack in step]
    assert packs.count(8) == 50
    assert len(packs) <= 50 + 10 + 3  # each scene's rest, and some of them in two


def test_steps_of_all_ranks_together_take_the_same_rows():
    keys = KEYS + [None] * 13
    alone, two = plan_steps(keys, 4, 8, 0, 0, 1), plan_steps(keys, 4, 4, 0, 0, 2)
    for step in range(len(alone[0])):
        assert sorted(rows_of(alone[0][step])) == sorted(rows_of(two[0][step]) + rows_of(two[1][step]))


def test_single_questions_come_in_the_order_that_they_always_had():
    """Checkpoints of the older plan go on exactly where packs hold one question."""
    for ranks in (1, 2, 3):
        old = plan_packs(KEYS, 1, 5, 2, ranks)
        new = plan_steps(KEYS, 1, 4, 5, 2, ranks)
        assert [list(chain(*steps)) for steps in new] == old


def test_the_step_sampler_gives_every_step_equally_many_keys():
    keys = [None] * 5 + [0] * 9 + [1] * 4
    for rank in (0, 1):
        sampler = StepSampler(keys, 2, 4, seed=1, rank=rank, ranks=2)
        assert sampler.steps == 3 and len(sampler) == 12
        seen = []
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            slots = list(sampler)
            assert len(slots) == 12
            seen.append(slots)
            for step, packs in enumerate(plan_steps(keys, 2, 4, 1, epoch, 2)[rank]):
                here = slots[4 * step : 4 * step + 4]
                assert here == [None] * (4 - len(packs)) + [tuple(pack) for pack in packs]
                assert here[-1] is not None
        assert seen[0] != seen[1]
