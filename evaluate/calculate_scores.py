"""Scores of a folder of predictions; the same as ``gpt4scene score``.

``python evaluate/calculate_scores.py --predictions DIR [--annotation_dir DIR] [--tasks a,b] [--json FILE]``, or the
public way, a configuration file (not read) and pairs: ``… eval_configs.py output_dir DIR calculate_score_tag a#b``.
"""

import sys
from pathlib import Path

from gpt4scene.cli import main

if __name__ == "__main__":
    sys.exit(main(["score", *sys.argv[1:]], {"annotation_dir": str(Path(__file__).parent / "annotation")}))
