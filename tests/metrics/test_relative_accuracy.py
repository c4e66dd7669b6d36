"""Mean relative accuracy: limits to the last bit, and what is done with true values of 0 and below."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt4scene.metrics.relative_accuracy import NUMPY, SINGLE, SIZES, TORCH, ZERO_IS_WRONG

ALL = {"numpy": NUMPY, "torch": TORCH, "sizes": SIZES, "single": SINGLE, "zero is wrong": ZERO_IS_WRONG}
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("guess", "score"), [(100, 1), (105, 1), (105.1, 0.9), (90, 0.9), (60, 0.3), (50, 0.1), (150, 0.1), (150.1, 0)]
)
def test_steps_of_five_percent(guess, score):
    assert NUMPY.score(guess, 100) == score


@pytest.mark.slow
def test_limits_are_those_of_numpy_to_the_last_bit():
    truths = np.arange(1, 2001) / 10
    for percent in range(5, 55, 5):
        for guess in (truths * (1 + percent / 100)).tolist() + (truths * (1 - percent / 100)).tolist():
            expected = [(abs(guess - truth) / truth <= 1 - np.linspace(0.5, 0.95, 10)).mean() for truth in (1.6, 36.2)]
            assert [NUMPY.score(guess, truth) for truth in (1.6, 36.2)] == expected


def test_limits_are_those_of_torch_to_the_last_bit():
    torch = pytest.importorskip("torch")
    double = 1 - torch.linspace(0.5, 0.95, 10, dtype=torch.float64)
    single = 1 - torch.arange(0.5, 0.975, 0.05, dtype=torch.float32)
    assert TORCH.limits == tuple(sorted(double.tolist())) and SINGLE.limits == tuple(sorted(single.tolist()))
    assert (TORCH.score(6, 5), NUMPY.score(6, 5)) == (0.7, 0.6)  # exactly 20 % off


def test_single_is_strict_and_rounds_to_32_bits():
    assert SINGLE.score(125, 100) == 0.5 and NUMPY.score(125, 100) == 0.6
    assert SINGLE.score(150, 100) == 0 and SINGLE.score(109, 100) == float(np.float32(0.9))
    assert SINGLE.score(1e300, 1) == 0


@pytest.mark.parametrize(
    ("form", "guess_0", "guess_03", "guess_1", "below"),
    [
        (NUMPY, 1, 0, 0, 1),
        (ZERO_IS_WRONG, 0, 0, 0, 1),
        (TORCH, 0, 0, 0, 1),
        (SIZES, 1, 0.5, 0, 0),
        (SINGLE, 1, 0, 0, 0),
    ],
)
def test_true_values_of_zero_and_below(form, guess_0, guess_03, guess_1, below):
    assert [form.score(guess, 0) for guess in (0, 0.3, 1)] == [guess_0, guess_03, guess_1]
    assert form.score(-2, -2) == 1 and form.score(2, -2) == below


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
def test_no_number_scores_nothing(form):
    for guess, truth in ((math.nan, 1), (math.inf, 1), (-math.inf, 1), (2, math.nan), (2, math.inf)):
        assert form.score(guess, truth) == 0


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
@given(guess=FINITE, truth=FINITE)
def test_scores_are_tenths_from_0_to_1(form, guess, truth):
    score = form.score(guess, truth)
    assert 0 <= score <= 1 and math.isclose(10 * score, round(10 * score), abs_tol=1e-6)


@pytest.mark.parametrize("form", ALL.values(), ids=ALL)
@given(truth=st.floats(min_value=0.01, max_value=1e6), near=st.floats(0, 1), far=st.floats(0, 1))
def test_the_true_value_scores_1_and_a_nearer_guess_never_less(form, truth, near, far):
    near, far = sorted((near, far))
    assert form.score(truth, truth) == 1
    assert form.score(truth * (1 + near), truth) >= form.score(truth * (1 + far), truth) - 0.1 * (far - near < 1e-6)


def test_it_says_how_far_off_a_guess_is():
    assert NUMPY.explain(5, 4) == "5 for 4: 25.0% off, 6 of 10 limits"
    assert NUMPY.explain(5, 0) == "5 for 0: 0 of 10 limits"
