"""Rules and alerts through a real service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import pytest

from services import events
from streamvlm.alerts import AlertRule, AlertState, Schedule, Severity
from streamvlm.client import Client, GivenAlert
from streamvlm.errors import (
    CapacityError,
    EngineStoppedError,
    InvalidInputError,
    RuleError,
    RuleExistsError,
    RuleNotFoundError,
    StreamVLMError,
)
from streamvlm.wire.v1 import event_service_pb2 as event_pb
from streamvlm.wire.v1 import rule_service_pb2 as pb
from streamvlm.wire.v1.event_service_pb2_grpc import EventServiceStub
from streamvlm.wire.v1.rule_service_pb2_grpc import RuleServiceStub
from tests.services.serving import Serving, push_stream, small_config, until


def always(rule_id: str = "always", **settings: Any) -> AlertRule:
    """A rule whose condition holds whatever a random model says."""
    thresholds = {"enter_threshold": -1000.0, "leave_threshold": -2000.0}
    return AlertRule(rule_id=rule_id, text="Is it?", **(thresholds | settings))


@pytest.fixture
def ruled(client: Client) -> Iterator[Client]:
    """A client of a service without rules before and after."""
    yield client
    for rule in client.list_rules():
        client.delete_rule(rule.rule_id)


def test_a_rule_comes_back_as_it_was_sent(ruled: Client) -> None:
    rule = AlertRule(
        rule_id="night",
        text="Is somebody at the gate?",
        stream_ids=frozenset({"gate", "yard"}),
        enter_threshold=3.5,
        leave_threshold=-1.25,
        needed_looks=3,
        considered_looks=5,
        min_duration_seconds=2.5,
        cooldown_seconds=0.0,
        severity=Severity.CRITICAL,
        schedule=Schedule(
            weekdays=frozenset({0, 6}),
            start=time(22),
            end=time(6, 30),
            timezone=ZoneInfo("Europe/Berlin"),
        ),
    )
    assert ruled.create_rule(rule) == rule == ruled.get_rule("night")
    assert ruled.list_rules() == [rule]
    ruled.delete_rule("night")
    assert ruled.list_rules() == []


def test_what_is_not_set_has_its_default_and_is_told(serving: Serving, ruled: Client) -> None:
    with grpc.insecure_channel(serving.address) as channel:
        request = pb.CreateRuleRequest(rule=pb.Rule(rule_id="red", text="Is there a red circle?"))
        response = RuleServiceStub(channel).CreateRule(request)
    assert response.rule.HasField("enter_threshold")
    assert response.rule.severity == pb.SEVERITY_WARNING
    assert ruled.get_rule("red") == AlertRule(rule_id="red", text="Is there a red circle?")


def test_rules_that_are_none_are_refused(serving: Serving, ruled: Client) -> None:
    ruled.create_rule(always())
    with pytest.raises(RuleExistsError, match="'always'"):
        ruled.create_rule(always())
    with pytest.raises(RuleNotFoundError, match="'other'"):
        ruled.get_rule("other")
    with pytest.raises(RuleNotFoundError):
        ruled.delete_rule("other")
    with pytest.raises(RuleError, match="cannot be a rule id"):
        ruled.create_rule(always("No Good"))
    with pytest.raises(InvalidInputError, match="cannot be a stream id"):
        ruled.create_rule(always("some", stream_ids=frozenset({"No Good"})))
    wrong: dict[str, pb.Rule] = {
        "needs a text": pb.Rule(text=" "),
        "must be below enter_threshold": pb.Rule(text="?", enter_threshold=1, leave_threshold=2),
        "got 3 and 2": pb.Rule(text="?", needed_looks=3, considered_looks=2),
        "HH:MM": pb.Rule(text="?", schedule=pb.Schedule(weekdays=[1], start="7", end="8")),
        "time_zone = 'Mars'": pb.Rule(
            text="?",
            schedule=pb.Schedule(weekdays=[1], start="07:00", end="08:00", time_zone="Mars"),
        ),
        r"got \[0, 8\]": pb.Rule(text="?", schedule=pb.Schedule(weekdays=[0, 8, 3])),
    }
    with grpc.insecure_channel(serving.address) as channel:
        for told, rule in wrong.items():
            rule.rule_id = "wrong"
            with pytest.raises(grpc.RpcError, match=told) as refused:
                RuleServiceStub(channel).CreateRule(pb.CreateRuleRequest(rule=rule))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [rule.rule_id for rule in ruled.list_rules()] == ["always"]


def test_a_repeated_request_is_carried_out_once(ruled: Client) -> None:
    for _ in range(2):
        ruled.create_rule(always(), request_id="one")
    for _ in range(2):
        ruled.delete_rule("always", request_id="two")
    assert ruled.list_rules() == []


def test_rules_come_in_pages(serving: Serving, ruled: Client) -> None:
    for number in range(5):
        ruled.create_rule(always(f"rule{number}"))
    with grpc.insecure_channel(serving.address) as channel:
        first = RuleServiceStub(channel).ListRules(pb.ListRulesRequest(page_size=3))
        rest = pb.ListRulesRequest(page_size=3, page_token=first.next_page_token)
        second = RuleServiceStub(channel).ListRules(rest)
    assert [rule.rule_id for rule in first.rules] == ["rule0", "rule1", "rule2"]
    assert [rule.rule_id for rule in second.rules] == ["rule3", "rule4"]
    assert not second.next_page_token


class Hearing:
    """A subscriber on a thread of its own."""

    def __init__(self, address: str, **wanted: Any) -> None:
        self.heard: list[GivenAlert] = []
        self.error: StreamVLMError | None = None
        self._client = Client(address)
        self._thread = threading.Thread(target=self._listen, kwargs=wanted, daemon=True)
        self._thread.start()

    def _listen(self, **wanted: Any) -> None:
        try:
            for given in self._client.subscribe(**wanted):
                if given.camera is None:  # the streams of other tests come and go
                    self.heard.append(given)
        except StreamVLMError as error:
            self.error = error

    def stop(self) -> None:
        self._client.close()
        self._thread.join(10)


def test_an_alert_reaches_its_subscribers(serving: Serving, ruled: Client) -> None:
    both = Hearing(serving.address), Hearing(serving.address, stream_ids=["elsewhere"])
    until(lambda: serving.services.gateway.num_subscribers == 2)
    ruled.create_rule(always())
    push_stream(ruled, "door")
    until(lambda: both[0].heard)
    told = both[0].heard[0].alert
    assert told
    assert (told.state, told.rule_id, told.stream_id) == (AlertState.FIRING, "always", "door")
    assert told.observed.pts_seconds > told.began.pts_seconds >= 1.0
    assert told.thumbnail[:2] == b"\xff\xd8" and told.rule_text == "Is it?"
    for each in both:
        each.stop()
    assert len(both[0].heard) == 1
    assert not both[1].heard
    until(lambda: serving.services.gateway.num_subscribers == 0)

    run, _, number = both[0].heard[0].resume_token.partition("-")
    again = Hearing(serving.address, resume_token=f"{run}-{int(number) - 1}")
    until(lambda: again.heard)
    again.stop()
    assert again.heard[0] == both[0].heard[0], "who resumes is told what came meanwhile"


def test_a_token_of_before_a_restart_is_told_that_something_may_be_lost(serving: Serving) -> None:
    hearing = Hearing(serving.address, resume_token="0123456789ab-7")
    until(lambda: hearing.heard)
    assert hearing.heard[0].alert is None
    hearing.stop()


def test_a_subscription_shows_that_it_lives(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    with grpc.insecure_channel(serving.address) as channel:
        call = EventServiceStub(channel).Subscribe(event_pb.SubscribeRequest())
        beats = [next(call) for _ in range(3)]
        call.cancel()
    assert all(beat.HasField("heartbeat") for beat in beats)
    assert len({beat.resume_token for beat in beats}) == 1


def test_too_many_subscribers_are_refused(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_SUBSCRIBERS", 0)
    with Client(serving.address) as client, pytest.raises(CapacityError, match="no more can"):
        next(client.subscribe())


def test_a_subscription_ends_with_unavailable_when_the_service_stops() -> None:
    with Serving(small_config()) as serving:
        hearing = Hearing(serving.address)
        until(lambda: serving.services.gateway.num_subscribers == 1)
    until(lambda: hearing.error)
    assert isinstance(hearing.error, EngineStoppedError)
