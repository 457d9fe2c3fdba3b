"""Alert rules on the wire. What a caller did not set has its default, which is then told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

from streamvlm.alerts import AlertRule, Schedule, Severity
from streamvlm.errors import InvalidInputError, RuleError
from streamvlm.types import StreamTime
from streamvlm.when import zone_named
from streamvlm.wire.times import (
    duration_from_proto,
    duration_to_proto,
    instant_from_proto,
    member_from_proto,
    member_to_proto,
)
from streamvlm.wire.v1 import rule_service_pb2 as pb

_NUMBERS = ("enter_threshold", "leave_threshold", "needed_looks", "considered_looks")


def rule_to_proto(rule: AlertRule) -> pb.Rule:
    """A rule, all of it."""
    return pb.Rule(
        rule_id=rule.rule_id,
        text=rule.text,
        stream_ids=sorted(rule.stream_ids),
        min_duration=duration_to_proto(rule.min_duration_seconds),
        cooldown=duration_to_proto(rule.cooldown_seconds),
        severity=member_to_proto("SEVERITY_", rule.severity),
        schedule=_schedule_to_proto(rule.schedule) if rule.schedule else None,
        **{name: getattr(rule, name) for name in _NUMBERS},
    )


def rule_from_proto(message: pb.Rule) -> AlertRule:
    """A rule. Raises RuleError."""
    stated: dict[str, Any] = {
        name: getattr(message, name) for name in _NUMBERS if message.HasField(name)
    }
    for name in ("min_duration", "cooldown"):
        if message.HasField(name):
            stated[f"{name}_seconds"] = duration_from_proto(getattr(message, name))
    if message.severity:
        stated["severity"] = member_from_proto(Severity, pb.Severity, "SEVERITY_", message.severity)
    if message.HasField("schedule"):
        stated["schedule"] = _schedule_from_proto(message.schedule)
    return AlertRule(
        rule_id=message.rule_id,
        text=message.text,
        stream_ids=frozenset(message.stream_ids),
        **stated,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTrial:
    """How a rule would see a stream now."""

    margin: float
    """How much likelier "yes" is than "no", in nats, not seen from what is usual on the stream."""
    is_reached: bool
    """Whether that alone would speak for the condition."""
    observed: StreamTime


def trial_from_proto(message: pb.TestRuleResponse) -> RuleTrial:
    """How a rule would see a stream now."""
    return RuleTrial(
        margin=message.margin,
        is_reached=message.is_reached,
        observed=instant_from_proto(message.observed),
    )


def _schedule_to_proto(schedule: Schedule) -> pb.Schedule:
    return pb.Schedule(
        weekdays=sorted(day + 1 for day in schedule.weekdays),
        start=f"{schedule.start:%H:%M}",
        end=f"{schedule.end:%H:%M}",
        time_zone=str(schedule.timezone),
    )


def _schedule_from_proto(message: pb.Schedule) -> Schedule:
    if wrong := sorted(day for day in message.weekdays if not 1 <= day <= 7):
        raise RuleError(f"weekdays are 1 (Monday) to 7 (Sunday), got {wrong}")
    return Schedule(
        weekdays=frozenset(day - 1 for day in message.weekdays),
        start=_clock("start", message.start),
        end=_clock("end", message.end),
        timezone=_zone(message.time_zone),
    )


def _clock(name: str, text: str) -> time:
    try:
        hours, minutes = map(int, text.split(":"))
        return time(hours, minutes)
    except ValueError:
        raise RuleError(f"{name} = {text!r} of a schedule; allowed: HH:MM") from None


def _zone(name: str) -> ZoneInfo:
    try:
        return zone_named(name)
    except InvalidInputError as error:
        raise RuleError(f"a schedule: {error}") from None
