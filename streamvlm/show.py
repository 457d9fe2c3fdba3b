"""How the command line shows things: tables for people. Text from elsewhere is never markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from streamvlm.alerts import Alert, AlertRule, AlertState, CameraChange, CameraState
from streamvlm.doctor import Check
from streamvlm.types import (
    Gap,
    Interval,
    StreamStatus,
    StreamTime,
    Usage,
)
from streamvlm.wire.alerts import GivenAlert, ListedEvent
from streamvlm.wire.webhooks import WebhookStatus

_GOOD_STATES = ("live", "ended")
_MEBI = 2**20


def streams(statuses: Iterable[StreamStatus]) -> Table:
    """One row a stream."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in (
        "NAME",
        "STATE",
        "SOURCE",
        "REMEMBERS",
        "MEMORY, MiB",
        "TOKENS KEPT",
        "GAPS",
        "ZONE",
    ):
        table.add_column(name, overflow="fold")
    for status in statuses:
        memory = status.memory
        table.add_row(
            line(status.stream_id),
            _state(status),
            line(status.source),
            _length(memory.remembered),
            f"{memory.kv_bytes / _MEBI:.1f} / {memory.budget_bytes / _MEBI:.0f}",
            _share(memory.tokens_kept, memory.tokens_seen),
            str(status.feed.gaps_total),
            line(status.time_zone),
        )
    return table


def stream(status: StreamStatus) -> Table:
    """All there is to know about one stream."""
    feed, memory = status.feed, status.memory
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    rows: list[tuple[str, str | Text]] = [
        ("name", line(status.stream_id)),
        ("source", line(status.source)),
        ("state", _state(status)),
        ("message", line(feed.message)),
        ("created", f"{_utc(status.created_utc_seconds)} UTC"),
        ("time zone", line(status.time_zone)),
        ("last frame", instant(feed.last_frame) if feed.last_frame else "none yet"),
        ("frames", f"{feed.frames_decoded} decoded, {feed.frames_sampled} sampled"),
        (
            "clips",
            f"{memory.clips_encoded} encoded, {memory.clips_unchanged} unchanged, "
            f"{feed.clips_dropped} dropped, {feed.clips_waiting} waiting",
        ),
        (
            "tokens",
            f"{memory.tokens_kept} of {memory.tokens_seen} kept; the reducer holds "
            f"{_mebibytes(memory.reduction_bytes)}",
        ),
        ("remembers", interval(memory.remembered) if memory.remembered else "nothing yet"),
        (
            "memory",
            f"{memory.blocks} blocks, {_mebibytes(memory.kv_bytes)} of "
            f"{_mebibytes(memory.budget_bytes)}; {memory.evicted_blocks} evicted",
        ),
        ("reconnects", str(feed.reconnects)),
        ("gaps", f"{feed.gaps_total}, together {feed.gap_seconds_total:.1f} s"),
    ]
    rows += [("", line(f"{interval(gap.interval)}  {gap.reason}")) for gap in memory.gaps]
    if feed.blind:
        rows.append(("", _blind(feed.blind)))
    for name, value in rows:
        table.add_row(name, value)
    return table


def usage(spent: Usage) -> str:
    """What an answer cost, in a line."""
    decoding_seconds = spent.total_seconds - spent.time_to_first_token_seconds
    speed = f", {spent.answer_tokens / decoding_seconds:.0f} tokens/s" if decoding_seconds else ""
    return (
        f"first token after {spent.time_to_first_token_seconds * 1000:.0f} ms, "
        f"{spent.answer_tokens} tokens in {spent.total_seconds:.2f} s{speed}; context: "
        f"{spent.prompt_tokens} tokens read, {spent.recalled_tokens} recalled"
    )


def checks(found: Iterable[Check]) -> Table:
    """The findings of the doctor."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("", "CHECK", "FOUND"):
        table.add_column(name)
    for check in found:
        bad = ("fails", "red") if check.is_required else ("absent", "yellow")
        word, color = ("ok", "green") if check.is_ok else bad
        table.add_row(Text(word, style=color), check.name, line(check.detail))
    return table


def plain(text: str) -> str:
    """Without control characters: what a model or a camera says must not steer the terminal."""
    return "".join(char for char in text if char.isprintable() or char in "\n\t")


def line(text: str, style: str = "") -> Text:
    """One line of what comes from elsewhere: neither markup nor control characters."""
    return Text(" ".join(plain(text).split()), style=style)


def instant(time: StreamTime) -> str:
    """Camera time and stream time."""
    return f"{_utc(time.utc_seconds)} UTC ({time.clock.value}), {time.pts_seconds:.1f} s"


def interval(span: Interval) -> str:
    """From when to when, by the camera and in the stream."""
    seconds = f"{span.start.pts_seconds:.1f} - {span.end.pts_seconds:.1f} s"
    return f"{_span(span)} UTC ({span.start.clock.value}), {seconds}"


def when(span: Interval) -> tuple[str, str, str]:
    """Camera time, its clock, stream time."""
    seconds = f"{span.start.pts_seconds:.1f} - {span.end.pts_seconds:.1f}"
    return _span(span), span.start.clock.value, seconds


def _span(span: Interval) -> str:
    return f"{_utc(span.start.utc_seconds)} - {_clock(span.end.utc_seconds)}"


def _utc(utc_seconds: float) -> str:
    return f"{datetime.fromtimestamp(utc_seconds, UTC):%Y-%m-%d} {_clock(utc_seconds)}"


def _clock(utc_seconds: float) -> str:
    return f"{datetime.fromtimestamp(utc_seconds, UTC):%H:%M:%S.%f}"[:-5]


def _state(status: StreamStatus) -> Text:
    feed = status.feed
    text = f"{feed.state.value} {feed.reason}".strip()
    return line(text, style="green" if feed.state in _GOOD_STATES else "yellow")


def _blind(outage: Gap) -> Text:
    since = f"blind since {instant(outage.interval.start)}  {outage.reason}"
    return line(since, style="yellow")


def _length(span: Interval | None) -> str:
    if span is None:
        return "nothing yet"
    minutes, seconds = divmod(span.duration_seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{seconds:04.1f}"


def _mebibytes(num_bytes: int) -> str:
    return f"{num_bytes / _MEBI:.1f} MiB"


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.0%})" if whole else "0"


def rules(armed: Iterable[AlertRule]) -> Table:
    """One row a rule."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in (
        "RULE",
        "ASKS",
        "STREAMS",
        "THRESHOLDS",
        "LOOKS",
        "LASTING",
        "COOLDOWN",
        "SEVERITY",
    ):
        table.add_column(name, overflow="fold")
    for rule in armed:
        table.add_row(
            line(rule.rule_id),
            line(rule.text),
            line(", ".join(sorted(rule.stream_ids)) or "all"),
            f"{rule.enter_threshold:g} / {rule.leave_threshold:g}",
            f"{rule.needed_looks} of {rule.considered_looks}",
            f"{rule.min_duration_seconds:g} s",
            f"{rule.cooldown_seconds:g} s",
            rule.severity,
        )
    return table


def plain_rule(rule: AlertRule) -> dict[str, Any]:
    """A rule as plain values, for JSON."""
    values = asdict(replace(rule, schedule=None))
    schedule = rule.schedule and {
        "weekdays": sorted(rule.schedule.weekdays),
        "start": f"{rule.schedule.start:%H:%M}",
        "end": f"{rule.schedule.end:%H:%M}",
        "timezone": str(rule.schedule.timezone),
    }
    return {**values, "stream_ids": sorted(rule.stream_ids), "schedule": schedule}


def events(listed: Sequence[ListedEvent]) -> Table:
    """What happened, the newest first, and who has seen to it."""
    table = Table("when (UTC)", "what", "which", "seen by", box=None, pad_edge=False)
    for each in listed:
        event = each.event
        at = event.observed if isinstance(event, Alert) else event.blind.end
        which = (
            f"{event.rule_id} on {event.stream_id}, {event.alert_id}"
            if isinstance(event, Alert)
            else f"camera {event.stream_id}"
        )
        seen_by = each.acknowledged_by or ("somebody" if each.acknowledged_utc_seconds else "")
        table.add_row(_utc(at.utc_seconds), event.state.value, line(which), plain(seen_by))
    return table


def webhooks(found: Sequence[WebhookStatus]) -> Table:
    """How deliveries go."""
    table = Table("webhook", "state", "waiting", "dead", "last problem", box=None, pad_edge=False)
    for each in found:
        state = "served" if each.is_served else "no notifier serves it"
        if each.disabled_reason:
            state = f"disabled: {each.disabled_reason}"
        table.add_row(
            each.name,
            line(state),
            str(each.num_waiting),
            str(each.num_dead),
            plain(each.last_problem),
        )
    return table


def _camera(change: CameraChange) -> Text:
    style = "bold red" if change.state is CameraState.LOST else "green"
    return Text.assemble(
        f"{_utc(change.blind.end.utc_seconds)} UTC  ",
        (f"{change.state:<10}", style),
        line(f" camera {change.stream_id}"),
        (f"  {plain(change.reason)}, {change.blind.duration_seconds:.1f} s", "dim"),
    )


def alert(given: GivenAlert) -> Text:
    """One line of what a subscriber is told."""
    if given.camera is not None:
        return _camera(given.camera)
    told = given.alert
    if told is None:
        return Text(f"missed {given.num_skipped or 'some'} alerts", style="yellow")
    style = "bold red" if told.state is AlertState.FIRING else ""
    since = "" if told.state is AlertState.FIRING else f", since {told.began.pts_seconds:.1f} s"
    return Text.assemble(
        f"{_utc(told.observed.utc_seconds)} UTC  ",
        (f"{told.state:<10}", style),
        line(f" {told.rule_id} on {told.stream_id}"),
        (f"  score {told.score:.1f} at {told.observed.pts_seconds:.1f} s{since}", "dim"),
    )
