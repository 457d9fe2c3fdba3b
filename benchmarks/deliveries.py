"""Does every event reach its webhook? 1,000 events, a receiver that fails and a notifier that is
killed at random.

    python benchmarks/deliveries.py

A real Redis, the notifier as a process of its own with the stack's command line, a receiver that
answers 200, 429, 500, 503, hangs up, or says nothing, and checks each signature with the public
`standardwebhooks` package and each envelope with `cloudevents`. Writes
benchmarks/results/deliveries.json.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import torch
import yaml
from machine import describe, write
from rich.console import Console

from services import keys
from services.event_log import EventLog
from services.redis_server import redis_server
from services.store import connected
from streamvlm.alerts import Alert, AlertState
from streamvlm.evaluate.webhook_receiver import Receiver, new_secret
from streamvlm.types import ClockSource, StreamTime

console = Console(highlight=False)
RULES = 10
ROOT = Path(__file__).parents[1]


def alert(number: int) -> Alert:
    at = StreamTime(pts_seconds=float(number), utc_seconds=time.time(), clock=ClockSource.ARRIVAL)
    return Alert(
        alert_id=f"alert-{number}",
        revision=0,
        state=AlertState.FIRING,
        rule_id=f"rule-{number % RULES}",
        stream_id="door",
        began=at,
        observed=at,
        score=3.0,
        highest_score=3.0,
        rule_text="Is somebody at the door?",
        enter_threshold=2.0,
    )


class Notifier:
    """The process, which can be killed."""

    def __init__(self, folder: Path, url: str, secret: str, receiver: str) -> None:
        hook = {
            "name": "test",
            "url": receiver,
            "secret_variable": "SECRET",
            "allow_private": True,
        }
        notify = {"webhooks": [hook], "retry_seconds": [0.1] * 40, "timeout_seconds": 1.0}
        (folder / "notify.yaml").write_text(yaml.safe_dump({"notify": notify}))
        self._command = [
            sys.executable, "-m", "streamvlm.cli", "serve", "notifier",
            "--config", str(folder / "notify.yaml"),
        ]  # fmt: skip
        self._environment = {
            **os.environ, "STREAMVLM_REDIS_URL": url, "SECRET": secret, "STREAMVLM_NAME": "one",
        }  # fmt: skip
        self._log = (folder / "notifier.log").open("wb")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it, again."""
        self._process = subprocess.Popen(
            self._command, env=self._environment, cwd=ROOT, stdout=self._log, stderr=self._log
        )

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it, without a goodbye by default."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait()


async def run(options: argparse.Namespace) -> dict[str, object]:
    rng = random.Random(options.seed)
    secret = new_secret()
    outcomes = ("ok", "ok", "ok", "429", "500", "503", "hang up", "silence")
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as name,
        Receiver(secret, lambda: rng.choice(outcomes)) as receiver,
    ):
        folder = Path(name)
        async with redis_server(folder / "redis") as url, connected(url) as store:
            log, notifier = EventLog(store), Notifier(folder, url, secret, receiver.url)
            notifier.start()
            kills = 0
            # Until the webhook reads: what was there before it is not told.
            while not await store.redis.exists(keys.EVENTS):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            for number in range(options.events):
                await log.publish(alert(number), epoch=0)
            published = time.monotonic()
            while receiver.num_accepted_ids < options.events:
                await asyncio.sleep(rng.uniform(2.0, 6.0))
                if receiver.num_accepted_ids < options.events and kills < options.kills:
                    notifier.kill()
                    kills += 1
                    notifier.start()
                if time.monotonic() - published > 500:
                    break
            seconds = time.monotonic() - published
            notifier.kill(signal.SIGTERM)
    accepted = receiver.accepted
    first_of_rule: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    for each in accepted:
        if each.identity not in seen:
            seen.add(each.identity)
            first_of_rule[each.event["subject"]].append(int(each.event["sequence"]))
    bodies_of: dict[str, set[str]] = defaultdict(set)
    for each in receiver.requests:
        bodies_of[each.event["id"]].add(each.identity)
    return {
        "machine": describe(torch.device("cpu")),
        "events": options.events,
        "delivered": len(seen),
        "requests": len(receiver.requests),
        "outcomes": dict(Counter(each.outcome for each in receiver.requests)),
        "accepted_more_than_once": len(accepted) - len(seen),
        "in_order_of_their_rule": all(
            numbers == sorted(numbers) for numbers in first_of_rule.values()
        ),
        "one_id_for_all_attempts": all(len(ids) == 1 for ids in bodies_of.values()),
        "signatures_refused": receiver.num_refused_signatures,
        "notifier_killed": kills,
        "seconds": round(seconds, 1),
        "seconds_in_all": round(time.monotonic() - began, 1),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    result = asyncio.run(run(parser.parse_args()))
    for key, value in result.items():
        console.print(f"{key:<24} {value}")
    write("deliveries", result)


if __name__ == "__main__":
    main()
