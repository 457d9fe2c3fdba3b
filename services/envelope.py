"""What a webhook is sent: a CloudEvents 1.0 envelope in JSON, signed as Standard Webhooks says.

https://github.com/cloudevents/spec, https://www.standardwebhooks.com.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from streamvlm.alerts import Alert, AlertState, CameraChange, CameraState
from streamvlm.errors import ConfigError
from streamvlm.types import Interval, StreamTime

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"

_TYPES: dict[AlertState | CameraState, str] = {
    AlertState.SUPPRESSED: "dev.streamvlm.alert.suppressed.v1",
    AlertState.FIRING: "dev.streamvlm.alert.fired.v1",
    AlertState.UPDATED: "dev.streamvlm.alert.updated.v1",
    AlertState.RESOLVED: "dev.streamvlm.alert.resolved.v1",
    AlertState.EXPIRED: "dev.streamvlm.alert.expired.v1",
    CameraState.LOST: "dev.streamvlm.camera.lost.v1",
    CameraState.RECOVERED: "dev.streamvlm.camera.recovered.v1",
}
_TITLE_CHARACTERS = 80
_SECRET_PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)


def message_id(event: Alert | CameraChange) -> str:
    """Names this event once and for all: the same on every attempt to deliver it."""
    if isinstance(event, Alert):
        return f"{event.alert_id}.{event.revision}"
    return f"{event.outage_id}.{event.state.value}"


def ordering_key(event: Alert | CameraChange) -> str:
    """Events of one key are delivered in their order."""
    return event.rule_id if isinstance(event, Alert) else f"camera/{event.stream_id}"


def envelope(
    event: Alert | CameraChange, number: int, *, expire_seconds: float, now_utc_seconds: float
) -> bytes:
    """The event as a structured CloudEvent; one that is told late says so."""
    happened = event.observed if isinstance(event, Alert) else event.blind.end
    expires = happened.utc_seconds + expire_seconds
    data = _alert_data(event) if isinstance(event, Alert) else _camera_data(event)
    severity = event.severity.value if isinstance(event, Alert) else "warning"
    body = {
        "specversion": "1.0",
        "id": message_id(event),
        "source": f"//streamvlm/streams/{event.stream_id}",
        "type": _TYPES[event.state],
        "time": _utc(happened.utc_seconds),
        "subject": ordering_key(event),
        "datacontenttype": "application/json",
        "sequence": str(number),
        "partitionkey": ordering_key(event),
        "severity": severity,
        "expirytime": _utc(expires),
        "data": data | {"stream_id": event.stream_id, "is_late": now_utc_seconds > expires},
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _alert_data(alert: Alert) -> dict[str, Any]:
    title = f"{alert.rule_id}: {alert.state.value}"
    return {
        "title": title[:_TITLE_CHARACTERS],
        "alert_id": alert.alert_id,
        "revision": alert.revision,
        "state": alert.state.value,
        "rule_id": alert.rule_id,
        "rule_text": alert.rule_text,
        "score": round(alert.score, 3),
        "highest_score": round(alert.highest_score, 3),
        "enter_threshold": alert.enter_threshold,
        "observed": _span(Interval(start=alert.began, end=alert.observed)),
        "clock": _clock(alert.observed),
        "thumbnail": _data_url(alert.thumbnail) if alert.thumbnail else None,
    }


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _camera_data(change: CameraChange) -> dict[str, Any]:
    return {
        "title": f"{change.stream_id}: camera {change.state.value}"[:_TITLE_CHARACTERS],
        "outage_id": change.outage_id,
        "state": change.state.value,
        "reason": change.reason,
        "blind": _span(change.blind),
        "clock": _clock(change.blind.end),
    }


def _span(interval: Interval) -> dict[str, str]:
    return {
        "start": _utc(interval.start.utc_seconds),
        "end": _utc(interval.end.utc_seconds),
    }


def _clock(time: StreamTime) -> dict[str, Any]:
    return {"source": time.clock.value, "error_seconds": round(time.clock_error_seconds, 3)}


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def checked_secret(text: str, where: str) -> bytes:
    """The bytes of a `whsec_...`. Raises ConfigError, which does not tell the secret."""
    try:
        secret = base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not text.startswith(_SECRET_PREFIX) or len(secret) not in _SECRET_BYTES:
        raise ConfigError(
            f"{where}: a secret is {_SECRET_PREFIX} and the base64 of {_SECRET_BYTES.start} to "
            f"{_SECRET_BYTES.stop - 1} bytes"
        )
    return secret


def signed_headers(
    secrets: Sequence[bytes], identity: str, utc_seconds: int, body: bytes
) -> dict[str, str]:
    """The headers that prove who sent this, signed with each secret that counts now."""
    signed = b".".join((identity.encode(), str(utc_seconds).encode(), body))
    digests = [hmac.digest(secret, signed, hashlib.sha256) for secret in secrets]
    return {
        "webhook-id": identity,
        "webhook-timestamp": str(utc_seconds),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(each).decode()}" for each in digests),
    }
