"""One line of the doctor's report, and how checks become lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from gpt4scene import talk
from gpt4scene.errors import ConfigError, WorkError

GIB = 2**30
SAMPLE = 16
"""Rows, questions or frames that are read from end to end; ``--full`` reads all of them."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``wrong`` makes the exit status 1, ``note`` does not."""

    level: Literal["ok", "note", "wrong"]
    text: str


class Checks:
    """Checks one after the other: what each finds right or wrong is a finding, and one that fails stops no other."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def check(self, what: str, work: Callable[[], Found], said: Callable[[Found], str] | str = "") -> Found | None:
        """Return what ``work`` returns, or ``None`` where it fails; ``said`` tells what is right about it."""
        try:
            found = work()
        except ConfigError as error:
            self.findings += [Finding("wrong", f"{what}: {sentence}") for sentence in error.problems]
        except (ValueError, OSError, ImportError, WorkError, RuntimeError) as error:
            self.findings += [Finding("wrong", f"{what}: {error}")]
        else:
            text = said if isinstance(said, str) else said(found)
            if text:
                self.findings.append(Finding("ok", f"{what}: {text}"))
            return found
        return None

    @property
    def wrong(self) -> bool:
        """Whether one of the findings so far is wrong."""
        return any(finding.level == "wrong" for finding in self.findings)

    def note(self, text: str) -> None:
        """Add a note."""
        self.findings.append(Finding("note", text))

    def take(self) -> Iterator[Finding]:
        """Yield the findings so far, and forget them, so that a report grows while the work goes on."""
        yield from self.findings
        self.findings = []


def report(findings: Iterable[Finding]) -> list[Finding]:
    """Print the findings as they come and return them."""
    found = []
    for finding in findings:
        talk.result(f"{finding.level:<6}{finding.text}")
        found.append(finding)
    return found


def spread(count: int, full: bool) -> list[int]:
    """Return the indices of a sample of ``count`` things, evenly spread, or all of them."""
    if full or count <= SAMPLE:
        return list(range(count))
    return sorted({number * (count - 1) // (SAMPLE - 1) for number in range(SAMPLE)})
