"""The answers about a scene with their verdicts; the boxes of the chosen one stand in the room, both sides at once."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gpt4scene.view.answers import VERDICTS, SceneAnswer, shown_answers

if TYPE_CHECKING:
    import viser

    from gpt4scene.view.page import Page

_NOTHING: tuple[str, ...] = ("none",)
KINDS = ("all", "about objects", "right", "partly", "wrong")


class AnswersPanel:
    """The answers of a person's page."""

    def __init__(self, session: Page) -> None:
        self._session, gui = session, session.client.gui
        self._all = session.here.answers
        self._kind = gui.add_dropdown("Show", KINDS)
        self._kind.on_update(lambda event: session.guard(self._list))
        self._choice: viser.GuiDropdownHandle[str] = gui.add_dropdown("Answer", _NOTHING)
        self._choice.on_update(lambda event: session.guard(self._show))
        before = gui.add_button_group("Step", ("previous", "next"))
        before.on_click(lambda event: session.guard(lambda: self._step(1 if before.value == "next" else -1)))
        self._html = gui.add_html("")
        self._shown: list[SceneAnswer] = []
        self._list()

    def _list(self) -> None:
        self._shown = shown_answers(self._all, self._kind.value)
        rows = tuple(
            f"{place + 1} {VERDICTS[answer.verdict][:1] if answer.verdict else '·'} {answer.task}: {answer.answer[:40]}"
            for place, answer in enumerate(self._shown)
        )
        self._choice.options = rows or _NOTHING
        self._choice.value = self._choice.options[0]
        self._show()

    def _step(self, by: int) -> None:
        place = self._choice.options.index(self._choice.value) + by
        self._choice.value = self._choice.options[place % len(self._choice.options)]

    def _show(self) -> None:
        first = self._choice.value.partition(" ")[0]
        answer = self._shown[int(first) - 1] if first.isdecimal() and self._shown else None
        self._html.content = answer_html(answer, len(self._shown), len(self._all))
        named, meant = (answer.named, answer.meant) if answer else ((), ())
        self._session.scenery.draw_answer(named, meant)


def answer_html(answer: SceneAnswer | None, shown: int, total: int) -> str:
    """Return an answer as HTML: question, answer, what was expected, verdict, and what the boxes mean."""
    counts = f"<p style='margin:4px 10px'>{shown} of {total} answers.</p>"
    if answer is None:
        return counts
    rows = [("Question", answer.question), ("Answer", answer.answer or "(empty)")]
    rows += [("Expected", " · ".join(answer.expected))] if answer.expected else []
    verdict = VERDICTS[answer.verdict] + (f" — {answer.reason}" if answer.reason else "")
    rows += [("Verdict", verdict)]
    if answer.points:
        boxes = [f"answer {_names(answer.named)} (orange, thick)", f"true object {_names(answer.meant)} (green, thin)"]
        rows.append(("Boxes", "; ".join(boxes)))
    lines = "".join(
        f"<dt><b>{escape(name)}</b></dt><dd style='margin:0 0 6px'>{escape(text)}</dd>" for name, text in rows
    )
    return f"{counts}<dl style='margin:4px 10px;overflow-wrap:anywhere'>{lines}</dl>"


def _names(boxes: tuple) -> str:
    return ", ".join(f"{box.id} {box.label}".strip() for box in boxes) or "none"
