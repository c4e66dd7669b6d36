"""What a server says it serves."""

from __future__ import annotations

import json

from gpt4scene import talk
from gpt4scene.errors import ConfigError
from gpt4scene.inference.reply import words_of
from gpt4scene.inference.requests import Requests
from gpt4scene.registry import nearest

OURS = "gpt4scene"
"""What ``gpt4scene serve`` says of its owner in its list of models."""
_SAID_OF_ITSELF = ("id", "root", "parent", "owned_by")
"""What a server's list says of a model and a restart does not change."""


def served(requests: Requests, model: str) -> dict[str, str]:
    """Return what the server's list of models says about ``model``; a server without a list says nothing.

    Raises ``ConfigError`` with what is served where the list lacks it, ``WorkError`` for a server out of reach.
    """
    content = requests.models()
    try:
        listed = json.loads(content or "null")
        entries = [entry for entry in listed["data"] if isinstance(entry["id"], str)]
    except (ValueError, TypeError, KeyError):
        entries = []
    if not entries:
        talk.note(f"{requests.base_url} has no list of models, so that '{model}' is not checked", requests.say)
        return {}
    names = [entry["id"] for entry in entries]
    if model not in names:
        raise ConfigError(
            f"{requests.base_url} serves no model '{model}'{nearest(model, names)} "
            f"(it serves: {words_of(', '.join(names))}); --model takes the served name"
        )
    entry = entries[names.index(model)]
    return {name: str(entry[name]) for name in _SAID_OF_ITSELF if entry.get(name)}
