"""Events that a webhook could not be told: kept, tried again when somebody wants that, bounded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services import keys, notifier
from services.letters import Letters
from services.store import Store
from services.webhooks import WebhookServicer
from streamvlm.errors import WebhookNotFoundError
from streamvlm.evaluate.webhook_receiver import Receiver
from streamvlm.wire.v1 import webhook_service_pb2 as webhook_pb
from tests.services.hooks import SECRET, Answers, told
from tests.services.serving import eventually
from tests.services.test_event_log import alert

pytestmark = pytest.mark.usefixtures("hook_secret")
NO_CONTEXT: Any = None


async def test_what_cannot_be_delivered_is_dead_and_the_rest_goes_on(store: Store) -> None:
    with Receiver(SECRET, Answers(*["500"] * 4, "ok")) as receiver:
        async with told(store, receiver.url) as log:
            await log.publish(alert(0), epoch=0)
            await log.publish(alert(1), epoch=0)
            await eventually(lambda: receiver.accepted)
        assert [each.identity for each in receiver.accepted] == ["a.1"]
    ((_, fields),) = await store.redis.xrange(keys.route("hook", "dead"))
    assert fields[b"problem"] == b"status 500"


@pytest.mark.usefixtures("soon")
async def test_the_dead_are_tried_again_under_their_ids(store: Store) -> None:
    outcome = ["500"]
    letters = Letters(store, "hook")
    with Receiver(SECRET, lambda: outcome[0]) as receiver:
        async with told(store, receiver.url) as log:
            for revision in range(3):
                await log.publish(alert(revision), epoch=0)
            await until_dead(letters, 3)
            assert await letters.replay() == 3
            await until_replayed(letters)  # and dead again, once each
            assert len(receiver.requests) == 3 * 4 + 3
            outcome[0] = "ok"
            assert await letters.replay() == 3
            await until_replayed(letters)
        assert [each.identity for each in receiver.accepted] == ["a.0", "a.1", "a.2"]


@pytest.mark.usefixtures("soon")
async def test_a_replay_gives_up_and_holds_up_nothing(store: Store) -> None:
    letters = Letters(store, "hook")
    with Receiver(SECRET, lambda: "500") as receiver:
        async with told(store, receiver.url) as log:
            for number in range(2 * notifier.MAX_REPLAY_FAILURES):
                await log.publish(alert(number), epoch=0)
            await until_dead(letters, 2 * notifier.MAX_REPLAY_FAILURES)
            before = len(receiver.requests)
            await letters.replay()
            await log.publish(alert(0, alert_id="b", rule_id="live"), epoch=0)
            await until_replayed(letters)
            await until_dead(letters, 2 * notifier.MAX_REPLAY_FAILURES + 1)
            again = [each.identity for each in receiver.requests[before:]]
    assert again.count("b.0") == 4
    assert len(again) == 4 + notifier.MAX_REPLAY_FAILURES


@pytest.mark.usefixtures("soon")
async def test_a_dead_letter_that_cannot_be_read_goes(store: Store) -> None:
    letters, dead = Letters(store, "hook"), keys.route("hook", "dead")
    await store.redis.xadd(dead, {"event": b"\xff", "problem": "old"})
    await store.redis.xadd(dead, {"problem": "older"})
    await letters.replay()
    with Receiver(SECRET) as receiver:
        async with told(store, receiver.url):
            await until_replayed(letters)
            await until_dead(letters, 0)
        assert receiver.requests == []


async def test_who_was_gone_and_is_wanted_back_at_once_is_told(store: Store) -> None:
    letters = Letters(store, "hook")
    with Receiver(SECRET, Answers("410", "ok")) as receiver:
        async with told(store, receiver.url) as log:
            await log.publish(alert(0), epoch=0)
            await eventually(letters.is_disabled)
            await letters.replay()
            await eventually(lambda: receiver.accepted)


@pytest.mark.usefixtures("soon")
async def test_a_replay_goes_on_where_a_notifier_was_ended(store: Store) -> None:
    letters = Letters(store, "hook")
    with Receiver(SECRET, lambda: "500") as failing:
        async with told(store, failing.url) as log:
            await log.publish(alert(0), epoch=0)
            await until_dead(letters, 1)
    await letters.replay()
    with Receiver(SECRET) as receiver:
        async with told(store, receiver.url):
            await until_dead(letters, 0)
        assert [each.identity for each in receiver.accepted] == ["a.0"]


async def until_replayed(letters: Letters) -> None:
    async def is_over() -> bool:
        return not await letters.is_replay_wanted()

    await eventually(is_over)


async def until_dead(letters: Letters, count: int) -> None:
    async def are_dead() -> bool:
        return (await letters.state()).dead_letters == count

    await eventually(are_dead)


async def test_callers_are_told_how_deliveries_go(store: Store) -> None:
    service = WebhookServicer(store)
    with Receiver(SECRET, Answers(*["500"] * 4, "410")) as receiver:
        async with told(store, receiver.url) as log:
            await log.publish(alert(0), epoch=0)
            await until_dead(Letters(store, "hook"), 1)
            await log.publish(alert(1), epoch=0)
            await eventually(Letters(store, "hook").is_disabled)
            (served,) = await listed(service)
    (left,) = await listed(service)
    assert (served.is_served, left.is_served) == (True, False)
    assert (served.waiting, served.dead_letters) == (1, 1)
    assert (served.disabled_reason, served.last_problem) == ("status 410", "status 500")
    request = webhook_pb.ReplayDeadLettersRequest(name="hook")
    assert (await service.ReplayDeadLetters(request, NO_CONTEXT)).dead_letters == 1
    (enabled,) = await listed(service)
    assert enabled.disabled_reason == ""
    with pytest.raises(WebhookNotFoundError, match="'other'; there are: hook"):
        request = webhook_pb.ReplayDeadLettersRequest(name="other")
        await service.ReplayDeadLetters(request, NO_CONTEXT)


async def listed(service: WebhookServicer) -> list[webhook_pb.Webhook]:
    return list((await service.ListWebhooks(webhook_pb.ListWebhooksRequest(), NO_CONTEXT)).webhooks)


@pytest.mark.usefixtures("soon")
async def test_who_is_gone_gets_nothing_more_and_loses_nothing(store: Store) -> None:
    with Receiver(SECRET, Answers("410", "ok")) as receiver:
        async with told(store, receiver.url) as log:
            await log.publish(alert(0), epoch=0)
            await eventually(Letters(store, "hook").is_disabled)
            await log.publish(alert(1), epoch=0)
            await asyncio.sleep(0.3)
            assert len(receiver.requests) == 1
            await Letters(store, "hook").replay()
            await eventually(lambda: len(receiver.accepted) == 2)
