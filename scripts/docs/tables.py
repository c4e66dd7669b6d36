"""The tables of pages that are sums: hardware by the planner, memory of inference, published figures.

They stand in the pages between two marks. ``python scripts/docs/tables.py`` writes them anew; a test compares them.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from gpt4scene.benchmarks.published import published_figures
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.families.shape import PUBLISHED
from gpt4scene.training.costs import DEVICES
from gpt4scene.training.memory import PUBLISHED_PACK

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"2B": "Qwen2-VL-2B", "7B": "Qwen2-VL-7B"}
TITLES = {"4090": "RTX 4090", "A100-40": "A100, 40 GB", "A100-80": "A100, 80 GB", "H100": "H100", "H200": "H200"}
ALONE = {
    "QLoRA": "qwen2vl_qlora_sft",
    "LoRA": "qwen2vl_lora_sft",
    "all weights, 8-bit optimizer": "qwen2vl_full_sft_h200",
}
TOGETHER = {"LoRA": "qwen2vl_lora_sft", "all weights, ZeRO-2": "full-zero2", "all weights, ZeRO-3": "full-zero3"}
GPUS = (1, 2, 4, 8, 16, 64)
BRANCHES = (1, 2, 4, 8, 16)
PAPER = "GPT4Scene"
"""Begin of the names that the paper's models have among the published figures."""


def planner() -> ModuleType:
    """Return ``scripts/bench/plan.py`` as a module."""
    spec = importlib.util.spec_from_file_location("bench_plan", ROOT / "scripts" / "bench" / "plan.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def grid(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def hardware() -> str:
    """Return the tables of memory and hours, as the planner estimates them."""
    plan = planner()

    def cell(recipe: str, size: str, gpus: int, device: str, branches: int | None = 8) -> str:
        model, room = SIZES[size], DEVICES[device].memory
        if recipe in plan.RECIPES:
            way = plan.Way.of_name(recipe, PUBLISHED[model], gpus, room, branches)
        else:
            way = plan.Way.of_yaml(f"examples/train/{recipe}.yaml", model, gpus, room, branches)
        found = plan.line(way, device, plan.ROWS)
        if not found["fits"]:
            return ""
        words = [f"{found['memory_gb']:.0f} GB", hours(found["epoch_hours"]) + r" \*" * bool(found["recomputed_every"])]
        return ", ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words)

    def one_size(ways: dict[str, str], gpus: int) -> str:
        rows = (
            [f"{size}, {name}", *(cell(ways[name], size, gpus, one) for one in TITLES)]
            for size in SIZES
            for name in ways
        )
        return grid(["what is trained", *TITLES.values()], rows)

    by_number = (
        [f"{size}, {name}", *(cell(TOGETHER[name], size, gpus, "H100") for gpus in GPUS)]
        for size in SIZES
        for name in TOGETHER
    )
    by_branches = (
        [f"7B, {name}", *(cell(ALONE[name], "7B", 1, device, k) for k in BRANCHES)]
        for name, device in (("LoRA", "A100-80"), ("QLoRA", "4090"))
    )
    return "\n\n".join(
        [
            "### One GPU",
            one_size(ALONE, 1),
            "### Eight GPUs",
            "Memory is that of each GPU.",
            one_size(TOGETHER, 8),
            "### Any number of H100",
            grid(["what is trained", *(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS)], by_number),
            "### Questions of a pack",
            "More questions that share one pass over a room's images cost some memory, and save most of the time. The "
            "tables above are for K = 8. LoRA is on one A100 of 80 GB here, and QLoRA on one RTX 4090.",
            grid(["what is trained", *(f"K = {k}" for k in BRANCHES)], by_branches),
        ]
    )


def hours(number: float) -> str:
    """Return a time as a person says it."""
    if number < 0.95:
        return f"{60 * number:.0f} min"
    return f"{number:.1f} h" if number < 10 else f"{number:.0f} h"


def memory() -> str:
    """Return the table of a model's and a prefix's bytes in bf16."""
    models = [PUBLISHED[name] for name in SIZES.values()]
    weights = [f"{2 * model.parameters / 1e9:.1f} GB" for model in models]
    prefix = [f"{2 * 2 * model.layers * model.key_width * PUBLISHED_PACK.prefix / 1e9:.2f} GB" for model in models]
    return grid(["", *SIZES], [["weights", *weights], ["the prefix of one room", *prefix]])


def published() -> str:
    """Return the table of the figures that other papers give for the paper's models."""
    rows = []
    for one in published_figures():
        if one.model.startswith(PAPER):
            figures = ", ".join(f"{name} {value}" for name, value in one.figures.items())
            title = BENCHMARKS[one.task].title
            rows.append([one.model, title, one.split, f"`{one.rules}`", figures, f"arXiv {one.arxiv}, {one.table}"])
    return grid(["model", "benchmark", "split", "rules", "figures", "read in"], rows)


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "hardware": ("training-recipes.md", hardware),
    "memory": ("inference-at-scale.md", memory),
    "published": ("reproducing.md", published),
}
"""Name of a table -> the page where it stands, and what makes it."""


def page(name: str, text: str) -> str:
    """Return the text of a page with its table made anew."""
    start, end = f"<!-- made by scripts/docs/tables.py: {name} -->\n", "<!-- end -->"
    before, mark, rest = text.partition(start)
    _, close, after = rest.partition(end)
    assert mark and close, f"the page has no marks of the table '{name}'"
    return f"{before}{mark}\n{TABLES[name][1]()}\n\n{close}{after}"


def main() -> int:
    """Write all tables anew."""
    os.chdir(ROOT)  # recipes name their DeepSpeed files from there
    for name, (file, _) in TABLES.items():
        path = ROOT / "docs" / file
        text = path.read_text(encoding="utf-8")
        path.write_text(page(name, text), encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
