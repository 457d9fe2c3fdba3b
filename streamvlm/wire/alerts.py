"""Alerts on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from streamvlm.alerts import Alert, AlertState, CameraChange, CameraState, Severity
from streamvlm.wire.times import (
    instant_from_proto,
    instant_to_proto,
    interval_from_proto,
    interval_to_proto,
    member_from_proto,
    member_to_proto,
    timestamp_from_proto,
)
from streamvlm.wire.v1 import event_service_pb2 as pb
from streamvlm.wire.v1 import rule_service_pb2 as rule_pb


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAlert:
    """What a subscriber is told."""

    resume_token: str
    """To go on behind this."""
    alert: Alert | None = None
    camera: CameraChange | None = None
    """Where both are None, events were missed, which will not come again."""
    num_skipped: int = 0
    """Of those that were missed; 0 where the service cannot tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEvent:
    """Something that was told before."""

    event: Alert | CameraChange
    acknowledged_by: str = ""
    """Who has seen to it; empty for nobody."""
    acknowledged_utc_seconds: float | None = None


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
        rule_text=alert.rule_text,
        severity=member_to_proto("SEVERITY_", alert.severity),
        enter_threshold=alert.enter_threshold,
        thumbnail=alert.thumbnail,
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
        rule_text=message.rule_text,
        severity=member_from_proto(Severity, rule_pb.Severity, "SEVERITY_", message.severity),
        enter_threshold=message.enter_threshold,
        thumbnail=message.thumbnail,
    )


def camera_to_proto(change: CameraChange) -> pb.CameraChange:
    """A camera is lost, or back."""
    return pb.CameraChange(
        outage_id=change.outage_id,
        stream_id=change.stream_id,
        state=member_to_proto("CAMERA_STATE_", change.state),
        blind=interval_to_proto(change.blind),
        reason=change.reason,
    )


def camera_from_proto(message: pb.CameraChange) -> CameraChange:
    """A camera is lost, or back."""
    return CameraChange(
        outage_id=message.outage_id,
        stream_id=message.stream_id,
        state=member_from_proto(CameraState, pb.CameraState, "CAMERA_STATE_", message.state),
        blind=interval_from_proto(message.blind),
        reason=message.reason,
    )


def event_to_proto(event: Alert | CameraChange) -> pb.Event:
    """Something that subscribers are told."""
    if isinstance(event, Alert):
        return pb.Event(alert=alert_to_proto(event))
    return pb.Event(camera=camera_to_proto(event))


def event_from_proto(message: pb.Event) -> Alert | CameraChange | None:
    """Something that subscribers are told; None for what we do not know."""
    match message.WhichOneof("event"):
        case "alert":
            return alert_from_proto(message.alert)
        case "camera":
            return camera_from_proto(message.camera)
        case _:
            return None


def given_from_proto(message: pb.SubscribeResponse) -> GivenAlert | None:
    """What a subscriber is told; None for a sign of life, and for what we do not know."""
    token = message.resume_token
    match message.WhichOneof("event"):
        case "alert":
            return GivenAlert(resume_token=token, alert=alert_from_proto(message.alert))
        case "lagged":
            skipped = message.lagged.skipped
            return GivenAlert(resume_token=token, num_skipped=skipped)
        case "camera":
            return GivenAlert(resume_token=token, camera=camera_from_proto(message.camera))
        case _:
            return None


def listed_from_proto(message: pb.Event) -> ListedEvent | None:
    """Something that was told before; None for what we do not know."""
    event = event_from_proto(message)
    if event is None:
        return None
    if not message.HasField("acknowledgement"):
        return ListedEvent(event=event)
    return ListedEvent(
        event=event,
        acknowledged_by=message.acknowledgement.acknowledged_by,
        acknowledged_utc_seconds=timestamp_from_proto(message.acknowledgement.time),
    )
