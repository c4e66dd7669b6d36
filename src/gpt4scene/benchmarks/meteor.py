"""METEOR 1.5 through its own program, started once for all texts of a call.

The program talks by lines: ``SCORE ||| reference ||| … ||| hypothesis`` is answered by the statistics of that pair,
``EVAL ||| statistics ||| …`` by one score for each pair and then the score of all together.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

Pair = tuple[str, tuple[str, ...]]
"""Tokens of an answer, and the tokens of its references."""


class Meteor:
    """A running METEOR. Use it as a context; it loads its tables while the caller does other work."""

    def __init__(self, java: str, coco: Path) -> None:
        jar = coco / "meteor" / "meteor-1.5.jar"
        self._process = subprocess.Popen(
            [java, "-Xmx2G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._statistics: dict[Pair, str] = {}

    def __enter__(self) -> Meteor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def score(self, pairs: Sequence[Pair]) -> tuple[float, list[float]]:
        """Return METEOR of all pairs together and of each pair; equal pairs are asked once in the process's life.

        Raises ``RuntimeError`` when the program ends early.
        """
        asked = list(dict.fromkeys(pair for pair in pairs if pair not in self._statistics))
        self._statistics.update(zip(asked, self._ask([_score_line(pair) for pair in asked], len(asked)), strict=True))
        line = "EVAL" + "".join(f" ||| {self._statistics[pair]}" for pair in pairs)
        answers = [float(answer) for answer in self._ask([line], len(pairs) + 1)]
        return answers[-1], answers[:-1]

    def _ask(self, lines: list[str], answers: int) -> list[str]:
        assert self._process.stdin is not None and self._process.stdout is not None
        writer = threading.Thread(target=_write, args=(self._process.stdin, lines), daemon=True)
        writer.start()
        received = [self._process.stdout.readline().strip() for _ in range(answers)]
        writer.join()
        if "" in received:
            raise RuntimeError("METEOR ended before it had answered; it needs 2 GB of memory")
        return received


def _write(stream: IO[str], lines: list[str]) -> None:
    try:
        for line in lines:
            stream.write(line + "\n")
        stream.flush()
    except BrokenPipeError:
        return  # the reader sees the missing answers and says so


def _score_line(pair: Pair) -> str:
    hypothesis, references = pair
    hypothesis = hypothesis.replace("|||", "").replace("  ", " ")
    return " ||| ".join(["SCORE", " ||| ".join(references), hypothesis])
