"""METEOR 1.5 through its own program, started once for all texts of a call, or once a core where they are many.

The program talks by lines: ``SCORE ||| reference ||| … ||| hypothesis`` is answered by the statistics of that pair. Its
answers go to a temporary file, so that it never waits for us while we compute the other metrics. The statistics become
the score here: the program's own ``EVAL`` takes as long as a third of the matching. Given only the paraphrases and the
synonyms that the texts can use, it starts in a fifth of a second instead of five. Plain texts are sent as its ``-norm``
makes them, so that it does so once a text and not once a pair; both together halve its work.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from gpt4scene.errors import WorkError
from gpt4scene.metrics.captions import Pair
from gpt4scene.metrics.java import SHORT_WORK
from gpt4scene.metrics.synonyms import normal, relevant_synonyms

JAR, TABLE = Path("meteor") / "meteor-1.5.jar", Path("meteor") / "data" / "paraphrase-en.gz"
"""The program and its paraphrases in the folder of pycocoevalcap."""

_PAUSE_S = 0.01
_MOST_PROGRAMS = 4
_PAIRS_WORTH_A_PROGRAM = 1000
_ALPHA, _BETA, _GAMMA, _CONTENT = 0.85, 0.2, 0.6, 0.75
_STAGE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])


class Meteor:
    """Running METEORs, at work on ``pairs`` from the start. Use it as a context.

    Args:
        java: the program that runs METEOR.
        coco: folder of pycocoevalcap.
        pairs: what to compare; equal ones are compared once.
        table: paraphrases for these pairs, gzipped; ``None`` for METEOR's own, and then one program does it all.
    """

    def __init__(self, java: str, coco: Path, pairs: Iterable[Pair], table: bytes | None = None) -> None:
        self._programs: list[_Program] = []
        self._places: dict[Pair, tuple[_Program, int]] = {}
        self._known: dict[Pair, np.ndarray] = {}
        as_they_are = {pair: pair for pair in pairs}
        command = [java, "-Xmx2G"]
        more = ["-jar", str(coco / JAR), "-", "-", "-stdio", "-l", "en"]
        with ExitStack() as stack:
            if table is None:
                self._start([*command, *more, "-norm"], as_they_are, 1, stack)
            else:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meteor")))
                (folder / TABLE.name).write_bytes(table)
                command += [*SHORT_WORK, *more, "-a", str(folder / TABLE.name)]
                plain, odd = _plain_and_odd(as_they_are)
                self._start([*command, "-norm"], odd, programs_for(len(odd)), stack)
                if plain:
                    words = {word for text in _texts(plain.values()) for word in text.split()}
                    for name, content in relevant_synonyms(coco / JAR, words).items():
                        (folder / name).write_bytes(content)
                    self._start([*command, "-d", str(folder)], plain, programs_for(len(plain)), stack)
            self._stack = stack.pop_all()

    def __enter__(self) -> Meteor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self, command: Sequence[str], sent: Mapping[Pair, Pair], programs: int, stack: ExitStack) -> None:
        """Have so many programs compare pairs (pair -> how it is sent), each about the same work."""
        shares: list[dict[Pair, Pair]] = [{} for _ in range(programs if sent else 0)]
        work = [0] * len(shares)
        for pair, (answer, references) in sent.items():
            place = work.index(min(work))
            work[place] += len(answer) * sum(map(len, references))
            shares[place][pair] = answer, references
        for share in shares:
            program = _Program(command, [_score_line(pair) for pair in share.values()])
            stack.callback(program.end)
            self._programs.append(program)
            self._places |= {pair: (program, line) for line, pair in enumerate(share)}

    def statistics(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return what METEOR sums up of every pair, float64[B, 24] (``score`` scores the sums).

        ``pairs`` are some of those given at the start. Raises ``WorkError`` when a program ends early.
        """
        if len(self._known) != len(self._places):
            answers = {program: program.answers() for program in self._programs}
            lines = [answers[program][line].split() for program, line in self._places.values()]
            statistics_N23 = np.array(lines, dtype=np.float64).reshape(-1, 23)
            whole_N = (statistics_N23[:, 21:] == statistics_N23[:, :2]).all(axis=1) & (statistics_N23[:, 20] == 1)
            self._known = dict(zip(self._places, np.column_stack([statistics_N23, whole_N]), strict=True))
        return np.array([self._known[pair] for pair in pairs]).reshape(-1, 24)


def _plain_and_odd(pairs: Mapping[Pair, Pair]) -> tuple[dict[Pair, Pair], dict[Pair, Pair]]:
    """Return pairs whose texts are all plain, as ``normal`` makes them, and the others as they are.

    Few plain ones go with the odd ones, since a program takes a while to start.
    """
    tokens: dict[str, str | None] = {}
    made = {text: normal(text, tokens) for text in _texts(pairs)}
    plain: dict[Pair, Pair] = {}
    for pair in pairs:
        answer, *references = (made[text] for text in (pair[0], *pair[1]))
        known = tuple(text for text in references if text is not None)
        if answer is not None and len(known) == len(references):
            plain[pair] = answer, known
    if len(plain) < min(len(pairs), _PAIRS_WORTH_A_PROGRAM):
        return {}, dict(pairs)
    return plain, {pair: pair for pair in pairs if pair not in plain}


def _texts(pairs: Iterable[Pair]) -> set[str]:
    return {text for answer, references in pairs for text in (answer, *references)}


def programs_for(pairs: int) -> int:
    """Return how many METEORs to start for so many pairs: one starts in the time of 500 pairs."""
    return max(1, min(_cores(), _MOST_PROGRAMS, pairs // _PAIRS_WORTH_A_PROGRAM))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class _Program:
    """One running METEOR: lines go in, as many lines come out."""

    def __init__(self, command: Sequence[str], lines: Sequence[str]) -> None:
        self.lines = len(lines)
        self._answers = tempfile.NamedTemporaryFile(prefix="meteor")  # noqa: SIM115 (closed with the process)
        self._reader = open(self._answers.name, "rb")  # noqa: SIM115 (its own place in the file)
        self._received = b""
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=self._answers, stderr=subprocess.DEVNULL
        )
        content = "".join(line + "\n" for line in lines).encode(errors="replace")
        self._writer = threading.Thread(target=_write, args=(self._process.stdin, content), daemon=True)
        self._writer.start()

    def end(self) -> None:
        """Kill the process, whatever it does, and let go of its files."""
        self._process.kill()
        self._process.wait()
        self._writer.join()
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        for file in (self._reader, self._answers):
            file.close()

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
