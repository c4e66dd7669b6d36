"""``gpt4scene doctor``: what is missing or wrong here, before a GPU is booked. Nothing is changed or downloaded.

Alone it looks at the machine. ``CONFIG.yaml [--key value …]`` looks at a training run, ``--model … --annotation_dir …``
at inference, ``--scans …`` at preparation; each takes the flags of its command, and ``--full`` to leave nothing out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from gpt4scene import talk
from gpt4scene.doctor.findings import Finding, report
from gpt4scene.doctor.machine import machine
from gpt4scene.settings import flags
from gpt4scene.settings.coercion import coerce

PROGRAM = "gpt4scene doctor"
NO_OUTPUT = "outputs/doctor"
"""Stands for an output folder that is not named."""


def main(words: Sequence[str]) -> int:
    """Print the findings; return 0 when nothing is wrong, 1 otherwise. Wrong flags raise ``ConfigError``."""
    words, full = _without_full(words)
    names = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}
    if names & {"scans"}:
        from gpt4scene.doctor.scans import scan_findings
        from gpt4scene.scenes.prepare_arguments import PrepareArguments

        planned = scan_findings(flags.read(PrepareArguments, words, PROGRAM, {"out": NO_OUTPUT}), full)
    elif names & {"model", "annotation_dir"}:
        from gpt4scene.doctor.inference import infer_findings
        from gpt4scene.inference.arguments import InferArguments

        planned = infer_findings(flags.read(InferArguments, words, PROGRAM, {"output_dir": NO_OUTPUT}), full)
    elif words:
        from gpt4scene.doctor.training import training_findings
        from gpt4scene.settings.config import parse

        config = parse(words)
        notes = [Finding("note", note) for note in config.notes]
        planned = (finding for part in (notes, training_findings(config, full)) for finding in part)
    else:
        planned = iter(())
    findings = [*report(machine()), *report(planned)]
    wrong = sum(finding.level == "wrong" for finding in findings)
    said = f"{wrong} thing{'s' if wrong != 1 else ''} wrong" if wrong else "nothing is wrong"
    talk.result(said, wrong=wrong, findings=[asdict(finding) for finding in findings])
    return 1 if wrong else 0


def _without_full(words: Sequence[str]) -> tuple[list[str], bool]:
    """Return ``words`` without ``--full``, ``--full true`` or ``--full=true``, and whether it asks for all."""
    kept, full, place = [], False, 0
    while place < len(words):
        name, _, value = words[place].partition("=")
        if name != "--full":
            kept.append(words[place])
        else:
            following = words[place + 1 : place + 2]
            if not value and following and following[0].lower() in ("true", "false"):
                value, place = following[0], place + 1
            full = coerce(value or "true", bool)
        place += 1
    return kept, full
