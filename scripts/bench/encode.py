"""How long rows take to become tokens, and a step's questions to become a batch: the usual way beside ours.

The usual way is what fine-tuning frameworks do: for every row, open its images, run the processor of Hugging Face on
them, write out the image tokens and tokenise the row. Ours reads image headers once a file, and decodes a scene's
images once a pack, when the batch is needed. Both must give the same tokens and the same pixels, bit for bit.

    python scripts/bench/encode.py [--small] [--json FILE] [--model DIR]
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from comparison import finish, line_of
from PIL import Image
from transformers import AutoTokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import collate, make_pack
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.data.vision import VisionRule
from gpt4scene.demo.tiny_model import build_tokenizer
from gpt4scene.model.inputs import normalise
from gpt4scene.types import Conversation, Origin, Turn

RESOLUTION = 512
FULL = {"scenes": 4, "rows": 256, "images": 33, "width": 1296, "height": 968, "questions": [1, 4, 8, 16]}
SMALL = {"scenes": 2, "rows": 16, "images": 3, "width": 320, "height": 240, "questions": [1, 4]}


def image_files(folder: Path, scene: int, sizes: dict) -> tuple[str, ...]:
    """Write the JPEG images of a scene, smooth shapes with some noise, and return their paths."""
    random = np.random.default_rng(scene)
    paths = []
    for index in range(sizes["images"]):
        coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((sizes["width"], sizes["height"]), Image.Resampling.BICUBIC)
        noisy = np.asarray(image) ^ random.integers(0, 8, (sizes["height"], sizes["width"], 3), dtype=np.uint8)
        paths.append(folder / f"scene{scene:04d}_{index:02d}.jpg")
        Image.fromarray(noisy).save(paths[-1], quality=90)
    return tuple(map(str, paths))


def make_rows(folder: Path, sizes: dict) -> list[Conversation]:
    """Return rows about the scenes, taking turns."""
    scenes = [image_files(folder, scene, sizes) for scene in range(sizes["scenes"])]
    rows = []
    for number in range(sizes["rows"]):
        images = scenes[number % len(scenes)]
        question = f"What stands {number} steps to the left of the brown table <OBJ{number % 100:03d}>?"
        turns = (Turn("user", "<image>" * len(images) + question), Turn("assistant", f"A chair, number {number}."))
        rows.append(Conversation(turns, images, Origin("bench", "bench.json", number)))
    return rows


class UsualWay:
    """One row at a time: open, resize, Hugging Face processor, tokens."""

    def __init__(self, tokenizer, rule: VisionRule) -> None:
        self.tokenizer, self.rule, self.template = tokenizer, rule, TEMPLATES["qwen2_vl"]
        self.processor = Qwen2VLImageProcessorPil(
            patch_size=rule.patch_size,
            merge_size=rule.merge_size,
            temporal_patch_size=rule.temporal_patch_size,
            size={"shortest_edge": rule.min_pixels, "longest_edge": rule.max_pixels},
            image_mean=list(rule.mean),
            image_std=list(rule.std),
        )

    def __call__(self, row: Conversation) -> tuple[list[int], np.ndarray]:
        """Return the row's token ids and normalised pixels."""
        images = []
        for path in row.images:
            with Image.open(path) as image:
                size = self.rule.fit(image.size)
                images.append(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))
        values = self.processor(images, return_tensors="np")
        counts = values["image_grid_thw"].prod(axis=1) // self.rule.merge_size**2
        text = "".join(segment.text for segment in self.template.render(row.turns))
        pieces = text.split(self.template.image_pad)
        pads = [self.template.image_pad * int(count) for count in counts] + [""]
        whole = "".join(piece + pad for piece, pad in zip(pieces, pads, strict=True))
        return self.tokenizer.encode(whole, add_special_tokens=False), values["pixel_values"]


def timed(work: Callable[[], object], repeats: int) -> list[float]:
    """Return the seconds of each of ``repeats`` runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def line(work: str, rows: int, usual_s: list[float], ours_s: list[float], equal: bool) -> dict[str, Any]:
    """Return one line of the report."""
    return {"work": work, **line_of(rows, usual_s, ours_s, equal, digits=4)}


def tokenizing(rows: list[Conversation], usual: UsualWay, repeats: int, usual_rows: int) -> dict:
    """All rows become tokens before training; ours starts with nothing remembered."""

    def encode_all() -> list[np.ndarray]:
        encoder = Encoder(usual.tokenizer, usual.template, usual.rule)
        return [encoder.encode(row).ids_L for row in rows]

    sample = rows[:usual_rows]
    theirs = timed(lambda: [usual(row) for row in sample], repeats)
    equal = all(usual(row)[0] == ids.tolist() for row, ids in zip(sample[:4], encode_all()[:4], strict=True))
    theirs = [seconds * len(rows) / len(sample) for seconds in theirs]
    return line("tokenize", len(rows), theirs, timed(encode_all, repeats), equal)


def batching(rows: list[Conversation], usual: UsualWay, questions: int, repeats: int) -> dict:
    """The questions of one scene become model inputs, pixels decoded and normalised."""
    chosen = [row for row in rows if row.images == rows[0].images][:questions]
    encoder = Encoder(usual.tokenizer, usual.template, usual.rule)

    def pack_batch() -> np.ndarray:
        batch = collate(make_pack([encoder.encode(row) for row in chosen]), encoder)
        return normalise(batch.pixel_values, encoder.vision).numpy()

    equal = np.array_equal(pack_batch(), usual(chosen[0])[1])
    theirs = timed(lambda: [usual(row) for row in chosen], repeats)
    return line("batch", len(chosen), theirs, timed(pack_batch, repeats), equal)


def main(argv: list[str] | None = None) -> int:
    """Print a table, write JSON when asked; 1 when the two ways disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few small images: seconds instead of minutes")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--model", help="checkpoint whose tokenizer and processor are used; a tiny one when left out")
    options = parser.parse_args(argv)
    sizes, repeats, usual_rows = (SMALL, 3, 4) if options.small else (FULL, 3, 8)
    tokenizer = AutoTokenizer.from_pretrained(options.model) if options.model else build_tokenizer()
    rule = VisionRule(image_resolution=RESOLUTION)
    usual = UsualWay(tokenizer, image_rule(options.model, RESOLUTION) if options.model else rule)
    with tempfile.TemporaryDirectory() as folder:
        print(f"writing {sizes['scenes'] * sizes['images']} images ...", file=sys.stderr)
        rows = make_rows(Path(folder), sizes)
        results = [tokenizing(rows, usual, repeats, usual_rows)]
        results += [batching(rows, usual, questions, repeats) for questions in sizes["questions"]]
    sizes = {**sizes, "usual_rows_timed": usual_rows, "image_resolution": RESOLUTION, "repeats": repeats}
    packages = ("transformers", "tokenizers", "pillow", "numpy", "torch")
    return finish("encode", {"system": platform.system()}, packages, sizes, results, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
