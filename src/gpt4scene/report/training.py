"""``gpt4scene train``: the recipe, and at its end the page about the run, whichever way it ended.

Every way to start a training comes through here: ``gpt4scene train``, and ``src/train.py`` under torchrun, accelerate,
Slurm and DeepSpeed's launcher.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpt4scene import talk
from gpt4scene.training import sft


def main(words: Sequence[str]) -> int:
    """Train as ``words``, a YAML file and flags, say; leave a page about the run; return 0 when done."""
    return sft.main(words, page_at_end)


def page_at_end(output_dir: str) -> None:
    """Write the page of a run that has ended, and say where it is.

    A page that can't be written is a warning: the run itself has ended as it has.
    """
    from gpt4scene.report.run_page import write_run_page

    try:
        talk.say(f"the run as a page: {write_run_page(output_dir)}")
    except Exception as error:  # noqa: BLE001 (whatever it is, weights and figures are saved)
        reason = " ".join(str(error).split()) or type(error).__name__
        talk.warning(f"the page about the run was not written: {reason}")
