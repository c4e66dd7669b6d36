"""The talk as HTML. Everything that a person, a file or a model wrote is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from gpt4scene.chat.numbers import Link, labels_of, marked_text
from gpt4scene.chat.visits import Exchange
from gpt4scene.files.prepared import PreparedScene


def talk_html(talk: Sequence[Exchange], scene: PreparedScene | None, link: Link) -> str:
    """Return all exchanges; the numbers of the last answer are those that light up on the images."""
    if not talk:
        return (
            '<div class="g4s-talk" role="log" data-lit=""><p class="g4s-note">Ask about the room. Click a number in an '
            "image or in the list to put it into your question.</p></div>"
        )
    labels = labels_of(scene) if scene is not None else {}
    lit = " ".join(map(str, talk[-1].lit))
    shown = "".join(_exchange(one, labels, link) for one in talk)
    return f'<div class="g4s-talk" role="log" aria-live="polite" data-lit="{lit}">{shown}</div>'


def _exchange(one: Exchange, labels: dict[int, str], link: Link) -> str:
    parts = [f'<p class="g4s-asked"><span class="g4s-who">You</span>{marked_text(one.question, labels, link)}</p>']
    if one.thought:
        thought = escape(one.thought)
        parts.append(f"<details class='g4s-thought'><summary>Thought of the model</summary>{thought}</details>")
    if one.answer:
        said = marked_text(one.answer, labels, link)
        parts.append(f'<p class="g4s-answer"><span class="g4s-who">Model</span>{said}</p>')
    if one.error:
        parts.append(f'<p class="g4s-error" role="alert">{escape(one.error)}</p>')
    if one.state or one.times:
        parts.append(f'<p class="g4s-times">{escape(one.state or one.times)}</p>')
    return f'<article class="g4s-exchange">{"".join(parts)}</article>'


def note(text: str, wrong: bool = False) -> str:
    """Return a line for people; one about something wrong is read out at once."""
    if not text:
        return ""
    return (
        f'<p class="{"g4s-error" if wrong else "g4s-note"}" role="{"alert" if wrong else "status"}">{escape(text)}</p>'
    )
