"""Answers to question files; the same as ``gpt4scene infer``.

``python evaluate/infer.py --model DIR --output_dir DIR [--annotation_dir DIR] [--tasks a,b] …``, or the public way, a
configuration file (not read) and pairs: ``… eval_configs.py model_path DIR val_tag scanqa num_chunks 8 chunk_idx 0 …``.
"""

import sys
from pathlib import Path

from gpt4scene.cli import main

if __name__ == "__main__":
    sys.exit(main(["infer", *sys.argv[1:]], {"annotation_dir": str(Path(__file__).parent / "annotation")}))
