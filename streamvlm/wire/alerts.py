"""Alerts on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from streamvlm.alerts import Alert, AlertState
from streamvlm.wire.times import (
    instant_from_proto,
    instant_to_proto,
    member_from_proto,
    member_to_proto,
)
from streamvlm.wire.v1 import event_service_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAlert:
    """What a subscriber is told."""

    resume_token: str
    """To go on behind this."""
    alert: Alert | None
    """None where alerts were missed, which will not come again."""
    num_skipped: int = 0
    """Of those that were missed; 0 where the service cannot tell."""


def alert_to_proto(alert: Alert) -> pb.Alert:
    """One revision of an alert."""
    return pb.Alert(
        alert_id=alert.alert_id,
        revision=alert.revision,
        state=member_to_proto("ALERT_STATE_", alert.state),
        rule_id=alert.rule_id,
        stream_id=alert.stream_id,
        began=instant_to_proto(alert.began),
        observed=instant_to_proto(alert.observed),
        score=alert.score,
        highest_score=alert.highest_score,
    )


def alert_from_proto(message: pb.Alert) -> Alert:
    """One revision of an alert."""
    return Alert(
        alert_id=message.alert_id,
        revision=message.revision,
        state=member_from_proto(AlertState, pb.AlertState, "ALERT_STATE_", message.state),
        rule_id=message.rule_id,
        stream_id=message.stream_id,
        began=instant_from_proto(message.began),
        observed=instant_from_proto(message.observed),
        score=message.score,
        highest_score=message.highest_score,
    )


def given_from_proto(message: pb.SubscribeResponse) -> GivenAlert | None:
    """What a subscriber is told; None for a sign of life, and for what we do not know."""
    token = message.resume_token
    match message.WhichOneof("event"):
        case "alert":
            return GivenAlert(resume_token=token, alert=alert_from_proto(message.alert))
        case "lagged":
            skipped = message.lagged.skipped
            return GivenAlert(resume_token=token, alert=None, num_skipped=skipped)
        case _:
            return None
