r"""Marks in the text of a message: ``<image>`` and ``<video>`` stand for one; a backslash before a mark makes letters.

``\<image>`` is the word <image>, and ``\\<image>`` a backslash before an image. A backslash that no mark follows is a
backslash. ``<audio>`` is a mark too, which no text may hold unless it is letters, and so are the template's control
tokens. Other tokens that were added to a tokenizer, such as ``<|box_start|>``, are used as tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gpt4scene.errors import DataError
from gpt4scene.files.media import is_video

IMAGE_MARK = "<image>"
"""What stands for an image in the text of a user turn."""

VIDEO_MARK = "<video>"
"""What stands for a video there."""

MEDIA_MARKS = (IMAGE_MARK, VIDEO_MARK)

OTHER_MEDIA = ("<audio>", "<|audio|>")
"""What stands for audio in other programs' rows."""

OTHER_SPELLINGS = ("<Image>", "<IMAGE>", "<|image|>", "<img>", "<image_1>", "<image 1>")
"""What stands for an image in other programs' rows."""

OTHER_VIDEOS = ("<Video>", "<VIDEO>", "<|video|>")
"""What stands for a video in other programs' rows."""

OTHER_OBJECTS = ("<bbox>", "<ref-object>")
"""What stands for boxes and objects in other programs' rows, which list them beside the text."""

FOREIGN_MARKS = (*OTHER_MEDIA, *OTHER_SPELLINGS, *OTHER_VIDEOS, *OTHER_OBJECTS)


CACHED_HEADS = 1024
LONGEST_HEAD = 2**16
"""Letters of a head that is remembered; a longer one is looked through each time."""


def reason(mark: str) -> str:
    """Return why ``mark`` can't stay in a message, and the way out."""
    letters = f"write \\{mark} for the letters"
    if mark in MEDIA_MARKS:
        return f"{mark.strip('<>')}s belong to user messages; {letters}"
    if mark in OTHER_MEDIA:
        return f"{mark.strip('<|>')} is not supported; {letters}"
    if mark in OTHER_SPELLINGS:
        return f"the mark of an image is {IMAGE_MARK}; {letters}"
    if mark in OTHER_VIDEOS:
        return f"the mark of a video is {VIDEO_MARK}; {letters}"
    if mark in OTHER_OBJECTS:
        return f"write the box or the object itself into the text; {letters}"
    return f"only the template may write it; {letters}"


def mark_of(name: str) -> str:
    """Return the mark that stands for an image or a video, by its name (see ``files.media``)."""
    return VIDEO_MARK if is_video(name) else IMAGE_MARK


def counted(names: Sequence[str]) -> str:
    """Return how many images and videos ``names`` are, in words: ``2 images and 1 videos``."""
    videos = sum(map(is_video, names))
    images = f"{len(names) - videos} images"
    return f"{images} and {videos} videos" if videos else images


class Marks:
    """Finds marks in texts: those of images and of other media, and tokens.

    Args:
        tokens: what a template writes itself.
        usable: further tokens, which texts may hold. A single letter and mere space can't be cut, and are left out.
    """

    def __init__(self, tokens: Iterable[str] = (), usable: Iterable[str] = ()) -> None:
        refused = {*MEDIA_MARKS, *FOREIGN_MARKS, *tokens}
        self._usable = {name for name in usable if len(name) > 1 and name.strip()} - refused
        names = sorted(refused | self._usable, key=len, reverse=True)
        # Backslashes are looked at from the first of a row only: a million of them would take hours otherwise.
        self._mark = re.compile(rf"(?<!\\)(\\*)({'|'.join(map(re.escape, names))})")
        self._first_letters = "".join(sorted({name[0] for name in names}))
        self._cuttable = not any(mark in name for mark in MEDIA_MARKS for name in names if name != mark)
        self._heads: dict[str, list[str] | None] = {}

    def found(self, text: str) -> list[str]:
        """Return the marks in ``text`` in order, without those that are letters and without usable tokens.

        Many rows have the same text up to their last image or video, which is looked through once.
        """
        if not any(letter in text for letter in self._first_letters):
            return []
        head, tail = self.cut(text)
        if len(head) > LONGEST_HEAD:
            return self._found(text)
        if head not in self._heads:
            if len(self._heads) >= CACHED_HEADS:
                self._heads.clear()
            *_, last = None, *self._mark.finditer(head)
            whole = not head or (last is not None and last[2] in MEDIA_MARKS and last.end() == len(head))
            self._heads[head] = self._found(head) if whole else None
        first = self._heads[head]
        return self._found(text) if first is None else [*first, *self._found(tail)]

    def cut(self, text: str) -> tuple[str, str]:
        """Return ``text`` up to its last image or video, or letters of such, and the rest; no mark is cut in two."""
        ends = [text.rfind(mark) + len(mark) for mark in MEDIA_MARKS if self._cuttable and mark in text]
        return (text[: max(ends)], text[max(ends) :]) if ends else ("", text)

    def _found(self, text: str) -> list[str]:
        found = [match[2] for match in self._mark.finditer(text) if not _is_escaped(match)]
        return [mark for mark in found if mark not in self._usable]

    def letters(self, text: str) -> list[str]:
        """Return the tokens in ``text`` that are letters there, in order."""
        found = [match[2] for match in self._mark.finditer(text) if _is_escaped(match)]
        return [mark for mark in found if mark not in (*MEDIA_MARKS, *FOREIGN_MARKS)]

    def media(self, text: str) -> list[str]:
        """Return the marks of the images and videos that ``text`` has a place for, in order."""
        return [mark for mark in self.found(text) if mark in MEDIA_MARKS]

    def pieces(self, text: str) -> list[list[str]]:
        """Return the texts before, between and behind ``media``, each as parts that are to be tokenised apart.

        Marks that are letters stand there without their backslash, cut after their first letter, so that no tokenizer
        takes them for a token of its own. A text without any is one part.
        """
        found, end = [[""]], 0
        for match in self._mark.finditer(text):
            found[-1][-1] += text[end : match.start()] + "\\" * (len(match[1]) // 2)
            if _is_escaped(match):
                first, *rest = self._cut(match[2])
                found[-1][-1] += first
                found[-1] += rest
            elif match[2] in MEDIA_MARKS:
                found.append([""])
            else:
                found[-1][-1] += match[2]
            end = match.end()
        found[-1][-1] += text[end:]
        return found

    def _cut(self, mark: str) -> list[str]:
        """Return ``mark`` in parts, none of which holds a mark."""
        parts, rest = [mark[:1]], mark[1:]
        while inner := self._mark.search(rest):
            parts.append(rest[: inner.start(2) + 1])
            rest = rest[inner.start(2) + 1 :]
        return [*parts, rest]

    def asked(self, prompt: str, names: Sequence[str], place: str) -> list[str]:
        """Return a question's text before, between and behind what it shows, which stands first where it marks nothing.

        ``names`` are those of images and videos. Raises ``DataError`` naming ``place`` where the prompt marks neither
        nothing nor each of them, in order, and for other marks.
        """
        for mark in self.found(prompt):
            if mark not in MEDIA_MARKS:
                raise DataError(f"{place}: the prompt holds {mark}; {reason(mark)}")
        texts = ["".join(parts) for parts in self.pieces(prompt)]
        marks = self.media(prompt)
        if marks and marks != [mark_of(name) for name in names]:
            raise DataError(
                f"{place}: the prompt has {marked(marks)}, but its scene has {counted(names)}; mark every "
                f"{'image and video, in their order' if any(map(is_video, names)) else 'image'}, or none"
            )
        return texts if marks or not names else [""] * len(names) + texts

    def escaped(self, text: str) -> str:
        """Return ``text`` with a backslash before every mark in it, so that all of it is letters."""
        return self._mark.sub(r"\1\1\\\2", text)

    def heard(self, text: str) -> str:
        """Return what someone wrote who knows nothing of marks, as the text of a message.

        Marks that only the template may write are letters; usable tokens stay tokens, and backslashes backslashes.
        """
        return self._mark.sub(lambda found: found[1] * 2 + "\\" * (found[2] not in self._usable) + found[2], text)

    def question(self, text: str) -> str:
        """Return what is asked, as a reader wants it: what stands behind all images and videos, without what is before.

        Where these stand in several places, or last, it is all of ``text``.
        """
        _, *between, behind = ["", *("".join(parts) for parts in self.pieces(text))]
        return behind if behind.strip() and not any(map(str.strip, between[1:])) else self.plain(text)

    def plain(self, text: str) -> str:
        """Return ``text`` with its marks and without the backslashes of letters, as a reader wants it."""
        first, *rest = ["".join(parts) for parts in self.pieces(text)]
        return first + "".join(mark + text for mark, text in zip(self.media(text), rest, strict=True))


def marked(marks: Sequence[str]) -> str:
    """Return how many marks there are of each kind, in words: ``2 <image> and 1 <video> marks``."""
    kinds = [f"{marks.count(mark)} {mark}" for mark in MEDIA_MARKS if mark in marks]
    return f"{' and '.join(kinds) or f'0 {IMAGE_MARK}'} marks"


def _is_escaped(match: re.Match[str]) -> bool:
    return len(match[1]) % 2 == 1
