"""Questions whose choices are rotated: each of the four letters holds each choice once.

Source: the circular form of InternRobotics/MMSI-Bench @5de2f3d. A model that prefers a letter fails one rotation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gpt4scene.errors import DataError
from gpt4scene.files.raw import Record

LETTERS = "ABCD"
STEP = 1_000_000
"""What the index of a question grows by from one rotation to the next."""

_LIST = re.compile(r"\s*Options:\s*(?=[A-D]\s*:)")
_CHOICE = re.compile(r"(?:^|,\s*)([A-D])\s*:\s*")


def split_choices(question: str) -> tuple[str, dict[str, str]]:
    """Return the question without its list ``Options: A: …, B: …``, and letter -> choice; none where it has no list.

    Of several lists the last counts. Letters must stand in their order, so a choice may hold commas and colons.
    """
    found = list(_LIST.finditer(question))
    if not found:
        return question, {}
    listed, choices, start = question[found[-1].end() :], {}, 0
    last = ""
    for mark in _CHOICE.finditer(listed):
        if mark[1] <= last:
            continue  # such a letter stands inside a choice
        if last:
            choices[last] = listed[start : mark.start()].strip()
        last, start = mark[1], mark.end()
    choices[last] = listed[start:].strip().rstrip(",").rstrip()
    return question[: found[-1].start()].rstrip(), choices


def rotations(record: Record) -> Iterator[Record]:
    """Yield the four rotations of a question, or the record itself where it is one of them; none without choices.

    ``index`` tells them apart, ``g_index`` is the index of the question. With three choices one letter of every
    rotation is left out. Raises ``DataError`` where the answer is none of the choices.
    """
    if "g_index" in record.values:
        yield record
        return
    text, choices = split_choices(record.text("question"))
    if not choices:
        return
    answer = record.text("answer")
    if answer not in choices:
        raise DataError(f"{record.origin}: 'answer' is {answer!r}, which is none of the choices {', '.join(choices)}")
    index = record.whole("index" if "index" in record.values else "id")
    for turn in range(len(LETTERS)):
        holds = {new: LETTERS[(place + turn) % len(LETTERS)] for place, new in enumerate(LETTERS)}
        shown = {new: choices[old] for new, old in holds.items() if old in choices}
        values = {
            **record.values,
            "index": index + turn * STEP,
            "question": f"{text}\nOptions: {', '.join(f'{letter}: {choice}' for letter, choice in shown.items())}",
            "answer": next(new for new, old in holds.items() if old == answer),
            "g_index": index,
        }
        yield Record(values, record.origin)
