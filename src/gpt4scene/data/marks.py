r"""Marks in the text of a message: ``<image>`` stands for an image; a backslash before a mark makes letters of it.

``\<image>`` is the word <image>, and ``\\<image>`` a backslash before an image. A backslash that no mark follows is a
backslash. ``<video>`` and ``<audio>`` are marks too, which no text may hold unless they are letters, and so are the
template's control tokens. Other tokens that were added to a tokenizer, such as ``<|box_start|>``, are used as tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gpt4scene.errors import DataError

IMAGE_MARK = "<image>"
"""What stands for an image in the text of a user turn."""

OTHER_MEDIA = ("<video>", "<audio>", "<|video|>", "<|audio|>")
"""What stands for videos and audio in other programs' rows."""

OTHER_SPELLINGS = ("<Image>", "<IMAGE>", "<|image|>", "<img>", "<image_1>", "<image 1>")
"""What stands for an image in other programs' rows."""

OTHER_OBJECTS = ("<bbox>", "<ref-object>")
"""What stands for boxes and objects in other programs' rows, which list them beside the text."""

FOREIGN_MARKS = (*OTHER_MEDIA, *OTHER_SPELLINGS, *OTHER_OBJECTS)


CACHED_HEADS = 1024
LONGEST_HEAD = 2**16
"""Letters of a head that is remembered; a longer one is looked through each time."""


def reason(mark: str) -> str:
    """Return why ``mark`` can't stay in a message, and the way out."""
    letters = f"write \\{mark} for the letters"
    if mark == IMAGE_MARK:
        return f"images belong to user messages; {letters}"
    if mark in OTHER_MEDIA:
        return f"{mark.strip('<|>')} is not supported, take frames as images; {letters}"
    if mark in OTHER_SPELLINGS:
        return f"the mark of an image is {IMAGE_MARK}; {letters}"
    if mark in OTHER_OBJECTS:
        return f"write the box or the object itself into the text; {letters}"
    return f"only the template may write it; {letters}"


class Marks:
    """Finds marks in texts: those of images and of other media, and tokens.

    Args:
        tokens: what a template writes itself.
        usable: further tokens, which texts may hold. A single letter and mere space can't be cut, and are left out.
    """

    def __init__(self, tokens: Iterable[str] = (), usable: Iterable[str] = ()) -> None:
        refused = {IMAGE_MARK, *FOREIGN_MARKS, *tokens}
        self._usable = {name for name in usable if len(name) > 1 and name.strip()} - refused
        names = sorted(refused | self._usable, key=len, reverse=True)
        # Backslashes are looked at from the first of a row only: a million of them would take hours otherwise.
        self._mark = re.compile(rf"(?<!\\)(\\*)({'|'.join(map(re.escape, names))})")
        self._first_letters = "".join(sorted({name[0] for name in names}))
        self._cuttable = not any(IMAGE_MARK in name for name in names if name != IMAGE_MARK)
        self._heads: dict[str, list[str] | None] = {}

    def found(self, text: str) -> list[str]:
        """Return the marks in ``text`` in order, without those that are letters and without usable tokens.

        Many rows have the same text up to their last image, which is looked through once.
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
            whole = not head or (last is not None and last[2] == IMAGE_MARK and last.end() == len(head))
            self._heads[head] = self._found(head) if whole else None
        first = self._heads[head]
        return self._found(text) if first is None else [*first, *self._found(tail)]

    def cut(self, text: str) -> tuple[str, str]:
        """Return ``text`` up to its last image, or letters of such, and what follows; no mark stands across the cut."""
        place = text.rfind(IMAGE_MARK) + len(IMAGE_MARK) if self._cuttable else 0
        return (text[:place], text[place:]) if place >= len(IMAGE_MARK) else ("", text)

    def _found(self, text: str) -> list[str]:
        found = [match[2] for match in self._mark.finditer(text) if not _is_escaped(match)]
        return [mark for mark in found if mark not in self._usable]

    def letters(self, text: str) -> list[str]:
        """Return the tokens in ``text`` that are letters there, in order."""
        found = [match[2] for match in self._mark.finditer(text) if _is_escaped(match)]
        return [mark for mark in found if mark not in (IMAGE_MARK, *FOREIGN_MARKS)]

    def images(self, text: str) -> int:
        """Return how many images ``text`` has a place for."""
        return self.found(text).count(IMAGE_MARK)

    def pieces(self, text: str) -> list[list[str]]:
        """Return the texts before, between and behind the images, each as parts that are to be tokenised apart.

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
            elif match[2] == IMAGE_MARK:
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

    def asked(self, prompt: str, images: int, place: str) -> list[str]:
        """Return a question's text before, between and behind its images, which stand first where it marks none.

        Raises ``DataError`` naming ``place`` for any other number of marks than 0 and ``images``, and for other marks.
        """
        for mark in self.found(prompt):
            if mark != IMAGE_MARK:
                raise DataError(f"{place}: the prompt holds {mark}; {reason(mark)}")
        texts = ["".join(parts) for parts in self.pieces(prompt)]
        marks = len(texts) - 1
        if marks not in (0, images):
            raise DataError(
                f"{place}: the prompt has {marks} {IMAGE_MARK} marks, but its scene has {images} images; mark every "
                "image, or none"
            )
        return texts if marks or not images else [""] * images + texts

    def escaped(self, text: str) -> str:
        """Return ``text`` with a backslash before every mark in it, so that all of it is letters."""
        return self._mark.sub(r"\1\1\\\2", text)

    def heard(self, text: str) -> str:
        """Return what someone wrote who knows nothing of marks, as the text of a message.

        Marks that only the template may write are letters; usable tokens stay tokens, and backslashes backslashes.
        """
        return self._mark.sub(lambda found: found[1] * 2 + "\\" * (found[2] not in self._usable) + found[2], text)

    def question(self, text: str) -> str:
        """Return what is asked, as a reader wants it: what stands behind all images, without what stands before them.

        Where images stand in several places, or last, it is all of ``text``.
        """
        _, *between, behind = ["", *("".join(parts) for parts in self.pieces(text))]
        return behind if behind.strip() and not any(map(str.strip, between[1:])) else self.plain(text)

    def plain(self, text: str) -> str:
        """Return ``text`` with images as marks and without the backslashes of letters, as a reader wants it."""
        return IMAGE_MARK.join("".join(parts) for parts in self.pieces(text))


def _is_escaped(match: re.Match[str]) -> bool:
    return len(match[1]) % 2 == 1
