"""The gateway's WebhookService: how deliveries go, and those that failed once more."""

from __future__ import annotations

import grpc

from services.letters import Letters, route_names
from services.store import Store
from streamvlm.errors import WebhookNotFoundError
from streamvlm.wire.v1 import webhook_service_pb2 as pb
from streamvlm.wire.v1.webhook_service_pb2_grpc import WebhookServiceServicer

_Context = grpc.aio.ServicerContext[object, object]


class WebhookServicer(WebhookServiceServicer):
    """Speaks to notifiers through Redis. Errors go to `FailureMapper`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ListWebhooks(
        self, request: pb.ListWebhooksRequest, context: _Context
    ) -> pb.ListWebhooksResponse:
        """All webhooks, by name."""
        states = [
            await Letters(self._store, name).state() for name in await route_names(self._store)
        ]
        return pb.ListWebhooksResponse(
            webhooks=[
                pb.Webhook(
                    name=each.name,
                    is_served=each.is_served,
                    disabled_reason=each.disabled_reason,
                    waiting=each.waiting,
                    dead_letters=each.dead_letters,
                    last_problem=each.last_problem,
                )
                for each in states
            ]
        )

    async def ReplayDeadLetters(
        self, request: pb.ReplayDeadLettersRequest, context: _Context
    ) -> pb.ReplayDeadLettersResponse:
        """Have them tried again."""
        known = await route_names(self._store)
        if request.name not in known:
            raise WebhookNotFoundError(
                f"no webhook {request.name!r}; there are: {', '.join(known) or 'none'}"
            )
        count = await Letters(self._store, request.name).replay()
        return pb.ReplayDeadLettersResponse(dead_letters=count)
