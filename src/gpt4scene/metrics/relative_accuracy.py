"""MRA, mean relative accuracy: the score of a number by how far off it is, in ten steps, as VSI-Bench defines it.

The score is the share of ten limits that the relative error |guess - truth| / truth keeps: 50 % off keeps one of
them, 5 % off all. Public scorers differ in the last bit of the limits, in whether an error may equal one, and in what
they do with a true value of 0 or below it. Each way of counting is one value here, and none needs PyTorch.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Literal

import numpy as np

_NUMPY = tuple(sorted((1 - np.linspace(0.5, 0.95, 10)).tolist()))
_TORCH = (
    *(0.050000000000000044, 0.10000000000000009, 0.15000000000000002, 0.20000000000000007, 0.25),
    *(0.30000000000000004, 0.35, 0.4, 0.44999999999999996, 0.5),
)
"""One minus ``torch.linspace`` in 64 bits: at 20 % it is one bit above NumPy's."""
_TORCH_SINGLE = (
    *(0.050000011920928955, 0.10000002384185791, 0.1499999761581421, 0.19999998807907104, 0.25),
    *(0.30000001192092896, 0.3500000238418579, 0.3999999761581421, 0.44999998807907104, 0.5),
)
"""One minus ``torch.arange`` in 32 bits."""


@dataclass(frozen=True)
class RelativeAccuracy:
    """A way of counting. ``limits`` rise, as numbers of 64 bits; under ``strict`` an error equal to one is over it.

    ``zero`` is the rule for a true value of 0: ``exact`` gives 1 to a guess of 0 and 0 to all others, ``nothing``
    gives 0, ``absolute`` takes the guess itself as the error. ``negative`` is the rule for a true value below 0:
    divided ``as it is`` the error is negative and every guess scores 1; ``absolute`` divides by its size. Under
    ``single`` all is computed in 32 bits.
    """

    limits: tuple[float, ...] = _NUMPY
    strict: bool = False
    single: bool = False
    zero: Literal["exact", "nothing", "absolute"] = "exact"
    negative: Literal["as it is", "absolute"] = "as it is"

    def error(self, guess: float, truth: float) -> float:
        """Return the relative error; infinite where the rule for 0 leaves nothing, NaN where there is none."""
        if self.single:
            return _single_error(guess, truth)
        if truth == 0:
            exact = 0.0 if guess == 0 else math.inf
            return {"exact": exact, "nothing": math.inf, "absolute": abs(guess)}[self.zero]
        return abs(guess - truth) / (abs(truth) if self.negative == "absolute" else truth)

    def kept(self, error: float) -> int:
        """Return how many limits ``error`` keeps; none where it is NaN."""
        if math.isnan(error):
            return 0
        return len(self.limits) - (bisect_right if self.strict else bisect_left)(self.limits, error)

    def score(self, guess: float, truth: float) -> float:
        """Return the share of limits kept, 0 to 1, with the rounding of 32 bits under ``single``."""
        share = self.kept(self.error(guess, truth)) / len(self.limits)
        return float(np.float32(share)) if self.single else share

    def explain(self, guess: float, truth: float) -> str:
        """Return in a few words how far off ``guess`` is and how many limits it keeps."""
        error = self.error(guess, truth)
        steps = f"{self.kept(error)} of {len(self.limits)} limits"
        if not math.isfinite(error):
            return f"{guess:g} for {truth:g}: {steps}"
        return f"{guess:g} for {truth:g}: {abs(error):.1%} off, {steps}"


def _single_error(guess: float, truth: float) -> float:
    with np.errstate(all="ignore"):
        guess_1, truth_1 = np.float32(guess), np.float32(truth)
        return float(np.abs(guess_1 - truth_1) / (np.abs(truth_1) + np.float32(1e-8)))


NUMPY = RelativeAccuracy()
"""VSI-Bench's own. It stops at a true value of 0, where this gives 1 to an answer of 0 and 0 to the rest."""

ZERO_IS_WRONG = RelativeAccuracy(zero="nothing")
"""ReVSI's: a true value of 0 scores 0, whatever the answer."""

TORCH = RelativeAccuracy(limits=_TORCH, zero="nothing")
"""That of torchmetrics_ext: an error of exactly 20 % keeps one limit more."""

SIZES = RelativeAccuracy(zero="absolute", negative="absolute")
"""VLMEvalKit's and SPAR-Bench's: by the size of the true value; at 0 the answer itself is the error."""

SINGLE = RelativeAccuracy(limits=_TORCH_SINGLE, strict=True, single=True)
"""Spatial-MLLM's: 32 bits, below the limit, divided by the size of the true value plus 1e-8."""
