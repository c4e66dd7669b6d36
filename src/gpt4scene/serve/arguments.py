"""What ``gpt4scene serve`` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from gpt4scene.inference.engine_arguments import (
    ANSWERS,
    IMAGES,
    MACHINE,
    EngineArguments,
    ModelArguments,
    empty_words,
)
from gpt4scene.settings.arguments import key

KEY_VARIABLE = "GPT4SCENE_API_KEY"
ADDRESS, REQUESTS = "Address", "Requests"
"""Headings in the help."""


@dataclass(frozen=True, kw_only=True)
class AddressArguments(ModelArguments):
    """Where a model is served, to whom, and under which name."""

    host: str = key("Address to listen at; 0.0.0.0 lets other machines ask.", "127.0.0.1", group=ADDRESS)
    port: int = key("Port to listen at; 0 takes one that is free.", 8000, least=0, most=65535, group=ADDRESS)
    served_name: str | None = key(
        "Name that requests call the model by; what --model says when left out.", None, group=ADDRESS
    )
    api_key_file: str | None = key(
        f"File with the key that requests must send; {KEY_VARIABLE} may hold it.", None, group=ADDRESS
    )

    @property
    def name(self) -> str:
        """The name that requests call the model by."""
        return self.served_name or self.model

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        return super().problems() + empty_words(self, ("host", "served_name", "api_key_file"))


@dataclass(frozen=True, kw_only=True)
class ServeArguments(EngineArguments, AddressArguments):
    """Which model to serve, where, to whom, and how much at a time."""

    model: str = key("Checkpoint, training output or LoRA output folder.")
    max_images: int = key("Most images in a request.", 64, least=0, group=IMAGES)
    max_body: int = key("Megabytes of a request's body at most, images included.", 64, least=1, group=IMAGES)
    max_new_tokens: int = key("Longest answer in tokens that a request may ask for.", 1024, least=1, group=ANSWERS)
    branch_limit: int = key("Answers that grow side by side; more wait.", 128, least=1, group=MACHINE)
    queue_limit: int = key(
        "Answers that may wait or grow at a time; more are told to come again.", 512, least=1, group=REQUESTS
    )
    timeout: float = key("Seconds that a request may take.", 600.0, least=0.001, group=REQUESTS)
    grace: float = key(
        "Seconds that requests under way get to finish when the server is told to stop.",
        30.0,
        least=0,
        group=REQUESTS,
    )
