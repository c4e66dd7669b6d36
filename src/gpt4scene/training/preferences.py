"""Preference training: of two answers to one question, the chosen one is to become likelier than the rejected one.

A row is a pair, and a pair is two branches of one prefix: the model and its reference run once over the whole pack.
The loss of a pair hangs on nothing but the pair, so that it is the same however a step is cut.

Sources: DPO, arXiv 2305.18290 (eq. 7), with label smoothing as in its authors' code (cDPO); hinge, SLiC-HF, 2305.10425;
IPO, 2310.12036 (eq. 17), of mean log-probabilities, as TRL and LLaMA-Factory have it; ORPO, 2403.07691 (eq. 6 and 7);
SimPO, 2405.14734 (eq. 6); LD-DPO, 2409.06411 (eq. 10), of the model alone, as in LLaMA-Factory.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import logsigmoid

from gpt4scene.model.inputs import by_branch, label_losses, model_inputs
from gpt4scene.model.reference import Reference
from gpt4scene.model.tower import Tower
from gpt4scene.settings.preferences import FIGURES, OF_ORPO, PreferenceArguments
from gpt4scene.training.objective import RowLosses
from gpt4scene.types import Batch

OF_MEANS = ("ipo", "orpo", "simpo")
"""Losses that take an answer's mean log-probability of a token, not their sum."""


class Preference:
    """The loss of pairs of answers. Branches 2i and 2i + 1 of a batch are pair i; one more at the end is filling.

    Args:
        arguments: which loss, and its numbers.
        reference: where the loss has one.
    """

    def __init__(self, arguments: PreferenceArguments, reference: Reference | None) -> None:
        assert arguments.refers == (reference is not None)
        self._arguments, self._reference = arguments, reference
        self.figures = arguments.figures

    def counts(self, batch: Batch) -> torch.Tensor:
        """Return 1 for each pair, and 0 for the filling."""
        return _by_pair(batch.weights)

    def losses(self, model: torch.nn.Module, batch: Batch, tower: Tower) -> RowLosses:
        """Return the loss of each pair, from one pass of the model and one of its reference."""
        arguments, pairs = self._arguments, len(batch.weights) // 2
        inputs = model_inputs(batch, tower)
        logps_M = -label_losses(model, batch, inputs)[0]
        policy_K = self._answers(logps_M, batch, arguments.ld_alpha)
        reference_K = torch.zeros_like(policy_K)
        if self._reference is not None:  # second: FSDP notes at its first pass which weights learn
            known_M = self._reference.log_probabilities(model, batch, tower, inputs)
            reference_K = self._answers(known_M, batch, None)
        policy, reference = policy_K[: 2 * pairs].view(pairs, 2), reference_K[: 2 * pairs].view(pairs, 2)
        losses = pair_losses(policy, reference, arguments)
        mean_K = policy_K if arguments.pref_loss in OF_MEANS else policy_K / _lengths(logps_M, batch)
        chosen = mean_K[: 2 * pairs : 2]
        losses = losses - arguments.pref_ftx * chosen
        filling = -policy_K[2 * pairs :]  # counts for nothing; its graph keeps processes in step
        figures = self._figures(policy.detach(), reference, losses.detach(), chosen.detach())
        weights, beside = self.counts(batch), torch.zeros(len(filling), device=losses.device)
        return RowLosses(
            torch.cat([losses, filling]),
            weights,
            weights,
            batch.origins[: 2 * pairs : 2] + batch.origins[2 * pairs :],
            {name: torch.cat([values.float(), beside]) for name, values in figures.items()},
        )

    def _answers(self, logps_M: torch.Tensor, batch: Batch, ld_alpha: float | None) -> torch.Tensor:
        """Return ``[K]``: the sum over each answer's tokens, or for some losses their mean."""
        weighed = logps_M if ld_alpha is None else logps_M * _verbosity(batch, ld_alpha)
        sums_K = by_branch(weighed, batch)
        return sums_K / _lengths(logps_M, batch) if self._arguments.pref_loss in OF_MEANS else sums_K

    def _figures(
        self, policy: torch.Tensor, reference: torch.Tensor, losses: torch.Tensor, chosen: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        rewards = self._arguments.pref_beta * (policy - reference)
        margins = rewards[:, 0] - rewards[:, 1]
        values = (rewards[:, 0], rewards[:, 1], (margins > 0), margins, policy[:, 0], policy[:, 1])
        found = dict(zip(FIGURES, values, strict=True))
        if self._arguments.pref_loss == "orpo":
            own = losses + self._arguments.pref_ftx * chosen
            found |= dict(zip(OF_ORPO, (-chosen, (own + chosen) / self._arguments.pref_beta), strict=True))
        return found


def pair_losses(policy_P2: torch.Tensor, reference_P2: torch.Tensor, arguments: PreferenceArguments) -> torch.Tensor:
    """Return ``[P]``: the loss of each pair, by the log-probabilities of its chosen and its rejected answer.

    These are means of tokens for ``ipo``, ``orpo`` and ``simpo``, else sums. Without a reference its are 0.
    """
    beta, smoothing = arguments.pref_beta, arguments.dpo_label_smoothing
    ratios = policy_P2 - reference_P2
    gap = ratios[:, 0] - ratios[:, 1]
    match arguments.pref_loss:
        case "sigmoid":
            return -(1 - smoothing) * logsigmoid(beta * gap) - smoothing * logsigmoid(-beta * gap)
        case "hinge":
            return torch.relu(1 - beta * gap)
        case "ipo":
            return (gap - 1 / (2 * beta)) ** 2
        case "simpo":
            return -logsigmoid(beta * gap - arguments.simpo_gamma)
        case "orpo":
            chosen, rejected = policy_P2.unbind(1)
            odds = gap - (_log_of_rest(chosen) - _log_of_rest(rejected))
            return -chosen - beta * logsigmoid(odds)


def _log_of_rest(logs: torch.Tensor) -> torch.Tensor:
    """Return log(1 - exp(logs)); finite, with a finite gradient, also where fp32 rounds a probability to 1."""
    below = logs.clamp(max=-torch.finfo(torch.float32).eps)
    return torch.where(below < -math.log(2), torch.log1p(-torch.exp(below)), torch.log(-torch.expm1(below)))


def _by_pair(values_K: torch.Tensor) -> torch.Tensor:
    """Return the value of each pair's first branch, and that of the filling."""
    pairs = len(values_K) // 2
    return torch.cat([values_K[: 2 * pairs : 2], values_K[2 * pairs :]])


def _lengths(logps_M: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return ``[K]``: the number of labels of each branch, at least 1."""
    return by_branch(torch.ones_like(logps_M), batch).clamp(min=1)


def _verbosity(batch: Batch, ld_alpha: float) -> torch.Tensor:
    """Return ``[M]``: 1 for labels up to the length of the shorter answer of a pair, ``ld_alpha`` for those behind."""
    ones = torch.ones(len(batch.label_owners), device=batch.label_owners.device)
    lengths_K = by_branch(ones, batch)
    pairs = len(lengths_K) // 2
    shorter = lengths_K[: 2 * pairs].view(pairs, 2).amin(1).repeat_interleave(2)
    shared_K = torch.cat([shorter, lengths_K[2 * pairs :]])
    starts_K = lengths_K.cumsum(0) - lengths_K
    places_M = torch.arange(len(ones), device=ones.device) - starts_K[batch.label_owners]
    return torch.where(places_M < shared_K[batch.label_owners], 1.0, ld_alpha)
