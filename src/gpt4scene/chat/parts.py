"""The parts of the page of ``gpt4scene chat``, where they stand, and how they look."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any

from gpt4scene.chat.desk import Desk
from gpt4scene.chat.showing import note, talk_html
from gpt4scene.chat.wordings import FREE, wording_of, wordings

TITLE = "gpt4scene chat"
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")


@dataclass(frozen=True)
class Parts:
    """The parts that do something; the last three are None where nothing may be uploaded."""

    scene: Any
    talk: Any
    wording: Any
    situation: Any
    question: Any
    ask: Any
    stop: Any
    clear: Any
    follow: Any
    said: Any
    images: Any
    send: Any
    cancel: Any
    state: Any


def text_of(name: str) -> str:
    """Return a file that lies beside this module."""
    return resources.files("gpt4scene.chat").joinpath(name).read_text(encoding="utf-8")


def theme() -> Any:
    """Return the page's colours and fonts, all of which are on the visitor's machine."""
    from gradio import themes

    found = themes.Base(primary_hue="blue", neutral_hue="slate", font=FONTS, font_mono=("ui-monospace", "monospace"))
    return found.set(  # Gradio's own blue and grey are too pale to be read easily
        button_primary_background_fill="#1d4ed8",
        button_primary_background_fill_dark="#1d4ed8",
        button_primary_background_fill_hover="#1e40af",
        button_primary_background_fill_hover_dark="#1e40af",
        block_info_text_color="#475569",
        block_info_text_color_dark="#cbd5e1",
    )


def lay_out(gradio: Any, desk: Desk, task: str, uploads: bool) -> Parts:
    """Put the parts onto the page that is being built."""
    gradio.HTML(f"<h1>{TITLE}</h1><p class='g4s-note'>Model: {escape(desk.asker.about)}</p>", elem_id="g4s-head")
    with gradio.Row():
        with gradio.Column(scale=5, min_width=320):
            scene = gradio.Dropdown(
                desk.scenes.public, label="Scene", interactive=True, elem_id="g4s-scene", filterable=True
            )
            talk = gradio.HTML(talk_html([], None, lambda number: None), elem_id="g4s-talk")
            wording, situation, question = _question_parts(gradio, task)
            with gradio.Row():
                ask = gradio.Button("Ask", variant="primary", elem_id="g4s-ask", min_width=80)
                stop = gradio.Button("Stop", interactive=False, elem_id="g4s-stop", min_width=80)
                clear = gradio.Button("Clear", elem_id="g4s-clear", min_width=80)
            said = gradio.HTML("", elem_id="g4s-said")
            follow = gradio.Checkbox(
                label="Send earlier questions and answers, too (published models learned single questions)",
                elem_id="g4s-follow",
            )
            send, cancel, state = _upload_parts(gradio) if uploads else (None, None, None)
        with gradio.Column(scale=6, min_width=320):
            images = gradio.HTML("", elem_id="g4s-images")
    return Parts(scene, talk, wording, situation, question, ask, stop, clear, follow, said, images, send, cancel, state)


def _question_parts(gradio: Any, task: str) -> tuple[Any, Any, Any]:
    tasks = [("My own words", FREE), *((f"{one.title}: {one.hint}", one.task) for one in wordings())]
    wording = gradio.Dropdown(
        tasks,
        value=task,
        label="Wording",
        info=info(task),
        interactive=True,
        elem_id="g4s-wording",
        filterable=False,
    )
    situation = gradio.Textbox(
        label="Situation (where you stand)", visible=has_situation(task), elem_id="g4s-situation"
    )
    question = gradio.Textbox(
        label="Question (Enter asks, Shift and Enter begin a new line)",
        placeholder=hint(task),
        lines=1,
        max_lines=6,
        elem_id="g4s-question",
        autofocus=True,
    )
    return wording, situation, question


def _upload_parts(gradio: Any) -> tuple[Any, Any, Any]:
    with gradio.Accordion("A room of your own", open=False, elem_id="g4s-uploads"):
        gradio.HTML(
            note(
                "Send a .zip, .tar or .tar.gz: the folder that 'gpt4scene prepare' wrote, or a recording, which is "
                "prepared here. Only you see it, and it is deleted when you leave the page."
            )
        )
        with gradio.Row():
            send = gradio.UploadButton(
                "Upload", file_types=[".zip", ".tar", ".gz", ".tgz"], elem_id="g4s-upload", min_width=80
            )
            cancel = gradio.Button("Stop the upload", interactive=False, elem_id="g4s-cancel", min_width=80)
        state = gradio.HTML("", elem_id="g4s-upload-state")
    return send, cancel, state


def has_situation(task: str) -> bool:
    """Return whether the wording of a task says where somebody stands."""
    return task != FREE and wording_of(task).needs_situation


def info(task: str) -> str:
    """Return what a task's wording is, for people."""
    return "The question is asked as it is." if task == FREE else f"Asked as: {wording_of(task).text}"


def hint(task: str) -> str:
    """Return what to type for a task."""
    return "What is beside the sofa?" if task == FREE else wording_of(task).hint
