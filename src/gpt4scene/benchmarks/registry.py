"""All benchmarks, one line each: the only list of them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.errors import ConfigError
from gpt4scene.registry import Registry, nearest


def _registry(kind: str, places: Sequence[str]) -> Registry[Benchmark]:
    """Return the values at ``places`` (``module:name`` in this folder) under their names, in the order given."""
    found: Registry[Benchmark] = Registry(kind)
    for place in places:
        module, name = place.split(":")
        benchmark = getattr(import_module(f"gpt4scene.benchmarks.{module}"), name)
        found.add(benchmark.name, benchmark)
    return found


BENCHMARKS = _registry(
    "task",
    (
        "scanqa:BENCHMARK",
        "sqa3d:BENCHMARK",
        "scan2cap:BENCHMARK",
        "scanrefer:BENCHMARK",
        "multi3dref:BENCHMARK",
        "vsibench:BENCHMARK",
        "revsi:BENCHMARK",
        "mmsi:BENCHMARK",
        "mmsi:CIRCULAR",
        "mindcube:BENCHMARK",
        "viewspatial:BENCHMARK",
        "sparbench:BENCHMARK",
        "open_eqa:BENCHMARK",
        "beacon3d:QA",
        "beacon3d:GROUNDING",
        "spatial_questions:BENCHMARK",
    ),
)
"""Task -> benchmark, in the order of the public evaluation script."""

SOURCES = _registry(
    "source",
    (
        "referit:NR3D",
        "referit:SR3D",
        "beacon3d:SOURCE",
        "vigil3d:SOURCE",
    ),
)
"""Further sources of rows in the form of a benchmark; ``annotate`` takes them by name."""


def task_names(words: str | Sequence[str]) -> list[str] | None:
    """Return the tasks that ``words`` name (``all`` gives ``None``; commas or ``#`` separate), in published order.

    Raises ``ConfigError`` for an unknown name, with the nearest one.
    """
    if isinstance(words, str):
        words = words.replace("#", ",").split(",")
    words = [word.strip() for word in words if word.strip()]
    if "all" in words or not words:
        return None
    for word in words:
        if word not in BENCHMARKS:
            known = list(BENCHMARKS)
            raise ConfigError(f"task '{word}' is not known{nearest(word, known)} (known: {', '.join(known)}, all)")
    return [task for task in BENCHMARKS if task in words]
