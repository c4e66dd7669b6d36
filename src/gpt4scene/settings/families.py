"""What a user sets for some families of models alone."""

from __future__ import annotations

from dataclasses import dataclass

from gpt4scene.settings.arguments import Arguments, key


@dataclass(frozen=True)
class FamilyArguments(Arguments):
    """Keys that models with experts, or those that think, understand."""

    moe_aux_loss_coef: float | None = key(
        "What the loss that keeps experts equally busy counts for in a row's loss; as config.json says when left out.",
        None,
        least=0,
    )
    enable_thinking: bool | None = key(
        "With a template that thinks: learn empty thoughts (true), be given them (null), or remove all (false).", True
    )
    preserve_thinking: bool = key("With mask_history: keep the thoughts of earlier answers.", False)
