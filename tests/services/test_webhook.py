"""Webhooks: what is sent, to whom, and what its receiver may answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook as Verifier

from services.envelope import checked_secret, envelope, message_id, signed_headers
from services.store import Store
from services.webhook import Webhook, _is_public
from streamvlm.alerts import AlertState, CameraState
from streamvlm.config import NotifyConfig
from streamvlm.errors import ConfigError
from streamvlm.evaluate.webhook_receiver import Receiver, new_secret
from tests.services.hooks import SECRET, Answers, hook, told
from tests.services.serving import eventually
from tests.services.test_event_log import alert, outage

pytestmark = pytest.mark.usefixtures("hook_secret")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(SECRET) as receiver:
        yield receiver


async def test_events_arrive_signed_in_an_envelope(store: Store, receiver: Receiver) -> None:
    async with told(store, receiver.url) as log:
        await log.publish(alert(0, state=AlertState.FIRING, rule_text="Who?"), epoch=0)
        await log.publish(outage(CameraState.LOST), epoch=0)
        await eventually(lambda: len(receiver.accepted) == 2)
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
            await eventually(lambda: receiver.accepted)
        assert {each.identity for each in receiver.requests} == {"a.0"}
        assert len(receiver.requests) == 3


async def test_the_events_of_a_rule_keep_their_order(store: Store) -> None:
    outcomes = ("500", "ok", "503", "500", "ok", "ok")
    with Receiver(SECRET, Answers(*outcomes)) as receiver:
        async with told(store, receiver.url) as log:
            for revision in range(3):
                await log.publish(alert(revision), epoch=0)
            await eventually(lambda: len(receiver.accepted) == 3)
        assert [each.identity for each in receiver.accepted] == ["a.0", "a.1", "a.2"]


async def test_the_next_notifier_delivers_what_the_last_one_left(store: Store) -> None:
    with Receiver(SECRET, lambda: "503") as failing:
        async with told(store, failing.url) as log:
            await log.publish(alert(0), epoch=0)
            await eventually(lambda: failing.requests)
    with Receiver(SECRET) as receiver:
        async with told(store, receiver.url):
            await eventually(lambda: receiver.accepted)


async def test_only_what_is_wanted_is_told(store: Store, receiver: Receiver) -> None:
    async with told(store, receiver.url, rule_ids=["r"], stream_ids=["door"]) as log:
        await log.publish(alert(0, alert_id="b", rule_id="other"), epoch=0)
        await log.publish(alert(0, alert_id="c", stream_id="hall"), epoch=0)
        await log.publish(alert(0, alert_id="d", state=AlertState.SUPPRESSED), epoch=0)
        await log.publish(outage(CameraState.LOST), epoch=0)
        await log.publish(alert(0), epoch=0)
        await eventually(lambda: receiver.accepted)
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
