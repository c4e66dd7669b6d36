"""What a training run needs, and how long it takes, on 1 to 1,024 GPUs: estimates by arithmetic.

A recipe is one of the names below or a YAML of ``gpt4scene train``, which is taken as the run would take it: its model
(where the checkpoint is not here, by its name), resolution, packs, kernels and what is computed again. Rows are those
of the published data: 33 images of 1296x968 pixels and 110 tokens a question. Memory is that of one GPU at the fullest
moment of a step; left to the run, as many layers are computed again as it takes. Host memory is that of all processes
of a node: for the weights while they are loaded, or later for kept features and what is offloaded; loader workers come
to it. Times are work over shares of data sheets, see ``gpt4scene.training.costs``, and count the tower in every pack,
kept features or not. ``--check`` measures what can be measured without a GPU: the bytes that PyTorch keeps for the
backward pass of a tiny model, on the CPU.

    python scripts/bench/plan.py [RECIPE …] [--device H100] [--gpus 1 8 64] [--branches K] [--rows N] [--check]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gpt4scene.data.image_rules import image_rule
from gpt4scene.data.planning import even_size
from gpt4scene.data.vision import VisionRule
from gpt4scene.errors import ConfigError, DataError
from gpt4scene.families.registry import shape_of
from gpt4scene.families.shape import PUBLISHED, ModelShape
from gpt4scene.model.feature_choice import MOST
from gpt4scene.settings.config import TrainConfig, parse
from gpt4scene.settings.feature_cache import feature_cache
from gpt4scene.training.callbacks import duration
from gpt4scene.training.checkpointing import choose
from gpt4scene.training.costs import DEVICES, PER_NODE, step_time
from gpt4scene.training.fitting import setup_of, wanted_kernels
from gpt4scene.training.launch_files import deepspeed_content, launch_problems
from gpt4scene.training.memory import (
    PUBLISHED_PACK,
    PackSize,
    Setup,
    estimate,
    largest_pack,
    least_checkpointing,
    usable,
)
from gpt4scene.training.packing import recomputed_in_packs

GPUS = (1, 2, 4, 8, 16, 64, 256, 1024)
ROWS, SCENES, IMAGES = 165_000, 562, 33
"""Rows of an epoch of the published data, scenes that they are about, and images of a scene."""
FRAME = 1296, 968
"""Pixels of a published image before it is fitted to patches."""
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
        whole = 6.0 * model.head_parameters / model.language_parameters  # bitsandbytes keeps embeddings' state in fp32
        return Setup(
            method="full" if full else "lora",
            precision=self.precision,  # pyright: ignore[reportArgumentType]
            trained=model.language_parameters if full else model.lora_parameters(16),
            kept_layers=model.layers,
            rank=0 if full else 16,
            sharding=self.sharding if gpus > 1 or self.sharding != "ddp" else "one",  # pyright: ignore
            processes=gpus,
            state=self.state + (whole if self.state == 2.0 else 0.0),
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


@dataclass(frozen=True)
class Way:
    """A recipe on a number of GPUs, ready to be estimated.

    ``pack`` has as many questions as one pass takes, ``questions`` are those of a step on each GPU. Every ``every``-th
    layer is computed again; None where not even all of them are enough. ``features`` are bytes that a process keeps.
    """

    name: str
    model: ModelShape
    setup: Setup
    pack: PackSize
    questions: int
    every: int | None
    features: float

    @classmethod
    def of_name(cls, name: str, model: ModelShape, gpus: int, room: float, branches: int | None) -> Way:
        """Return a recipe of the list on ``gpus``, each with ``room`` bytes."""
        recipe = RECIPES[name]
        setup = recipe.setup(model, gpus)
        pack = replace(PUBLISHED_PACK, branches=even_size(recipe.questions, branches or recipe.branches))
        every, features = least_checkpointing(model, setup, pack, room), 0.0
        if setup.sharding not in ("zero3", "fsdp2"):
            features = min(MOST, all_features(model, setup, pack))
        return cls(name, model, setup, pack, recipe.questions, every, features)

    @classmethod
    def of_yaml(cls, path: str, said: str | None, gpus: int, room: float, branches: int | None) -> Way:
        """Return the run of a YAML on ``gpus``; ``said`` is the model in place of its own.

        Raises ConfigError or DataError for settings that the run would refuse, or that nothing can be estimated of.
        """
        config = parse([path])
        problems = launch_problems(config)
        if config.evaluates_only or config.data.tokenize_only:
            problems.append(f"{path}: trains nothing, so there is nothing to plan")
        if config.model.flash_attn == "disabled":
            problems.append(f"{path}: flash_attn: disabled keeps whole score matrices, of which nothing is estimated")
        if problems:
            raise ConfigError(*problems)
        model, rule = model_of(config, said)
        setup = setup_of(config, model, gpus, deepspeed=deepspeed_content(config), fused=all(wanted_kernels(config)))
        pack, questions = pack_of(rule), config.rows_per_step
        wanted = branches or config.tuning.scene_packing
        if wanted == "auto":
            wanted = largest_pack(model, setup, pack, room, most=questions, every=recomputed_in_packs(config))
        pack = replace(pack, branches=even_size(questions, wanted))
        choice, kept = choose(config, model, setup, pack, int(room)), feature_cache(config.model.feature_cache)
        every = None if estimate(model, setup, pack, choice.every).total > usable(room) else choice.every
        features, still = 0.0, config.tuning.freeze_vision_tower and config.tuning.freeze_multi_modal_projector
        if still and setup.sharding not in ("zero3", "fsdp2"):
            features = min(MOST if kept.memory is None else kept.memory, all_features(model, setup, pack))
        return cls(Path(path).stem, model, setup, pack, questions, every, features)

    @property
    def host(self) -> float:
        """Bytes of host memory of a node: each process loads all weights first, with ZeRO-3 one of them alone."""
        setup, here = self.setup, min(self.setup.processes, PER_NODE)
        frozen = self.model.parameters - (0 if setup.rank else setup.trained)
        loaded = setup.stored * setup.trained + setup.computes * frozen
        offloaded = (4 + setup.state) * setup.trained * setup.offload + loaded * setup.offload_weights
        loading = loaded * (1 if setup.sharding == "zero3" else here)
        return max(loading, here * (self.features + offloaded / setup.processes))


def all_features(model: ModelShape, setup: Setup, pack: PackSize) -> float:
    """Return bytes of the features of all images of the published data."""
    return float(SCENES * pack.patches // model.tower.merge * model.hidden * setup.computes)


def model_of(config: TrainConfig, said: str | None) -> tuple[ModelShape, VisionRule]:
    """Return the model of a run and its rule for images: ``said``, the checkpoint, or a published one of its name."""
    name, limits = config.model.model_name_or_path, asdict(config.data.image_limits)
    if said is None and (Path(name) / "config.json").is_file():
        from transformers import AutoConfig

        return shape_of(AutoConfig.from_pretrained(name)), image_rule(name, **limits)
    known = said or next((one for one in PUBLISHED if one in name), None)
    if known is None:
        raise DataError(
            f"{name}: no checkpoint is here, nor one of that name known; say --model ({', '.join(PUBLISHED)})"
        )
    if limits.pop("crop_to_patches"):
        raise DataError(f"crop_to_patches cuts images of InternVL into tiles, and {known} is none; leave it out")
    return PUBLISHED[known], VisionRule(**limits)


def pack_of(rule: VisionRule) -> PackSize:
    """Return the published pack with images as ``rule`` makes them."""
    usual, made = (one.grid(FRAME) for one in (VisionRule(), rule))
    more = IMAGES * (rule.tokens(made) - VisionRule().tokens(usual))
    return replace(PUBLISHED_PACK, prefix=PUBLISHED_PACK.prefix + more, patches=IMAGES * math.prod(made))


def line(way: Way, device_name: str, rows: int) -> dict:
    """Return what is to be known of a recipe on a number of GPUs."""
    device, setup = DEVICES[device_name], way.setup
    every = 1 if way.every is None else way.every
    memory = estimate(way.model, setup, way.pack, every)
    time = step_time(way.model, setup, way.pack, every, device, -(-way.questions // way.pack.branches))
    steps = -(-rows // (way.questions * setup.processes))
    return {
        "recipe": way.name,
        "gpus": setup.processes,
        "fits": way.every is not None,
        "questions_a_pack": way.pack.branches,
        "recomputed_every": every,
        "memory_gb": round(memory.total / GB, 1),
        "room_gb": round(usable(device.memory) / GB, 1),
        "host_gb": round(way.host / GB, 1),
        "step_s": round(time.total, 2),
        "utilisation": round(time.utilisation, 3),
        "rows_a_second": round(way.questions * setup.processes / time.total, 1),
        "epoch_hours": round(steps * time.total / 3600, 3),
    }


def table(lines: list[dict], device: str, rows: int) -> str:
    """Return the lines for a reader."""
    wide = max(18, *(len(one["recipe"]) for one in lines))
    found = [
        f"estimates, GPUs of the kind {device}, an epoch of {rows:,} rows",
        f"{'recipe':<{wide}}  GPUs  pack   memory   host, a node  recomputed    step   rows/s  utilisation     epoch",
    ]
    for one in lines:
        every = one["recomputed_every"]
        again = "none" if every == 0 else "all" if every == 1 else f"1 in {every}"
        start = f"{one['recipe']:<{wide}} {one['gpus']:>5} {one['questions_a_pack']:>5}  {one['memory_gb']:4.0f} GB"
        if not one["fits"]:
            found.append(f"{start}   does not fit into {one['room_gb']:.0f} GB")
            continue
        found.append(
            f"{start} {one['host_gb']:11.0f} GB  {again:>10}  {one['step_s']:5.2f} s"
            f"{one['rows_a_second']:>9}{one['utilisation']:>12.0%}  {duration(3600 * one['epoch_hours']):>9}"
        )
    return "\n".join(found)


def measured_of_layer(method: str, precision: str) -> tuple[float, float]:
    """Return bytes a token that a layer of a tiny model keeps: measured on the CPU, and estimated."""
    import torch
    from transformers import AutoModelForImageTextToText

    from gpt4scene.families.registry import FAMILIES, shape_of
    from gpt4scene.families.tiny import TinyShape
    from gpt4scene.model.attention import NAME
    from gpt4scene.model.tuning import prepare_for_training
    from gpt4scene.settings.arguments import TuningArguments
    from gpt4scene.training.memory import kept_by_layer

    tokens, found, config = 611, [], None
    for layers in (4, 2):
        shape = TinyShape(width=256, layers=layers)
        text = shape.text_config(1031) | {"bos_token_id": None, "eos_token_id": None}
        config = FAMILIES["qwen2_vl"].tiny.config(shape, text, {"image_token_id": 5, "vision_start_token_id": 6})
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


def ways(recipes: Iterable[str], options: argparse.Namespace) -> list[Way]:
    """Return all recipes on all numbers of GPUs. Raises ConfigError or DataError for one that can't be planned."""
    found, room = [], DEVICES[options.device].memory
    for name in recipes:
        for gpus in options.gpus:
            if name in RECIPES:
                model = PUBLISHED[options.model or "Qwen2-VL-7B"]
                found.append(Way.of_name(name, model, gpus, room, options.branches))
            elif name.endswith((".yaml", ".yml")):
                found.append(Way.of_yaml(name, options.model, gpus, room, options.branches))
            else:
                raise ConfigError(f"'{name}' is no recipe (known: {', '.join(RECIPES)}) and no YAML file")
    return found


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 where ``--check`` finds an estimate that is off, 2 where nothing is to be planned."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recipes", nargs="*", help=f"names ({', '.join(RECIPES)}) or YAML files; all names if left out")
    parser.add_argument(
        "--model", choices=sorted(PUBLISHED), help="in place of a YAML's own; Qwen2-VL-7B for names, if left out"
    )
    parser.add_argument("--device", choices=sorted(DEVICES), default="H100")
    parser.add_argument("--gpus", type=int, nargs="+", default=list(GPUS))
    parser.add_argument("--branches", type=int, help="questions of a pack, in place of the recipe's")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of an epoch")
    parser.add_argument("--check", action="store_true", help="measure on the CPU what can be, and compare")
    parser.add_argument("--json", type=Path, help="write the lines to this file")
    options = parser.parse_args(argv)
    if min([*options.gpus, options.rows, 1 if options.branches is None else options.branches]) < 1:
        parser.error("numbers of GPUs, branches and rows are 1 or more")
    try:
        lines = [line(way, options.device, options.rows) for way in ways(options.recipes or RECIPES, options)]
    except (ConfigError, DataError) as error:
        parser.error(str(error))
    print(table(lines, options.device, options.rows))
    if any(one["gpus"] > PER_NODE for one in lines):
        print(f"more than {PER_NODE} GPUs: several nodes, whose network carries the collectives")
    if options.json:
        options.json.write_text(json.dumps({"bench": "plan", "estimates": lines}, indent=2) + "\n", encoding="utf-8")
    return 0 if not options.check or check() else 1


if __name__ == "__main__":
    sys.exit(main())
