import numpy as np
import pytest

from gpt4scene.data.mixing import mix, resample


def random(seed=0):
    return np.random.default_rng(seed)


def test_resampling_uses_every_row_before_repeating_one():
    drawn = resample([1, 2, 3], 7, random())
    assert sorted(drawn[:3]) == sorted(drawn[3:6]) == [1, 2, 3] and len(drawn) == 7
    assert len(set(resample(list(range(10)), 4, random()))) == 4


def test_probabilities_steer_the_mix():
    rows = mix([["a"] * 400, ["b"] * 400], "interleave_under", [0.8, 0.2], random())
    assert 0.7 < rows.count("a") / len(rows) < 0.9
    assert rows == mix([["a"] * 400, ["b"] * 400], "interleave_under", [0.8, 0.2], random())


def test_over_reaches_every_row_of_every_dataset():
    rows = mix([list(range(20)), list(range(100, 105))], "interleave_over", [0.3, 0.7], random())
    assert set(rows) == {*range(20), *range(100, 105)}


@pytest.mark.parametrize(
    ("strategy", "probabilities", "words"),
    [
        ("zip", None, "'zip' is none of"),
        ("concat", [0.5, 0.5], "needs mix_strategy"),
        ("interleave_over", [1, 0], "above"),
    ],
)
def test_wrong_settings(strategy, probabilities, words):
    with pytest.raises(ValueError, match=words):
        mix([[1], [2]], strategy, probabilities, random())


def test_an_empty_dataset_is_not_interleaved():
    with pytest.raises(ValueError, match="empty dataset"):
        mix([[1], []], "interleave_under", None, random())
