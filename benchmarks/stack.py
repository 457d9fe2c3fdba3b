"""Does the stack recover? Every process killed and started again, while it is used.

    python benchmarks/stack.py

The services of docker-compose.yml as processes with the file's own command lines, a real Redis, two
RTSP cameras, a subscriber, a webhook. Measures how long after each kill questions are answered and
both cameras seen again, and compares what was told with what is kept. Writes
benchmarks/results/stack.json.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine import describe, write
from rich.console import Console
from rich.table import Table

from streamvlm.alerts import Alert, AlertRule
from streamvlm.client import Client
from streamvlm.errors import StreamVLMError
from streamvlm.evaluate.rtsp_camera import RtspCamera
from streamvlm.evaluate.stack import SERVICES, Stack
from streamvlm.evaluate.through_service import LiveExam, watch
from streamvlm.evaluate.webhook_receiver import Receiver, new_secret
from streamvlm.evaluate.world.script import Pace
from streamvlm.types import AnswerFinished

console = Console(highlight=False)
WORLDS = (900_000_101, 900_000_102)
PACE = Pace(between=3.0, return_share=0.8, quiet_share=0.0, trouble_every=0.0)
RULES_A_CAMERA = 4
GROUPS = ("now", "yes/no", "now", "past", "not answerable", "yes/no", "now", "past")
EXAM_SECONDS = 60.0
PATIENCE_SECONDS = 90.0


class Subscriber:
    """Follows events whatever breaks, by resume tokens."""

    def __init__(self, address: str) -> None:
        self.heard: list[str] = []
        self.num_skipped = self.num_broken = 0
        self._address, self._is_over = address, False
        self._token = ""
        self.is_listening = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over:
            try:
                with Client(self._address) as client:
                    for given in client.subscribe(resume_token=self._token):
                        self._token = given.resume_token
                        self.num_skipped += given.num_skipped
                        if given.alert is not None:
                            self.heard.append(name_of(given.alert))
            except StreamVLMError:
                self.num_broken += 1
                time.sleep(0.2)

    def stop(self) -> None:
        """It hears nothing more."""
        self._is_over = True


def name_of(alert: Alert) -> str:
    return f"{alert.alert_id}.{alert.revision}"


def add_rules(client: Client, stream_id: str, camera: RtspCamera) -> None:
    kinds = [visit.thing.kind for visit in camera.script.visits]
    for kind, _ in Counter(kinds).most_common(RULES_A_CAMERA):
        client.create_rule(
            AlertRule(
                rule_id=f"{stream_id}-{kind.color}-{kind.shape}",
                text=f"Is there a {kind}?",
                stream_ids=frozenset({stream_id}),
                cooldown_seconds=0.0,
            )
        )


def first_time(holds: Callable[[], bool], began: float) -> float | None:
    """Seconds since `began` until it holds; None where it does not."""
    while time.monotonic() - began < PATIENCE_SECONDS:
        try:
            if holds():
                return round(time.monotonic() - began, 2)
        except StreamVLMError:
            pass
        time.sleep(0.05)
    return None


def is_answered(address: str) -> bool:
    with Client(address, timeout_seconds=10.0) as client:
        events = client.ask("cam-0", "Is there a red circle?")
        return any(isinstance(event, AnswerFinished) for event in events)


def are_seen(address: str, since_utc_seconds: float) -> bool:
    """Whether what happened behind this moment is remembered of both."""
    with Client(address, timeout_seconds=5.0) as client:
        return all(
            status.feed.last_frame is not None
            and status.memory.remembered is not None
            and status.memory.remembered.end.utc_seconds > since_utc_seconds
            for status in map(client.get_stream, ("cam-0", "cam-1"))
        )


def overlapping(alerts: list[Alert]) -> int:
    """Alerts that fired while another one of the same rule and stream had not ended."""
    open_now: dict[tuple[str, str], str] = {}
    found = 0
    for alert in alerts:
        key = alert.rule_id, alert.stream_id
        found += open_now.get(key, alert.alert_id) != alert.alert_id
        open_now[key] = alert.alert_id
        if alert.is_over:
            del open_now[key]
    return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    secret, rows = new_secret(), []
    with tempfile.TemporaryDirectory() as name, Receiver(secret) as receiver:
        hook = {
            "name": "test", "url": receiver.url, "secret_variable": "SECRET", "allow_private": True,
        }  # fmt: skip
        began = time.monotonic()
        stack = Stack(
            folder=Path(name),
            settings={"notify": {"webhooks": [hook], "retry_seconds": [1.0] * 60}},
            environment={"SECRET": secret},
        )
        cameras = [
            RtspCamera(world=world, pace=PACE, seconds=options.seconds, sizes=((256, 256),))
            for world in WORLDS
        ]
        with stack, cameras[0], cameras[1], Client(stack.address) as client:
            started_seconds = round(time.monotonic() - began, 1)
            subscriber = Subscriber(stack.address)
            truth = watch(client, "cam-0", cameras[0])
            watch(client, "cam-1", cameras[1])
            for index, camera in enumerate(cameras):
                add_rules(client, f"cam-{index}", camera)
            # Of the first minute; the cameras go on.
            soon = replace(truth, script=replace(truth.script, seconds=EXAM_SECONDS))
            exam = LiveExam(client=client, stream_id="cam-0", truth=soon, groups=GROUPS)
            right = []
            while (question := exam.wait()) is not None:
                right.append(exam.ask(question).outcome.is_right)
            console.print(f"{sum(right)} of {len(right)} questions answered right")
            for service in options.services:
                stack.kill(service)
                killed, killed_utc = time.monotonic(), time.time()
                stack.start(service)
                answered = first_time(lambda: is_answered(stack.address), killed)
                seen = first_time(partial(are_seen, stack.address, killed_utc), killed)
                rows.append({"killed": service, "answers_after": answered, "seen_after": seen})
                console.print(rows[-1])
                time.sleep(options.pause)
            for rule in client.list_rules():
                client.delete_rule(rule.rule_id)
            time.sleep(5.0)
            statuses = [client.get_stream(f"cam-{index}") for index in range(2)]
            listed = [each.event for each in client.list_events(most=5000)]
            subscriber.stop()
            ends = {service: stack.terminate(service) for service in reversed(SERVICES)}
    kept = [event for event in reversed(listed) if isinstance(event, Alert)]
    told = [each for each in kept if each.state != "suppressed"]
    names = {name_of(alert) for alert in told}
    accepted = Counter(each.identity for each in receiver.accepted)
    heard = Counter(subscriber.heard)
    states: dict[str, int] = defaultdict(int)
    for alert in kept:
        states[alert.state.value] += 1
    return {
        "machine": describe(torch.device("cpu")),
        "questions": {"asked": len(right), "right": sum(right)},
        "started_after_seconds": started_seconds,
        "recoveries": rows,
        "alerts": {
            "kept": dict(states),
            "ids": len({alert.alert_id for alert in kept}),
            "fired_while_open_under_another_id": overlapping(kept),
            "not_at_webhook": len(names - accepted.keys()),
            "at_webhook_more_than_once": sum(number > 1 for number in accepted.values()),
            "not_at_subscriber": len({name_of(alert) for alert in kept} - heard.keys()),
            "at_subscriber_more_than_once": sum(number > 1 for number in heard.values()),
            "subscriber_reconnects": subscriber.num_broken,
            "subscriber_skipped": subscriber.num_skipped,
        },
        "gaps": [
            [
                {"seconds": round(gap.interval.duration_seconds, 1), "reason": gap.reason}
                for gap in status.memory.gaps
            ]
            for status in statuses
        ],
        "exit_status": ends,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=900.0, help="of each camera's world")
    parser.add_argument("--pause", type=float, default=10.0, help="seconds behind each recovery")
    parser.add_argument("--services", nargs="+", default=list(SERVICES), choices=SERVICES)
    result = run(parser.parse_args())
    table = Table("killed", "answers after", "both cameras seen after")
    for row in result["recoveries"]:
        table.add_row(row["killed"], f"{row['answers_after']} s", f"{row['seen_after']} s")
    console.print(table, result["alerts"], result["gaps"], result["exit_status"])
    write("stack", result)


if __name__ == "__main__":
    main()
