"""Webhooks: what is sent, to whom, and what its receiver may answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook as Verifier

from services import keys, notifier
from services.envelope import checked_secret, envelope, message_id, signed_headers
from services.event_log import EventLog
from services.letters import Letters
from services.notifier import notifying
from services.store import Store
from services.webhook import Webhook, _is_public
from services.webhooks import WebhookServicer
from streamvlm.alerts import AlertState, CameraState
from streamvlm.config import NotifyConfig, WebhookConfig
from streamvlm.errors import ConfigError, WebhookNotFoundError
from streamvlm.evaluate.webhook_receiver import Receiver, new_secret
from streamvlm.wire.v1 import webhook_service_pb2 as webhook_pb
from tests.services.test_event_log import alert, outage

SECRET = new_secret()
NO_CONTEXT: Any = None


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)


def hook(url: str, **changed: Any) -> WebhookConfig:
    fields = {"name": "hook", "url": url, "secret_variable": "HOOK_SECRET", "allow_private": True}
    return WebhookConfig.model_validate(fields | changed)


class Answers:
    """Outcomes one after the other; the last one stays."""

    def __init__(self, *outcomes: str) -> None:
        self._outcomes = list(outcomes)

    def __call__(self) -> str:
        return self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(SECRET) as receiver:
        yield receiver


@asynccontextmanager
async def told(store: Store, url: str, **changed: Any) -> AsyncIterator[EventLog]:
    """A notifier that tells this receiver, and the log that it reads."""
    notify = NotifyConfig(webhooks=(hook(url, **changed),), retry_seconds=(0.01,) * 3)
    log = EventLog(store)
    async with notifying(notify, store, "test"):
        while not await store.redis.exists(keys.EVENTS):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        yield log


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_events_arrive_signed_in_an_envelope(store: Store, receiver: Receiver) -> None:
    async with told(store, receiver.url) as log:
        await log.publish(alert(0, state=AlertState.FIRING, rule_text="Who?"), epoch=0)
        await log.publish(outage(CameraState.LOST), epoch=0)
        await until(lambda: len(receiver.accepted) == 2)
    by_type = {each.event["type"]: each for each in receiver.accepted}
    fired = by_type["dev.streamvlm.alert.fired.v1"]
    assert fired.identity == fired.event["id"] == "a.0"
    assert fired.event["source"] == "//streamvlm/streams/door" and fired.event["sequence"] == "1"
    assert fired.event["data"]["rule_text"] == "Who?" and fired.event["data"]["is_late"] is True
    assert by_type["dev.streamvlm.camera.lost.v1"].event["data"]["reason"] == "SOURCE_LOST"


async def test_a_delivery_is_tried_again_under_the_same_id(store: Store) -> None:
    with Receiver(SECRET, Answers("500", "hang up", "ok")) as receiver:
        async with told(store, receiver.url) as log:
            await log.publish(alert(0), epoch=0)
            await until(lambda: receiver.accepted)
        assert {each.identity for each in receiver.requests} == {"a.0"}
        assert len(receiver.requests) == 3


async def test_the_events_of_a_rule_keep_their_order(store: Store) -> None:
    outcomes = ("500", "ok", "503", "500", "ok", "ok")
    with Receiver(SECRET, Answers(*outcomes)) as receiver:
        async with told(store, receiver.url) as log:
            for revision in range(3):
                await log.publish(alert(revision), epoch=0)
            await until(lambda: len(receiver.accepted) == 3)
        assert [each.identity for each in receiver.accepted] == ["a.0", "a.1", "a.2"]


async def test_what_cannot_be_delivered_is_dead_and_the_rest_goes_on(store: Store) -> None:
    with Receiver(SECRET, Answers(*["500"] * 4, "ok")) as receiver:
        async with told(store, receiver.url) as log:
            await log.publish(alert(0), epoch=0)
            await log.publish(alert(1), epoch=0)
            await until(lambda: receiver.accepted)
        assert [each.identity for each in receiver.accepted] == ["a.1"]
    ((_, fields),) = await store.redis.xrange(keys.route("hook", "dead"))
    assert fields[b"problem"] == b"status 500"


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notifier that looks often whether somebody wants something of it."""
    monkeypatch.setattr(notifier, "WAIT_SECONDS", 0.05)


@pytest.mark.usefixtures("_soon")
async def test_the_dead_are_tried_again_under_their_ids(store: Store) -> None:
    outcome = ["500"]
    letters = Letters(store, "hook")
    with Receiver(SECRET, lambda: outcome[0]) as receiver:
        async with told(store, receiver.url) as log:
            for revision in range(3):
                await log.publish(alert(revision), epoch=0)
            await until_dead(letters, 3)
            assert await letters.replay() == 3
            await until_replayed(store)  # and dead again, once each
            assert len(receiver.requests) == 3 * 4 + 3
            outcome[0] = "ok"
            assert await letters.replay() == 3
            await until_replayed(store)
        assert [each.identity for each in receiver.accepted] == ["a.0", "a.1", "a.2"]


@pytest.mark.usefixtures("_soon")
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
            await until_replayed(store)
            await until_dead(letters, 2 * notifier.MAX_REPLAY_FAILURES + 1)
            again = [each.identity for each in receiver.requests[before:]]
    assert again.count("b.0") == 4
    assert len(again) == 4 + notifier.MAX_REPLAY_FAILURES


@pytest.mark.usefixtures("_soon")
async def test_a_dead_letter_that_cannot_be_read_goes(store: Store) -> None:
    letters, dead = Letters(store, "hook"), keys.route("hook", "dead")
    await store.redis.xadd(dead, {"event": b"\xff", "problem": "old"})
    await store.redis.xadd(dead, {"problem": "older"})
    await letters.replay()
    with Receiver(SECRET) as receiver:
        async with told(store, receiver.url):
            await until_replayed(store)
            await until_dead(letters, 0)
        assert receiver.requests == []


async def test_who_was_gone_and_is_wanted_back_at_once_is_told(store: Store) -> None:
    letters = Letters(store, "hook")
    with Receiver(SECRET, Answers("410", "ok")) as receiver:
        async with told(store, receiver.url) as log:
            await log.publish(alert(0), epoch=0)
            async with asyncio.timeout(20):
                while not await letters.is_disabled():  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            await letters.replay()
            await until(lambda: receiver.accepted)


@pytest.mark.usefixtures("_soon")
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


async def until_replayed(store: Store) -> None:
    async with asyncio.timeout(20):
        while await store.redis.exists(keys.route("hook", "replay")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until_dead(letters: Letters, count: int) -> None:
    async with asyncio.timeout(20):
        while (await letters.state()).dead_letters != count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_callers_are_told_how_deliveries_go(store: Store) -> None:
    service = WebhookServicer(store)
    with Receiver(SECRET, Answers(*["500"] * 4, "410")) as receiver:
        async with told(store, receiver.url) as log:
            await log.publish(alert(0), epoch=0)
            await until_dead(Letters(store, "hook"), 1)
            await log.publish(alert(1), epoch=0)
            async with asyncio.timeout(20):
                while not await Letters(store, "hook").is_disabled():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
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


@pytest.mark.usefixtures("_soon")
async def test_who_is_gone_gets_nothing_more_and_loses_nothing(store: Store) -> None:
    with Receiver(SECRET, Answers("410", "ok")) as receiver:
        async with told(store, receiver.url) as log:
            await log.publish(alert(0), epoch=0)
            async with asyncio.timeout(20):
                while not await store.redis.exists(keys.route("hook", "disabled")):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await log.publish(alert(1), epoch=0)
            await asyncio.sleep(0.3)
            assert len(receiver.requests) == 1
            await Letters(store, "hook").replay()
            await until(lambda: len(receiver.accepted) == 2)


async def test_the_next_notifier_delivers_what_the_last_one_left(store: Store) -> None:
    with Receiver(SECRET, lambda: "503") as failing:
        async with told(store, failing.url) as log:
            await log.publish(alert(0), epoch=0)
            await until(lambda: failing.requests)
    with Receiver(SECRET) as receiver:
        async with told(store, receiver.url):
            await until(lambda: receiver.accepted)


async def test_only_what_is_wanted_is_told(store: Store, receiver: Receiver) -> None:
    async with told(store, receiver.url, rule_ids=["r"], stream_ids=["door"]) as log:
        await log.publish(alert(0, alert_id="b", rule_id="other"), epoch=0)
        await log.publish(alert(0, alert_id="c", stream_id="hall"), epoch=0)
        await log.publish(alert(0, alert_id="d", state=AlertState.SUPPRESSED), epoch=0)
        await log.publish(outage(CameraState.LOST), epoch=0)
        await log.publish(alert(0), epoch=0)
        await until(lambda: receiver.accepted)
    assert [each.identity for each in receiver.accepted] == ["a.0"]


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=5.0, follow_redirects=False, trust_env=False)


async def test_a_private_address_is_not_called_unless_allowed(receiver: Receiver) -> None:
    async with client() as calling:
        refused = await Webhook(hook(receiver.url, allow_private=False), calling).send("a", b"{}")
        by_name = receiver.url.replace("127.0.0.1", "localhost")
        named = await Webhook(hook(by_name, allow_private=False), calling).send("a", b"{}")
    assert "private network" in refused.problem and "private network" in named.problem
    assert not receiver.requests


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("127.0.0.1", False), ("10.1.2.3", False), ("169.254.169.254", False), ("::1", False),
        ("::ffff:192.168.0.1", False), ("0.0.0.0", False), ("fe80::1%eth0", False),
        ("224.0.0.1", False), ("93.184.216.34", True), ("2606:2800:220:1::1", True),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, is_public: bool) -> None:
    assert _is_public(address) is is_public


async def test_a_redirect_is_a_failure() -> None:
    with Receiver(SECRET, lambda: "302") as receiver:
        async with client() as calling:
            body = envelope(alert(0), 1, expire_seconds=60, now_utc_seconds=0)
            attempt = await Webhook(hook(receiver.url), calling).send("a.0", body)
    assert not attempt.is_delivered and attempt.problem == "status 302"


async def test_a_host_that_is_none_is_a_problem_and_no_crash() -> None:
    async with client() as calling:
        attempt = await Webhook(hook("http://nobody.invalid/"), calling).send("a", b"{}")
    assert not attempt.is_delivered and attempt.problem


def test_two_secrets_sign_while_they_change() -> None:
    old, new = new_secret(), new_secret()
    body = json.dumps({"a": 1}).encode()
    headers = signed_headers(
        [checked_secret(old, "x"), checked_secret(new, "x")], "id", int(time.time()), body
    )
    for secret in (old, new):
        assert Verifier(secret).verify(body, headers) == {"a": 1}


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_short", "whsec_****", SECRET[6:]])
def test_what_is_no_secret_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(ConfigError, match="24 to 64 bytes") as raised:
        checked_secret(secret, "webhook hook")
    assert not secret or secret not in str(raised.value).replace("whsec_", "", 1)


def test_a_webhook_needs_one_secret(tmp_path: Path) -> None:
    for changed in ({"secret_variable": ""}, {"secret_file": str(tmp_path / "s")}):
        with pytest.raises(ConfigError, match="one of secret_file"):
            Webhook(hook("http://h/", **changed), client())
    with pytest.raises(ConfigError, match="No such file"):
        Webhook(hook("http://h/", secret_variable="", secret_file=str(tmp_path / "no")), client())


def test_settings_that_are_none_are_refused() -> None:
    for wrong in ({"url": "ftp://h/"}, {"name": "a b"}, {"url": "nothing"}):
        with pytest.raises(ValidationError):
            hook(**({"url": "http://h/"} | wrong))
    with pytest.raises(ValidationError, match="one name"):
        NotifyConfig(webhooks=(hook("http://h/"), hook("http://i/")))


def test_an_id_names_one_event() -> None:
    assert message_id(alert(3)) == "a.3"
    assert message_id(outage(CameraState.LOST)) != message_id(outage(CameraState.RECOVERED))
