"""What ``gpt4scene view`` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpt4scene.scans.readers import SCAN_READERS
from gpt4scene.settings.arguments import Arguments, key


@dataclass(frozen=True)
class ViewArguments(Arguments):
    """Everything that ``gpt4scene view`` can be told."""

    scenes: tuple[str, ...] = key("folders that prepare wrote, or single scenes in them")
    scans: str | None = key("folder of the scans themselves, to show their surface instead of thinned points", None)
    format: str = key(f"kind of those recordings: {', '.join(SCAN_READERS)}", "posed")
    predictions: str | None = key("folder of answers, to show their boxes beside the true ones", None)
    annotation_dir: str | None = key("question files and boxes for those answers", None)
    save: str | None = key("file for the edited boxes, a folder for several scenes; else beside each scene", None)
    host: str = key("address that is listened at; 0.0.0.0 lets other machines look and edit", "127.0.0.1")
    port: int = key("port; where it is taken, the next free one", 8080, least=1, most=65535)
    open: bool = key("open the page in the browser", False)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        wrong = super().problems()
        for name in ("scans", "predictions", "annotation_dir"):
            value = getattr(self, name)
            if value and not Path(value).exists():
                wrong.append(f"--{name} {value}: there is no such folder")
        if self.annotation_dir and not self.predictions:
            wrong.append("--annotation_dir goes with --predictions, the folder of answers")
        if self.predictions and not self.annotation_dir:
            wrong.append("--predictions needs --annotation_dir, the folder with the question files and boxes")
        if self.save is not None and not self.save.strip():
            wrong.append("--save is empty; name a file, or leave it out")
        try:
            SCAN_READERS[self.format]
        except ValueError as error:
            wrong.append(str(error))
        return wrong
