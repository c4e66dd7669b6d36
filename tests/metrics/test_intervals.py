import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.benchmarks.tables import compare, write_comparison, write_scores
from gpt4scene.errors import DataError
from gpt4scene.files.answers import AnswerRow, row_keys
from gpt4scene.metrics.intervals import differences, intervals
from gpt4scene.metrics.scores import Pooled, Report, RowScores, breakdown


def scores(values, scenes=None, keys=None, **groups):
    scenes = scenes or ["room"] * len(values)
    return RowScores(
        tuple(range(len(values)) if keys is None else keys),
        tuple(scenes),
        {name: tuple(group) for name, group in groups.items()},
        {"EM1": np.array(values, dtype=float)},
    )


def test_one_scene_says_nothing_about_the_spread():
    assert np.isnan(intervals(scores([0, 1, 1, 0]))["EM1"]).all()
    assert np.isnan(differences(scores([0, 1]), scores([1, 1]))["EM1"].interval).all()


def test_an_interval_covers_the_mean_and_narrows_with_more_scenes():
    generator = np.random.default_rng(5)
    widths = []
    for count in (10, 1000):
        low, high = intervals(scores(generator.random(count), [str(n) for n in range(count)]))["EM1"]
        assert low < 0.5 < high or count == 10
        widths.append(high - low)
    assert widths[1] < widths[0] / 5
    # The interval of a mean of 1000 uniform values is 2 * 1.96 * sqrt(1 / 12 / 1000) wide.
    assert widths[1] == pytest.approx(0.0358, rel=0.1)


def test_the_same_seed_gives_the_same_interval():
    rows = scores([0, 1, 1, 0, 1], "abcde")
    assert intervals(rows, seed=3) == intervals(rows, seed=3)


def test_rows_that_do_not_count_are_left_out():
    rows = scores([1, np.nan, 1], "abc")
    assert intervals(rows)["EM1"] == (1, 1)
    assert breakdown(rows, "scene") == {"a": {"rows": 1, "EM1": 1}, "b": {"rows": 1}, "c": {"rows": 1, "EM1": 1}}


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abc")), min_size=1, max_size=20), st.randoms())
def test_differences_are_paired_by_question(rows, shuffle):
    first, second, scenes = zip(*rows, strict=True)
    order = list(range(len(rows)))
    shuffle.shuffle(order)
    other = scores([second[n] for n in order], [scenes[n] for n in order], keys=order)
    gain = differences(scores(first, scenes), other)["EM1"]
    assert gain.difference == pytest.approx((sum(second) - sum(first)) / len(rows))
    assert np.isnan(gain.interval).all() == (len(set(scenes)) == 1)


def test_only_common_questions_are_compared():
    gain = differences(scores([1, 0], keys="ab"), scores([1, 1], keys="bc"))["EM1"]
    assert (gain.rows, gain.difference) == (1, 1.0)
    with pytest.raises(DataError, match="no question in common"):
        differences(scores([1], keys="a"), scores([1], keys="b"))


def ratio(sum_2):
    return sum_2[..., 0] / sum_2[..., 1]


def pooled(pairs, scenes, keys=None):
    statistics = {"ratio": Pooled(np.array(pairs, dtype=float), ratio)}
    return RowScores(tuple(keys or range(len(pairs))), tuple(scenes), {"kind": ("x",) * len(pairs)}, {}, statistics)


def test_a_pooled_metric_is_computed_anew_for_every_draw():
    generator = np.random.default_rng(1)
    pairs = generator.integers(1, 9, (12, 2))
    rows = pooled(pairs, "aabbbccddeef")
    assert rows.pooled["ratio"].total() == pytest.approx(pairs[:, 0].sum() / pairs[:, 1].sum())
    low, high = intervals(rows)["ratio"]
    by_scene = {scene: pairs[[place for place, own in enumerate(rows.scenes) if own == scene]] for scene in "abcdef"}
    draws = [
        np.concatenate([by_scene[s] for s in generator.choice(list("abcdef"), 6)]).sum(axis=0) for _ in range(4000)
    ]
    assert (low, high) == pytest.approx(np.percentile([ratio(draw) for draw in draws], [2.5, 97.5]), rel=0.05)


def test_a_pooled_metric_is_broken_down_and_compared_over_the_same_draws():
    first, second = pooled([(1, 2), (3, 4), (5, 6)], "abc"), pooled([(2, 2), (3, 4)], "ab")
    assert breakdown(first, "kind")["x"] == {"rows": 3, "ratio": pytest.approx(9 / 12)}
    assert breakdown(first, "scene")["b"]["ratio"] == 0.75
    gain = differences(first, second)["ratio"]
    assert (gain.first, gain.second, gain.rows) == (pytest.approx(4 / 6), pytest.approx(5 / 6), 2)
    assert gain.interval[0] <= gain.difference <= gain.interval[1]
    assert differences(first, first)["ratio"].interval == (0, 0)


def test_runs_without_a_task_in_common_are_named():
    report = Report("scanqa", {}, {}, (), scores([1]))
    with pytest.raises(DataError, match="no task in common .scanqa and sqa3d."):
        compare({"scanqa": report}, {"sqa3d": report})


def test_a_comparison_is_written_as_it_is_printed(tmp_path):
    first, second = (Report("scanqa", {}, {}, (), scores(values, "ab")) for values in ([1, 0], [1, 1]))
    write_comparison(compare({"scanqa": first}, {"scanqa": second}), tmp_path / "x.json")
    written = json.loads((tmp_path / "x.json").read_text())["scanqa"]["EM1"]
    assert written == {"first": 0.5, "second": 1.0, "difference": 0.5, "interval": [0.0, 1.0], "rows": 2}


def test_scores_are_not_written_over_a_folder(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        write_scores({}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_public_predictions_and_journals_are_told_apart_by_the_same_keys():
    said = [("s", "q1"), ("s", "q2"), ("s", "q1"), ("t", None)]
    public = row_keys([AnswerRow(scene, "", qid=qid) for scene, qid in said])
    journal = row_keys([AnswerRow(scene, "", qid=qid, index=index) for index, (scene, qid) in enumerate(said)])
    assert public == journal
    assert len(set(public)) == 4
