"""Model families: where their parts are, under transformers 5's module names."""

from __future__ import annotations

from dataclasses import dataclass

from gpt4scene.errors import ConfigError
from gpt4scene.registry import Registry

OLDER_NAMES = (
    ("model.layers.", "model.language_model.layers."),
    ("model.embed_tokens", "model.language_model.embed_tokens"),
    ("model.norm", "model.language_model.norm"),
    ("visual.", "model.visual."),
    ("language_model.model.", "model.language_model."),
    ("language_model.lm_head", "lm_head"),
    ("language_model.", "model.language_model."),
    ("model.model.", "model."),
)
"""How module paths began before transformers 4.52, and in releases and tools around it; and how they begin now."""


@dataclass(frozen=True)
class Family:
    """A family of vision-language models that shares Qwen2-VL's prefix of image tokens and 3-row positions.

    ``tower`` is the vision tower, ``mergers`` the modules inside it that map to the language model's width,
    ``layers`` the list of language layers; all are module paths from the top of the model. ``template`` is
    the chat template that the family was trained with. ``released_names`` are beginnings of today's tensor names and
    what they were in the release, where that was before transformers 4.52 and ``config.json`` was flat.
    """

    name: str
    template: str
    tower: str = "model.visual"
    mergers: tuple[str, ...] = ("model.visual.merger",)
    layers: str = "model.language_model.layers"
    released_names: tuple[tuple[str, str], ...] = ()

    def part_of(self, parameter: str) -> str:
        """Return which part a parameter belongs to: ``"merger"``, ``"tower"`` or ``"language"``."""
        if any(parameter.startswith(merger + ".") for merger in self.mergers):
            return "merger"
        return "tower" if parameter.startswith(self.tower + ".") else "language"

    def current_names(self, module: str) -> list[str]:
        """Return what a module path, as it stands or of an older release, can be called now; most likely first."""
        return [module] + [new + module.removeprefix(old) for old, new in OLDER_NAMES if module.startswith(old)]

    def all_names(self, module: str) -> list[str]:
        """Return a module path of today, and what older releases called it."""
        return [module] + [old + module.removeprefix(new) for old, new in OLDER_NAMES if module.startswith(new)]


FAMILIES: Registry[Family] = Registry("model family")
_BEFORE_4_52 = (("model.visual.", "visual."), ("model.language_model.", "model."))
FAMILIES.add("qwen2_vl", Family("qwen2_vl", "qwen2_vl", released_names=_BEFORE_4_52))
FAMILIES.add("qwen2_5_vl", Family("qwen2_5_vl", "qwen2_vl", released_names=_BEFORE_4_52))
FAMILIES.add(
    "qwen3_vl",
    Family("qwen3_vl", "qwen3_vl", mergers=("model.visual.merger", "model.visual.deepstack_merger_list")),
)


def family_of(config) -> Family:
    """Return the family of a transformers config; ``ValueError`` names the known ones."""
    return FAMILIES[config.model_type]


def check_template(family: Family, template: str) -> None:
    """Raise ``ConfigError`` where a run's chat template is not the one that models of ``family`` were trained with."""
    if template != family.template:
        raise ConfigError(
            f"template {template!r} does not fit a {family.name} checkpoint, which was trained with another; write "
            f"template: {family.template}"
        )
