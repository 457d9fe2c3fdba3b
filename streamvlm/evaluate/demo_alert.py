"""The demo's alerts: rules about what will come and go, and what a webhook is told of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml
from rich.text import Text

from streamvlm.alerts import AlertRule
from streamvlm.client import Client
from streamvlm.evaluate.live_truth import LiveTruth
from streamvlm.evaluate.webhook_receiver import Received, Receiver, new_secret
from streamvlm.evaluate.world.script import Visit

SECRET_VARIABLE = "STREAMVLM_WEBHOOK_SECRET"
RULES = 3
_LEAD_SECONDS, _TAIL_SECONDS, _LEAST_SECONDS = 8.0, 10.0, 6.0
"""From now to the first that counts, from the last to the end; how long it is there."""
_PATIENCE_SECONDS = 8.0
_SLACK_SECONDS = 1.0
"""An alert that fires earlier than this before its thing came is a false one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A rule, and when what it asks for is there, in UTC."""

    rule: AlertRule
    starts_utc_seconds: float
    ends_utc_seconds: float


@contextmanager
def receiving(folder: Path) -> Iterator[tuple[Receiver, Path, dict[str, str]]]:
    """A webhook receiver, and the config and the environment of a service that tells it."""
    secret = new_secret()
    with Receiver(secret) as receiver:
        hook = {
            "name": "demo",
            "url": receiver.url,
            "secret_variable": SECRET_VARIABLE,
            "allow_private": True,
        }
        config = folder / "demo.yaml"
        config.write_text(yaml.safe_dump({"notify": {"webhooks": [hook]}}))
        yield receiver, config, {SECRET_VARIABLE: secret}


def watch_for(client: Client, stream_id: str, truth: LiveTruth, began: float) -> list[Watched]:
    """Create rules about some things that will come and go while the camera runs, which it does
    since `began`, in UTC.
    """
    now = time.time() - began
    watched = list[Watched]()
    for visit in _fitting(truth, now):
        kind = visit.thing.kind
        rule = AlertRule(
            rule_id=f"{kind.color}-{kind.shape}",
            text=f"Is there a {kind}?",
            stream_ids=frozenset({stream_id}),
        )
        client.create_rule(rule)
        starts, ends = began + visit.times[0], began + visit.times[-1]
        watched.append(Watched(rule=rule, starts_utc_seconds=starts, ends_utc_seconds=ends))
    return watched


def _fitting(truth: LiveTruth, now: float) -> list[Visit]:
    """Those that come once, soon enough and not too soon, and stay for a while."""
    visits = truth.script.visits
    kinds = [visit.thing.kind for visit in visits]
    last = truth.script.seconds - _TAIL_SECONDS
    fitting = [
        visit
        for visit in visits
        if kinds.count(visit.thing.kind) == 1
        and visit.times[0] > now + _LEAD_SECONDS
        and visit.times[-1] < last
        and visit.times[-1] - visit.times[0] >= _LEAST_SECONDS
    ]
    return fitting[:RULES]


def wait_for_ends(receiver: Receiver, watched: list[Watched]) -> None:
    """Return when every rule that fired has ended, or when that is late."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if all(_is_settled(receiver, each) for each in watched):
            return
        time.sleep(0.1)


def _is_settled(receiver: Receiver, watched: Watched) -> bool:
    told = _told(receiver, watched)
    return bool(told) and told[-1].event["data"]["state"] in ("resolved", "expired")


def _told(receiver: Receiver, watched: Watched) -> list[Received]:
    return [each for each in receiver.accepted if each.event["subject"] == watched.rule.rule_id]


def _happened(told: Received) -> float:
    """When, in UTC."""
    return datetime.fromisoformat(told.event["time"]).timestamp()


def report(receiver: Receiver, watched: list[Watched]) -> tuple[list[Text], int]:
    """A line for each rule, and how many fired when they should and resolved under one id."""
    lines, num_whole = list[Text](), 0
    for each in watched:
        told = _told(receiver, each)
        states = [one.event["data"]["state"] for one in told]
        num_ids = len({one.event["data"]["alert_id"] for one in told})
        is_true = bool(told) and _happened(told[0]) > each.starts_utc_seconds - _SLACK_SECONDS
        is_whole = is_true and (states[0], states[-1], num_ids) == ("firing", "resolved", 1)
        num_whole += is_whole
        what = Text.assemble((f"{each.rule.text} ", "bold"))
        for one in told:
            at, state = _happened(one), one.event["data"]["state"]
            edge, word = (
                (each.ends_utc_seconds, "left")
                if state in ("resolved", "expired")
                else (each.starts_utc_seconds, "came")
            )
            what.append(f" {state} {at - edge:+.1f} s after it {word};", "cyan")
        if not told:
            what.append(" the webhook was not told", "yellow")
        lines.append(what)
    return lines, num_whole
