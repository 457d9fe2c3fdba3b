"""Webhooks on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from streamvlm.wire.v1 import webhook_service_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookStatus:
    """How deliveries to a webhook go."""

    name: str
    is_served: bool
    """Whether a notifier serves it now."""
    disabled_reason: str
    """What it answered when it wanted nothing any more; empty where it gets events."""
    num_waiting: int
    num_dead: int
    """Events that could not be delivered."""
    last_problem: str
    """Why the newest of them could not."""


def webhook_from_proto(message: pb.Webhook) -> WebhookStatus:
    """How deliveries to a webhook go."""
    return WebhookStatus(
        name=message.name,
        is_served=message.is_served,
        disabled_reason=message.disabled_reason,
        num_waiting=message.waiting,
        num_dead=message.dead_letters,
        last_problem=message.last_problem,
    )
