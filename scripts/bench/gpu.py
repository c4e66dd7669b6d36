"""What one GPU makes of a pack and of a scene's questions: random weights of real sizes, no download, under 9 minutes.

    python scripts/bench/gpu.py --out DIR [--box 510] [--parts kernels,equality,…] [--dry]

Every line is written to ``DIR/gpu.jsonl`` as it is measured, so that a run that is ended keeps what it has. ``--dry``
runs tiny shapes on a CPU, to see that all of it works; its times mean nothing. Parts, in order:

* ``kernels``: milliseconds of each attention call at a pack's sizes; the first call at a new length beside the next.
* ``equality``: two layers of the 7B at full length: a pack's losses and gradients beside those of single questions.
* ``tower``: the vision tower over a scene's images.
* ``train``: 7B with LoRA, K questions a pack: milliseconds, utilisation (see ``flops.py``), memory, a profile.
* ``answer``: 7B: a scene's questions cold and with its prefix kept, milliseconds a step, a profile, several rooms.
* ``small``: the 2B, trained in full and answering.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from flops import Counts, rate
from transformers import AutoModelForImageTextToText, PreTrainedModel, Qwen2VLConfig

from gpt4scene.data.encoding import Encoder
from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.packs import PackDataset
from gpt4scene.data.templates import TEMPLATES
from gpt4scene.demo.tiny_model import build
from gpt4scene.inference.decoding import GenerationSettings
from gpt4scene.inference.engine import Engine
from gpt4scene.inference.scheduler import Scheduler
from gpt4scene.model import attention
from gpt4scene.model.fused import choose_kernels, fuse
from gpt4scene.model.inputs import row_losses
from gpt4scene.model.kernels import attention_gradients, attention_part
from gpt4scene.model.loading import load_tokenizer
from gpt4scene.model.pixels import normalise
from gpt4scene.model.recompute import inner_model, recompute
from gpt4scene.model.tower import Tower, tower_attention_name
from gpt4scene.model.tuning import prepare_for_training
from gpt4scene.settings.arguments import TuningArguments
from gpt4scene.types import Batch, Question
from train import make_rows

SHAPES = {
    "7B": {"width": 3584, "heads": 28, "key_heads": 4, "inner": 18944, "words": 152064, "layers": 28, "tied": False},
    "2B": {"width": 1536, "heads": 12, "key_heads": 2, "inner": 8960, "words": 151936, "layers": 28, "tied": True},
    "dry": {"width": 128, "heads": 4, "key_heads": 2, "inner": 256, "words": 2048, "layers": 2, "tied": True},
}
IMAGES = {"images": 33, "side": (1296, 968), "resolution": 512}
DRY_IMAGES = {"images": 3, "side": (160, 120), "resolution": 84}
PEAK_FLOPS = 989e12
"""Dense bf16 operations a second that the data sheet of an H100 or H200 SXM states."""


@dataclass
class Bench:
    """What all parts share: where lines go, how much time is left, the scene and its rows."""

    out: Path
    folder: Path
    box: float
    dry: bool
    start: float
    encoder: Encoder
    rows: list
    best: float

    @property
    def device(self) -> torch.device:
        """Where everything runs."""
        return torch.device("cpu" if self.dry else "cuda")

    def say(self, part: str, **figures: Any) -> None:
        """Write one line at once."""
        line = json.dumps({"part": part, **figures, "at_s": round(time.monotonic() - self.start, 1)})
        print(line, flush=True)
        with (self.out / "gpu.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def left(self) -> float:
        """Return the seconds that are left."""
        return self.box - (time.monotonic() - self.start)

    def sync(self) -> None:
        """Wait for the device."""
        if not self.dry:
            torch.cuda.synchronize()

    def ms(self, work: Callable[[], object], times: int = 3, warm: int = 1) -> float:
        """Return median milliseconds of ``work()``."""
        for _ in range(warm):
            work()
        taken = []
        for _ in range(times):
            self.sync()
            start = time.perf_counter()
            work()
            self.sync()
            taken.append(1e3 * (time.perf_counter() - start))
        return round(sorted(taken)[len(taken) // 2], 3)

    def model(self, size: str, layers: int | None = None, dtype: torch.dtype = torch.bfloat16) -> PreTrainedModel:
        """Return a random model of a real size, with this project's attention, on the device."""
        config = _config(SHAPES["dry" if self.dry else size], layers, self.encoder, self.dry)
        with torch.device(self.device):
            parts = {"text_config": attention.NAME, "vision_config": tower_attention_name("sdpa")}
            model = AutoModelForImageTextToText.from_config(config, dtype=dtype, attn_implementation=parts)
        model.generation_config.eos_token_id = self.encoder.tokenizer.eos_token_id
        return model

    def free(self) -> None:
        """Give memory back."""
        gc.collect()
        if not self.dry:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_gb(self) -> float | None:
        """Return the most memory held since the last ``free``, in GiB."""
        return None if self.dry else round(torch.cuda.max_memory_allocated() / 2**30, 1)


def _config(shape: dict, layers: int | None, encoder: Encoder, dry: bool) -> Qwen2VLConfig:
    width, half = shape["width"], shape["width"] // shape["heads"] // 2
    section = [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8]
    text = {
        "vocab_size": shape["words"],
        "hidden_size": width,
        "intermediate_size": shape["inner"],
        "num_hidden_layers": layers or shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["key_heads"],
        "max_position_embeddings": 32768,
        "tie_word_embeddings": shape["tied"],
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": section},
    }
    tower = {"depth": 2, "embed_dim": 64, "num_heads": 4} if dry else {"depth": 32, "embed_dim": 1280, "num_heads": 16}
    return Qwen2VLConfig(
        text_config=text,
        vision_config={**tower, "hidden_size": width},
        tie_word_embeddings=shape["tied"],
        image_token_id=encoder.special.image_pad,
    )


def kernels(bench: Bench) -> None:
    """Time each attention call of a pack, and its gradient, at new lengths and at known ones."""
    shape = SHAPES["dry" if bench.dry else "7B"]
    heads, key_heads, prefix = shape["heads"], shape["key_heads"], 96 if bench.dry else 8412
    dtype = torch.float32 if bench.dry else torch.bfloat16

    def states(rows: int, of: int, length: int) -> torch.Tensor:
        return torch.randn(rows, of, length, shape["width"] // heads, device=bench.device, dtype=dtype)

    calls = {
        "prefix": (1, heads, key_heads, 0, True),
        "16 branches on the prefix": (1, heads, key_heads, 1760, False),
        "16 branches on themselves": (16, heads, key_heads, 110, True),
        "64 branches decoding": (1, key_heads, key_heads, 64 * heads // key_heads, False),
    }
    for name, (rows, of, key_of, queries, causal) in calls.items():
        taken, backward = [], []
        for length in (prefix, prefix, prefix + 1, prefix + 1, prefix + 64):
            keys = length if rows == 1 else queries
            query = states(rows, of, queries or length)
            key, value = states(rows, key_of, keys), states(rows, key_of, keys)
            options = {"causal": causal, "scale": 0.1}
            taken.append(bench.ms(lambda: attention_part(query, key, value, **options), 1, 0))  # noqa: B023
            out, lse = attention_part(query, key, value, **options)
            work = (out, query, key, value, out, lse)
            backward.append(bench.ms(lambda: attention_gradients(*work, **options), 1, 0))  # noqa: B023
        bench.say("kernels", call=name, forward_ms=taken, backward_ms=backward)


def equality(bench: Bench) -> None:
    """Compare losses and gradients of a pack of four with those of its questions alone, in bf16 and fp32."""
    for dtype in (torch.bfloat16, torch.float32):
        _compare(bench, dtype)
        bench.free()


def _compare(bench: Bench, dtype: torch.dtype) -> None:
    model, data = bench.model("7B", 2, dtype).train(), PackDataset(bench.rows, bench.encoder)
    model.model.visual.requires_grad_(False)

    def run(rows: tuple[int, ...]) -> list[float]:
        losses = row_losses(model, data[rows].to(bench.device), bench.encoder.vision)
        losses.sum().backward()
        return losses.tolist()

    together = run((0, 1, 2, 3))
    grads = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad(set_to_none=True)
    alone = [loss for row in range(4) for loss in run((row,))]
    worst = 0.0
    for name, one in model.named_parameters():
        if one.grad is not None:
            difference = (grads[name] - one.grad).abs().max() / one.grad.abs().max().clamp(min=1e-9)
            worst = max(worst, float(difference))
    loss = max(abs(a - b) / b for a, b in zip(together, alone, strict=True))
    nan = any(bool(one.isnan().any()) for one in grads.values())
    bench.say("equality", dtype=str(dtype), loss=loss, gradient=worst, nan=nan)


def tower(bench: Bench) -> None:
    """Time the vision tower over a scene's images, as a pack gives them to it."""
    model, data = bench.model("7B", 1).eval(), PackDataset(bench.rows, bench.encoder)
    batch, seeing = data[(0,)].to(bench.device), Tower(model, bench.encoder.vision)
    pixels = normalise(batch.pixel_values, bench.encoder.vision)
    taken = bench.ms(lambda: seeing.encode(batch.images.grids, pixels))
    counted = Counts.of(model).seeing(data.pack((0,)))
    figures = {"tflop": round(counted / 1e12, 2), "of_best_rate": round(counted / bench.best / (taken / 1e3), 3)}
    bench.say("tower", ms=taken, **figures)


def train(bench: Bench, size: str = "7B", method: str = "lora", packs: tuple[int, ...] = (1, 4, 8, 16, 32)) -> None:
    """Time training steps at several K, with activations computed again and kept, and profile one step."""
    alone = _train_packs(bench, {"size": size, "method": method, "checkpointing": True}, packs, None)
    bench.free()
    _train_packs(bench, {"size": size, "method": method, "checkpointing": False}, packs[-2:], alone)
    bench.free()


def _train_packs(bench: Bench, said: dict[str, Any], packs: tuple[int, ...], alone: float | None) -> float | None:
    """Say what each number of questions takes; return milliseconds of one alone."""
    frozen = said["method"] == "lora"
    model = bench.model(said["size"]).train()
    arguments = TuningArguments(finetuning_type=said["method"], pure_bf16=not frozen)
    tuned = prepare_for_training(model, arguments, bf16=True).to(bench.device)
    recompute(tuned, 1 if said["checkpointing"] else 0)
    kernels, _ = choose_kernels(None, inner_model(tuned), bench.device)
    if kernels is not None:
        fuse(inner_model(tuned), kernels)
    said = {**said, "fused": kernels.name if kernels else None}
    trained = [one for one in tuned.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=not bench.dry)
    data, counts = PackDataset(bench.rows, bench.encoder), Counts.of(model)
    seeing = Tower(tuned, bench.encoder.vision)

    def step(batch: Batch) -> None:
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=frozen):
            losses = row_losses(tuned, batch, bench.encoder.vision, seeing)
        losses.mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for branches in packs:
        if bench.left() < 25:
            break
        batch = data[tuple(range(branches))].to(bench.device)
        bench.free()
        try:
            taken = bench.ms(lambda: step(batch), 3, 2)  # noqa: B023
        except torch.OutOfMemoryError:
            bench.say("train", **said, questions=branches, memory="ran out")
            continue
        alone = taken if branches == 1 else alone
        needed = counts.training(data.pack(tuple(range(branches))), frozen=frozen) / (taken / 1e3)
        figures = {"ms": taken, "gain": round(alone * branches / taken, 1) if alone else None}
        figures |= {"utilisation": round(needed / PEAK_FLOPS, 3), "of_best_rate": round(needed / bench.best, 3)}
        bench.say("train", **said, questions=branches, **figures, peak_gb=bench.peak_gb())
        if branches == 16:
            bench.say("train profile", **said, questions=branches, **profile(bench, lambda: step(batch)))  # noqa: B023
    return alone


def profile(bench: Bench, work: Callable[[], object]) -> dict[str, Any]:
    """Return launches, milliseconds that the GPU was busy, and the kernels that took most of them."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if not bench.dry:
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    start = time.perf_counter()
    with torch.profiler.profile(activities=kinds) as seen:
        work()
        bench.sync()
    whole = 1e3 * (time.perf_counter() - start)
    events = [one for one in seen.events() if one.device_type == torch.autograd.DeviceType.CUDA]
    longest: Counter[str] = Counter()
    for event in events:
        longest[event.name[:60]] += event.device_time / 1e3
    top = {name: round(value, 2) for name, value in longest.most_common(12)}
    busy = round(sum(longest.values()), 1)
    return {"launches": len(events), "busy_ms": busy, "profiled_ms": round(whole, 1), "kernels_ms": top}


def answer(bench: Bench, size: str = "7B", counts: tuple[int, ...] = (1, 16, 64, 128)) -> None:
    """Time a scene's questions on the engine, cold and with its prefix kept; several scenes; drawn answers."""
    engine = Engine(Scheduler(bench.model(size), bench.encoder))
    images, new = bench.rows[0].images, 4 if bench.dry else 20
    questions = [Question("scanqa", n, "scene", f"What stands near door number {n}?", images) for n in range(128)]
    settings, longer = GenerationSettings(max_new_tokens=new), GenerationSettings(max_new_tokens=2 * new)
    list(engine.answer(questions[:2], settings))

    def ask(count: int, how: GenerationSettings) -> float:
        return bench.ms(lambda: list(engine.answer(questions[:count], how)), 1, 0)

    for count in counts:
        if bench.left() < 20:
            return
        cold, warm = [], []
        for _ in range(3):
            engine.forget()
            cold.append(ask(count, settings))
            warm.append(ask(count, settings))
        step = round((ask(count, longer) - min(warm)) / new, 2)
        figures = {"new_tokens": new, "cold_ms": cold, "warm_ms": warm, "step_ms": step, "peak_gb": bench.peak_gb()}
        bench.say("answer", size=size, questions=count, **figures)
        if count == 64:
            found = profile(bench, lambda: ask(64, settings))
            bench.say("answer profile", size=size, questions=count, **found)
    if bench.left() > 30:
        drawn = GenerationSettings(max_new_tokens=new, temperature=0.7, top_p=0.9)
        bench.say("answer drawn", size=size, questions=64, warm_ms=[ask(64, drawn) for _ in range(3)])
        rooms = [images[start:] + images[:start] for start in range(4)]
        few = [[replace(one, scene_id=f"{n}", images=rooms[n]) for one in questions[:4]] for n in range(4)]
        taken = bench.ms(lambda: [list(found) for found in engine.answer_scenes(few, settings)], 2)
        bench.say("answer rooms", size=size, rooms=4, questions=16, cold_ms=taken)


def small(bench: Bench) -> None:
    """Train the 2B in full and let it answer."""
    train(bench, "2B", "full", (1, 16, 32))
    answer(bench, "2B", (64,))


PARTS = {one.__name__: one for one in (kernels, equality, tower, train, answer, small)}


def main(argv: list[str] | None = None) -> int:
    """Run the parts in order, each while there is time; 1 where one failed, after the others have run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu.jsonl")
    parser.add_argument("--box", type=float, default=510.0, help="seconds in all")
    parser.add_argument("--parts", default=",".join(PARTS), help="names separated by commas")
    parser.add_argument("--dry", action="store_true", help="tiny shapes on a CPU")
    options = parser.parse_args(argv)
    chosen = options.parts.split(",")
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"--parts {unknown[0]}: choose among {', '.join(PARTS)}")
    if not options.dry and not torch.cuda.is_available():
        parser.error("no GPU is usable here; --dry runs tiny shapes on the CPU")
    options.out.mkdir(parents=True, exist_ok=True)
    start, failed = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        images = DRY_IMAGES if options.dry else IMAGES
        tiny = build(Path(folder, "tokenizer"))
        rule = image_rule(tiny, images["resolution"])
        encoder = Encoder(load_tokenizer(tiny), TEMPLATES["qwen2_vl"], rule)
        rows = make_rows(Path(folder), {**images, "questions": [32]})
        device, dtype = torch.device("cpu" if options.dry else "cuda"), torch.bfloat16
        best = rate(device, torch.float32 if options.dry else dtype)
        bench = Bench(options.out, Path(folder), options.box, options.dry, start, encoder, rows, best)
        name = "cpu" if options.dry else torch.cuda.get_device_name()
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        prefix = encoder.encode(rows[0]).cut
        bench.say("machine", device=name, **versions, best_tflops=round(best / 1e12, 1), prefix_tokens=prefix)
        for part in chosen:
            if bench.left() < 15:
                bench.say(part, skipped="no time was left")
                continue
            try:
                PARTS[part](bench)
            except Exception as error:
                failed = 1
                bench.say(part, failed=f"{type(error).__name__}: {error}"[:2000])
            bench.free()
        bench.say("end", seconds=round(time.monotonic() - start, 1))
    return failed


if __name__ == "__main__":
    sys.exit(main())
