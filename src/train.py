"""What torchrun starts: ``torchrun … src/train.py [CONFIG.yaml] [--key value …]``, the same as ``gpt4scene train``."""

import sys

from gpt4scene.cli import guarded, train

if __name__ == "__main__":
    sys.exit(guarded(train, sys.argv[1:]))
