"""How long a scene's questions take: transformers' ``generate`` question by question beside one row of branches.

The usual way is what public evaluation scripts do: every question is a sequence of its own (or several padded ones,
``--batch``), images and all. Ours computes the images once and hangs all questions off them. Both start from
image files and decode them once; both must say the same, token for token.

Questions have four wordings, so that they share words behind the images too, as those of a benchmark do. With
``--distinct`` every question begins with words of its own, and images are all that is shared.

    python scripts/bench/infer.py [--small] [--distinct] [--json FILE] [--model DIR] [--batch N]
    python scripts/bench/infer.py --beside vllm=PYTHON [--small] [--distinct] [--json FILE]     (see beside_vllm.py)
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from pathlib import Path

import beside_vllm
import numpy as np
import torch
from comparison import finish, line_of
from PIL import Image
from transformers import AutoModelForImageTextToText

from gpt4scene.data.packs import make_pack, pack_pixels
from gpt4scene.demo.tiny_model import TinyShape, build
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.engine import Engine
from gpt4scene.inference.local import load_engine
from gpt4scene.model.inputs import normalise
from gpt4scene.types import Question

FULL = {"questions": [1, 4, 16, 64, 200], "images": 33, "side": (1296, 968), "tokens": 16, "repeats": 3, "timed": 4}
SMALL = {"questions": [1, 6], "images": 5, "side": (320, 240), "tokens": 6, "repeats": 2, "timed": 6}
RESOLUTION = {"full": 512, "small": 168}
PLACES = ("beside the bed", "under the window", "left of the door", "on the round table near the lamp")


def make_questions(folder: Path, sizes: dict, distinct: bool = False) -> list[Question]:
    """Return questions of different lengths about one scene whose images are written into ``folder``.

    They are of four wordings, or ``distinct`` from their first letters on.
    """
    random = np.random.default_rng(0)
    images = []
    for index in range(sizes["images"]):
        coarse = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        images.append(str(folder / f"{index:02d}.jpg"))
        Image.fromarray(coarse).resize(sizes["side"], Image.Resampling.BICUBIC).save(images[-1], quality=90)

    def wording(number: int) -> str:
        if distinct:
            return f"{hashlib.sha256(str(number).encode()).hexdigest()[:12]} stands {PLACES[number % 4]}?"
        return f"What stands {PLACES[number % 4]}, number {number}?"

    return [
        Question("scanqa", number, "scene", wording(number), tuple(images)) for number in range(max(sizes["questions"]))
    ]


class UsualWay:
    """``generate`` on whole sequences, ``batch`` of them at a time, padded on the left, on ``threads`` of a CPU."""

    def __init__(self, folder: Path, engine: Engine, tokens: int, batch: int, threads: int) -> None:
        self.model = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="sdpa"
        ).to(engine.device)
        self.engine, self.tokens, self.batch, self.threads = engine, tokens, batch, threads

    def __call__(self, questions: list[Question]) -> list[str]:
        """Return the answers in order."""
        ours = torch.get_num_threads()  # chosen by our engine, which this side does not have
        torch.set_num_threads(self.threads)
        try:
            return self._answers(questions)
        finally:
            torch.set_num_threads(ours)

    @torch.inference_mode()
    def _answers(self, questions: list[Question]) -> list[str]:
        engine = self.engine
        samples = [engine.encoder.encode_question(question) for question in questions]
        pixels = pack_pixels(make_pack(samples[:1]), engine.encoder.vision)
        pixels = normalise(torch.from_numpy(pixels).to(engine.device), engine.encoder.vision)
        texts = []
        for start in range(0, len(samples), self.batch):
            group = samples[start : start + self.batch]
            longest = max(len(sample.ids_L) for sample in group)
            ids = torch.full((len(group), longest), engine.encoder.tokenizer.pad_token_id)
            mask = torch.zeros_like(ids)
            for row, sample in enumerate(group):
                ids[row, longest - len(sample.ids_L) :] = torch.from_numpy(sample.ids_L)
                mask[row, longest - len(sample.ids_L) :] = 1
            out = self.model.generate(
                input_ids=ids.to(engine.device),
                attention_mask=mask.to(engine.device),
                pixel_values=pixels.repeat(len(group), 1),
                image_grid_thw=torch.tensor(group[0].grids, device=engine.device).repeat(len(group), 1),
                mm_token_type_ids=(ids == engine.encoder.special.image_pad).int().to(engine.device),
                do_sample=False,
                max_new_tokens=self.tokens,
            )
            texts += engine.encoder.tokenizer.batch_decode(out[:, longest:], skip_special_tokens=True)
        return texts


def measure(questions: list[Question], usual: UsualWay, sizes: dict) -> list[dict]:
    """Return one line for each number of questions; the usual way is timed on the first few and scaled."""
    engine, settings = usual.engine, GenerationSettings(max_new_tokens=usual.tokens)
    lines = []
    for count in sizes["questions"]:
        asked, timed = questions[:count], questions[: min(count, sizes["timed"])]
        theirs, ours, equal = [], [], True
        for _ in range(sizes["repeats"]):
            start = time.perf_counter()
            wanted = usual(timed)
            theirs.append((time.perf_counter() - start) * len(asked) / len(timed))
            engine.forget()  # or a repeat would start from the prefix of the one before
            start = time.perf_counter()
            found = {answer.question.index: answer.text for answer in engine.answer(asked, settings)}
            ours.append(time.perf_counter() - start)
            equal = equal and [found[question.index] for question in timed] == wanted
        lines.append({**line_of(count, theirs, ours, equal), "usual_timed": len(timed)})
        print(f"{count} questions: {lines[-1]['ratio']} x", file=sys.stderr)
    return lines


def main(argv: list[str] | None = None) -> int:
    """Print a table, write JSON when asked; 1 when the two ways disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a few small images: seconds instead of minutes")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--model", type=Path, help="checkpoint to run; a tiny random one when left out")
    parser.add_argument("--batch", type=int, default=1, help="sequences that the usual way generates at a time")
    parser.add_argument("--distinct", action="store_true", help="questions that share no words with each other")
    parser.add_argument("--beside", metavar="vllm=PYTHON", help="beside vLLM instead, run by this interpreter")
    options = parser.parse_args(argv)
    if options.beside:
        return beside_vllm.from_infer(parser, options)
    sizes = SMALL if options.small else FULL
    resolution = RESOLUTION["small" if options.small else "full"]
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or build(Path(folder, "model"), shape=TinyShape(width=256, layers=4))
        threads = torch.get_num_threads()  # as PyTorch chooses them
        engine = load_engine(model, image_resolution=resolution, dtype="float32")
        questions = make_questions(Path(folder), sizes, options.distinct)
        prefix = engine.encoder.encode_question(questions[0]).cut
        results = measure(questions, UsualWay(model, engine, sizes["tokens"], options.batch, threads), sizes)
    print(f"prefix of {prefix} tokens, {sizes['tokens']} new tokens an answer")
    sizes = {**sizes, "prefix_tokens": prefix, "image_resolution": resolution, "usual_batch": options.batch}
    sizes["distinct"] = options.distinct
    device = {"device": str(engine.device)}
    return finish("infer", device, ("torch", "transformers", "numpy"), sizes, results, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
