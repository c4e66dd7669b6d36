"""Fetches the published data, question files and weights into the public folder layout; goes on where it stopped.

python download.py [--what all|data|annotation|base|weights …] [--root DIR]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gpt4scene.cli import guarded
from gpt4scene.files.public import ITEMS, fetch


def main(argv: Sequence[str]) -> int:
    """Fetch what the flags name and return the exit status."""
    listing = "\n".join(
        f"  {name:<11}{item.folder + '/':<60}{item.about} ({item.repo})" for name, item in ITEMS.items()
    )
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog=f"what there is:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--what", nargs="+", default=["all"], choices=["all", *ITEMS], help="all is the default")
    parser.add_argument(
        "--root", type=Path, default=Path(__file__).resolve().parent, help="default: the project folder"
    )
    flags = parser.parse_args(argv)
    for name in ITEMS if "all" in flags.what else dict.fromkeys(flags.what):
        print(f"{ITEMS[name].repo} -> {flags.root / ITEMS[name].folder}", file=sys.stderr)
        print(fetch(name, flags.root))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
