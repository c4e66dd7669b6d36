"""Fetches the published data, question files and weights into the public folder layout; goes on where it stopped.

python download.py [--what all|data|annotation|base|weights …] [--root DIR]
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from gpt4scene.cli import call
from gpt4scene.files.public import ITEMS, fetch
from gpt4scene.registry import nearest
from gpt4scene.settings.arguments import Arguments, key


@dataclass(frozen=True)
class DownloadArguments(Arguments):
    """What to fetch, and where to."""

    what: tuple[str, ...] = key(f"all, or any of {', '.join(ITEMS)}", ("all",))
    root: str = key("folder that receives the public layout", str(Path(__file__).resolve().parent))

    def problems(self) -> list[str]:
        """Return a sentence for every wrong value."""
        known = ["all", *ITEMS]
        wrong = [name for name in self.what if name not in known]
        listed = f"(known: {', '.join(known)})"
        sentences = [f"--what: '{name}' is not known{nearest(name, known)} {listed}" for name in wrong]
        return [*super().problems(), *sentences]


def main(arguments: DownloadArguments) -> int:
    """Fetch what the arguments name; return 0 when done."""
    root = Path(arguments.root)
    for name in ITEMS if "all" in arguments.what else dict.fromkeys(arguments.what):
        print(f"{ITEMS[name].repo} -> {root / ITEMS[name].folder}", file=sys.stderr)
        print(fetch(name, root))
    return 0


if __name__ == "__main__":
    ABOUT = "\n\n".join(f"{name}: {item.about} ({item.repo} -> {item.folder})" for name, item in ITEMS.items())
    sys.exit(call(DownloadArguments, main, "python download.py", f"The published files.\n\n{ABOUT}", sys.argv[1:]))
