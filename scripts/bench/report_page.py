"""How long the report of a full validation set takes to write, and its table to open and to search in a browser.

Writes 30,340 answers to questions about 444 scenes in the forms of five benchmarks, makes the report, opens it from
disk in Chromium, and searches. There is nothing to compare with: the figures are what a person waits for. The page is
opened five times; median and worst of each figure are told.

    python scripts/bench/report_page.py [--small] [--keep DIR] [--page INDEX] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "tests" / "fixtures")]

from browser import start_browser  # noqa: E402
from score import LOOKS, NOUNS, caption, write_task_files  # noqa: E402

from gpt4scene.files.whole import read_json, write_json  # noqa: E402
from gpt4scene.report.pages import report  # noqa: E402

FULL = {"scenes": 444, "scanqa": 4675, "sqa3d": 3519, "scanrefer": 9508, "multi3dref": 10570, "scan2cap": 2068}
SMALL = {"scenes": 6, "scanqa": 60, "sqa3d": 60, "scanrefer": 120, "multi3dref": 120, "scan2cap": 40}
WORDS = ("wooden", "left of the table", "<OBJ017>", "zzz", "scene0042_00", "a")
ORDERS = ("id", "question", "-figure")
REPEATS = 5
CHANGE = """
const field = document.querySelector(`.filters [name=${arguments[0]}]`);
field.value = arguments[1];
const start = performance.now();
field.dispatchEvent(new Event("input", {bubbles: true}));
const found = document.getElementById("found").textContent;
document.body.offsetHeight;
return [performance.now() - start, found];
"""
"""What a person does to the filter ``arguments[0]``; returns ms until the rows found are laid out, and their number."""


def write_answers(folder: Path, sizes: dict[str, int]) -> None:
    """Write answers, boxes and references to ``folder``, with prompts and labels as real ones have."""
    write_task_files(folder, sizes)
    generator = random.Random(1)
    for task in sizes:
        if task != "scenes":
            rows = read_json(folder / f"{task}.json")
            for row in rows:
                row["prompt"] = f"{caption(generator)} Answer with one word or a short phrase."
            write_json(folder / f"{task}.json", rows)
    for name in ("scannet", "scannet_mask3d"):
        path = folder / f"{name}_val_attributes.pt"
        content = torch.load(path, weights_only=True)
        for scene in content.values():
            scene["objects"] = [f"{generator.choice(LOOKS)} {generator.choice(NOUNS)}" for _ in scene["locs"]]
        torch.save(content, path)


def measure(index: Path) -> dict[str, list[float]]:
    """Return the seconds of each thing that a person waits for, one for each time that the page was opened anew.

    The first search on a fresh page is told apart: nothing is compiled or kept for it.
    """
    found: dict[str, list[float]] = {}
    browser = start_browser()
    try:
        for _ in range(REPEATS):
            browser.get("about:blank")
            start = time.perf_counter()
            browser.get(index.as_uri())
            opened = time.perf_counter() - start
            first = "return performance.getEntriesByName('first rows')[0].startTime"
            found.setdefault("first rows", []).append(browser.execute_script(first) / 1000)
            found.setdefault("all answers", []).append(opened)
            browser.execute_script("document.getElementById('answers').scrollIntoView()")
            for name, took in _act(browser):
                found.setdefault(name, []).append(took)
    finally:
        browser.quit()
    return found


def _act(browser: Any) -> Iterator[tuple[str, float]]:
    """Search and sort on a fresh page, and yield what was done and the seconds that it took."""

    def change(field: str, value: str) -> tuple[float, str]:
        took, said = browser.execute_script(CHANGE, field, value)
        return took / 1000, said

    for number, words in enumerate((WORDS[0], *WORDS)):
        took, said = change("q", words)
        yield f"search {words!r} ({said.split(' of ')[0]} found){'' if number else ', the first on its page'}", took
        change("q", "")
    letters = [change("q", WORDS[0][:end])[0] for end in range(1, len(WORDS[0]) + 1)]
    yield f"letters of {WORDS[0]!r}, the slowest", max(letters)
    change("q", "")
    for order in ORDERS:
        yield f"sort by {order}", change("sort", order)[0]
    change("sort", "")


def main() -> int:
    """Write, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few hundred answers, to try the script")
    parser.add_argument("--keep", type=Path, help="folder for answers and report, kept")
    parser.add_argument("--page", type=Path, help="index.html of a report that is there: measure it, and write none")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp())
    found: dict[str, list[float]] = {}
    try:
        index = given.page
        if index is None:
            answers = folder / "answers"
            answers.mkdir(parents=True, exist_ok=True)
            write_answers(answers, SMALL if given.small else FULL)
            start = time.perf_counter()
            index = report(answers, answers, folder / "report")
            found["report written"] = [time.perf_counter() - start]
        sizes = {path.name: path.stat().st_size for path in [index, *index.parent.glob("data/*")]}
        found |= measure(index.absolute())
    finally:
        if not given.keep:
            shutil.rmtree(folder)
    print(f"load {os.getloadavg()[0]:.1f}\n  median     worst")
    for name, times in found.items():
        print(f"{statistics.median(times):8.3f} {max(times):8.3f} s  {name}")
    print(f"{sizes.pop(index.name) / 1e6:8.3f} MB index.html")
    print(f"{sum(sizes.values()) / 1e6:8.3f} MB data in {len(sizes)} files")
    if given.json:
        write_json(given.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
