"""Model families: where their parts are, under transformers 5's module names."""

from __future__ import annotations

from dataclasses import dataclass

from gpt4scene.registry import Registry


@dataclass(frozen=True)
class Family:
    """A family of vision-language models that shares Qwen2-VL's prefix of image tokens and 3-row positions.

    ``tower`` is the vision tower, ``mergers`` the modules inside it that map to the language model's width,
    ``layers`` the list of language layers; all are module paths from the top of the model. ``template`` is
    the chat template that the family was trained with.
    """

    name: str
    template: str
    tower: str = "model.visual"
    mergers: tuple[str, ...] = ("model.visual.merger",)
    layers: str = "model.language_model.layers"

    def part_of(self, parameter: str) -> str:
        """Return which part a parameter belongs to: ``"merger"``, ``"tower"`` or ``"language"``."""
        if any(parameter.startswith(merger + ".") for merger in self.mergers):
            return "merger"
        return "tower" if parameter.startswith(self.tower + ".") else "language"


FAMILIES: Registry[Family] = Registry("model family")
FAMILIES.add("qwen2_vl", Family("qwen2_vl", "qwen2_vl"))
FAMILIES.add("qwen2_5_vl", Family("qwen2_5_vl", "qwen2_vl"))
FAMILIES.add(
    "qwen3_vl",
    Family("qwen3_vl", "qwen3_vl", mergers=("model.visual.merger", "model.visual.deepstack_merger_list")),
)


def family_of(config) -> Family:
    """Return the family of a transformers config; ``ValueError`` names the known ones."""
    return FAMILIES[config.model_type]
