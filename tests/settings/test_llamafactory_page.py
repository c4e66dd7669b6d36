"""The tables of docs/llamafactory.md are what comes of LLaMA-Factory's files; ``python THIS_FILE`` writes them anew."""

import re
import sys
import tempfile
from pathlib import Path

import yaml

from gpt4scene.errors import ConfigError
from gpt4scene.settings.config import parse
from gpt4scene.settings.export_keys import export_flags

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "llamafactory.md"
RUNS = yaml.safe_load(Path(__file__).with_name("llamafactory_runs.yaml").read_text())
SEES = re.compile(r"vl|llava|llama-4|qwen3\.5|moss", re.IGNORECASE)


def outcome(run, folder):
    """Return what comes of a file: the command that takes it and its notes, or the sentences that refuse it."""
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(run["keys"]))
    try:
        if "export_dir" in run["keys"]:
            export_flags([str(path)])
            return "`gpt4scene export FILE`"
        if run["file"].startswith("inference/"):
            return "`gpt4scene infer --model`, `gpt4scene serve`: the model is a flag there"
        notes = parse([str(path)]).notes
    except ConfigError as error:
        said = "; ".join(problem.removeprefix(f"{path}: ") for problem in error.problems)
        return "refused: " + re.sub(r" \(known here: [^)]*\)", "", said)  # the list of templates grows
    named = list(dict.fromkeys(found[1] for note in notes if (found := re.search(r"'?(\w+)", note.split(": ", 1)[-1]))))
    return "`gpt4scene train FILE`" + (f"; noted: {', '.join(named)}" if named else "")


def tables():
    """Return the page's part between its marks."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for title, sees in (("Vision-language models", True), ("Methods shown on language models", False)):
            lines += [f"### {title}", "", "| file | versions | outcome |", "|---|---|---|"]
            for run in RUNS:
                if bool(SEES.search(str(run["keys"].get("model_name_or_path")) + run["file"])) == sees:
                    said = outcome(run, Path(folder)).replace("|", "\\|")
                    lines.append(f"| {run['file']} | {run['in']} | {said} |")
            lines.append("")
    return "\n".join(lines)


def page(text):
    """Return the page with its tables made anew."""
    start, end = "<!-- made by a test: begin -->\n", "<!-- made by a test: end -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return before + start + "\n" + tables() + end + after


def test_the_page_says_what_becomes_of_each_file():
    text = PAGE.read_text()
    assert page(text) == text, f"run: python {Path(__file__).relative_to(ROOT)}"
    assert text.count(".yaml |") == len(RUNS)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
    sys.exit(0)
