"""From flags to what answers: a model on this machine or a server, both ready to be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gpt4scene.chat.arguments import AnsweringArguments
from gpt4scene.files.whole import read_json

if TYPE_CHECKING:
    from gpt4scene.chat.asking import Asker
    from gpt4scene.inference.decoding import GenerationSettings

Say = Callable[[str], None]


def first_line(arguments: AnsweringArguments) -> str:
    """Return what is done now, for the line that is shown before anything takes time."""
    if arguments.base_url is not None:
        return f"asking {arguments.model} at {arguments.base_url}"
    return f"loading the model {arguments.model} …"


def open_asker(arguments: AnsweringArguments, say: Say, branch_limit: int = 1) -> Asker:
    """Return what answers. Raises ``ValueError`` that names what is missing of a model, ``WorkError`` for a server."""
    if arguments.base_url is not None:
        return _server(arguments, say)
    if sentence := note_on_size(arguments):
        say(f"note: {sentence}")
    return _local(arguments, branch_limit)


def note_on_size(arguments: AnsweringArguments) -> str | None:
    """Return a sentence where the model was trained with images of another size than those that it will be shown."""
    from gpt4scene.model.folder import find_model
    from gpt4scene.model.trained_with import RECORD

    folder = find_model(arguments.model)
    file = (folder.adapter or folder.base) / RECORD
    content = read_json(file, "record of a training run") if file.is_file() else {}
    config = content.get("config") if isinstance(content, dict) else None
    parts = config.values() if isinstance(config, dict) else ()
    sides = [part.get("image_resolution") for part in parts if isinstance(part, dict)]
    trained = next((side for side in sides if isinstance(side, int)), None)
    shown = arguments.image_limits.image_resolution
    if trained is None or trained == shown or arguments.image_resolution is not None:
        return None
    return (
        f"the model was trained with --image_resolution {trained}, and images are shown with {shown or 'an area'}; "
        f"add --image_resolution {trained} for its best answers"
    )


def settings_of(arguments: AnsweringArguments) -> GenerationSettings:
    """Return how answers are decoded."""
    from gpt4scene.inference.decoding import GenerationSettings

    return GenerationSettings(
        max_new_tokens=arguments.max_new_tokens,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
        repetition_penalty=arguments.repetition_penalty,
    )


def _local(arguments: AnsweringArguments, branch_limit: int) -> Asker:
    from gpt4scene.chat.local import LocalAsker
    from gpt4scene.serve.arguments import ServeArguments
    from gpt4scene.serve.run import load

    loaded = load(
        ServeArguments(
            model=arguments.model,
            image_resolution=arguments.image_resolution,
            image_max_pixels=arguments.image_max_pixels,
            image_min_pixels=arguments.image_min_pixels,
            crop_to_patches=arguments.crop_to_patches,
            template=arguments.template,
            enable_thinking=arguments.enable_thinking,
            dtype=arguments.dtype,
            flash_attn=arguments.flash_attn,
            feature_cache=arguments.feature_cache,
            device=arguments.device,
            branch_limit=branch_limit,
            prefix_memory=arguments.prefix_memory,
        )
    )
    return LocalAsker(loaded, "/".join(Path(arguments.model).absolute().parts[-2:]))


def _server(arguments: AnsweringArguments, say: Say) -> Asker:
    from gpt4scene.chat.served import ServerAsker
    from gpt4scene.data.image_rules import image_rule
    from gpt4scene.data.vision import VisionRule
    from gpt4scene.inference.streaming import StreamingEngine

    assert arguments.base_url is not None
    limits = asdict(arguments.image_limits)
    del limits["crop_to_patches"]  # the server cuts tiles as it likes
    vision = image_rule(arguments.model, **limits) if Path(arguments.model).is_dir() else VisionRule(**limits)
    engine = StreamingEngine(arguments.base_url, arguments.model, vision, timeout=arguments.timeout, retries=2, say=say)
    engine.identity()
    return ServerAsker(engine, f"{arguments.model} at {arguments.base_url}")
