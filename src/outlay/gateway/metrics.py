"""Metrics: what the gateway counts, for Prometheus. No label holds a key, a user or a caller's text."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from outlay.gateway.running import Running
    from outlay.ledger.writer import LedgerWriter

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MAX_MODELS: Final = 200
OTHER: Final = "other"
NO_MODEL: Final = "none"
"""The label for requests that were refused before their model was known."""
_FIRST_FAILURE: Final = 400
_NANOS: Final = 1e9

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_ADDED_SECONDS: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
_RATIOS: Final = (0.5, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000)


class Metrics:
    """The counters of one gateway, in a registry of their own. Use it on one event loop.

    A `model` is one of `listed`, the public names that the gateway lists; or one that a wildcard let through
    and a provider answered, the first `MAX_MODELS` of those. Whatever else callers make up is `other`.
    """

    def __init__(self, listed: Iterable[str] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # when a series began tells nobody anything here
        self._registry = registry = CollectorRegistry()
        self._children: dict[tuple[object, ...], Any] = {}
        self._models = {*listed, NO_MODEL}
        self._most_models = len(self._models) + MAX_MODELS
        self.in_flight = 0
        self._held_nanos = 0
        self._requests = Counter(
            "outlay_requests",
            "Requests answered.",
            ("endpoint", "model", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "outlay_request_seconds",
            "From a request's arrival to its answer's end.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._added = Histogram(
            "outlay_added_seconds",
            "What the gateway added: a request's seconds without those that the provider took.",
            ("endpoint",),
            buckets=_ADDED_SECONDS,
            registry=registry,
        )
        self._first_chunk = Histogram(
            "outlay_first_chunk_added_seconds",
            "What the gateway added before a stream's first chunk.",
            ("endpoint",),
            buckets=_ADDED_SECONDS,
            registry=registry,
        )
        self._refusals = Counter("outlay_refusals", "Requests refused.", ("reason",), registry=registry)
        self._reserved = Counter("outlay_reserved_usd", "USD reserved.", registry=registry)
        self._settled = Counter("outlay_settled_usd", "USD settled.", ("source",), registry=registry)
        self._tightness = Histogram(
            "outlay_held_to_settled_ratio",
            "How many times a request's charge its hold was.",
            buckets=_RATIOS,
            registry=registry,
        )
        self._overruns = Counter("outlay_overruns", "Charges above their own hold.", registry=registry)
        self._overrun_usd = Counter(
            "outlay_overrun_usd", "USD charged above their own hold.", registry=registry
        )
        self._unproven = Counter(
            "outlay_unproven",
            "Calls sent with a field that nobody here knows, on a budget.",
            registry=registry,
        )
        self._presumed = Counter("outlay_presumed", "Calls whose outcome is unknown.", registry=registry)
        self._drift = Gauge(
            "outlay_price_drift_usd",
            "USD that providers stated above our own prices; below zero: below them.",
            ("model",),
            registry=registry,
        )
        self._upstream = Counter(
            "outlay_upstream_calls", "Calls to providers.", ("provider", "outcome"), registry=registry
        )

    def answered(
        self, endpoint: str, model: str, status: int, seconds: float, provider_seconds: float
    ) -> None:
        """A request was answered to its end."""
        if model not in self._models:
            model = self._known(model) if status < _FIRST_FAILURE else OTHER
        children = self._children.get(key := (endpoint, model, status))
        if children is None:
            children = self._children[key] = (
                self._requests.labels(endpoint, model, str(status)),
                self._seconds.labels(endpoint),
                self._added.labels(endpoint),
            )
        requests, total, added = children
        requests.inc()
        total.observe(seconds)
        added.observe(seconds - provider_seconds if seconds > provider_seconds else 0.0)

    def first_chunk(self, endpoint: str, added_seconds: float) -> None:
        """A stream's first chunk went out, so much later than it came in."""
        child = self._children.get(endpoint_key := ("first_chunk", endpoint))
        if child is None:
            child = self._children[endpoint_key] = self._first_chunk.labels(endpoint)
        child.observe(added_seconds if added_seconds > 0 else 0.0)

    def refused(self, reason: str) -> None:
        """A request was refused; `reason` is the error's type or code, never its message."""
        self._count(self._refusals, reason)

    def reserved(self, nanos: int) -> None:
        """So much was reserved."""
        self._reserved.inc(nanos / _NANOS)
        self._held_nanos += nanos

    def unproven(self) -> None:
        """A call is sent whose hold is not proven."""
        self._unproven.inc()

    def voided(self, held_nanos: int) -> None:
        """A reservation ended without a charge."""
        self._held_nanos -= held_nanos

    def settled(self, held_nanos: int, charged_nanos: int | None, source: str) -> None:
        """A reservation was settled; None where its cost is unknown."""
        self._held_nanos -= held_nanos
        if charged_nanos is None:
            if source == "presumed":
                self._presumed.inc()
            return
        self._count(self._settled, source, charged_nanos / _NANOS)
        if charged_nanos:
            self._tightness.observe(held_nanos / charged_nanos)
        if charged_nanos > held_nanos:
            self._overruns.inc()
            self._overrun_usd.inc((charged_nanos - held_nanos) / _NANOS)

    def presumed(self, held_nanos: int = 0) -> None:
        """A call's outcome is unknown: its hold is left to expire."""
        self._presumed.inc()
        self._held_nanos -= held_nanos

    def drifted(self, model: str, nanos: int) -> None:
        """A provider's stated cost differs by so much from our own price."""
        if model not in self._models:
            model = self._known(model)
        child = self._children.get(key := ("drift", model))
        if child is None:
            child = self._children[key] = self._drift.labels(model)
        child.inc(nanos / _NANOS)

    def upstream(self, provider: str, outcome: str) -> None:
        """A call to a provider ended: `ok`, or what became of it."""
        self._count(self._upstream, provider, 1, outcome)

    def watch(self, *, writer: LedgerWriter, running: Running) -> None:
        """Look at the ledger's writer and the running calls whenever somebody asks for the metrics."""
        self._registry.register(_Now(self, writer, running))

    @property
    def held_nanos(self) -> int:
        """What the reservations of this process hold now."""
        return max(0, self._held_nanos)

    def render(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)

    def _count(self, counter: Counter, label: str, amount: float = 1, *labels: str) -> None:
        child = self._children.get(key := (counter, label, *labels))
        if child is None:
            child = self._children[key] = counter.labels(label, *labels)
        child.inc(amount)

    def _known(self, model: str) -> str:
        if len(self._models) >= self._most_models:
            return OTHER
        self._models.add(model)
        return model


class _Now:
    """What is looked at when the metrics are asked for."""

    def __init__(self, metrics: Metrics, writer: LedgerWriter, running: Running) -> None:
        self._metrics = metrics
        self._writer = writer
        self._running = running

    def collect(self) -> Iterable[Metric]:
        """Look at everything once."""
        writer = self._writer
        sizes = sorted(writer.batch_sizes)
        yield _gauge("outlay_requests_in_flight", "Requests under way.", self._metrics.in_flight)
        yield _gauge("outlay_upstream_calls_in_flight", "Calls to providers under way.", self._running.count)
        yield _gauge("outlay_held_usd", "USD held by this process.", self._metrics.held_nanos / _NANOS)
        yield _gauge("outlay_ledger_queue_commands", "Commands that wait.", writer.queue_length)
        commits = GaugeMetricFamily(
            "outlay_ledger_commit_commands", "Commands in one commit, of the last 1,000.", labels=("is",)
        )
        for name, value in (("mean", mean(sizes) if sizes else 0), ("max", sizes[-1] if sizes else 0)):
            commits.add_metric((name,), value)
        yield commits
        failed = CounterMetricFamily("outlay_ledger_failed_commits", "Commits that failed and were repeated.")
        failed.add_metric((), writer.failed_batches)
        yield failed


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=value)
