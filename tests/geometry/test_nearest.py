"""Clear sets are counted and drawn as if all of them were listed."""

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.geometry.nearest import TOO_ALIKE, TOO_NEAR, ClearSets, nearest_of


@pytest.mark.parametrize(
    ("distances", "found"),
    [
        ([1, 2, 3, 4], 0),
        ([4, 3, 2, 1], 3),
        ([0.1, 2, 3, 4], TOO_NEAR),
        ([1, 1.1, 3, 4], TOO_ALIKE),
        ([1, 4, 2, 3.9], TOO_ALIKE),
        ([0.15, 1, 2, 3], 0),
    ],
)
def test_the_nearest_of_four_or_why_it_is_not_clear(distances, found):
    assert nearest_of(distances, 0.15, 0.15) == found


def test_the_farthest_of_four():
    assert nearest_of([1, 4, 2, 3], 0.5, 0.3, farthest=True) == 1


def listed(distances, apart, size):
    return {
        some
        for some in itertools.combinations(range(len(distances)), size)
        if all(abs(distances[a] - distances[b]) > apart for a, b in itertools.combinations(some, 2))
    }


@given(st.lists(st.integers(0, 60).map(lambda n: n / 8), max_size=9), st.sampled_from([0.0625, 0.25, 0.3125, 1.0]))
def test_clear_sets_are_those_that_a_list_of_all_sets_has(distances, apart):
    sets, brute = ClearSets(distances, apart), listed(distances, apart, 4)
    assert sets.number == len(brute)
    if brute:
        drawn = [sets.draw(random.Random(seed)) for seed in range(5)]
        assert all(tuple(sorted(some)) in brute for some in drawn)
        assert all([distances[p] for p in some] == sorted(distances[p] for p in some) for some in drawn)


def test_every_clear_set_is_drawn_about_equally_often():
    distances = [1, 5, 3.1, 3.0, 2, 6.2]
    sets, draw = ClearSets(distances, 0.3), random.Random(0)
    counts = Counter(tuple(sorted(sets.draw(draw))) for _ in range(9000))
    assert set(counts) == listed(distances, 0.3, 4)
    assert max(counts.values()) < 1.2 * min(counts.values())
