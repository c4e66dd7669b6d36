"""What a training run needs, and how long it takes, on 1 to 1,024 GPUs: estimates by arithmetic.

A recipe is one of the names below or a YAML of ``gpt4scene train``. Memory is that of one GPU at the fullest moment of
a step; as many layers are computed again as it takes. Times are work over shares of data sheets, see
``gpt4scene.training.costs``. ``--check`` measures what can be measured without a GPU: the bytes that PyTorch keeps for
the backward pass of a tiny model, on the CPU.

    python scripts/bench/plan.py [RECIPE …] [--device H100] [--gpus 1 8 64] [--branches K] [--rows N] [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from gpt4scene.settings.config import TrainConfig, parse
from gpt4scene.training.costs import DEVICES, PER_NODE, step_time
from gpt4scene.training.fitting import setup_of
from gpt4scene.training.launch_files import deepspeed_content
from gpt4scene.training.memory import PUBLISHED_PACK, Setup, estimate, least_checkpointing, usable
from gpt4scene.training.model_shape import PUBLISHED, ModelShape

GPUS = (1, 2, 4, 8, 16, 64, 256, 1024)
ROWS = 165_000
"""Rows of an epoch of the published data."""
GB = 10**9


@dataclass(frozen=True)
class Recipe:
    """A way to train: method and sharding, ``questions`` of a step on each GPU, ``branches`` of a pack."""

    method: str
    sharding: str
    precision: str = "bf16"
    state: float = 8.0
    branches: int = 8
    questions: int = 16

    def setup(self, model: ModelShape, gpus: int) -> Setup:
        """Return what it is in the terms of the estimate."""
        full = self.method == "full"
        return Setup(
            method="full" if full else "lora",
            precision=self.precision,  # pyright: ignore[reportArgumentType]
            trained=model.language_parameters if full else model.lora_parameters(16),
            kept_layers=model.layers,
            rank=0 if full else 16,
            sharding=self.sharding if gpus > 1 or self.sharding != "ddp" else "one",  # pyright: ignore
            processes=gpus,
            state=self.state,
            fused=True,
        )


RECIPES = {
    "lora-ddp": Recipe("lora", "ddp"),
    "full-ddp-8bit": Recipe("full", "ddp", state=2.0),
    "full-pure-bf16": Recipe("full", "ddp", precision="pure_bf16", state=4.0),
    "full-zero1": Recipe("full", "zero1"),
    "full-zero2": Recipe("full", "zero2"),
    "full-zero3": Recipe("full", "zero3"),
    "full-fsdp2": Recipe("full", "fsdp2"),
}


def of_yaml(path: str) -> tuple[TrainConfig, Recipe]:
    """Return the settings of a YAML, and the recipe that they are."""
    config = parse([path])
    questions = config.rows_per_step
    branches = config.tuning.scene_packing
    known = branches if isinstance(branches, int) else questions
    return config, Recipe(config.tuning.finetuning_type, "ddp", branches=known, questions=questions)


def line(name: str, model: ModelShape, setup: Setup, recipe: Recipe, options: argparse.Namespace) -> dict:
    """Return what is to be known of a recipe on a number of GPUs."""
    device = DEVICES[options.device]
    branches = options.branches or recipe.branches
    pack = replace(PUBLISHED_PACK, branches=branches)
    every = least_checkpointing(model, setup, pack, device.memory)
    memory = estimate(model, setup, pack, 1 if every is None else every)
    packs = -(-recipe.questions // branches)
    time = step_time(model, setup, pack, 1 if every is None else every, device, packs)
    steps = -(-options.rows // (recipe.questions * setup.processes))
    return {
        "recipe": name,
        "gpus": setup.processes,
        "fits": every is not None,
        "recomputed_every": 1 if every is None else every,
        "memory_gb": round(memory.total / GB, 1),
        "room_gb": round(usable(device.memory) / GB, 1),
        "step_s": round(time.total, 2),
        "utilisation": round(time.utilisation, 3),
        "rows_a_second": round(recipe.questions * setup.processes / time.total, 1),
        "epoch_hours": round(steps * time.total / 3600, 2),
    }


def table(lines: list[dict], options: argparse.Namespace) -> str:
    """Return the lines for a reader."""
    head = f"estimates, {options.model} on {options.device}, an epoch of {options.rows:,} rows"
    rows = ["recipe             GPUs   memory  recomputed    step   rows/s  utilisation   epoch"]
    for one in lines:
        every = one["recomputed_every"]
        again = ("none" if every == 0 else "all" if every == 1 else f"1 in {every}") if one["fits"] else "-"
        memory = f"{one['memory_gb']:5.0f} GB"
        if not one["fits"]:
            rows.append(f"{one['recipe']:<18}{one['gpus']:>5}  {memory}  does not fit into {one['room_gb']:.0f} GB")
            continue
        rows.append(
            f"{one['recipe']:<18}{one['gpus']:>5}  {memory}  {again:>10}  {one['step_s']:5.2f} s"
            f"{one['rows_a_second']:>9}{one['utilisation']:>12.0%}  {one['epoch_hours']:7.2f} h"
        )
    return "\n".join([head, *rows])


def measured_of_layer(method: str, precision: str) -> tuple[float, float]:
    """Return bytes a token that a layer of a tiny model keeps: measured on the CPU, and estimated."""
    import torch
    from transformers import AutoModelForImageTextToText

    from gpt4scene.demo.tiny_model import TINY_FAMILIES, TinyShape
    from gpt4scene.model.attention import NAME
    from gpt4scene.model.tuning import prepare_for_training
    from gpt4scene.settings.arguments import TuningArguments
    from gpt4scene.training.memory import kept_by_layer
    from gpt4scene.training.model_shape import shape_of

    tokens, found, config = 611, [], None
    for layers in (4, 2):
        shape = TinyShape(width=256, layers=layers)
        text = shape.text_config(1031) | {"bos_token_id": None, "eos_token_id": None}
        config = TINY_FAMILIES["qwen2_vl"](shape, text, {"image_token_id": 5, "vision_start_token_id": 6})
        parts = {"text_config": NAME, "vision_config": "sdpa"}
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32, attn_implementation=parts)
        arguments = TuningArguments(finetuning_type=method, pure_bf16=precision == "pure_bf16")  # pyright: ignore
        model = prepare_for_training(model, arguments, bf16=precision != "fp32").train()
        kept: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: torch.Tensor, kept: dict = kept) -> torch.Tensor:
            if tokens in tensor.shape:
                kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        ids, positions = torch.zeros(1, tokens, dtype=torch.long), torch.arange(tokens).expand(3, 1, -1)
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one),
            torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
        ):
            model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=torch.tensor([3]))
        found.append(sum(one.nbytes() for one in kept.values()) / tokens)
    setup = Setup(method, precision, 1, 4, rank=8 if method == "lora" else 0)  # pyright: ignore[reportArgumentType]
    return (found[0] - found[1]) / 2, kept_by_layer(shape_of(config), setup)


def check() -> bool:
    """Print bytes that were measured beside those estimated; True where all are within 5 %."""
    good = True
    for method, precision in (("lora", "bf16"), ("full", "bf16"), ("full", "pure_bf16"), ("full", "fp32")):
        measured, estimated = measured_of_layer(method, precision)
        good &= abs(estimated - measured) <= 0.05 * measured
        print(
            f"{method} {precision}: a layer keeps {measured:.0f} bytes a token (CPU, measured), {estimated:.0f} "
            f"estimated: {estimated / measured:.3f}"
        )
    return good


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 where ``--check`` finds an estimate that is off, 2 where nothing is to be planned."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", help=f"names ({', '.join(RECIPES)}) or YAML files; all names if left out")
    parser.add_argument("--model", choices=sorted(PUBLISHED), default="Qwen2-VL-7B")
    parser.add_argument("--device", choices=sorted(DEVICES), default="H100")
    parser.add_argument("--gpus", type=int, nargs="+", default=list(GPUS))
    parser.add_argument("--branches", type=int, help="questions of a pack, in place of the recipe's")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of an epoch")
    parser.add_argument("--check", action="store_true", help="measure on the CPU what can be, and compare")
    parser.add_argument("--json", type=Path, help="write the lines to this file")
    options = parser.parse_args(argv)
    if min([*options.gpus, options.rows, options.branches or 1]) < 1:
        parser.error("numbers of GPUs, branches and rows are 1 or more")
    model, lines = PUBLISHED[options.model], []
    for name in options.recipes or RECIPES:
        config = None
        if name in RECIPES:
            recipe = RECIPES[name]
        elif name.endswith((".yaml", ".yml")):
            config, recipe = of_yaml(name)
        else:
            parser.error(f"'{name}' is no recipe (known: {', '.join(RECIPES)}) and no YAML file")
        for gpus in options.gpus:
            setup = recipe.setup(model, gpus)
            if config is not None:
                setup = setup_of(config, model, gpus, deepspeed=deepspeed_content(config), fused=True)
            lines.append(line(Path(name).stem, model, setup, recipe, options))
    print(table(lines, options))
    if any(one["gpus"] > PER_NODE for one in lines):
        print(f"more than {PER_NODE} GPUs: several nodes, whose network carries the collectives")
    if options.json:
        options.json.write_text(json.dumps({"bench": "plan", "estimates": lines}, indent=2) + "\n", encoding="utf-8")
    return 0 if not options.check or check() else 1


if __name__ == "__main__":
    sys.exit(main())
