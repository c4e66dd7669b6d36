"""``python -m gpt4scene.demo`` is ``gpt4scene demo``."""

import sys

from gpt4scene.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
