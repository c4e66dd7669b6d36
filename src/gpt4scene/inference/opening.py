"""From flags to an engine: what is wrong with the model is said before torch is imported, what was decided in notes.

``infer``, ``serve``, ``ask`` and ``chat`` all open their models here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt4scene import talk
from gpt4scene.data.video_rule import VideoLimits
from gpt4scene.errors import ConfigError
from gpt4scene.files.whole import read_json
from gpt4scene.inference.engine_arguments import DecodingArguments, EngineArguments

if TYPE_CHECKING:
    from gpt4scene.data.image_rule import ImageRule
    from gpt4scene.inference.decoding import GenerationSettings
    from gpt4scene.inference.engine import Engine
    from gpt4scene.model.folder import ModelFolder

Say = Callable[[str], None]

FEATURES = 2 * 10**9
"""Most bytes of memory that ``--feature_cache auto`` takes: scenes come once, their images at most a few times."""
THOUGHT_TOKENS = 1024
"""A thought and its answer may well be so long; fewer tokens are noted."""


def look_for_model(arguments: EngineArguments) -> None:
    """Raise ``DataError`` where ``--model`` is no model; nothing where a server has it.

    Takes a moment, since nothing of torch is imported. Of a model on the hub its description is fetched, no weights.
    """
    if arguments.local:
        from gpt4scene.model.folder import look_for

        look_for(arguments.model)


def check_model(arguments: EngineArguments, folder: ModelFolder, longest: int | None = None) -> None:
    """Raise ``ConfigError`` for another family's template, and for answers that are longer than the model's context.

    ``longest`` is the longest answer in tokens, None where it is cut to the context.
    """
    from gpt4scene.families.family import check_template
    from gpt4scene.families.registry import FAMILIES

    config = read_json(folder.base / "config.json", "description of the model")
    kind = config.get("model_type")
    if arguments.template is not None and kind in FAMILIES:
        check_template(FAMILIES[kind], arguments.template)
    inner = config.get("text_config")
    context = {**config, **(inner if isinstance(inner, dict) else {})}.get("max_position_embeddings")
    if longest is not None and isinstance(context, int) and longest >= context:
        raise ConfigError(
            f"--max_new_tokens {longest} leaves no room for a question in the model's context of {context} tokens"
        )


def open_engine(
    arguments: EngineArguments,
    say: Say,
    *,
    branch_limit: int | None = None,
    longest: int | None = None,
    video: VideoLimits | None = None,
) -> Engine:
    """Return the engine around the model on this machine; ``say`` takes lines on what was decided.

    ``branch_limit`` are the answers that grow side by side, ``longest`` is the longest answer in tokens where that is
    known now. Raises ``DataError`` for a model that lacks something, ``ConfigError`` for what can't be done here.
    """
    from gpt4scene.model.folder import find_model

    folder = find_model(arguments.model)
    check_model(arguments, folder, longest)
    if sentence := note_on_size(arguments, folder):
        talk.note(sentence, say)

    from gpt4scene.inference.local import load_engine
    from gpt4scene.model.attention import attention_sentence
    from gpt4scene.model.feature_choice import open_features
    from gpt4scene.settings.arguments import attention_backend, gibibytes
    from gpt4scene.settings.feature_cache import feature_cache

    attention, sentence = attention_backend(arguments.flash_attn)
    if sentence:
        talk.note(sentence, say)
    features = open_features(feature_cache(arguments.feature_cache), lambda line: talk.note(line, say), most=FEATURES)
    engine = load_engine(
        folder,
        **asdict(arguments.image_limits),
        video=video,
        template=arguments.template,
        enable_thinking=arguments.enable_thinking,
        dtype=arguments.dtype,
        attention=attention,
        device=arguments.device,
        branch_limit=branch_limit,
        prefix_memory=gibibytes(arguments.prefix_memory),
        features=features,
    )
    if longest is not None and engine.encoder.template.thought_opening and longest < THOUGHT_TOKENS:
        talk.note(
            f"the model thinks before it answers, and --max_new_tokens {longest} counts both; an answer cut off in its "
            f"thought is empty: raise it to {THOUGHT_TOKENS} or more, or write --enable_thinking false",
            say,
        )
    instead = "take another --dtype, or --device cpu"
    kernel = attention_sentence(engine.model.config, attention, engine.device, engine.model.dtype, instead)
    say(f"attention: {kernel}")
    if features is not None and engine.scheduler.tower.cache is None and arguments.feature_cache != "auto":
        talk.note(
            f"--feature_cache {arguments.feature_cache} has no effect: this version of transformers takes no features "
            "for this family; 5.23 does",
            say,
        )
    return engine


def note_on_size(arguments: EngineArguments, folder: ModelFolder) -> str | None:
    """Return a sentence where the model was trained with images of another size than those that it will be shown."""
    from gpt4scene.model.trained_with import RECORD

    file = (folder.adapter or folder.base) / RECORD
    content = read_json(file, "record of a training run") if file.is_file() else {}
    config = content.get("config") if isinstance(content, dict) else None
    parts: Any = config.values() if isinstance(config, dict) else ()
    sides = [part.get("image_resolution") for part in parts if isinstance(part, dict)]
    trained = next((side for side in sides if isinstance(side, int)), None)
    shown = arguments.image_limits.image_resolution
    if trained is None or trained == shown or arguments.image_resolution is not None:
        return None
    return (
        f"the model was trained with --image_resolution {trained}, and images are shown with {shown or 'an area'}; "
        f"add --image_resolution {trained} for its best answers"
    )


def server_vision(arguments: EngineArguments) -> ImageRule:
    """Return how large images are sent to a server: by the model's own rule where ``--model`` is a folder here."""
    from gpt4scene.data.image_rules import image_rule
    from gpt4scene.data.vision import VisionRule

    limits = asdict(arguments.image_limits)
    del limits["crop_to_patches"]  # the server cuts tiles as it likes
    return image_rule(arguments.model, **limits) if Path(arguments.model).is_dir() else VisionRule(**limits)


def decoding_settings(arguments: DecodingArguments) -> GenerationSettings:
    """Return how answers are decoded."""
    from gpt4scene.inference.decoding import GenerationSettings

    return GenerationSettings(
        max_new_tokens=arguments.max_new_tokens,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
        repetition_penalty=arguments.repetition_penalty,
    )
