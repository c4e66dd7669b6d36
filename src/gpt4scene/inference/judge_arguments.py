"""What ``gpt4scene judge`` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpt4scene.benchmarks.references import reference_files
from gpt4scene.benchmarks.registry import BENCHMARKS, task_names
from gpt4scene.inference.engine_arguments import wrong_address
from gpt4scene.inference.requests import RETRIES
from gpt4scene.settings.arguments import Arguments, key


@dataclass(frozen=True)
class JudgeArguments(Arguments):
    """Which answers to have marked, by which model, and how; every field is a flag of ``gpt4scene judge``."""

    predictions: str = key("Folder of answers, or one such file; the judgements are written beside them.")
    base_url: str = key("Address of the judge's server, such as http://localhost:8000/v1.")
    model: str = key("Name under which the server serves the judge.")
    annotation_dir: str | None = key("Folder of question files.", None)
    references: str = key("Official files instead of question files, such as task=FILE, separated by commas.", "")
    tasks: str = key("Tasks separated by commas, or all that a judge marks and that have answers.", "all")
    prompts: str | None = key("Folder of the official prompt files; prompts of our own when left out.", None)
    max_new_tokens: int | None = key("Longest judgement in tokens; the benchmark's own when left out.", None, least=1)
    request_limit: int = key("Requests at a time.", 8, least=1)
    timeout: float = key("Seconds that a request may take.", 600.0, least=0.001)
    retries: int = key("Further tries when the server is busy or away, with growing pauses.", RETRIES, least=0)
    asks: int = key("Ask so often about an answer whose judgements hold no mark, over all runs.", 3, least=1)
    limit: int | None = key("Judge only the first so many answers of each task that need it.", None, least=1)
    overwrite: bool = key("Delete the judgements of these tasks and start over.", False)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems() + wrong_address(self.base_url)
        if not Path(self.predictions).exists():
            wrong.append(f"{self.predictions}: there is no such folder or file; --predictions names the answers")
        if self.annotation_dir is None and not self.references:
            wrong.append("give --annotation_dir DIR with question files, or --references FILES")
        if self.annotation_dir is not None and not Path(self.annotation_dir).is_dir():
            wrong.append(f"{self.annotation_dir}: there is no such folder; --annotation_dir names one")
        if self.prompts is not None and not Path(self.prompts).is_dir():
            wrong.append(f"{self.prompts}: there is no such folder; --prompts names that of the official prompts")
        try:
            names = task_names(self.tasks)
            wrong += [f"--tasks: {problem}" for name in names or () if (problem := _no_judge(name))]
            reference_files(self.references, names)
        except ValueError as error:
            wrong.append(str(error))
        return wrong


def _no_judge(task: str) -> str:
    if BENCHMARKS[task].marking is not None:
        return ""
    known = ", ".join(name for name, benchmark in BENCHMARKS.items() if benchmark.marking is not None)
    return f"'{task}' needs no judge (those that do: {known})"
