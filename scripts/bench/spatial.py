"""How long it takes to score all spatial benchmarks at full size, without Java, from files to figures.

Questions and answers are invented: rows have the form of the official ones, answers are letters, numbers, sentences
and pages of thinking. Everything that ``gpt4scene score`` does is timed: reading files, joining, reading answers,
figures. Every rule of every benchmark is timed as well, on rows that are read already.

    python scripts/bench/spatial.py [--small] [--repeats N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from gpt4scene.benchmarks import mmsi, revsi, sparbench, viewspatial, vsibench
from gpt4scene.benchmarks.annotation import Annotation
from gpt4scene.benchmarks.answers import read_answered
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.files.raw import Record
from gpt4scene.files.whole import write_json

FULL = {
    "vsibench": 5130,
    "revsi": 6158,
    "mmsi": 1000,
    "mmsi_circular": 1000,
    "mindcube": 1050,
    "viewspatial": 5712,
    "sparbench": 7207,
}
SMALL = 25
THINGS = ("chair", "table", "lamp", "sofa", "kettle", "globe", "harp", "easel", "radiator", "bookcase", "fish tank")
PLACES = ("left", "right", "back", "front-left", "front-right", "back-left", "back-right", "above", "below")
THINKING = "The chair stands left of the desk and the lamp is behind it. " * 12


def choices(generator: random.Random, mark: str = ". ") -> list[str]:
    """Return four options, such as ``A. left``."""
    return [f"{letter}{mark}{place}" for letter, place in zip("ABCD", generator.sample(PLACES, 4), strict=True)]


def vsi_row(module, scene: str, generator: random.Random, number: int) -> dict:
    """Return a row of VSI-Bench or ReVSI; ``scene`` is the column of its scene."""
    kind = generator.choice(module.TYPES.known)
    numeric = kind in module.TYPES.numbers
    truth = f"{generator.uniform(0.3, 90):.1f}" if numeric else generator.choice("ABCD")
    row = {"id": number, "dataset": "scannet", scene: f"scene{number % 288:04d}_00", "question_type": kind}
    row |= {"question": f"How is the {generator.choice(THINGS)}?", "options": None if numeric else choices(generator)}
    return row | {"ground_truth": truth}


def mmsi_row(generator: random.Random, number: int) -> dict:
    """Return a row of MMSI-Bench."""
    asked = f"Where is the {generator.choice(THINGS)}?\nOptions: {', '.join(choices(generator, ': '))}"
    row = {"id": number, "images": [f"{number}_{place}.jpg" for place in range(2)], "question": asked}
    return row | {"question_type": generator.choice(list(mmsi.SHORT_NAMES)), "answer": generator.choice("ABCD")}


def mindcube_row(generator: random.Random, number: int) -> dict:
    """Return a row of MindCube, without a map."""
    setting = generator.choice(("among", "around", "rotation"))
    row = {"id": f"{setting}_group{number:04d}_q1", "category": [setting], "type": "invented", "meta_info": []}
    row |= {"question": f"What is behind you? {' '.join(choices(generator))}", "gt_answer": generator.choice("ABCD")}
    return row | {"images": [f"pic/{number // 5}_{place}.png" for place in range(4)]}


def viewspatial_row(generator: random.Random, number: int) -> dict:
    """Return a row of ViewSpatial-Bench."""
    offered = choices(generator)
    row = {"question_type": generator.choice(viewspatial.TYPES), "image_path": [f"pics/{number // 3}.jpg"]}
    return row | {
        "question": f"Where is the {generator.choice(THINGS)}?",
        "choices": "\n".join(offered),
        "answer": generator.choice(offered),
    }


def sparbench_row(generator: random.Random, number: int) -> dict:
    """Return a row of SPAR-Bench; its tasks occur alike."""
    task = generator.choice(list(sparbench.TASKS))
    row = {"id": number, "img_type": "single_view", "task": task, "source": "invented", "image": [f"{number}.jpg"]}
    asked, truth = f"Where is the {generator.choice(THINGS)}?", generator.choice("ABCD")
    if "prediction" in task:
        truth = f"{generator.uniform(0.3, 9):.2f}"
    elif task == "view_change_infer":
        truth = f"move_left:{generator.uniform(0, 3):.1f},move_up:1.0,rotate_right:{generator.randint(1, 90)}"
    else:
        asked = "\n".join([asked, *choices(generator)])
    return row | {"format_type": "select" if truth in "ABCD" else "fill", "question": asked, "answer": truth}


ROWS: dict[str, Callable[[random.Random, int], dict]] = {
    "vsibench": lambda generator, number: vsi_row(vsibench, "scene_name", generator, number),
    "revsi": lambda generator, number: vsi_row(revsi, "scene_id", generator, number),
    "mmsi": mmsi_row,
    "mmsi_circular": mmsi_row,
    "mindcube": mindcube_row,
    "viewspatial": viewspatial_row,
    "sparbench": sparbench_row,
}


def answer(generator: random.Random, truth: str) -> str:
    """Return an answer: the truth half of the time, bare, in a sentence, or after much thinking."""
    letter = len(truth) == 1 or truth[1:2] == "."
    said = truth if generator.random() < 0.5 else generator.choice("ABCD") if letter else f"{generator.random():.2f}"
    forms = (
        said,
        said,
        said,
        f"{said}.",
        f"The answer is {said}.",
        f"<think>{THINKING}</think><answer>{said}</answer>",
    )
    return generator.choice(forms)


def write_files(folder: Path, sizes: dict[str, int]) -> dict[str, int]:
    """Write questions and answers to the rows of every benchmark of ``sizes``; return the number of questions."""
    generator, written = random.Random(0), {}
    for task, size in sizes.items():
        references = BENCHMARKS[task].references
        assert references is not None
        records = [Record(ROWS[task](generator, number), f"{task}, row {number}") for number in range(size)]
        questions = [question for record in records for question in references(record)]
        write_json(folder / BENCHMARKS[task].question_name("val"), questions)
        said = [
            {
                **{key: question[key] for key in ("scene_id", "prompt", "type_info")},
                **{"qid": question.get("qid"), "index": index, "task": task},
                "pred": answer(generator, str(question["ref_captions"][0])),
            }
            for index, question in enumerate(questions)
        ]
        text = "".join(json.dumps(row) + "\n" for row in said)
        (folder / f"{task}.jsonl").write_text(text, encoding="utf-8")
        written[task] = len(questions)
    return written


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median of the seconds that ``work`` takes."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def measure(folder: Path, tasks: list[str], repeats: int) -> dict[str, dict[str, float]]:
    """Return task -> the seconds from files to figures, and of every rule on rows that are read."""
    results = {}
    for task in tasks:
        found = {"all": seconds(lambda task=task: score_folder(folder, folder, [task]), repeats)}
        rows = read_answered(folder, folder, task).rows
        for name in BENCHMARKS[task].rule_names:
            counted = BENCHMARKS[task].under(name)
            found[name] = seconds(
                lambda counted=counted, rows=rows: counted.report(rows, Annotation(folder), {}), repeats
            )
        results[task] = found
    return results


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table, and write the figures where ``--json`` says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="a few rows, to see that it runs")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(argv)
    sizes = {task: SMALL if options.small else size for task, size in FULL.items()}
    with tempfile.TemporaryDirectory() as name:
        sizes = write_files(Path(name), sizes)
        results = measure(Path(name), list(sizes), options.repeats)
        start = time.process_time()
        together = seconds(lambda: score_folder(name, name, list(sizes)), options.repeats)
        computed = (time.process_time() - start) / options.repeats
    for task, found in results.items():
        rules = ", ".join(f"{rule} {value:.2f}" for rule, value in found.items() if rule != "all")
        print(f"{task}: {sizes[task]:,} questions, {found['all']:.2f} s from files to figures; figures alone: {rules}")
    print(f"all together: {sum(sizes.values()):,} questions, {together:.2f} s, of which {computed:.2f} s computing")
    if options.json:
        report = {
            "bench": "spatial",
            "hardware": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        }
        report |= {
            "versions": {"numpy": version("numpy")},
            "sizes": sizes,
            "together_s": together,
            "together_cpu_s": computed,
        }
        report |= {"results": results}
        write_json(options.json, report, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
