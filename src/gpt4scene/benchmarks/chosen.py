"""Which benchmarks a call is about, and by which rules each of them counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gpt4scene.benchmarks.benchmark import Benchmark
from gpt4scene.benchmarks.registry import BENCHMARKS
from gpt4scene.errors import ConfigError
from gpt4scene.registry import nearest


def rule_words(words: str | Sequence[str]) -> list[str]:
    """Return the names of rules in ``words``, which commas separate; ``ConfigError`` for one that no task has."""
    if isinstance(words, str):
        words = words.split(",")
    names = [word.strip() for word in words if word.strip()]
    known = list(dict.fromkeys(rule for benchmark in BENCHMARKS.values() for rule in benchmark.rule_names))
    for name in names:
        if name not in known:
            raise ConfigError(f"rules '{name}' are not known{nearest(name, known)} (known: {', '.join(known)})")
    return names


def under_rules(tasks: Iterable[str], words: str | Sequence[str] = "") -> dict[str, Benchmark]:
    """Return task -> benchmark, each under the first of the rules in ``words`` that it has, else under its own.

    Raises ``ConfigError`` for rules that none of the ``tasks`` has: they would count nothing.
    """
    names, found = rule_words(words), {}
    tasks = list(tasks)
    for task in tasks:
        benchmark = BENCHMARKS[task]
        found[task] = benchmark.under(next((name for name in names if name in benchmark.rule_names), benchmark.rules))
    for name in names:
        if all(benchmark.rules != name for benchmark in found.values()):
            known = "; ".join(f"{task}: {', '.join(BENCHMARKS[task].rule_names)}" for task in tasks)
            earlier = ", ".join(dict.fromkeys(benchmark.rules for benchmark in found.values()))
            why = (
                ""
                if all(name not in BENCHMARKS[task].rule_names for task in tasks)
                else (f", since each takes the first name that it has, here {earlier}; count once for each")
            )
            raise ConfigError(f"--rules {name} counts none of the tasks here{why} ({known})")
    return found
