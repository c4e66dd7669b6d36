"""How long a training step takes: transformers' model question by question beside one pack.

The usual way gives every question a sequence of its own: its images are opened and go through the image processor,
the whole sequence through the model, and the loss is the model's own. Ours opens a scene's images once and hangs all
questions off them. Forward and backward, vision tower frozen, both from image files; losses of all timed rows must be
equal, and where all rows are timed the gradients too.

    python scripts/bench/train.py [--small] [--json FILE] [--model DIR]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from comparison import finish, line_of
from PIL import Image
from transformers import AutoModelForImageTextToText, Qwen2VLImageProcessorPil

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.packs import PackDataset
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.data.vision import VisionRule, fit
from gpt4scene.demo.tiny_model import TinyShape, build
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.loading import load_model, load_tokenizer
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
ANSWERS = ("The lamp beside the bed is red.", "No.", "Two chairs and a round table under the window.")


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


class UsualWay:
    """One sequence a question, through transformers' own image processor, forward and loss."""

    def __init__(self, folder: Path, encoder: Encoder, device: str) -> None:
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
        model.model.visual.requires_grad_(False)
        self.model, self.encoder, self.device = model.to(device), encoder, device
        self.processor = Qwen2VLImageProcessorPil.from_pretrained(folder)

    def __call__(self, rows: list[Conversation]) -> list[float]:
        """Return the loss of every row; gradients of their mean are in the model."""
        self.model.zero_grad()
        losses = []
        for row in rows:
            images = [Image.open(path).convert("RGB") for path in row.images]
            sizes = [fit(image.size, self.encoder.vision) for image in images]
            resized = [p.resize(size, Image.Resampling.BICUBIC) for p, size in zip(images, sizes, strict=True)]
            seen = self.processor(resized, return_tensors="pt")
            sample = self.encoder.encode(row)
            ids = torch.from_numpy(sample.ids_L)[None].to(self.device)
            loss = self.model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                labels=torch.from_numpy(sample.labels_L)[None].to(self.device),
                mm_token_type_ids=(ids == self.encoder.special.image_pad).int(),
                pixel_values=seen["pixel_values"].to(self.device),
                image_grid_thw=seen["image_grid_thw"].to(self.device),
                use_cache=False,
            ).loss
            (loss / len(rows)).backward()
            losses.append(loss.item())
        return losses


class Ours:
    """All rows as one pack."""

    def __init__(self, folder: Path, rows: list[Conversation], encoder: Encoder, device: str) -> None:
        self.model = prepare_for_training(
            load_model(folder, dtype=torch.float32), TuningArguments(finetuning_type="full"), bf16=False
        )
        self.model.to(device)
        self.data, self.device = PackDataset(rows, encoder), device

    def __call__(self, count: int) -> list[float]:
        """Return the loss of the first ``count`` rows; gradients of their mean are in the model."""
        self.model.zero_grad()
        batch = self.data[tuple(range(count))].to(self.device)
        losses = row_losses(self.model, batch, self.data.encoder.vision)
        losses.mean().backward()
        return losses.tolist()


def gradient_difference(ours: Ours, usual: UsualWay) -> float:
    """Return the largest difference of any gradient, relative to the largest entry of that gradient."""
    theirs = dict(usual.model.named_parameters())
    pairs = [(p.grad, theirs[name].grad) for name, p in ours.model.named_parameters() if p.requires_grad]
    scale = max(float(reference.abs().max()) for _, reference in pairs)
    # Gradients that are zero but for rounding (key biases) are measured against the largest of all.
    return max(
        float((found - reference).abs().max() / reference.abs().max().clamp(min=1e-4 * scale))
        for found, reference in pairs
    )


def timed(work, device: str) -> tuple[float, list[float]]:
    """Return seconds and result of ``work()``."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def measure(ours: Ours, usual: UsualWay, sizes: dict, device: str) -> list[dict]:
    """Return one line for each number of questions; the usual way is timed on the first few and scaled."""
    lines = []
    for count in sizes["questions"]:
        few = min(count, sizes["timed"])
        theirs_s, ours_s, equal, gradients = [], [], True, None
        for _ in range(sizes["repeats"]):
            seconds, wanted = timed(lambda few=few: usual(ours.data.rows[:few]), device)
            theirs_s.append(seconds * count / few)
            seconds, found = timed(lambda count=count: ours(count), device)
            ours_s.append(seconds)
            equal = equal and np.allclose(found[:few], wanted, rtol=1e-5)
        if few == count:
            gradients = gradient_difference(ours, usual)
            equal = equal and gradients < 1e-3
        line = line_of(count, theirs_s, ours_s, bool(equal))
        lines.append({**line, "usual_timed": few, "gradient_difference": gradients})
        print(f"{count} questions: {lines[-1]['ratio']} x", file=sys.stderr)
    return lines


def main(argv: list[str] | None = None) -> int:
    """Print a table, write JSON when asked; 1 when the two ways disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few small images: seconds instead of minutes")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--model", type=Path, help="checkpoint to train; a tiny random one when left out")
    options = parser.parse_args(argv)
    sizes = SMALL if options.small else FULL
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or build(Path(folder, "model"), shape=TinyShape(width=256, layers=4))
        rule = VisionRule.from_folder(model, sizes["resolution"])
        encoder = Encoder(load_tokenizer(model), TEMPLATES["qwen2_vl"], rule)
        rows = make_rows(Path(folder), sizes)
        prefix = encoder.encode(rows[0]).cut
        results = measure(Ours(model, rows, encoder, device), UsualWay(model, encoder, device), sizes, device)
    print(f"prefix of {prefix} tokens, forward and backward of a step")
    sizes = {**sizes, "prefix_tokens": prefix}
    return finish("train", {"device": device}, ("torch", "transformers", "numpy"), sizes, results, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
