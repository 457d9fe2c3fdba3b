"""Do alerts fire when they should, once, and not otherwise? Unseen streams with known events.

    python benchmarks/alerts.py --streams 10 --quiet-hours 2 --processes 2

Streams of 20 minutes in which a thing comes again and again, and hours in which it never comes but
others do; a standing question about it. Three ways to decide in one run: ours; a look each second
that fires whenever "yes" becomes likelier than "no"; an answer each second that fires whenever a
"yes" appears in its text. Prints a table, writes benchmarks/results/alerts.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from functools import cache, reduce
from multiprocessing import get_context
from operator import add
from pathlib import Path
from typing import Any

import torch
from machine import describe, write
from rich.console import Console
from rich.progress import track
from rich.table import Table

from streamvlm.alerts import Alert, AlertRule, AlertState
from streamvlm.beginning import Beginning
from streamvlm.config import Config
from streamvlm.encode import Encoder
from streamvlm.evaluate.alarms import Event, Score, events_of, score
from streamvlm.evaluate.suites.mini import TEST_SEEDS, SyntheticVideo
from streamvlm.evaluate.world.script import Pace, Script
from streamvlm.evaluate.world.script import write as write_script
from streamvlm.evaluate.world.things import KINDS, Kind
from streamvlm.evaluate.world.truth import looks
from streamvlm.looks import LookTable
from streamvlm.pipeline import StreamPipeline
from streamvlm.streams import WatchedStream
from streamvlm.types import AnswerFinished, Clip, FeedStatus, Gap, Question, Sampling, SourceState
from streamvlm.vlm import VLM, load

FIRST_SEED = TEST_SEEDS.start + 2_000_000
PACE = Pace(between=20.0, return_share=0.5, quiet_share=0.1, trouble_every=300.0)
WAYS = ("streamvlm", "polling at 1 Hz", "substring at 1 Hz")

console = Console(highlight=False)


class NoFeed:
    """The benchmark shows the clips itself."""

    def take(self) -> Clip | Gap | None:
        """Nothing waits."""
        return None

    def status(self) -> FeedStatus:
        """All is well."""
        return FeedStatus(state=SourceState.LIVE)

    def stop(self) -> None:
        """Nothing to end."""


def busy(seconds: float, number: int) -> Iterator[tuple[Script, Kind, list[Event]]]:
    """Streams in which the kind that is asked about comes at least three times."""
    seed = FIRST_SEED
    while number:
        script = write_script(seed, seconds, PACE)
        kind = Counter(visit.thing.kind for visit in script.visits).most_common(1)[0][0]
        shown = looks(script, [float(second) for second in range(int(seconds))])
        events = events_of(shown, kind)
        if len(events) >= 3:
            number -= 1
            yield script, kind, events
        seed += 1


def quiet(seconds: float, number: int) -> Iterator[tuple[Script, Kind, list[Event]]]:
    """Streams in which the kind that is asked about never comes."""
    for seed in range(FIRST_SEED - number, FIRST_SEED):
        script = write_script(seed, seconds, PACE)
        seen = {visit.thing.kind for visit in script.visits}
        yield script, next(kind for kind in KINDS if kind not in seen), []


@cache
def model(checkpoint: str, device: str) -> VLM:
    """One for each process."""
    torch.set_num_threads(1)
    return load(checkpoint, device=device, max_pixels=Config().encode.max_pixels)


def watch(
    checkpoint: str, device: str, script: Script, kind: Kind, events: list[Event]
) -> tuple[dict[str, Score], dict[str, Any]]:
    """The score of each way on one stream, and every look's margin beside its events."""
    vlm, config = model(checkpoint, device), Config()
    pipeline, encoder = Beginning(vlm, config).pipeline(), Encoder(tower=vlm, max_batch_clips=1)
    rule = AlertRule(rule_id="rule", text=f"Is there a {kind}?", cooldown_seconds=0.0)
    fired: list[Alert] = []
    table = LookTable(config.watch, fired.append)
    table.add(rule)
    stream = WatchedStream(
        stream_id="stream",
        source="",
        feed=NoFeed(),
        pipeline=pipeline,
        memory=pipeline.status(),
        created_utc_seconds=0.0,
    )
    polled, written = _Edges(), _Edges()
    seconds, margins = 0, list[float]()
    for clip in SyntheticVideo(script=script).clips(config.capture.fps, config.encode.max_pixels):
        if pipeline.admit(clip):
            for tokens in encoder.encode([clip]):
                pipeline.feed(tokens)
        else:
            pipeline.extend(clip)
        stream.memory = pipeline.status()
        while table.advance([stream]):
            pass
        seconds += 1
        now = clip.interval.end.pts_seconds
        margins.append(round(pipeline.look(rule.text), 2))
        polled.add(now, margins[-1] > 0)
        written.add(now, "yes" in _answer(pipeline, rule.text).lower())
    ours = [each.observed.pts_seconds for each in fired if each.state is AlertState.FIRING]
    alarms = zip(WAYS, (ours, polled.at, written.at), strict=True)
    counts = dict(zip(WAYS, (table.num_looks, seconds, seconds), strict=True))
    scores = {
        way: score(events, at, seconds=float(seconds), looks=counts[way]) for way, at in alarms
    }
    trace = {"kind": str(kind), "events": [asdict(each) for each in events], "margins": margins}
    return scores, {**trace, "alarms": ours}


class _Edges:
    """When something became true."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self._was_true = False

    def add(self, seconds: float, is_true: bool) -> None:
        if is_true and not self._was_true:
            self.at.append(seconds)
        self._was_true = is_true


def _answer(pipeline: StreamPipeline, text: str) -> str:
    question = Question(
        question_id="q", stream_id="stream", text=text, sampling=Sampling(max_new_tokens=8)
    )
    answering = pipeline.ask(question, time.monotonic())
    while True:
        for event in answering.advance():
            if isinstance(event, AnswerFinished):
                return event.text


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--quiet-hours", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--trace", type=Path, help="a JSON file for the margins of all looks")
    options = parser.parse_args()
    began = time.monotonic()
    work = [
        *quiet(3600.0, options.quiet_hours),
        *busy(60 * options.minutes, options.streams),
    ]
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        watching = [pool.submit(watch, options.checkpoint, options.device, *each) for each in work]
        for _ in track(as_completed(watching), "watching", len(work), console=console):
            pass
        results = [each.result() for each in watching]
    found = [scores for scores, _ in results]
    if options.trace:
        options.trace.write_text(json.dumps([trace for _, trace in results]))
    totals = {way: reduce(add, (scores[way] for scores in found)) for way in WAYS}
    console.print(table_of(totals))
    result = {
        "machine": describe(torch.device(model(options.checkpoint, options.device).device)),
        "checkpoint": options.checkpoint,
        "streams": options.streams,
        "minutes": options.minutes,
        "quiet_hours": options.quiet_hours,
        "seconds_taken": round(time.monotonic() - began),
        "processes": options.processes,
        "watch": Config().watch.model_dump(mode="json"),
        "ways": {way: asdict(replace(each, delays=())) for way, each in totals.items()},
        "delays": {way: list(each.delays) for way, each in totals.items()},
    }
    console.print("wrote", write("alerts", result))


def table_of(totals: dict[str, Score]) -> Table:
    """For people."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in (
        "WAY",
        "EVENTS",
        "RECALL",
        "FALSE/HOUR",
        "ALARMS/EVENT",
        "DELAY p50, p95",
        "LOOKS/HOUR",
    ):
        table.add_column(name, justify="left" if name == "WAY" else "right")
    for way, each in totals.items():
        delay = each.delay_seconds
        table.add_row(
            way,
            str(each.events),
            "-" if each.recall is None else f"{100 * each.recall:.0f} %",
            f"{each.false_alarms_an_hour:.2f}",
            "-" if each.alarms_an_event is None else f"{each.alarms_an_event:.2f}",
            f"{delay[0]:.1f}, {delay[1]:.1f} s" if delay else "-",
            f"{each.looks_an_hour:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
