"""Figures of a running server, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

OUTCOMES = ("answered", "refused", "busy", "timeout", "disconnected", "dropped", "failed", "stopped")
"""How a request ends: with its answer, a mistake in it, no room, no time, its client gone or too slow, the engine."""
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 600)

Look = Callable[[], float]


class Metrics:
    """Counters of one server. ``gauges`` and ``counters`` are looked at when someone asks: name -> (help, look)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "gpt4scene_requests", "Requests by how they ended.", ["outcome"], registry=self.registry
        )
        for outcome in OUTCOMES:
            self.requests.labels(outcome)
        self.prompt_tokens = Counter(
            "gpt4scene_prompt_tokens", "Tokens of prompts, images included.", registry=self.registry
        )
        self.cached_tokens = Counter(
            "gpt4scene_cached_prompt_tokens", "Tokens of prompts whose prefix was known.", registry=self.registry
        )
        self.tokens = Counter("gpt4scene_generated_tokens", "Tokens of answers.", registry=self.registry)
        self.seconds = Histogram(
            "gpt4scene_request_seconds",
            "Seconds from a request's first byte to the last one of its answer.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.first_token = Histogram(
            "gpt4scene_first_token_seconds",
            "Seconds from a request's first byte to its first token.",
            buckets=SECONDS,
            registry=self.registry,
        )

    def look_at(self, gauges: Mapping[str, tuple[str, Look]], counters: Mapping[str, tuple[str, Look]]) -> None:
        """Show values that others keep, looked at when someone asks."""
        self.registry.register(_Looks(gauges, counters))

    def ended(self, outcome: str) -> None:
        """Count a request that ended."""
        self.requests.labels(outcome).inc()

    def page(self) -> bytes:
        """Return all figures in Prometheus' text form."""
        return generate_latest(self.registry)


class _Looks(Collector):
    """Values that are kept elsewhere."""

    def __init__(self, gauges: Mapping[str, tuple[str, Look]], counters: Mapping[str, tuple[str, Look]]) -> None:
        self._gauges, self._counters = gauges, counters

    def collect(self) -> Iterator[Metric]:
        for name, (about, look) in self._gauges.items():
            yield GaugeMetricFamily(name, about, value=look())
        for name, (about, look) in self._counters.items():
            yield CounterMetricFamily(name, about, value=look())
