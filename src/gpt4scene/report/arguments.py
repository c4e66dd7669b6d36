"""The flags of ``gpt4scene report``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.benchmarks.chosen import rule_words
from gpt4scene.settings.arguments import Arguments, key


@dataclass(frozen=True)
class ReportArguments(Arguments):
    """What to show; every field is a flag of ``gpt4scene report``."""

    predictions: str = key("folder of answers in any form, or one file of them", "")
    out: str = key("folder for the pages; an earlier report there is replaced", "")
    annotation_dir: str | None = key("boxes, question files and the list of images", None)
    media_dir: str | None = key("folder that holds the images, where the list does not lead to them", None)
    rules: str = key("names of rules to count by, as for score", "")
    references: str = key("official files in place of question files, as for score", "")
    boxes: str | None = key("true boxes, as for score", None)
    run: str | None = key("instead of answers: output folder of a training run, to write its index.html again", None)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        if self.run is not None:
            return [*super().problems(), *self._beside_run(self.run)]
        missing = [name for name in ("predictions", "out") if not getattr(self, name)]
        if missing:
            needed = " and ".join(f"--{name}" for name in missing)
            return [f"{needed} {'are' if missing[1:] else 'is'} missing; or give --run DIR for a training run"]
        named = {name: getattr(self, name) for name in ("predictions", "annotation_dir", "media_dir")}
        wrong = {name: folder for name, folder in named.items() if folder and not Path(folder).is_dir()}
        if Path(self.predictions).is_file():
            del wrong["predictions"]
        problems = [*super().problems(), *(_no_folder(name, Path(folder)) for name, folder in wrong.items())]
        if self.annotation_dir is None and not self.references:
            problems.append("give --annotation_dir DIR with question files, or --references FILES, or both")
        if self.boxes is not None and not Path(self.boxes).is_file():
            problems.append(f"--boxes {self.boxes}: there is no such file")
        try:
            rule_words(self.rules)
        except ValueError as error:
            problems.append(str(error))
        return problems

    def _beside_run(self, run: str) -> list[str]:
        """Return what is wrong about ``--run``, beside which no other flag has a meaning."""
        others = [one.name for one in dataclasses.fields(self) if one.name != "run" and getattr(self, one.name)]
        problems = [
            f"--{name} is about answers and --run about a training run; leave one of them out" for name in others
        ]
        return problems if Path(run).is_dir() else [*problems, _no_folder("run", Path(run))]


def _no_folder(name: str, path: Path) -> str:
    if path.exists():
        return f"{path}: is a file; --{name} names a folder, such as {path.parent}"
    return f"{path}: there is no such folder; --{name} names one"
