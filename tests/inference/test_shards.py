import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.inference.shards import deal, questions_per_scene, shard
from gpt4scene.types import Question

loads_of = st.dictionaries(st.text(min_size=1, max_size=6), st.integers(1, 300), max_size=40)


@given(loads_of, st.integers(1, 9))
def test_every_scene_lies_in_exactly_one_shard(loads, count):
    shards = deal(loads, count)
    assert sorted(scene for scenes in shards for scene in scenes) == sorted(loads)
    assert shards == deal(dict(reversed(loads.items())), count)
    assert [shard(loads, count, index) for index in range(count)] == shards


@given(loads_of, st.integers(1, 9))
def test_loads_differ_by_no_more_than_one_scene(loads, count):
    totals = [sum(loads[scene] for scene in scenes) for scenes in deal(loads, count)]
    assert max(totals) - min(totals) <= max(loads.values(), default=0)


def test_longest_scene_first_onto_the_least_loaded_shard():
    assert deal({"a": 2, "b": 5, "c": 3, "d": 3}, 2) == [["b", "a"], ["c", "d"]]


def test_shards_without_scenes_take_no_memory():
    loads = {"a": 2, "b": 5}
    assert [shard(loads, 10**12, index) for index in (0, 1, 2, 10**12 - 1)] == [["b"], ["a"], [], []]


def test_numbers_out_of_range_are_named():
    with pytest.raises(ValueError, match="--num_shards must be at least 1"):
        deal({}, 0)
    with pytest.raises(ValueError, match="--shard must lie in 0 to 1"):
        shard({}, 2, 2)


def test_questions_are_counted_over_all_tasks():
    asked = [Question(task, index, "s", "?") for index, task in enumerate(("scanqa", "sqa3d"))]
    assert questions_per_scene(asked) == {"s": 2}
