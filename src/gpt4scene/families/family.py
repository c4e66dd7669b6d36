"""A model family as a value: where its parts are, what it was trained with, how big it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from gpt4scene.data.templates import TEMPLATES, Template
from gpt4scene.errors import ConfigError
from gpt4scene.families.shape import ModelShape
from gpt4scene.families.tiny import Tiny
from gpt4scene.files.thoughts import THINKING

OLDER_NAMES = (
    ("model.layers.", "model.language_model.layers."),
    ("model.embed_tokens", "model.language_model.embed_tokens"),
    ("model.norm", "model.language_model.norm"),
    ("visual.", "model.visual."),
    ("vision_tower.vision_model.", "model.vision_tower."),
    ("model.vision_tower.vision_model.", "model.vision_tower."),
    ("vision_tower.", "model.vision_tower."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
    ("image_newline", "model.image_newline"),
    ("language_model.model.", "model.language_model."),
    ("language_model.lm_head", "lm_head"),
    ("language_model.", "model.language_model."),
    ("model.model.", "model."),
)
"""How module paths began before transformers 4.52, and in releases and tools around it; and how they begin now."""


BEFORE_4_52 = (("model.visual.", "visual."), ("model.language_model.", "model."))
"""Beginnings of tensor names today, and in releases before transformers 4.52."""


@dataclass(frozen=True)
class Family:
    """A family of vision-language models.

    ``name`` is the ``model_type`` of its config. ``template`` is the chat template that it was trained with,
    ``thinking`` that of its checkpoints that think before they answer, where it has such.
    ``shape`` counts the sizes of a transformers config, ``tiny`` makes a checkpoint of a few hundred thousand weights.

    ``tower`` is the vision tower, ``mergers`` the modules, in it or beside it, that map to the language model's width,
    ``layers`` the list of language layers; all are module paths from the top of the model. ``norms`` and ``gates``
    name the classes of its root-mean-square norms and SwiGLU MLPs that fused kernels can stand in for. Norms that are
    ``centred`` multiply by 1 + their weights. ``idle`` are modules whose output nobody reads, so that they can't learn.
    ``texts`` are the ``model_type`` of language models that it may have, where there are several in its name.
    ``plain``: the position of a token is one running number, not three. ``seeing`` says what the tower takes:
    ``patches`` of all images in one row, ``tiles``, a batch of squares, or ``anyres``, tiles whose features are put
    together by the size of the image.

    ``released_names`` are beginnings of today's tensor names and what they were in the release, where that was before
    transformers 4.52; ``flat``: its ``config.json`` has the language model's entries at the top. ``released_swapped``
    are endings of the names of tensors that the release holds with their last two axes swapped. ``unused`` are
    beginnings of the names of tensors that the release holds and that neither transformers nor we load.
    ``rope_parameters`` says that rotary settings stand in its config under this name, as transformers 5 writes them.
    """

    name: str
    template: str
    shape: Callable[[Any], ModelShape]
    tiny: Tiny
    norms: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    centred: bool = False
    tower: str = "model.visual"
    mergers: tuple[str, ...] = ("model.visual.merger",)
    layers: str = "model.language_model.layers"
    texts: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    plain: bool = False
    seeing: Literal["patches", "tiles", "anyres"] = "patches"
    released_names: tuple[tuple[str, str], ...] = ()
    released_swapped: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    rope_parameters: bool = False
    flat: bool = False
    thinking: str = ""

    @property
    def templates(self) -> list[str]:
        """The names of templates that checkpoints of the family may be trained and asked with."""
        names = (self.template, self.thinking, f"{self.thinking}_nothink") if self.thinking else (self.template,)
        return sorted({name for name in names if name in TEMPLATES})

    def part_of(self, parameter: str) -> str:
        """Return which part a parameter belongs to: ``"merger"``, ``"tower"`` or ``"language"``."""
        if any(parameter == merger or parameter.startswith(merger + ".") for merger in self.mergers):
            return "merger"
        return "tower" if parameter.startswith(self.tower + ".") else "language"

    def current_names(self, module: str) -> list[str]:
        """Return what a module path, as it stands or of an older release, can be called now; most likely first."""
        return [module] + [new + module.removeprefix(old) for old, new in OLDER_NAMES if module.startswith(old)]

    def all_names(self, module: str) -> list[str]:
        """Return a module path of today, and what older releases called it."""
        return [module] + [old + module.removeprefix(new) for old, new in OLDER_NAMES if module.startswith(new)]

    def stored_shapes(self, tensor: str, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the shapes that files may hold a tensor of the model in: its own, and that of the release."""
        swapped = tensor.endswith(self.released_swapped)
        return [shape, (*shape[:-2], shape[-1], shape[-2])] if swapped else [shape]


def check_template(family: Family, template: str) -> None:
    """Raise ``ConfigError`` where a run's chat template is not one that models of ``family`` were trained with."""
    if template not in (known := family.templates):
        raise ConfigError(
            f"template {template!r} does not fit a {family.name} checkpoint, which was trained with another; write "
            f"template: {' or '.join(known)}"
        )


def choose_template(
    family: Family,
    asked: str | None,
    chat_template: str | dict[str, str] | None,
    enable_thinking: bool | None,
    trained: tuple[str, bool | None] | None = None,
) -> Template:
    """Return the template of a checkpoint's answers.

    It is the one that was ``asked`` for; left out, the one it was ``trained`` with. Where that is not known, it is that
    of the family's thinking checkpoints if ``chat_template``, the tokenizer's own, writes thoughts, and else the other.
    ``enable_thinking`` None is True where it thinks, but False where it was trained so.
    Raises ``ConfigError`` for another family's, and where one without thoughts is to think.
    """
    writes = isinstance(chat_template, str) and THINKING in chat_template
    known = trained is not None and trained[0] in family.templates
    usual = family.thinking if family.thinking and writes else family.template
    name = asked or (trained[0] if trained is not None and known else usual)
    if trained is not None and trained == (name, False) and enable_thinking is None:
        enable_thinking = False if TEMPLATES[name].thinks else None
    template = TEMPLATES[name]
    check_template(family, name)
    if enable_thinking and not template.thinks:
        other = f"; write template: {family.thinking}" if family.thinking else ""
        raise ConfigError(f"enable_thinking: template {name} has no thoughts{other}, or leave enable_thinking out")
    return template if enable_thinking is None else template.told(enable_thinking)
