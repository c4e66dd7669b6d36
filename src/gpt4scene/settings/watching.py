"""What a run shows while it goes: answers to held-out questions, and where trackers write."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gpt4scene.settings.arguments import Arguments, key
from gpt4scene.settings.held_out import NEEDED, holds_out

OWN_KEYS = {"use_swanlab": "swanlab", "board": "tensorboard"}
"""Keys that ask for a tracker as ``report_to`` does -> the tracker."""

SWANLAB_MODES = {"cloud": "online", "local": "local", "online": "online", "offline": "offline", "disabled": "disabled"}
"""``swanlab_mode`` -> SwanLab's own word for it; ``cloud`` is LLaMA-Factory's."""


@dataclass(frozen=True)
class WatchingArguments(Arguments):
    """What a run shows, and to whom."""

    eval_generate: float = key(
        "Held-out questions to answer at each evaluation: a number, or a share below 1; 0 is none.", 0.0, least=0
    )
    eval_generate_tokens: int = key("Longest answer to them, in tokens.", 128, least=1)
    accept_changes: bool = key("With --from run.json: go on where rows or weights are no longer the same.", False)
    logging_dir: str | None = key("Folder of TensorBoard's files; runs/<time> in output_dir when left out.", None)
    board: bool = key("Write TensorBoard's files and say how to look at them, as report_to: tensorboard does.", False)
    use_swanlab: bool = key("Track the run by SwanLab, as report_to: swanlab does.", False)
    swanlab_project: str | None = key("SwanLab's project; SWANLAB_PROJECT, or gpt4scene, when left out.", None)
    swanlab_workspace: str | None = key("SwanLab's workspace; your own when left out.", None)
    swanlab_run_name: str | None = key("Name of the run in SwanLab; run_name when left out.", None)
    swanlab_mode: Literal["cloud", "local", "online", "offline", "disabled"] | None = key(
        "SwanLab writes to its cloud (cloud, online), to files for later (offline), or for its dashboard here (local).",
        None,
    )
    swanlab_logdir: str | None = key("Folder of SwanLab's files; swanlog when left out.", None)


def reporters(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the trackers that the settings name, by ``report_to`` or by a key of their own."""
    named = values.get("report_to") or []
    named = [named] if isinstance(named, str) else list(named)
    found = [name for name in named if name != "none"]
    found += [tracker for own, tracker in OWN_KEYS.items() if values.get(own)]
    return tuple(dict.fromkeys(found))


def watching_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences about settings of this part that cannot stand together."""
    get = values.get
    asked = get("eval_generate") or 0
    if asked > 1 and asked != int(asked):
        yield f"eval_generate must be a share below 1 or a whole number of questions, not {asked:g}"
    if asked and not holds_out(values):
        yield f"eval_generate needs {NEEDED}"
    if asked and get("do_eval") is False and get("eval_strategy", "no") == "no":
        yield "eval_generate needs an evaluation, and do_eval: false leaves that at the end out; leave one of them out"
    if asked and get("tokenized_path"):
        yield "eval_generate needs the words of questions, and tokenized_path holds tokens; leave one of them out"
    if asked and get("stage") == "pt":
        yield "eval_generate asks the questions of rows, and plain text (stage: pt) has none; leave it out"
    if asked and get("fsdp"):
        yield (
            "eval_generate needs whole weights in each process, and fsdp shares them out; use plain processes or "
            "ZeRO-2, or gpt4scene infer on the checkpoints"
        )
    for own in OWN_KEYS:
        if get(own) and "none" in (get("report_to") or []):
            yield f"{own}: true and report_to: none exclude each other"


def watching_without_effect(values: Mapping[str, Any]) -> dict[str, tuple[str, bool]]:
    """Return, by key of this part, what it needs to have an effect, and whether that is there."""
    get, named = values.get, reporters(values)
    swanlab = "report_to: swanlab, or use_swanlab", "swanlab" in named or "all" in named
    return {
        **{name: swanlab for name in WatchingArguments.__dataclass_fields__ if name.startswith("swanlab_")},
        "logging_dir": ("board, or report_to: tensorboard", "tensorboard" in named or "all" in named),
        "eval_generate_tokens": ("eval_generate", bool(get("eval_generate"))),
        "run_name": ("report_to, such as report_to: tensorboard", bool(named)),
    }


def swanlab_mode(written: str | None) -> str:
    """Return SwanLab's word for the mode: that of the settings, else of ``SWANLAB_MODE``, else online."""
    word = written or os.environ.get("SWANLAB_MODE") or "online"
    return SWANLAB_MODES.get(word, word)
