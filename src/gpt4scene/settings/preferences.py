"""The keys of preference training (``stage: dpo``), and what must be so for them and for plain text (``stage: pt``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gpt4scene.settings.arguments import Arguments, key

PreferenceLoss = Literal["sigmoid", "hinge", "ipo", "orpo", "simpo"]

WITHOUT_REFERENCE = ("orpo", "simpo")
"""Losses that compare the model with no other."""

FIGURES = (
    *("rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins"),
    *("logps/chosen", "logps/rejected"),
)
"""What is logged of every pair, by TRL's and LLaMA-Factory's names."""

OF_ORPO = ("sft_loss", "odds_ratio_loss")
"""The two parts of ORPO's loss, logged with it."""


@dataclass(frozen=True)
class PreferenceArguments(Arguments):
    """What is learned of pairs of answers."""

    pref_loss: PreferenceLoss = key(
        "With stage dpo: sigmoid (DPO), hinge, ipo, or without a reference model orpo and simpo.", "sigmoid"
    )
    pref_beta: float = key("How strongly a pair counts against staying near the reference.", 0.1, least=0)
    pref_ftx: float = key("Share of the chosen answer's own loss that is added.", 0.0, least=0)
    simpo_gamma: float = key("Margin that simpo asks for between the answers.", 0.5, least=0)
    dpo_label_smoothing: float = key(
        "With pref_loss sigmoid: share of pairs taken to be the wrong way round.", 0.0, least=0, most=0.5
    )
    ld_alpha: float | None = key(
        "Weight of tokens beyond the shorter answer's length (LD-DPO); all count alike when left out.",
        None,
        least=0,
        most=1,
    )
    ref_model: str | None = key(
        "Folder of the reference model; the model that training starts from when left out.", None
    )
    ref_model_adapters: str | None = key("Folders of LoRA adapters to merge into ref_model, with commas between.", None)

    @property
    def refers(self) -> bool:
        """Whether the loss compares the model with a reference."""
        return self.pref_loss not in WITHOUT_REFERENCE

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of what is logged of every pair beside its loss."""
        return (*FIGURES, *(OF_ORPO if self.pref_loss == "orpo" else ()))


def figures_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of what evaluations give beside losses and scores of answers; ``values`` holds what was set."""
    return PreferenceArguments(pref_loss=values.get("pref_loss", "sigmoid")).figures if compares(values) else ()


def compares(values: Mapping[str, Any]) -> bool:
    """Return whether the run learns of pairs of answers."""
    return values.get("stage") == "dpo"


def lower_is_better(metric: str) -> bool:
    """Return whether ``metric_for_best_model`` is a loss, or a figure of rejected answers."""
    name = metric.removeprefix("eval_")
    return name.startswith("loss") or name.endswith(("_loss", "/rejected"))


def preference_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences about keys of preference training that contradict others; ``values`` holds what was set."""
    if compares(values):
        yield from _pairs(values, values.get("pref_loss", "sigmoid"))
        return
    for one in dataclasses.fields(PreferenceArguments):
        said = values.get(one.name)
        if said not in (None, "") and said != one.default:
            yield f"{one.name} belongs to stage: dpo, but stage is {values.get('stage', 'sft')}"


def _pairs(values: Mapping[str, Any], loss: str | None) -> Iterator[str]:
    get = values.get
    if get("pref_beta") == 0:
        yield "pref_beta must be above 0, as pairs count for nothing without it"
    if get("dpo_label_smoothing") and loss != "sigmoid":
        yield f"dpo_label_smoothing belongs to pref_loss: sigmoid, but pref_loss is {loss}"
    if get("simpo_gamma") not in (None, 0.5) and loss != "simpo":
        yield f"simpo_gamma belongs to pref_loss: simpo, but pref_loss is {loss}"
    if get("ref_model") and loss in WITHOUT_REFERENCE:
        yield f"ref_model has no use with pref_loss: {loss}, which compares the model with no other; leave it out"
    if get("ref_model_adapters") and not get("ref_model"):
        yield "ref_model_adapters needs ref_model, the model that they are merged into (such as model_name_or_path)"
    if get("loss_average") == "token":
        yield "loss_average: token can't be with stage: dpo, where a pair has one loss; leave it out"
    if get("train_on_prompt"):
        yield "train_on_prompt has no use with stage: dpo, where both answers have the same prompt; leave it out"
    if get("tokenized_path"):
        yield "tokenized_path has no form for pairs (stage: dpo); leave it out: rows are tokenized when they are used"
    if get("moe_aux_loss_coef"):
        yield "moe_aux_loss_coef has no use with stage: dpo, as in LLaMA-Factory; leave it out"
    if get("neftune_noise_alpha"):
        yield "neftune_noise_alpha would add noise to what stage: dpo compares; leave it out"


def text_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences about keys that plain text (``stage: pt``) has no use for."""
    if values.get("stage") == "pt":
        for name in ("train_on_prompt", "mask_history"):
            if values.get(name):
                yield f"{name} has no use with stage: pt, where every token of a text is learned; leave it out"


def stage_notes(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences about keys that a stage understands in its own way."""
    stage = values.get("stage", "sft")
    if stage == "dpo" and values.get("lora_dropout"):
        yield "lora_dropout has no effect with stage: dpo, which trains without dropout, as in LLaMA-Factory and TRL"
    if stage == "pt" and "loss_average" not in values:
        yield "loss_average is left out: token with stage: pt, so that all tokens count alike, as in LLaMA-Factory"
