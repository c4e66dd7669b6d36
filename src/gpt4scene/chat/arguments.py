"""What ``gpt4scene ask`` and ``gpt4scene chat`` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from gpt4scene.chat.wordings import FREE, wording_of
from gpt4scene.errors import ConfigError
from gpt4scene.inference.engine_arguments import (
    LOCAL_ONLY,
    SERVER,
    SERVER_HOLDS,
    DecodingArguments,
    EngineArguments,
    ModelArguments,
    empty_words,
    is_address,
    without_effect,
    wrong_address,
)
from gpt4scene.settings.arguments import key

SCENE, SCENES, PAGE, PEOPLE, UPLOADS = "Scene and question", "Scenes and questions", "Page", "People", "Uploads"
"""Headings in the help."""


@dataclass(frozen=True, kw_only=True)
class AnsweringArguments(DecodingArguments, EngineArguments):
    """Which model answers, and how: the same words as for ``infer``."""

    base_url: str | None = key("Ask the server at this address, such as http://localhost:8000/v1.", None, group=SERVER)
    timeout: float = key("Seconds that a server may say nothing.", 600.0, least=0.001, group=SERVER)

    @property
    def local(self) -> bool:
        """Whether the model runs in this program, not behind a server."""
        return self.base_url is None

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        if self.base_url is None:
            return wrong + without_effect(self, ("timeout",), "here", ": it belongs to --base_url")
        return wrong + wrong_address(self.base_url) + without_effect(self, LOCAL_ONLY, "here", SERVER_HOLDS)


@dataclass(frozen=True, kw_only=True)
class SceneQuestionArguments(ModelArguments):
    """What is asked, and about which scene."""

    scene: str = key("Prepared scene: its folder, its scene.json, or a folder that prepare wrote.")
    question: str = key("The question; it may also stand alone, in quotes.")
    scene_id: str | None = key("Name of the scene, where --scene holds several.", None, group=SCENE)
    task: str = key(f"Task whose wording the question gets; {FREE} asks it as it is.", FREE, group=SCENE)
    situation: str = key("Where somebody stands, for a task whose wording has a situation.", "", group=SCENE)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems() + empty_words(self, ("scene_id",))
        if not self.question.strip():
            wrong.append("the question is empty; write it in quotes, as in: gpt4scene ask … 'What is beside the sofa?'")
        return wrong + _task_problems(self.task)


@dataclass(frozen=True, kw_only=True)
class AskArguments(AnsweringArguments, SceneQuestionArguments):
    """One question about one scene."""


@dataclass(frozen=True, kw_only=True)
class PageArguments(ModelArguments):
    """The page: its scenes, its address, and what people may do there."""

    scenes: tuple[str, ...] = key("Prepared scenes: their folders, or folders that prepare wrote.", (), group=SCENES)
    task: str = key(f"Task whose wording is chosen at first; {FREE} asks questions as they are.", FREE, group=SCENES)
    view_url: str | None = key("Address of a running `gpt4scene view`, which objects link to.", None, group=SCENES)
    host: str = key("Address to listen at; 0.0.0.0 lets other machines see the page.", "127.0.0.1", group=PAGE)
    port: int = key("Port to listen at; 0 takes one that is free.", 7860, least=0, most=65535, group=PAGE)
    share: bool = key(
        "Let anyone who has the link ask, by a tunnel of Gradio's; never without this flag.", False, group=PAGE
    )
    branch_limit: int = key(
        "Answers that grow side by side; more people wait, and see their place.", 4, least=1, group=PEOPLE
    )
    queue_limit: int = key("People who may wait for an answer; more are told to come again.", 64, least=1, group=PEOPLE)
    uploads: bool = key("Let people send scenes and recordings of their own.", True, group=UPLOADS)
    upload_size: int = key("Megabytes that an upload may have.", 1024, least=1, group=UPLOADS)
    upload_seconds: float = key("Seconds that the preparation of an upload may take.", 1800.0, least=1, group=UPLOADS)
    frames: int = key("Frames of an uploaded recording, besides the bird's-eye view.", 32, least=1, group=UPLOADS)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems() + empty_words(self, ("host",))
        if "" in self.scenes:
            wrong.append("--scenes holds an empty name; leave it out, or name a folder")
        if not self.scenes and not self.uploads:
            wrong.append("--scenes names none and --uploads is false, so that nobody could ask; name a folder")
        if self.view_url is not None and not is_address(self.view_url):
            wrong.append(
                f"--view_url {self.view_url} is no address; it begins with http:// or https:// and names a host"
            )
        return wrong + _task_problems(self.task)


@dataclass(frozen=True, kw_only=True)
class ChatArguments(AnsweringArguments, PageArguments):
    """A page on which people ask about scenes."""


def _task_problems(task: str) -> list[str]:
    if task != FREE:
        try:
            wording_of(task)
        except ConfigError as error:
            return list(error.problems)
    return []
