"""What alerts are made of: the rule, a standing question in plain words, and what it led to."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, tzinfo
from enum import StrEnum

from streamvlm.errors import RuleError
from streamvlm.types import Interval, StreamTime

MAX_TEXT_BYTES = 1000
"""UTF-8; a token is at least a byte, and a look must stay cheap."""
MAX_LOOKS = 20
"""Longest memory of a rule, in looks."""
MAX_SECONDS = 86_400.0
"""Of a minimum duration and a cooldown."""


class Severity(StrEnum):
    """How bad it is, as the user sees it."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"
    """Only in a client: a word of a service that is newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a rule is armed, in the camera's local time: on these weekdays from `start` until `end`.

    Where `end` is not later than `start` it is on the next day, so 22:00 to 06:00 is a night.
    """

    weekdays: frozenset[int]
    """0 is Monday; the day on which the stretch starts."""
    start: time
    end: time
    timezone: tzinfo

    def __post_init__(self) -> None:
        if not self.weekdays:
            raise RuleError("a schedule needs at least one weekday, 0 (Monday) to 6 (Sunday)")
        if wrong := sorted(day for day in self.weekdays if not 0 <= day <= 6):
            raise RuleError(f"weekdays are 0 (Monday) to 6 (Sunday), got {wrong}")

    def is_armed(self, utc_seconds: float) -> bool:
        """Whether the rule counts at this moment."""
        local = datetime.fromtimestamp(utc_seconds, UTC).astimezone(self.timezone)
        now, today = local.time(), local.weekday()
        if self.start < self.end:
            return today in self.weekdays and self.start <= now < self.end
        return (today in self.weekdays and now >= self.start) or (
            (today - 1) % 7 in self.weekdays and now < self.end
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """A condition in plain words, and how sure one must be of it for how long.

    A look's score says how much likelier "yes" is than "no", in nats, seen from what is usual on
    the stream. Raises RuleError.
    """

    rule_id: str
    text: str
    """A question that can be answered with yes or no."""
    stream_ids: frozenset[str] = frozenset()
    """Streams that it is asked about; empty for all."""
    enter_threshold: float = 2.0
    """A look from this score on speaks for the condition."""
    leave_threshold: float = 0.0
    """A look below this score speaks against it; below `enter_threshold`."""
    needed_looks: int = 2
    """Of the newest `considered_looks`, how many must agree to begin or to end it."""
    considered_looks: int = 3
    min_duration_seconds: float = 0.0
    """How long the condition must hold before it is told."""
    cooldown_seconds: float = 60.0
    """After an alert was delivered, how long no other of this rule and stream is."""
    severity: Severity = Severity.WARNING
    schedule: Schedule | None = None
    """None for always."""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise RuleError("a rule needs a text: a question that can be answered with yes or no")
        if (size := len(self.text.encode(errors="replace"))) > MAX_TEXT_BYTES:
            raise RuleError(f"the text of a rule has at most {MAX_TEXT_BYTES} bytes, got {size}")
        thresholds = self.leave_threshold, self.enter_threshold
        if not all(map(math.isfinite, thresholds)) or thresholds[0] >= thresholds[1]:
            raise RuleError(
                f"leave_threshold must be below enter_threshold, both finite, got {thresholds[0]} "
                f"and {thresholds[1]}"
            )
        if not 1 <= self.needed_looks <= self.considered_looks <= MAX_LOOKS:
            raise RuleError(
                f"1 <= needed_looks <= considered_looks <= {MAX_LOOKS} must hold, got "
                f"{self.needed_looks} and {self.considered_looks}"
            )
        for name in ("min_duration_seconds", "cooldown_seconds"):
            if not 0 <= (seconds := getattr(self, name)) <= MAX_SECONDS:
                raise RuleError(f"{name} must be in 0..{MAX_SECONDS:.0f}, got {seconds}")

    def watches(self, stream_id: str) -> bool:
        """Whether it is asked about this stream."""
        return not self.stream_ids or stream_id in self.stream_ids


class AlertState(StrEnum):
    """Where an alert is in its life; see `streamvlm.watch.lifecycle`."""

    SUPPRESSED = "suppressed"
    FIRING = "firing"
    UPDATED = "updated"
    RESOLVED = "resolved"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    """Only in a client: a word of a service that is newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One revision of one alert."""

    alert_id: str
    """The same for all revisions, and for the same beginning seen again after a restart."""
    revision: int
    """Counts from 0."""
    state: AlertState
    rule_id: str
    stream_id: str
    began: StreamTime
    """The first look that spoke for the condition."""
    observed: StreamTime
    """The look that led to this revision."""
    score: float
    """Of that look, in nats; see `AlertRule`."""
    highest_score: float
    """Of all looks since it began to hold."""
    rule_text: str = ""
    """Of the rule, as it was then."""
    severity: Severity = Severity.WARNING
    enter_threshold: float = 0.0
    """What the score had to reach."""
    thumbnail: bytes = b""
    """A small JPEG of the newest frame when it fired; empty in later revisions."""

    @property
    def is_over(self) -> bool:
        """Whether this is its last revision."""
        return self.state in (AlertState.RESOLVED, AlertState.EXPIRED)

    def expired(self) -> Alert:
        """Its last revision, where nobody looks any more."""
        return replace(self, state=AlertState.EXPIRED, revision=self.revision + 1, thumbnail=b"")


class CameraState(StrEnum):
    """Whether a camera shows anything."""

    LOST = "lost"
    RECOVERED = "recovered"
    UNKNOWN = "unknown"
    """Only in a client: a word of a service that is newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraChange:
    """A camera is lost, or back."""

    outage_id: str
    """The same for an outage's beginning and its end."""
    stream_id: str
    state: CameraState
    blind: Interval
    """From its last picture until this was told, or until it was back."""
    reason: str
    """Of a `Gap`."""
