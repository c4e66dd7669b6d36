"""What torchrun starts: ``torchrun … src/train.py [CONFIG.yaml] [--key value …]``, the same as ``gpt4scene train``."""

import sys

from gpt4scene.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
