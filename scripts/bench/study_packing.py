"""What questions of one scene in one step cost: K = 1, 4 and 16 learn the same questions as often, three seeds each.

With ``scene_packing: K`` a step of Q questions sees Q / K scenes. Losses and gradients of a set of questions do not
change by it, but which questions meet in a step does. This study trains the same tiny model with every K, by the real
command, and compares loss and answers on questions that no run has learned from:

* ``rooms``: synthetic rooms with marked images; a fifth of the rooms is held out.
* ``sqa3d``: SQA3D's questions about many scenes; a fifth of the questions is held out. The scenes' own images are not
  at hand: each scene has two pictures of its own colours, so that it can be told from the others.

    python scripts/bench/study_packing.py --out DIR [--sqa3d FOLDER] [--small] [--jobs 2] [--questions 16]

Runs that are finished in ``--out`` are kept, so the same command goes on. ``study.json`` has the figures of all runs,
``study.png`` the curves; the table is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gpt4scene.benchmarks.annotate import AnnotateArguments, annotate
from gpt4scene.demo.balance import choose_plans
from gpt4scene.demo.raw import write_raw
from gpt4scene.demo.rooms import View, write_room
from gpt4scene.demo.tiny_model import build
from gpt4scene.files.whole import read_json, write_json
from gpt4scene.scenes.prepare import PrepareArguments, prepare

FULL = {"rooms": 60, "frames": 8, "sqa3d": None, "epochs": {"rooms": 4, "sqa3d": 4}, "asked": 200, "seen": 5}
SMALL = {"rooms": 2, "frames": 2, "sqa3d": 40, "epochs": {"rooms": 1, "sqa3d": 1}, "asked": 4, "seen": 1}
HELD_OUT = {"rooms": "scene", "sqa3d": "row"}
"""What is held out: whole scenes, or single questions about scenes that are learned."""
FIGURES = ("train_loss", "held_out_loss", "least_held_out_loss", "exact_match", "word_f1")


@dataclass(frozen=True)
class Run:
    """One training: its data, questions of a step (Q), most questions of a scene in a pack (K), and its seed."""

    data: str
    questions: int
    packing: int
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.data}-{self.questions}-{self.packing}-{self.seed}"


def make_rooms(out: Path, sizes: dict[str, Any]) -> None:
    """Write ``data/rooms.json``, rows about synthetic rooms, and their marked images."""
    plans, view, frames = choose_plans(sizes["rooms"], 0), View(240, 180, 2 * sizes["frames"]), sizes["frames"]
    scans, raw, scenes = (str(out / name) for name in ("scans", "raw", "scenes"))
    for plan in plans:
        write_room(plan, Path(scans), view, 0)
    write_raw(plans, Path(raw), "train")
    report = prepare(PrepareArguments(scans=(scans,), out=scenes, split="train", frames=frames, bev_size=240))
    assert not report.failed, report.failed
    rows = AnnotateArguments(raw=raw, scenes=scenes, out=str(out / "data"), split="train", wordings=1)
    annotate(rows, lambda _: None)
    (file,) = (out / "data").glob("sharegpt*.json")
    write_json(out / "data" / "rooms.json", read_json(file))


def make_sqa3d(out: Path, raw: Path, sizes: dict[str, Any]) -> None:
    """Write ``data/sqa3d.json``, rows of SQA3D's questions in ``raw``, and two pictures for each scene."""
    (questions,), (answers,) = raw.glob("*questions*.json"), raw.glob("*annotations*.json")
    truths = {one["question_id"]: one["answers"][0]["answer"] for one in read_json(answers)["annotations"]}
    scenes: dict[str, list[str]] = {}
    rows = []
    for one in read_json(questions)["questions"][: sizes["sqa3d"]]:
        scene = one["scene_id"]
        if scene not in scenes:
            scenes[scene] = [str(out / "data" / "pictures" / f"{scene}_{number}.png") for number in range(2)]
            for number, path in enumerate(scenes[scene]):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                colours = np.random.default_rng([len(scenes), number]).integers(0, 256, (3, 4, 3), dtype=np.uint8)
                Image.fromarray(colours).resize((112, 84), Image.Resampling.NEAREST).save(path)
        asked = "<image>" * 2 + f"{one['situation'].strip()} {one['question'].strip()}"
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": truths[one["question_id"]]}]
        rows.append({"messages": turns, "images": scenes[scene], "task": "sqa3d"})
    write_json(out / "data" / "sqa3d.json", rows)


def make(out: Path, sqa3d: Path | None, sizes: dict[str, Any]) -> list[str]:
    """Write what is not there yet, the model and ``dataset_info.json`` too, and return the names of the data."""
    names = ["rooms", "sqa3d"] if sqa3d else ["rooms"]
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    if not (data / "rooms.json").is_file():
        make_rooms(out, sizes)
    if sqa3d and not (data / "sqa3d.json").is_file():
        make_sqa3d(out, sqa3d, sizes)
    if not (out / "model").is_dir():
        build(out / "model")
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    one = {"formatting": "sharegpt", "columns": {"messages": "messages", "images": "images"}, "tags": tags}
    write_json(data / "dataset_info.json", {name: {"file_name": f"{name}.json", **one} for name in names})
    return names


def flags(run: Run, out: Path, sizes: dict[str, Any], steps: int) -> list[str]:
    """Return the words of the training command of ``run``, which takes ``steps`` steps."""
    often = max(steps // sizes["seen"], 1)
    values: dict[str, Any] = {
        "model_name_or_path": out / "model",
        "dataset": run.data,
        "val_size": 0.2,
        "val_split": HELD_OUT[run.data],
        "dataset_dir": out / "data",
        "output_dir": out / "runs" / run.name,
        "overwrite_output_dir": "true",
        "finetuning_type": "full",
        "freeze_vision_tower": "true",
        "feature_cache": "1GB",
        "image_resolution": 112,
        "scene_packing": run.packing,
        "per_device_train_batch_size": run.questions,
        "num_train_epochs": sizes["epochs"][run.data],
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "disable_gradient_checkpointing": "true",
        "logging_steps": max(often // 4, 1),
        "eval_strategy": "steps",
        "eval_steps": often,
        "per_device_eval_batch_size": 16,
        "eval_generate": sizes["asked"],
        "eval_generate_tokens": 16,
        "save_strategy": "no",
        "report_to": "none",
        "seed": run.seed,
    }
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def log_of(run: Run, out: Path) -> list[dict[str, Any]]:
    """Return the lines of the log of a finished run, none where it is not finished."""
    folder = out / "runs" / run.name
    if not (folder / "train_results.json").is_file():
        return []
    return [json.loads(line) for line in (folder / "trainer_log.jsonl").read_text().splitlines()]


def train(run: Run, out: Path, sizes: dict[str, Any]) -> None:
    """Train ``run`` by the real command unless it is finished; raises where the command fails."""
    if log_of(run, out):
        return
    rows = 0.8 * len(read_json(out / "data" / f"{run.data}.json"))
    steps = int(rows / run.questions) * sizes["epochs"][run.data]
    words = [sys.executable, "-m", "gpt4scene", "train", *flags(run, out, sizes, steps)]
    log = out / "runs" / f"{run.name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as lines:
        ended = subprocess.run(words, stdout=lines, stderr=lines, env={"OMP_NUM_THREADS": "1", **os.environ})
    if ended.returncode:
        raise SystemExit(f"{run.name} failed; see {log}")
    print(f"{run.name}: {steps} steps", file=sys.stderr, flush=True)


def figures(lines: list[dict[str, Any]]) -> dict[str, float]:
    """Return what is compared of a run: losses and answers at its end, and the least held-out loss on the way."""
    losses = [line["loss"] for line in lines if "loss" in line]
    seen = [line for line in lines if "eval_loss" in line]
    return {
        "train_loss": statistics.mean(losses[-max(len(losses) // 10, 1) :]),
        "held_out_loss": seen[-1]["eval_loss"],
        "least_held_out_loss": min(line["eval_loss"] for line in seen),
        "exact_match": seen[-1]["eval_exact_match"],
        "word_f1": seen[-1]["eval_word_f1"],
    }


def spread(values: list[float]) -> list[float]:
    """Return mean and standard deviation."""
    return [statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0]


def table(found: dict[Run, dict[str, float]]) -> list[dict[str, Any]]:
    """Return a line for every data, Q and K: mean and standard deviation of each figure over the seeds.

    ``beside_first`` is how much more held-out loss there is than with the first K. Each seed is compared with itself,
    because a seed draws what is held out.
    """
    first = min(run.packing for run in found)
    groups: dict[tuple[str, int, int], list[dict[str, float]]] = defaultdict(list)
    for run, some in found.items():
        groups[run.data, run.questions, run.packing].append(some)
    lines = []
    for (data, questions, packing), some in groups.items():
        line: dict[str, Any] = {"data": data, "questions": questions, "packing": packing, "seeds": len(some)}
        for name in FIGURES:
            values = [one[name] for one in some]
            line[name] = spread(values)
        more = [
            some["held_out_loss"] - found[replace(run, packing=first)]["held_out_loss"]
            for run, some in found.items()
            if (run.data, run.questions, run.packing) == (data, questions, packing)
        ]
        line["beside_first"] = spread(more)
        lines.append(line)
    return lines


def draw(out: Path, logs: dict[Run, list[dict[str, Any]]]) -> None:
    """Draw held-out loss and exact match over the questions learned: a line for each K, a band from least to most."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = list(dict.fromkeys((run.data, run.questions) for run in logs))
    figure, axes = pyplot.subplots(2, len(columns), figsize=(5 * len(columns), 6.5), squeeze=False, sharex="col")
    for place, column in enumerate(columns):
        for packing in sorted({run.packing for run in logs}):
            some = [log for run, log in logs.items() if (run.data, run.questions, run.packing) == (*column, packing)]
            for axis, name in zip(axes[:, place], ("eval_loss", "eval_exact_match"), strict=True):
                curves = [[(line["current_steps"], line[name]) for line in log if name in line] for log in some]
                if not curves:
                    continue
                points = min(map(len, curves))  # seeds hold out sets of other size, and so take other numbers of steps
                steps = [step * column[1] / 1000 for step, _ in curves[0][:points]]
                values = np.array([[value for _, value in curve[:points]] for curve in curves])
                axis.plot(steps, values.mean(0), marker="o", markersize=3, label=f"K = {packing}")
                axis.fill_between(steps, values.min(0), values.max(0), alpha=0.2)
        axes[0, place].set_title(f"{column[0]}, {column[1]} questions a step")
        axes[0, place].set_ylabel("held-out loss")
        axes[1, place].set_ylabel("held-out exact match")
        axes[1, place].set_xlabel("thousand questions learned")
        axes[0, place].legend()
    figure.tight_layout()
    figure.savefig(out / "study.png", dpi=80)


def main(argv: list[str] | None = None) -> int:
    """Make the data, train every run that is missing, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of data, runs and figures")
    parser.add_argument("--sqa3d", type=Path, help="folder with SQA3D's question and annotation file of one split")
    parser.add_argument("--data", nargs="+", help="which of the data to train on, all when left out")
    parser.add_argument("--small", action="store_true", help="few rooms, one pass: a minute instead of an hour")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--questions", type=int, nargs="+", default=[16], help="questions of a step")
    parser.add_argument("--packing", type=int, nargs="+", default=[1, 4, 16], help="questions of a scene in a pack")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args(argv)
    sizes, out = SMALL if options.small else FULL, options.out.absolute()
    names = [name for name in make(out, options.sqa3d, sizes) if name in (options.data or HELD_OUT)]
    runs = [
        Run(name, questions, packing, seed)
        for seed in options.seeds
        for questions in options.questions
        for name in names
        for packing in options.packing
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        for _ in pool.map(lambda run: train(run, out, sizes), runs):
            pass
    logs = {run: log_of(run, out) for run in sorted(runs, key=lambda one: (one.data, one.questions, one.packing))}
    found = {run: figures(lines) for run, lines in logs.items()}
    lines = table(found)
    names = (*FIGURES, "beside_first")
    print("| data | Q | K | seeds | " + " | ".join(names) + " |")
    print("|---|---|---|---|" + "---|" * len(names))
    for line in lines:
        cells = " | ".join(f"{line[name][0]:.4f} ± {line[name][1]:.4f}" for name in names)
        print(f"| {line['data']} | {line['questions']} | {line['packing']} | {line['seeds']} | {cells} |")
    write_json(out / "study.json", {"runs": {run.name: some for run, some in found.items()}, "lines": lines}, indent=2)
    draw(out, logs)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
