"""``gpt4scene ask``: one question about one scene, answered on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from gpt4scene import talk
from gpt4scene.chat.arguments import AskArguments
from gpt4scene.chat.opening import first_line, open_asker
from gpt4scene.chat.wordings import prompt_of
from gpt4scene.errors import ConfigError, WorkError
from gpt4scene.files.prepared import PreparedScene, find_scenes, read_prepared
from gpt4scene.inference.opening import decoding_settings, look_for_model
from gpt4scene.metrics.object_ids import object_ids
from gpt4scene.registry import nearest

if TYPE_CHECKING:
    from gpt4scene.chat.asking import Asker, Outcome


def main(arguments: AskArguments) -> int:
    """Print the answer; return 0."""
    scene = the_scene(arguments.scene, arguments.scene_id)
    prompt = prompt_of(arguments.question, arguments.task, arguments.situation)
    look_for_model(arguments)
    talk.say(f"{first_line(arguments)}; scene {scene.scene_id}, {1 + len(scene.frames)} images")
    asker = open_asker(arguments, talk.say)
    try:
        outcome = ask(asker, scene, prompt, arguments, None if not _streams() else _shown)
    finally:
        asker.close()
    _print(outcome, scene, prompt, arguments)
    return 0


def ask(
    asker: Asker, scene: PreparedScene, prompt: str, arguments: AskArguments, show: Callable[[str], None] | None
) -> Outcome:
    """Return the outcome of one question; ``show`` takes the answer's text as it grows."""
    from gpt4scene.chat.asking import question_about

    question = question_about(scene, prompt)
    with closing(asker.ask(question, decoding_settings(arguments))) as pieces:
        for piece in pieces:
            if show is not None and piece.text:
                show(piece.text)
            if piece.outcome is not None:
                return piece.outcome
    raise WorkError("the answer broke off; ask again")


def the_scene(place: str, scene_id: str | None) -> PreparedScene:
    """Return the one scene that ``place`` means. Raises ``ConfigError`` where it holds several and none is named."""
    records = find_scenes([place])
    names = [record.parent.name for record in records]
    if scene_id is not None:
        chosen = [record for record, name in zip(records, names, strict=True) if name == scene_id]
        if not chosen:
            raise ConfigError(f"--scene_id: {place} has no scene '{scene_id}'{nearest(scene_id, names)}")
        return read_prepared(chosen[0])
    if len(records) > 1:
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise ConfigError(f"{place} holds {len(records)} scenes; name one with --scene_id ({shown})")
    return read_prepared(records[0])


def _streams() -> bool:
    return sys.stdout.isatty() and not talk.as_json()


def _shown(text: str) -> None:
    """Write a piece of an answer; what is not printed is left out, so that no answer reaches the terminal as code."""
    sys.stdout.write("".join(letter for letter in text if letter.isprintable() or letter in "\n\t"))
    sys.stdout.flush()


def _print(outcome: Outcome, scene: PreparedScene, prompt: str, arguments: AskArguments) -> None:
    """Print what was not shown yet."""
    if _streams():
        print()
    elif not talk.as_json():
        print(outcome.answer, flush=True)
    labels = {item.id: item.label for item in scene.objects}
    said = list(dict.fromkeys(object_ids(outcome.answer)))
    if not talk.as_json():
        for number in said:
            talk.say(f"object {number}: {labels.get(number, 'this scene has no such object')}")
        talk.say(outcome.times())
    talk.result(
        scene_id=scene.scene_id,
        images=list(map(str, scene.images)),
        model=arguments.model,
        task=arguments.task,
        prompt=prompt,
        answer=outcome.answer,
        whole=outcome.text,
        objects=[{"id": number, "label": labels.get(number)} for number in said],
        finish_reason=outcome.finish_reason,
        tokens=outcome.tokens,
        first_seconds=round(outcome.first_seconds, 3),
        seconds=round(outcome.seconds, 3),
    )
