"""A webhook for tests: its config, its receiver's answers, a notifier that tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services import keys
from services.event_log import EventLog
from services.notifier import notifying
from services.store import Store
from streamvlm.config import NotifyConfig, WebhookConfig
from streamvlm.evaluate.webhook_receiver import new_secret
from tests.services.serving import eventually

SECRET = new_secret()


def hook(url: str, **changed: Any) -> WebhookConfig:
    fields = {"name": "hook", "url": url, "secret_variable": "HOOK_SECRET", "allow_private": True}
    return WebhookConfig.model_validate(fields | changed)


class Answers:
    """Outcomes one after the other; the last one stays."""

    def __init__(self, *outcomes: str) -> None:
        self._outcomes = list(outcomes)

    def __call__(self) -> str:
        return self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]


@asynccontextmanager
async def told(store: Store, url: str, **changed: Any) -> AsyncIterator[EventLog]:
    """A notifier that tells this receiver, and the log that it reads."""
    notify = NotifyConfig(webhooks=(hook(url, **changed),), retry_seconds=(0.01,) * 3)
    log = EventLog(store)
    async with notifying(notify, store, "test"):
        await eventually(lambda: store.redis.exists(keys.EVENTS))
        yield log
