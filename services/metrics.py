"""What Prometheus reads: each service tells of itself on a port of its own.

Streams are labels, and at most as many as a worker holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
from prometheus_client import REGISTRY, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.calls import Behavior, Context, Handler, wrapped
from streamvlm.errors import AddressInUseError, ConfigError
from streamvlm.types import SourceState, StreamStatus

if TYPE_CHECKING:
    from streamvlm.snapshots import SnapshotStatus

CALLS = Counter("streamvlm_calls", "Calls that have ended.", ["method", "code"])
CALL_SECONDS = Histogram(
    "streamvlm_call_seconds",
    "From the beginning of a call to its end.",
    ["method"],
    buckets=(0.005, 0.02, 0.1, 0.3, 1, 3, 10, 30, 100),
)
DELIVERIES = Counter(
    "streamvlm_delivery_attempts", "Attempts to tell a webhook.", ["route", "outcome"]
)
ALERT_SECONDS = Histogram(
    "streamvlm_alert_latency_seconds",
    "From what was seen to its delivery.",
    ["route"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
)
DEAD = Counter("streamvlm_dead_letters", "Events that could not be delivered.", ["route"])


@contextmanager
def exporting(address: str) -> Iterator[None]:
    """Tell at http://ADDRESS/metrics while the block runs; nothing where the address is empty.

    Raises ConfigError, AddressInUseError.
    """
    if not address:
        yield
        return
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal() and int(port) < 2**16):
        raise ConfigError(f"STREAMVLM_METRICS = {address!r}; allowed: HOST:PORT")
    try:
        server, thread = start_http_server(int(port), host)
    except OSError as error:
        raise AddressInUseError(f"metrics on {address}: {error.strerror}") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def collecting(collect: Callable[[], Iterable[Metric]]) -> Iterator[None]:
    """What `collect` gives is told too, as it is when it is asked for."""

    class Asked(Collector):
        def collect(self) -> Iterable[Metric]:
            return collect()

        def describe(self) -> Iterable[Metric]:
            return ()  # nothing is known before somebody asks

    collector = Asked()
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)


def stream_metrics(streams: Sequence[StreamStatus]) -> Iterator[Metric]:
    """How the streams of a worker are doing."""
    now = time.time()
    gauges: dict[str, tuple[str, Callable[[StreamStatus], float | None]]] = {
        "frame_age_seconds": ("Age of the newest frame.", lambda each: _age(each, now)),
        "stream_live": ("1 while pictures arrive.", _is_live),
        "blind_seconds": ("How long the outage lasts that goes on now.", _blind_seconds),
        "clips_waiting": ("Clips that wait for the engine.", lambda each: each.feed.clips_waiting),
        "memory_bytes": ("Keys, values and ledgers.", lambda each: each.memory.kv_bytes),
        "memory_budget_bytes": (
            "What `memory_bytes` never exceeds.",
            lambda each: each.memory.budget_bytes,
        ),
        "reduction_bytes": ("What the reducer holds.", lambda each: each.memory.reduction_bytes),
        "memory_coverage_seconds": ("How far back memory reaches.", _coverage),
    }
    counters: dict[str, tuple[str, Callable[[StreamStatus], float]]] = {
        "frames_decoded": ("Frames.", lambda each: each.feed.frames_decoded),
        "frames_sampled": ("Frames that were sampled.", lambda each: each.feed.frames_sampled),
        "clips_dropped": ("Clips dropped: the engine was late.", lambda e: e.feed.clips_dropped),
        "reconnects": ("Times a camera had to be opened again.", lambda e: e.feed.reconnects),
        "gap_seconds": ("Time that nobody saw.", lambda each: each.feed.gap_seconds_total),
        "clips_encoded": ("Clips that showed something new.", lambda e: e.memory.clips_encoded),
        "clips_unchanged": ("Clips that did not.", lambda each: each.memory.clips_unchanged),
        "vision_tokens_in": ("Visual tokens before reduction.", lambda e: e.memory.tokens_seen),
        "vision_tokens_kept": ("Visual tokens behind it.", lambda e: e.memory.tokens_kept),
        "evicted_blocks": ("Blocks that had to go.", lambda each: each.memory.evicted_blocks),
        "lost_blocks": ("... because of the disk.", lambda each: each.memory.lost_blocks),
    }
    for name, (text, value) in gauges.items():
        gauge = GaugeMetricFamily(f"streamvlm_{name}", text, labels=["stream"])
        for status in streams:
            if (number := value(status)) is not None:
                gauge.add_metric([status.stream_id], number)
        yield gauge
    for name, (text, count) in counters.items():
        counter = CounterMetricFamily(f"streamvlm_{name}", text, labels=["stream"])
        for status in streams:
            counter.add_metric([status.stream_id], count(status))
        yield counter
    yield from _tier_metrics(streams)


def _tier_metrics(streams: Sequence[StreamStatus]) -> Iterator[Metric]:
    labels = ["stream", "tier", "form"]
    size = GaugeMetricFamily("streamvlm_tier_bytes", "What blocks take where.", labels=labels)
    count = GaugeMetricFamily("streamvlm_tier_blocks", "Blocks there.", labels=labels)
    tokens = GaugeMetricFamily("streamvlm_tier_tokens", "Tokens in them.", labels=labels)
    for status in streams:
        for each in status.memory.tiers:
            size.add_metric([status.stream_id, each.tier, each.form], each.num_bytes)
            count.add_metric([status.stream_id, each.tier, each.form], each.blocks)
            tokens.add_metric([status.stream_id, each.tier, each.form], each.num_tokens)
    yield size
    yield count
    yield tokens


def snapshot_metrics(snapshots: Sequence[SnapshotStatus]) -> Iterator[Metric]:
    """What a worker keeps on the disk."""
    size = GaugeMetricFamily("streamvlm_snapshot_bytes", "Files of a stream.", labels=["stream"])
    age = GaugeMetricFamily(
        "streamvlm_snapshot_age_seconds", "Since the last complete snapshot.", labels=["stream"]
    )
    for status in snapshots:
        size.add_metric([status.stream_id], status.num_bytes)
        if status.age_seconds is not None:
            age.add_metric([status.stream_id], status.age_seconds)
    yield size
    yield age


def gauge(name: str, text: str, value: float) -> Metric:
    """One number of a service."""
    return GaugeMetricFamily(f"streamvlm_{name}", text, value=value)


def counter(name: str, text: str, value: float) -> Metric:
    """One number of a service that only grows."""
    return CounterMetricFamily(f"streamvlm_{name}", text, value=value)


def _age(status: StreamStatus, now: float) -> float | None:
    last = status.feed.last_frame
    return max(0.0, now - last.utc_seconds) if last else None


def _is_live(status: StreamStatus) -> float:
    return float(status.feed.state is SourceState.LIVE)


def _blind_seconds(status: StreamStatus) -> float:
    blind = status.feed.blind
    return blind.interval.duration_seconds if blind else 0.0


def _coverage(status: StreamStatus) -> float:
    remembered = status.memory.remembered
    return remembered.duration_seconds if remembered else 0.0


class CallMeter(grpc.aio.ServerInterceptor):
    """Counts our calls and their time, by method and status."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler of this call, measured."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        return wrapped(handler, method, lambda behavior: _measured(behavior, method))


def _measured(behavior: Behavior, method: str) -> Behavior:
    name = method.rpartition("/")[2]

    async def call(request: Any, context: Context) -> Any:
        began = time.monotonic()
        try:
            return await behavior(request, context)
        finally:
            # 0 is OK, which nobody sets; a call that is left by its caller has no code either.
            code = context.code() or 0
            known = code if isinstance(code, int) else code.value[0]
            CALLS.labels(name, _CODES.get(known, "UNKNOWN")).inc()
            CALL_SECONDS.labels(name).observe(time.monotonic() - began)

    return call


_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
