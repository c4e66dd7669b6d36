from collections import Counter
from itertools import chain

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpt4scene.data.groups import TEXT, Groups
from gpt4scene.data.planning import even_size, plan_packs, plan_steps

KEYS = tuple(row % 7 for row in range(100))
SCENES = Groups(KEYS)


@st.composite
def any_groups(draw):
    """Rows of six scenes, two of which have children, one a grandchild; rows of text, rows that share nothing.

    Half of the time, all rows are of scenes: single rows would fill every gap, and nothing be cut in two.
    """
    scenes = st.integers(0, 8)
    kinds = draw(st.sampled_from([scenes, st.none() | st.just(TEXT) | scenes]))
    keys = draw(st.lists(kinds, min_size=1, max_size=90))
    return Groups(tuple(keys), draw(st.sampled_from([{}, {6: 0, 7: 6, 8: 1}, {6: 9, 7: 9}])))


def roots(groups, pack):
    return {groups.root(groups.keys[row]) for row in pack if groups.keys[row] not in (None, TEXT)}


def check_pack(groups, pack, branches):
    keys = [groups.keys[row] for row in pack]
    assert len(pack) <= branches and len(roots(groups, pack)) <= 1
    assert None not in keys or len(pack) == 1


def best_passes(groups, branches, ranks):
    """The passes over images of a rank, if rows were bound by neither steps nor processes."""
    families = Counter(groups.root(key) for key in groups.keys if key not in (None, TEXT))
    alone = groups.keys.count(None) + (groups.keys.count(TEXT) if branches == 1 else 0)
    return -(-(sum(-(-count // branches) for count in families.values()) + alone) // ranks)


@given(any_groups(), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=120)
def test_a_plan_takes_every_row_once_in_the_fewest_packs(groups, branches, ranks):
    plan = plan_packs(groups, branches, 3, 1, ranks)
    assert len(plan) == ranks and len({len(share) for share in plan}) == 1
    packs = list(chain(*plan))
    assert Counter(chain(*packs)) == Counter(range(len(groups)))
    assert sum(not pack for pack in packs) < ranks
    for pack in packs:
        check_pack(groups, pack, branches)
    with_images = [pack for pack in packs if pack and groups.keys[pack[0]] != TEXT]
    room = sum(branches - len(pack) for pack in with_images if groups.keys[pack[0]] is not None)
    texts = [pack for pack in packs if pack and groups.keys[pack[0]] == TEXT]
    if branches > 1:
        assert len(with_images) == best_passes(groups, branches, 1)
        assert not texts or (room == 0 and len(texts) == -(-sum(map(len, texts)) // branches))


def test_a_plan_depends_on_seed_and_epoch_alone():
    plan = plan_packs(SCENES, 4, 0, 0, 2)
    assert plan == plan_packs(SCENES, 4, 0, 0, 2)
    assert plan != plan_packs(SCENES, 4, 0, 1, 2) != plan_packs(SCENES, 4, 1, 1, 2)


def test_questions_meet_anew_and_scenes_are_interleaved():
    epochs = [[frozenset(pack) for pack in chain(*plan_packs(SCENES, 4, 0, epoch, 1))] for epoch in (0, 1)]
    assert len(set(epochs[0]) & set(epochs[1])) < 3
    scenes = [KEYS[min(pack)] for pack in epochs[0]]
    assert sum(a != b for a, b in zip(scenes, scenes[1:], strict=False)) > len(scenes) // 2


def test_all_ranks_together_take_the_same_packs():
    alone = plan_packs(SCENES, 4, 0, 0, 1)[0]
    two = plan_packs(SCENES, 4, 0, 0, 2)
    for step in range(len(alone) // 4):
        together = two[0][2 * step : 2 * step + 2] + two[1][2 * step : 2 * step + 2]
        assert sorted(together) == sorted(alone[4 * step : 4 * step + 4])


def test_one_row_over_a_pack_makes_no_two_half_packs():
    assert sorted(map(len, plan_packs(Groups((0,) * 9), 8, 0, 0, 1)[0])) == [1, 8]
    assert sizes(plan_steps(Groups((0,) * 9), 8, 8, 0, 0, 1)[0]) == [[8], [1]]
    nine = Groups(tuple(scene for scene in range(8) for _ in range(9)))
    assert sorted(sizes(plan_steps(nine, 8, 8, 0, 0, 1)[0])) == [[1] * 8] + [[8]] * 8


def rows_of(step):
    return list(chain(*step))


def sizes(steps):
    return [sorted(map(len, step), reverse=True) for step in steps]


@pytest.mark.slow
@given(any_groups(), st.integers(1, 7), st.integers(1, 12), st.integers(1, 4))
@example(Groups((TEXT, 0, 0)), 2, 3, 1)  # a full pack whose share is filled by a text
@settings(max_examples=250)
def test_a_step_takes_the_questions_that_it_states(groups, branches, questions, ranks):
    """Every row once; every full step the same rows on each rank; equally many passes, and few; no scenes mixed."""
    plan = plan_steps(groups, branches, questions, 3, 1, ranks)
    assert {len(steps) for steps in plan} == {-(-len(groups) // (questions * ranks))}
    assert Counter(row for steps in plan for step in steps for row in rows_of(step)) == Counter(range(len(groups)))
    for together in zip(*plan, strict=True):
        assert len({len(step) for step in together}) == 1
        assert all(len(rows_of(step)) <= questions and len(step) <= questions for step in together)
        assert any(all(step) for step in together), "one rank has something to run in every pass"
    for together in list(zip(*plan, strict=True))[:-1]:
        assert all(len(rows_of(step)) == questions for step in together)
    for pack in (pack for steps in plan for step in steps for pack in step):
        check_pack(groups, pack, even_size(questions, branches))


@pytest.mark.slow
@given(any_groups(), st.integers(1, 7), st.integers(1, 12), st.integers(1, 4))
@settings(max_examples=250)
def test_an_epoch_needs_few_passes(groups, branches, questions, ranks):
    """A rank needs the best number of passes, one more for each share that rests fill, and two shares' at the end.

    Where packs are of two sizes, the smaller one bounds the best, and any share may need one pass more.
    """
    plan = plan_steps(groups, branches, questions, 3, 1, ranks)
    size = even_size(questions, branches)
    even = questions % size == 0
    share = size if even else questions
    families = Counter(groups.root(key) for key in groups.keys if key not in (None, TEXT))
    rests = sum(count % size for count in families.values()) + groups.keys.count(None) + groups.keys.count(TEXT)
    best = max(best_passes(groups, size if even else max(1, size - 1), ranks), len(plan[0]) * -(-questions // size))
    filled = -(-(rests if even else len(groups)) // (share * ranks))
    assert len(list(chain(*plan[0]))) <= best + filled + 2 * share


@given(any_groups(), st.integers(1, 4), st.sampled_from([1, 2, 3, 4, 6]), st.integers(1, 3))
@settings(max_examples=120)
def test_a_step_takes_the_same_rows_on_any_number_of_ranks(groups, branches, ranks, times):
    alone = plan_steps(groups, branches, 12 * branches * times, 3, 1, 1)
    several = plan_steps(groups, branches, 12 * branches * times // ranks, 3, 1, ranks)
    together = [sorted(chain(*(rows_of(step) for step in steps))) for steps in zip(*several, strict=True)]
    assert [sorted(rows_of(step)) for step in alone[0]] == together


@pytest.mark.parametrize(
    ("branches", "questions", "expected"),
    [
        (8, 12, [6, 6]),
        (8, 2, [2]),
        (3, 5, [3, 2]),
        (6, 16, [6, 5, 5]),
        (4, 7, [4, 3]),
        (16, 16, [16]),
        (4, 12, [4] * 3),
    ],
)
def test_packs_are_few_and_even_where_they_do_not_divide_a_step(branches, questions, expected):
    plenty = Groups((0,) * (questions * 40))
    steps = sizes(plan_steps(plenty, branches, questions, 0, 0, 2)[1])
    assert steps == [expected] * 20


def test_rows_that_can_share_nothing_still_fill_a_step():
    assert sizes(plan_steps(Groups((None,) * 16), 8, 8, 0, 0, 1)[0]) == [[1] * 8, [1] * 8]


def test_rows_of_text_ride_where_they_save_a_pass():
    groups = Groups((0,) * 5 + (1,) * 6 + (TEXT,) * 5)
    assert sizes(plan_steps(groups, 8, 8, 0, 0, 1)[0]) == [[8], [8]]
    assert sorted(map(len, plan_packs(groups, 8, 0, 0, 1)[0])) == [8, 8]
    assert sizes(plan_steps(Groups((TEXT,) * 20), 8, 8, 0, 0, 1)[0]) == [[8], [8], [4]]


def test_the_text_that_rides_along_is_drawn_anew():
    groups = Groups((0,) * 4 + (1,) * 4 + (TEXT,) * 8)

    def company(epoch, seed=0):
        steps = plan_steps(groups, 8, 8, seed, epoch, 1)[0]
        return [frozenset(row for row in rows_of(step) if row > 7) for step in steps]

    assert company(0) == company(0) != company(1) != company(1, seed=4)


def test_rows_with_an_image_of_their_own_fill_their_scenes_packs():
    groups = Groups((0,) * 5 + (1, 2, 3), {1: 0, 2: 0, 3: 0})
    assert sizes(plan_steps(groups, 8, 8, 0, 0, 1)[0]) == [[8]]
    assert plan_packs(groups, 8, 0, 0, 1) != [[]] and len(plan_packs(groups, 8, 0, 0, 1)[0]) == 1
    many = Groups((0,) * 4 + (1,) * 9, {1: 0})  # enough with one image to make a pack of their own
    packs = [{many.keys[row] for row in pack} for pack in plan_packs(many, 8, 0, 0, 1)[0]]
    assert sorted(packs, key=len) == [{1}, {0, 1}]


def test_full_packs_are_never_cut():
    groups = Groups(tuple(scene for scene in range(10) for _ in range(43)))
    packs = [len(pack) for step in plan_steps(groups, 8, 16, 0, 0, 1)[0] for pack in step]
    assert packs.count(8) == 50
    assert len(packs) <= 50 + 10 + 3  # each scene's rest, and some of them in two


def test_steps_of_many_passes_come_together():
    """Eight processes wait for the slowest: one share of rests in every step would cost each of them a pass."""
    groups = Groups(tuple(scene for scene in range(64) for _ in range(67)))
    plan = plan_steps(groups, 16, 16, 0, 0, 8)[0]
    longer = [len(step) for step in plan if len(step) > 1]
    assert len(plan) == 34 and len(longer) <= 4 and sum(map(len, plan)) <= 64 * 5 // 8 + 12


def test_single_questions_come_in_the_order_that_they_always_had():
    """Checkpoints of every older plan go on exactly where packs hold one question."""
    steps = plan_steps(Groups((0, TEXT, 1, 0, None, 1, 0), {1: 0}), 1, 3, 5, 2, 1)
    assert steps == [[[[0], [6], [5]], [[2], [4], [1]], [[3]]]]
    for ranks in (1, 2, 3):
        old = plan_packs(SCENES, 1, 5, 2, ranks)
        new = plan_steps(SCENES, 1, 4, 5, 2, ranks)
        assert [list(chain(*steps)) for steps in new] == old
