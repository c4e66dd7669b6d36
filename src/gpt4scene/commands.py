"""The commands of the program ``gpt4scene``: what each does, where its work is, and what its flags are."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

AGAIN = "the same command goes on where it was"


@dataclass(frozen=True)
class Command:
    """A command: its name, what it does in one line, and where its work is.

    ``function`` is ``module:name`` of what does the work: it takes the arguments and returns the exit status.
    ``arguments`` are the names of their dataclasses in the same form. A command that is ``raw`` takes the words
    themselves and reads them by itself. ``stopped`` says what Ctrl-C leaves behind. ``public`` turns the public
    project's way of calling into flags. ``more`` stands in the help above the flags.
    """

    name: str
    does: str
    function: str
    arguments: tuple[str, ...]
    raw: bool = False
    stopped: str = ""
    public: str = ""
    more: str = ""

    def kinds(self) -> list[type]:
        """Import and return the dataclasses of the arguments."""
        return [_imported(place) for place in self.arguments]

    def call(self, words: Sequence[str], defaults: Mapping[str, str]) -> int:
        """Read the words, do the work, and return the exit status."""
        if self.raw:
            return _imported(self.function)(words)
        from gpt4scene.settings import flags

        words = _imported(self.public)(words) if self.public else words
        (kind,) = self.kinds()
        return _imported(self.function)(flags.read(kind, words, f"gpt4scene {self.name}", defaults))


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


_SECTIONS = (
    *(f"gpt4scene.settings.arguments:{kind}Arguments" for kind in ("Model", "Data", "Tuning")),
    "gpt4scene.settings.methods:MethodArguments",
    "gpt4scene.settings.preferences:PreferenceArguments",
    "gpt4scene.settings.watching:WatchingArguments",
    "gpt4scene.settings.families:FamilyArguments",
)

COMMANDS: tuple[Command, ...] = (
    Command(
        "prepare",
        "scans -> marked frames, bird's-eye view, object boxes",
        "gpt4scene.scenes.prepare:main",
        ("gpt4scene.scenes.prepare_arguments:PrepareArguments",),
        stopped=AGAIN,
    ),
    Command(
        "annotate",
        "official benchmark files -> training rows, questions",
        "gpt4scene.benchmarks.annotate:main",
        ("gpt4scene.benchmarks.annotate:AnnotateArguments",),
    ),
    Command(
        "train",
        "fine-tune a model: CONFIG.yaml, flags, or both (flags win)",
        "gpt4scene.training.sft:main",
        _SECTIONS,
        raw=True,
    ),
    Command(
        "infer",
        "questions -> answers, scene by scene, resumable",
        "gpt4scene.inference.run:main",
        ("gpt4scene.inference.arguments:InferArguments",),
        stopped=f"answers so far are kept, {AGAIN}",
        public="gpt4scene.settings.public_call:infer_flags",
    ),
    Command(
        "serve",
        "a model behind an OpenAI-compatible address",
        "gpt4scene.serve.run:main",
        ("gpt4scene.serve.arguments:ServeArguments",),
    ),
    Command(
        "score",
        "answers -> table and JSON of the benchmarks' figures",
        "gpt4scene.benchmarks.score:main",
        ("gpt4scene.benchmarks.score:ScoreArguments",),
        public="gpt4scene.settings.public_call:score_flags",
    ),
    Command(
        "judge",
        "answers -> marks by a language model, resumable",
        "gpt4scene.inference.judge:main",
        ("gpt4scene.inference.judge_arguments:JudgeArguments",),
        stopped=f"judgements so far are kept, {AGAIN}",
    ),
    Command(
        "report",
        "answers -> HTML pages with images and scores",
        "gpt4scene.report.pages:main",
        ("gpt4scene.report.pages:ReportArguments",),
    ),
    Command(
        "ask",
        "one question about one prepared scene, answered on the terminal",
        "gpt4scene.chat.ask:main",
        ("gpt4scene.chat.arguments:AskArguments",),
        public="gpt4scene.chat.arguments:with_question",
    ),
    Command(
        "chat",
        "a page on which people ask about prepared scenes and rooms of their own",
        "gpt4scene.chat.run:main",
        ("gpt4scene.chat.arguments:ChatArguments",),
    ),
    Command(
        "export",
        "a plain checkpoint, with LoRA adapters merged: FILE.yaml or flags",
        "gpt4scene.model.export:main",
        ("gpt4scene.model.export:ExportArguments",),
        public="gpt4scene.settings.export_keys:export_flags",
    ),
    Command(
        "doctor",
        "what is missing or wrong here, before a GPU is booked",
        "gpt4scene.doctor.command:main",
        _SECTIONS,
        raw=True,
        more=(
            "Alone it looks at this machine. With a CONFIG.yaml or the flags below it looks at a training run, with "
            "--model and --annotation_dir (flags of infer) at inference, with --scans (flags of prepare) at scans. It "
            "changes nothing. --full reads every row, question or frame instead of a sample."
        ),
    ),
    Command(
        "demo",
        "synthetic rooms, a tiny model, all stages, one page",
        "gpt4scene.demo.pipeline:main",
        ("gpt4scene.demo.arguments:DemoArguments",),
        stopped=AGAIN,
    ),
)
