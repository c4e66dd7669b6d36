"""METEOR 1.5 through its own program, started once for all texts of a call, or once a core where they are many.

The program talks by lines: ``SCORE ||| reference ||| … ||| hypothesis`` is answered by the statistics of that pair. Its
answers go to a temporary file, so that it never waits for us while we compute the other metrics. The statistics become
the score here: the program's own ``EVAL`` takes as long as a third of the matching. Given only the paraphrases that the
texts can use (``paraphrases``), it starts in a quarter of a second instead of five.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from gpt4scene.errors import WorkError
from gpt4scene.metrics.captions import Pair

JAR, TABLE = Path("meteor") / "meteor-1.5.jar", Path("meteor") / "data" / "paraphrase-en.gz"
"""The program and its paraphrases in the folder of pycocoevalcap."""

_PAUSE_S = 0.01
_MOST_PROGRAMS = 4
_PAIRS_WORTH_A_PROGRAM = 1000
_ALPHA, _BETA, _GAMMA, _CONTENT = 0.85, 0.2, 0.6, 0.75
_STAGE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])


class Meteor:
    """Running METEORs. Use it as a context.

    Args:
        java: the program that runs METEOR.
        coco: folder of pycocoevalcap.
        table: its paraphrase table, gzipped; ``None`` for its own, which a second program is not worth loading for.
        programs: how many share the work at most (``programs_for``).
    """

    def __init__(self, java: str, coco: Path, table: bytes | None = None, programs: int = 1) -> None:
        flags, extra = ["-Xmx2G"], []
        self._table = tempfile.NamedTemporaryFile(prefix="meteor", suffix=".gz")  # noqa: SIM115 (closed at the end)
        if table is not None:
            self._table.write(table)
            self._table.flush()
            flags += ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]  # short work: less compiling, no helper threads
            extra = ["-a", self._table.name]
        command = [java, *flags, "-jar", str(coco / JAR), "-", "-", "-stdio", "-l", "en", "-norm", *extra]
        self._programs = [_Program(command) for _ in range(programs if table is not None else 1)]
        self._work = [0.0] * len(self._programs)
        self._asked: dict[Pair, tuple[int, int]] = {}
        self._known: dict[Pair, np.ndarray] = {}

    def __enter__(self) -> Meteor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in self._programs:
            program.end()
        self._table.close()

    def ask(self, pairs: Sequence[Pair]) -> None:
        """Send ``pairs`` on their way and return at once; equal pairs are asked once."""
        lines: list[list[str]] = [[] for _ in self._programs]
        for pair in pairs:
            if pair not in self._asked:
                place = self._work.index(min(self._work))
                self._asked[pair] = place, self._programs[place].lines + len(lines[place])
                self._work[place] += len(pair[0]) * sum(map(len, pair[1]))
                lines[place].append(_score_line(pair))
        for program, new in zip(self._programs, lines, strict=True):
            program.send(new)

    def statistics(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return what METEOR sums up of every pair, float64[B, 24] (``score`` scores the sums).

        Raises ``WorkError`` when a program ends early.
        """
        self.ask(pairs)
        if len(self._known) != len(self._asked):
            answers = [program.answers() for program in self._programs]
            lines = [answers[place][line].split() for place, line in self._asked.values()]
            statistics_N23 = np.array(lines, dtype=np.float64).reshape(-1, 23)
            whole_N = (statistics_N23[:, 21:] == statistics_N23[:, :2]).all(axis=1) & (statistics_N23[:, 20] == 1)
            self._known = dict(zip(self._asked, np.column_stack([statistics_N23, whole_N]), strict=True))
        return np.array([self._known[pair] for pair in pairs]).reshape(-1, 24)


def programs_for(pairs: int) -> int:
    """Return how many METEORs to start for so many pairs: one takes a quarter of a second, as long as 400 captions."""
    return max(1, min(_cores(), _MOST_PROGRAMS, pairs // _PAIRS_WORTH_A_PROGRAM))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class _Program:
    """One running METEOR: lines go in, as many lines come out."""

    def __init__(self, command: Sequence[str]) -> None:
        self.lines = 0
        """Lines that were sent."""
        self._answers = tempfile.NamedTemporaryFile(prefix="meteor")  # noqa: SIM115 (closed with the process)
        self._reader = open(self._answers.name, "rb")  # noqa: SIM115 (its own place in the file)
        self._received = b""
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=self._answers, stderr=subprocess.DEVNULL
        )
        self._writer: threading.Thread | None = None

    def end(self) -> None:
        """Kill the process, whatever it does, and let go of its files."""
        self._process.kill()
        self._process.wait()
        if self._writer:
            self._writer.join()
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        for file in (self._reader, self._answers):
            file.close()

    def send(self, lines: Sequence[str]) -> None:
        """Send ``lines`` on their way and return at once."""
        if not lines:
            return
        if self._writer:
            self._writer.join()
        self.lines += len(lines)
        content = "".join(line + "\n" for line in lines).encode(errors="replace")
        self._writer = threading.Thread(target=_write, args=(self._process.stdin, content), daemon=True)
        self._writer.start()

    def answers(self) -> list[str]:
        """Return the answers to all lines that were sent; wait until they are there. Raises ``WorkError``."""
        while True:
            ended = self._process.poll() is not None
            self._received += self._reader.read()
            if self._received.count(b"\n") >= self.lines:
                return self._received.decode(errors="replace").split("\n")[: self.lines]
            if ended:
                raise WorkError("METEOR ended before it had answered; it needs 2 GB of memory")
            time.sleep(_PAUSE_S)


def score(sum_24: np.ndarray) -> np.ndarray:
    """Return METEOR 1.5 (English), float64[...], of pairs whose statistics sum to ``[..., 24]``; as ``EVAL`` does.

    Columns: words of answer and reference, function words of both; for exact, stem, synonym and paraphrase matches the
    matched content words of both, then function words of both; chunks; matched words of both; 1 for a pair that matches
    from end to end in one chunk, which adds no chunk. Formula, weights: Denkowski and Lavie 2014, "Meteor Universal".
    """
    stages_422 = sum_24[..., 4:20].reshape(*sum_24.shape[:-1], 4, 2, 2)
    matched_42 = _CONTENT * stages_422[..., 0, :] + (1 - _CONTENT) * stages_422[..., 1, :]
    words_2 = _CONTENT * (sum_24[..., :2] - sum_24[..., 2:4]) + (1 - _CONTENT) * sum_24[..., 2:4]
    matched_2 = np.einsum("s,...sw->...w", _STAGE_WEIGHTS, matched_42)
    some = matched_2.all(axis=-1)
    matched_2, words_2 = np.where(some[..., None], matched_2, 1.0), np.where(some[..., None], words_2, 1.0)
    precision, recall = matched_2[..., 0] / words_2[..., 0], matched_2[..., 1] / words_2[..., 1]
    mean = precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall)
    chunks = sum_24[..., 20] - sum_24[..., 23]
    matches = np.where(some, sum_24[..., 21:23].mean(axis=-1), 1.0)
    return np.where(some, mean * (1 - _GAMMA * (chunks / matches) ** _BETA), 0.0)


def _write(stream: IO[bytes], content: bytes) -> None:
    try:
        stream.write(content)
        stream.flush()
    except BrokenPipeError:
        return  # the reader sees the missing answers and says so


def _score_line(pair: Pair) -> str:
    hypothesis, references = pair
    hypothesis = hypothesis.replace("|||", "").replace("  ", " ")
    return " ||| ".join(["SCORE", " ||| ".join(references), hypothesis])
