"""How long training takes from parsed rows to its first step, and how much memory each of its processes then holds.

The data are as many rows, scenes and images as the published set has: 165,000 rows over 562 scenes of 33 images, real
JPEG files under a name for each scene, of which only the first few differ (they are links). `gpt4scene train` itself
runs on them, in a process of its own, with a tiny model on the CPU, and is ended when its first step begins. Reading
the rows comes before and is told apart; so is what the machine does with a model, which is tiny here.

    python scripts/bench/first_step.py [--small] [--json FILE] [--workers N] [--packing K]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from gpt4scene.demo.tiny_model import TinyShape, build
from gpt4scene.files.whole import write_json

FULL = {"rows": 165_000, "scenes": 562, "images": 33, "width": 1296, "height": 968}
SMALL = {"rows": 400, "scenes": 5, "images": 3, "width": 320, "height": 240}
NAME = "sharegpt_data_chat_scene_32_images_3D_mark"
PARSING = "parse rows"
"""The stage that the seconds count from."""

MOST_S, MOST_MIB = 10.0, 2048
"""The aim: seconds from parsed rows to the first step, and MiB of any process."""


def write_images(folder: Path, sizes: dict) -> None:
    """Write every scene's images; those of the second scene on are links to those of the first."""
    random = np.random.default_rng(0)
    for scene in range(sizes["scenes"]):
        place = folder / f"scene{scene:04d}_00"
        place.mkdir(parents=True)
        for index in range(sizes["images"]):
            path = place / (f"{index:02d}.jpg" if index else "bev.jpg")
            if scene:
                os.link(folder / "scene0000_00" / path.name, path)
                continue
            coarse = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((sizes["width"], sizes["height"]), Image.Resampling.BICUBIC)
            noisy = np.asarray(image) ^ random.integers(0, 8, (sizes["height"], sizes["width"], 3), dtype=np.uint8)
            Image.fromarray(noisy).save(path, quality=90)


def write_rows(path: Path, sizes: dict) -> None:
    """Write the ShareGPT file; rows of a scene lie together, as annotating leaves them, and no question is twice there.

    One mark is outside Latin letters, as in answers that people wrote, so that the text takes two bytes a character.
    """
    path.parent.mkdir(parents=True)
    with path.open("w", encoding="utf-8") as file:
        for number in range(sizes["rows"]):
            scene = number * sizes["scenes"] // sizes["rows"]
            names = ["bev.jpg", *(f"{index:02d}.jpg" for index in range(1, sizes["images"]))]
            question = f"What stands {number} steps to the left of the brown table <OBJ{number % 100:03d}>?"
            shown = f"BEV of the room: <image>\nFrames: {'<image>' * (sizes['images'] - 1)}\n"
            asked = f"{shown}The room\u2019s question: {question}"
            messages = [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": f"A chair, number {number}, next to the window."},
            ]
            row = {"messages": messages, "images": [f"scene{scene:04d}_00/{name}" for name in names]}
            file.write((",\n" if number else "[\n") + json.dumps(row, ensure_ascii=False))
        file.write("\n]\n")


def prepare(folder: Path, sizes: dict, workers: int, packing: int) -> Path:
    """Write images, rows, model and settings into ``folder`` and return the settings' file."""
    write_images(folder / "images", sizes)
    write_rows(folder / "data" / "annotation" / f"{NAME}.json", sizes)
    entry = {"file_name": f"annotation/{NAME}.json", "formatting": "sharegpt"}
    entry |= {"columns": {"messages": "messages", "images": "images"}}
    names = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    write_json(folder / "data" / "dataset_info.json", {NAME: {**entry, "tags": {**names, "system_tag": "system"}}})
    build(folder / "model", shape=TinyShape())
    settings = {
        "model_name_or_path": str(folder / "model"),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "dataset": NAME,
        "dataset_dir": str(folder / "data"),
        "media_dir": str(folder / "images"),
        "template": "qwen2_vl",
        "image_resolution": 512,
        "cutoff_len": 32768,
        "val_size": 0.02,
        "output_dir": str(folder / "output"),
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 16,
        "scene_packing": packing,
        "dataloader_num_workers": workers,
        "num_train_epochs": 1.0,
        "report_to": "none",
        "disable_tqdm": True,
    }
    return write_json(folder / "settings.yaml", settings)


class Clock:
    """Notes when calls end; the first step ends the program."""

    def __init__(self) -> None:
        self.start = self.parsed = time.perf_counter()
        self.parsed_cpu = 0.0
        self.stages: list[dict[str, Any]] = []

    def around(self, name: str, work: Callable) -> Callable:
        """Return ``work`` that notes when it began and how long it took."""

        def timed(*arguments: Any, **keys: Any) -> Any:
            begun, used = time.perf_counter(), time.process_time()
            result = work(*arguments, **keys)
            took, ended = time.perf_counter() - begun, time.process_time()
            self.stages.append({"stage": name, "seconds": round(took, 2), "cpu_s": round(ended - used, 2)})
            if name == PARSING:
                self.parsed, self.parsed_cpu = time.perf_counter(), ended
            return result

        return timed

    def first_step(self, *_: object, **__: object) -> None:
        """Print what was noted, and the memory of this process and its children, and end."""
        found = {
            "parsed_s": round(self.parsed - self.start, 2),
            "first_step_s": round(time.perf_counter() - self.parsed, 2),
            "first_step_cpu_s": round(time.process_time() - self.parsed_cpu, 2),
            "stages": self.stages,
            "processes": [memory(process) for process in family()],
        }
        print(json.dumps(found), flush=True)
        raise SystemExit(0)


def family() -> Iterator[int]:
    """Yield this process and its children."""
    yield os.getpid()
    yield from (int(number) for number in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def memory(process: int) -> dict[str, Any]:
    """Return a process's most memory so far and its fair share now (pages divided by those who hold them), in MiB."""

    def field(file: str, name: str) -> float:
        lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024)

    name = "main" if process == os.getpid() else "worker"
    return {"process": name, "peak_mib": field("status", "VmHWM"), "share_mib": field("smaps_rollup", "Pss:")}


def train(settings: Path) -> None:
    """Run the training of ``settings`` up to its first step, with a clock around its stages."""
    clock = Clock()
    from gpt4scene.data import packs
    from gpt4scene.settings.config import parse
    from gpt4scene.training import run_data, sft, trainer

    stages = {
        PARSING: (run_data, "load_conversations"),
        "check rows": (run_data, "screen"),
        "fingerprint": (run_data, "fingerprint"),
        "hold rows out": (run_data, "split_rows"),
        "model": (sft, "ready_model"),
        "scenes of rows": (packs, "group_rows"),
        "first batches": (trainer.PackTrainer, "get_batch_samples"),
    }
    for name, (place, call) in stages.items():
        patch.object(place, call, clock.around(name, getattr(place, call))).start()
    patch.object(trainer.PackTrainer, "training_step", clock.first_step).start()
    sft.run(parse([str(settings)]))


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write JSON on request; 1 where the aim is missed (never with ``--small``)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="few rows and images: seconds instead of minutes")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--workers", type=int, default=2, help="loader workers (default: %(default)s)")
    parser.add_argument("--packing", type=int, default=8, help="questions a pack (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="keep the data here, and take them from here if they are there")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.train:
        train(options.train)
        return 0
    sizes = SMALL if options.small else FULL
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        settings = folder / "settings.yaml"
        if not settings.is_file():
            print(f"writing {sizes['rows']} rows and {sizes['scenes'] * sizes['images']} images ...", file=sys.stderr)
            settings = prepare(folder, sizes, options.workers, options.packing)
        command = [sys.executable, __file__, "--train", str(settings)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    for stage in found["stages"]:
        print(f"  {stage['stage']:16}{stage['seconds']:8.2f} s by the clock {stage['cpu_s']:8.2f} s of the processor")
    peak = max(process["peak_mib"] for process in found["processes"])
    print(f"rows parsed after {found['parsed_s']} s; first step {found['first_step_s']} s later, of which ", end="")
    print(f"{found['first_step_cpu_s']} s of the main process's processor; ", end="")
    print("; ".join(f"{p['process']}: {p['peak_mib']} MiB at most, share {p['share_mib']}" for p in found["processes"]))
    if options.json:
        report = {"bench": "first_step", "hardware": {"machine": platform.machine(), "cores": os.cpu_count()}}
        report |= {"versions": {name: version(name) for name in ("torch", "transformers", "pillow", "numpy")}}
        write_json(options.json, {**report, "sizes": sizes, "results": [found]})
    return 0 if options.small or (found["first_step_s"] <= MOST_S and peak <= MOST_MIB) else 1


if __name__ == "__main__":
    raise SystemExit(main())
