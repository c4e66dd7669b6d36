"""``python -m gpt4scene COMMAND …``: the program where its script is not on the path."""

import sys

from gpt4scene.cli import main

if __name__ == "__main__":
    sys.exit(main())
