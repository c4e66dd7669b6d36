"""What torchrun starts: ``torchrun … src/train.py [CONFIG.yaml] [--key value …]``, the same as ``gpt4scene train``."""

import sys

from gpt4scene.cli import program

if __name__ == "__main__":
    program(["train", *sys.argv[1:]])
