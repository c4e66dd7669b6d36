import numpy as np
import pytest

from gpt4scene.metrics.matched_f1 import matched_f1, rows_f1

BOXES = np.array([[2.0 * n, 0, 0, 1, 1, 1] for n in range(3)])


def test_pairs_have_the_largest_sum_and_each_box_counts_once():
    overlap = np.array([[0.6, 0.5], [0.6, 0.0]])  # the first proposal goes to the second target
    assert matched_f1(overlap) == (1.0, 1.0)
    assert matched_f1(np.array([[0.3, 0.0]])) == (pytest.approx(2 / 3), 0.0)


def test_rows_without_targets_want_no_identifier():
    found = rows_f1(
        [True, True, False, False], [[], [0], [], [0, 9]], [BOXES] * 4, [BOXES[:0], BOXES[:0], *[BOXES[:1]] * 2]
    )
    assert found[:, 0].tolist() == pytest.approx([1, 0, 0, 2 / 3])  # a number past the last proposal meets nothing
