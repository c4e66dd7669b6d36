"""How long training takes a question: one pack for a scene's questions beside three other ways to do the same.

* ``usual``: transformers' model and image processor, every question a sequence of its own.
* ``recipe``: the same as fine-tuning frameworks run it (LLaMA-Factory's defaults): activations are computed again
  in the backward pass, and logits are made for the whole sequence.
* ``alone``: our own stack, with one question a pack (``scene_packing: 1``).
* ``ours``: our own stack, all questions of the scene in one pack.

All start from image files, which loader workers open, and are timed over a stream of work whose first item is not
counted. One model is in memory at a time, in one number format; the vision tower is frozen and the language model
trained. Losses must be equal, and where all rows are timed the gradients too. Utilisation is what the pack needs by
count (``flops.py``) over its time, and over the rate of a large product of matrices on the same machine.

    python scripts/bench/train.py [--small] [--ways usual,recipe,alone] [--workers N] [--questions 16] [--repeats N]
        [--json FILE] [--model DIR]
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import finish, line_of
from flops import Counts, rate
from PIL import Image
from torch.utils.data import DataLoader
from transformers import AutoModelForImageTextToText, Qwen2VLImageProcessorPil

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import PackDataset, only
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo.tiny_model import TinyShape, build
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import load_model, load_tokenizer
from gpt4scene.model.tower import Tower
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.types import Conversation, Origin, Turn

FULL = {
    "questions": [1, 4, 8, 16, 32],
    "images": 33,
    "side": (1296, 968),
    "resolution": 512,
    "repeats": 3,
    "timed": 4,
}
SMALL = {"questions": [1, 6], "images": 5, "side": (320, 240), "resolution": 168, "repeats": 2, "timed": 6}
OTHERS = ("usual", "recipe", "alone")
ANSWERS = ("The lamp beside the bed is red.", "No.", "Two chairs and a round table under the window.")
Gradients = dict[str, torch.Tensor]


def make_rows(folder: Path, sizes: dict) -> list[Conversation]:
    """Return rows about one scene, answers of unequal length; its images are written into ``folder``."""
    random = np.random.default_rng(0)
    images = []
    for index in range(sizes["images"]):
        coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        images.append(str(folder / f"{index:02d}.jpg"))
        Image.fromarray(coarse).resize(sizes["side"], Image.Resampling.BICUBIC).save(images[-1], quality=90)
    rows = []
    for number in range(max(sizes["questions"])):
        question = (
            "<image>" * len(images) + f"What stands near the door, number {number}, and which color does it have?"
        )
        turns = (Turn("user", question), Turn("assistant", ANSWERS[number % 3]))
        rows.append(Conversation(turns, tuple(images), Origin("bench", "bench.json", number)))
    return rows


class Rows(torch.utils.data.Dataset):
    """Single rows as transformers' model takes them: images by its own processor, the sequence whole."""

    def __init__(self, rows: list[Conversation], encoder: Encoder, folder: Path) -> None:
        self.rows, self.encoder = rows, encoder
        self.processor = Qwen2VLImageProcessorPil.from_pretrained(folder)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return the keyword arguments of the model's call for one row, labels included."""
        row = self.rows[index]
        images = [Image.open(path).convert("RGB") for path in row.images]
        sizes = [self.encoder.vision.fit(image.size) for image in images]
        resized = [p.resize(size, Image.Resampling.BICUBIC) for p, size in zip(images, sizes, strict=True)]
        seen = self.processor(resized, return_tensors="pt")
        sample = self.encoder.encode(row)
        ids = torch.from_numpy(sample.ids_L)[None]
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "labels": torch.from_numpy(sample.labels_L)[None],
            "mm_token_type_ids": (ids == self.encoder.special.image_pad).int(),
            "pixel_values": seen["pixel_values"],
            "image_grid_thw": seen["image_grid_thw"],
        }


class Way:
    """One way to train: ``stream(count)`` yields the losses of ``count`` questions, again and again.

    Gradients of the questions' mean are in the model after each. The model lives as long as the object.
    """

    def __init__(self, name: str, folder: Path, rows: list[Conversation], encoder: Encoder, workers: int) -> None:
        self.name, self.rows, self.encoder, self.workers = name, rows, encoder, workers
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        self.packed = name in ("alone", "ours")
        if self.packed:
            model = load_model(folder, dtype=self.dtype)
            arguments = TuningArguments(finetuning_type="full", pure_bf16=self.dtype == torch.bfloat16)
            self.model = prepare_for_training(model, arguments, bf16=self.dtype == torch.bfloat16)
            self.data: Any = PackDataset(rows, encoder)
            self.tower = Tower(self.model, encoder.vision)
        else:
            self.model = AutoModelForImageTextToText.from_pretrained(
                folder, dtype=self.dtype, attn_implementation="sdpa"
            )
            self.model.model.visual.requires_grad_(False)
            if name == "recipe":
                self.model.gradient_checkpointing_enable({"use_reentrant": True})
                self.model.enable_input_require_grads()
            self.data = Rows(rows, encoder, folder)
        self.model.to(self.device).train()

    def items(self, count: int) -> list[Any]:
        """Return the keys of the loader for ``count`` questions: one pack, or as many rows."""
        if self.name == "ours":
            return [tuple(range(count))]
        return [(index,) for index in range(count)] if self.packed else list(range(count))

    def stream(self, count: int, times: int) -> Iterator[list[float]]:
        """Yield the losses of the first ``count`` questions, ``times`` times over one loader."""
        keys = self.items(count)
        order = keys * times
        order += order[: 2 * self.workers]  # read ahead while the last ones are timed, as in a long run
        loader = DataLoader(
            self.data,
            batch_size=1,
            sampler=order,
            collate_fn=only,
            num_workers=self.workers,
            pin_memory=self.device == "cuda",
        )
        batches = iter(loader)
        for _ in range(times):
            self.model.zero_grad(set_to_none=True)
            yield [loss for _ in keys for loss in self.step(next(batches), count)]

    def step(self, batch: Any, count: int) -> list[float]:
        """Run one item forward and backward and return its losses."""
        if self.packed:
            losses = row_losses(self.model, batch.to(self.device), self.encoder.vision, self.tower)
            (losses.sum() / count).backward()
            return losses.tolist()
        inputs = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        loss = self.model(**inputs, use_cache=False).loss
        (loss / count).backward()
        return [loss.item()]

    def gradients(self) -> Gradients:
        """Return copies of the gradients of what is trained."""
        found = {name: one.grad for name, one in self.model.named_parameters() if one.grad is not None}
        return {name: grad.float().cpu() for name, grad in found.items()}


def gradient_difference(found: Gradients, wanted: Gradients) -> float:
    """Return the largest difference of any gradient, relative to the largest entry of that gradient."""
    assert found.keys() == wanted.keys(), "the same parts are trained"
    scale = max(float(one.abs().max()) for one in wanted.values())
    # Gradients that are zero but for rounding (key biases) are measured against the largest of all.
    return max(
        float((found[name] - one).abs().max() / one.abs().max().clamp(min=1e-4 * scale)) for name, one in wanted.items()
    )


def timed(way: Way, count: int) -> tuple[float, list[float]]:
    """Return seconds and losses of ``count`` questions; the same work before it is not counted."""
    stream = way.stream(count, 2)
    next(stream)
    start = time.perf_counter()
    losses = next(stream)
    if way.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start, losses


@dataclass
class Found:
    """What was measured of one way at one number of questions."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    gradients: Gradients = field(default_factory=dict)


def measure(make: Callable[[str], Way], ways: list[str], sizes: dict) -> dict[tuple[str, int], Found]:
    """Return what every way took, each in turn with no other model in memory, ``repeats`` times over.

    Only ``ours`` does all numbers of questions; the others do the first few and are scaled.
    """
    found: dict[tuple[str, int], Found] = {}
    for round_ in range(sizes["repeats"]):
        for name in ways:
            way = make(name)
            counts = sizes["questions"]
            if name != "ours":
                counts = sorted({min(count, sizes["timed"]) for count in counts})
            for count in counts:
                one = found.setdefault((name, count), Found())
                seconds, one.losses = timed(way, count)
                one.seconds.append(seconds)
                if count <= sizes["timed"]:
                    one.gradients = way.gradients()
                print(f"round {round_ + 1}, {name}, {count} questions: {seconds:.2f} s", file=sys.stderr)
            del way
            gc.collect()
    return found


def lines_of(
    found: dict[tuple[str, int], Found], ways: list[str], sizes: dict, used: dict[int, float]
) -> list[dict[str, Any]]:
    """Return a line for each other way and number of questions: its time beside that of our pack.

    ``used`` are the seconds that a pack would take at the best rate of the machine.
    """
    lines = []
    for name in ways:
        for count in sizes["questions"] if name != "ours" else ():
            few, ours = min(count, sizes["timed"]), found["ours", count]
            theirs = found[name, few]
            equal = bool(np.allclose(ours.losses[:few], theirs.losses, rtol=sizes["tolerance"]))
            difference = None
            if few == count:
                difference = gradient_difference(ours.gradients, theirs.gradients)
                equal = equal and difference < 100 * sizes["tolerance"]
            line = line_of(count, [one * count / few for one in theirs.seconds], ours.seconds, equal)
            share = {"utilisation": round(used[count] / line["ours_s"], 3)}
            lines.append({"work": name, **line, "usual_timed": few, "gradient_difference": difference, **share})
    return lines


def main(argv: list[str] | None = None) -> int:
    """Print a table, write JSON when asked; 1 when two ways disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few small images: seconds instead of minutes")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--model", type=Path, help="checkpoint to train; a tiny random one when left out")
    parser.add_argument("--ways", default=",".join(OTHERS), help="ways beside ours, separated by commas")
    parser.add_argument("--workers", type=int, default=1, help="processes that open images, on every side")
    parser.add_argument("--questions", type=int, nargs="+", help="numbers of questions instead of the usual ones")
    parser.add_argument("--repeats", type=int, help="rounds over all ways")
    options = parser.parse_args(argv)
    others = options.ways.split(",")
    if unknown := [name for name in others if name not in OTHERS]:
        parser.error(f"--ways {unknown[0]}: choose among {', '.join(OTHERS)}")
    sizes = {**(SMALL if options.small else FULL)}
    sizes |= {"questions": options.questions} if options.questions else {}
    sizes |= {"repeats": options.repeats} if options.repeats else {}
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or build(Path(folder, "model"), shape=TinyShape(width=256, layers=4))
        encoder = Encoder(load_tokenizer(model), TEMPLATES["qwen2_vl"], image_rule(model, sizes["resolution"]))
        rows = make_rows(Path(folder), sizes)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        sizes = {**sizes, "tolerance": 1e-5 if device == "cpu" else 2e-2, "workers": options.workers}

        def make(name: str) -> Way:
            return Way(name, model, rows, encoder, options.workers)

        found = measure(make, [*others, "ours"], sizes)
        ours = make("ours")
        counts, best = Counts.of(ours.model), rate(ours.model.device, ours.dtype)
        packs = {count: ours.data.pack(tuple(range(count))) for count in sizes["questions"]}
        least = {count: counts.training(pack, frozen=False) / best for count, pack in packs.items()}
        results = lines_of(found, others, sizes, least)
        sizes["prefix_tokens"] = encoder.encode(rows[0]).cut
        where = {"device": torch.cuda.get_device_name() if device == "cuda" else device}
    print(f"prefix of {sizes['prefix_tokens']} tokens; best rate {best / 1e12:.3g} TFLOP/s in {ours.dtype}")
    sizes["best_rate_flops"] = best
    return finish("train", where, ("torch", "transformers", "numpy"), sizes, results, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
