"""Fetches the published data, question files and weights into the public folder layout; goes on where it stopped.

python download.py [--what all|data|annotation|base|weights …] [--root DIR] [--dry_run]
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from gpt4scene import talk
from gpt4scene.cli import call
from gpt4scene.files.hub import hub_here
from gpt4scene.files.public import ITEMS, check_room, fetch, plan, selected, table
from gpt4scene.registry import nearest
from gpt4scene.settings.arguments import Arguments, key


@dataclass(frozen=True)
class DownloadArguments(Arguments):
    """What to fetch, and where to."""

    what: tuple[str, ...] = key(f"all, or any of {', '.join(ITEMS)}", ("all",))
    root: str = key("folder that receives the public layout", str(Path(__file__).resolve().parent))
    dry_run: bool = key("only show what would be fetched, and how much room it takes", False)
    include: tuple[str, ...] = key("only files with these paths, as in '*.json'", ())
    revision: str = key("branch, tag or commit; takes one item of --what", "main")
    jobs: int = key("files that come at once", 8, least=1, most=64)

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        known = ["all", *ITEMS]
        wrong = [name for name in self.what if name not in known]
        listed = f"(known: {', '.join(known)})"
        sentences = [f"--what: '{name}' is not known{nearest(name, known)} {listed}" for name in wrong]
        if self.revision != "main" and len(selected(self.what)) > 1:
            sentences.append("--revision belongs to one repository; name one item by --what")
        return [*super().problems(), *sentences]


def main(arguments: DownloadArguments) -> int:
    """Fetch what the arguments name; return 0 when done."""
    root, hub = Path(arguments.root).expanduser(), hub_here()
    talk.say(f"asking {hub.endpoint}")
    plans = [plan(name, root, hub, arguments.revision, arguments.include) for name in selected(arguments.what)]
    if arguments.dry_run:
        rows = [
            {"what": one.name, "files": len(one.files), "bytes": one.size, "to_fetch": one.to_fetch} for one in plans
        ]
        talk.result(table(plans), items=rows)
        check_room(plans)
        return 0
    talk.say(table(plans))
    check_room(plans)
    folders = [str(fetch(one, hub, arguments.jobs)) for one in plans]
    talk.result("\n".join(folders), folders=folders)
    return 0


if __name__ == "__main__":
    ABOUT = "\n\n".join(f"{name}: {item.about} ({item.repo} -> {item.folder})" for name, item in ITEMS.items())
    ABOUT = f"The published files.\n\n{ABOUT}"
    KEPT = "what came is kept, the same command goes on where it was"
    sys.exit(call(DownloadArguments, main, "python download.py", ABOUT, sys.argv[1:], KEPT))
