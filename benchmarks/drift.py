"""Does memory follow what changes slowly? A thing that turns colour, and a light that rises.

    python benchmarks/drift.py

No clip differs from the one before it by as much as the threshold. What each rule holds of the
picture, of every cell the token that it kept last, is laid out as one clip, and the model is asked
about that alone, where the truth is clear; beside it, how far what is held is from the scene. (Mini
takes what is not in the newest clip for gone: clips of few cells in their order tell it nothing.)
Writes benchmarks/results/drift.json and drift.png.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import nan
from statistics import fmean
from typing import Any

import torch
from machine import RESULTS, describe, write
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from streamvlm.beginning import Beginning
from streamvlm.config import Config
from streamvlm.encode import Encoder
from streamvlm.evaluate.held import Held
from streamvlm.evaluate.items import normalise
from streamvlm.evaluate.suites.mini import TEST_SEEDS, SyntheticVideo
from streamvlm.evaluate.world.script import Dawn, Script, Turn, Visit
from streamvlm.evaluate.world.things import Kind, Thing
from streamvlm.reduce import build_reducer
from streamvlm.reduce.ops import cosine_distance
from streamvlm.types import AnswerFinished, Question, Sampling, VisualTokens
from streamvlm.vlm import VLM, load

THRESHOLD = 0.1
NEVER = 1_000_000
SETTINGS: dict[str, dict[str, Any]] = {
    "full": {"name": "all"},
    "dtd by reference": {"name": "dtd", "threshold": THRESHOLD, "max_age": NEVER},
    "dtd strict": {"name": "dtd", "threshold": THRESHOLD, "compare_with": "previous"},
    "dtd as it comes": {"name": "dtd"},
    "compressor as it comes": {"name": "compressor"},
}
"""`dtd by reference` without refreshes: they would follow too, a minute late."""
FIRST_SEED = TEST_SEEDS.start + 2_000_000
COLORS = (
    ("red", "blue"),
    ("yellow", "green"),
    ("white", "black"),
    ("green", "purple"),
    ("blue", "yellow"),
    ("orange", "blue"),
    ("purple", "yellow"),
    ("black", "red"),
)
SHAPES = ("circle", "square")
BEFORE, AFTER, TURN_SECONDS, DAWN_SECONDS = 30, 60, 300, 600
FIRST_LIGHT = 0.02
SURE_TURN, SURE_DAWN = (0.2, 0.8), (0.0, 0.5)
"""Shares of the change up to which the first answer holds, and from which the other does."""
TOLD_EVERY_CLIPS = 5
"""Distances are told."""
ASKED_EVERY_SECONDS = 15

console = Console(highlight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A scene in which one thing changes slowly."""

    script: Script
    kind: str
    """What changes: "turn" or "dawn"."""
    asked: tuple[tuple[str, str, str], ...]
    """Questions with the answers before and after."""

    def share(self, seconds: float) -> float:
        """How much of the change is over."""
        length = TURN_SECONDS if self.kind == "turn" else DAWN_SECONDS
        return min(1.0, max(0.0, (seconds - BEFORE) / length))

    def truth(self, seconds: float) -> int | None:
        """0: the first answers are right; 1: the others are; None between the two."""
        low, high = SURE_TURN if self.kind == "turn" else SURE_DAWN
        share = self.share(seconds)
        return 0 if share <= low else 1 if share >= high else None


def turning(number: int) -> Stream:
    """A thing at rest that takes another colour within five minutes."""
    first, second = COLORS[number % len(COLORS)]
    shape = SHAPES[number // len(COLORS) % len(SHAPES)]
    turn = Turn(color=second, start=BEFORE, end=BEFORE + TURN_SECONDS)
    seconds = float(BEFORE + TURN_SECONDS + AFTER)
    script = _script(FIRST_SEED + number, seconds, Kind(first, shape), turn, None)
    asked = (
        (f"What colour is the {shape}?", first, second),
        (f"Is there a {first} {shape}?", "yes", "no"),
        (f"Is there a {second} {shape}?", "no", "yes"),
    )
    return Stream(script=script, kind="turn", asked=asked)


def dawning(number: int) -> Stream:
    """A thing at rest that nobody can see before the light has risen."""
    color, shape = COLORS[number % len(COLORS)][1], SHAPES[number % len(SHAPES)]
    color = "white" if color == "black" else color
    dawn = Dawn(first=FIRST_LIGHT, start=BEFORE, end=BEFORE + DAWN_SECONDS)
    seconds = float(BEFORE + DAWN_SECONDS + AFTER)
    script = _script(FIRST_SEED + 1000 + number, seconds, Kind(color, shape), None, dawn)
    asked = (
        (f"What colour is the {shape}?", "not there", color),
        (f"Is there a {color} {shape}?", "no", "yes"),
    )
    return Stream(script=script, kind="dawn", asked=asked)


def _script(seed: int, seconds: float, kind: Kind, turn: Turn | None, dawn: Dawn | None) -> Script:
    thing = Thing(kind=kind, size="large", radius=0.125, plate="")
    place = (0.25 + 0.125 * (seed % 5), 0.25 + 0.125 * (seed % 4))
    visit = Visit(thing=thing, times=(-1.0, seconds + 1), points=(place, place), turn=turn)
    return Script(seed=seed, seconds=seconds, visits=(visit,), dawn=dawn)


def ask(begin: Beginning, clip: VisualTokens, text: str) -> str:
    """The answer about a clip and nothing else."""
    pipeline = begin.pipeline()
    pipeline.feed(clip)
    sampling = Sampling(max_new_tokens=8)
    question = Question(question_id="q", stream_id="drift", text=text, sampling=sampling)
    answering = pipeline.ask(question, time.monotonic())
    while True:
        for event in answering.advance():
            if isinstance(event, AnswerFinished):
                return normalise(event.text)


def changing_cells(stream: Stream, clip: VisualTokens) -> torch.Tensor:
    """bool [N] cpu: those that the thing covers where it turns, and all in a dawn."""
    if stream.kind == "dawn":
        return torch.ones(len(clip), dtype=torch.bool)
    visit = stream.script.visits[0]
    x, y = visit.points[0]
    centers = (clip.cells[:, 1:].cpu() + 0.5) / torch.tensor(clip.grid_thw[1:])
    return (centers - torch.tensor([y, x])).norm(dim=1) < visit.thing.radius


def encoded(encoder: Encoder, script: Script, config: Config) -> Iterator[VisualTokens]:
    """The clips of a scene, in order."""
    clips = SyntheticVideo(script=script).clips(2.0, config.encode.max_pixels)
    while batch := list(islice(clips, encoder.max_batch_clips)):
        yield from encoder.encode(batch)


def watch(vlm: VLM, config: Config, stream: Stream) -> Iterator[dict[str, Any]]:
    """What each setting holds, clip by clip, and what is answered from it."""
    encoder = Encoder(tower=vlm, max_batch_clips=config.encode.max_batch_clips)
    begin = Beginning(vlm, config)
    held = {name: Held(build_reducer(reduce)) for name, reduce in SETTINGS.items()}
    before: VisualTokens | None = None
    for scene in encoded(encoder, stream.script, config):
        second = scene.interval.start.pts_seconds
        cells = changing_cells(stream, scene)
        step = cosine_distance(before.features, scene.features).max() if before else 0.0
        before = scene
        truth = stream.truth(second)
        is_asked = second % ASKED_EVERY_SECONDS == 0 and truth is not None
        for name, each in held.items():
            picture = each.push(scene)
            distance = cosine_distance(picture.features, scene.features).cpu()
            asked = stream.asked if is_asked else ()
            answers = [ask(begin, picture, text) for text, *_ in asked]
            yield {
                "kind": stream.kind,
                "seed": stream.script.seed,
                "setting": name,
                "seconds": second,
                "step": float(step),
                "distance": float(distance[cells].mean()),
                "truth": truth,
                "right": [
                    answer == right[truth]
                    for answer, (_, *right) in zip(answers, asked, strict=True)
                ],
                "kept": each.num_settled / each.num_seen,
            }


def add_up(samples: Sequence[dict[str, Any]], kind: str, setting: str) -> dict[str, Any]:
    """The streams of a kind together, over time."""
    own = [each for each in samples if (each["kind"], each["setting"]) == (kind, setting)]
    end = max(each["seconds"] for each in own)
    seconds = sorted({each["seconds"] for each in own})[::TOLD_EVERY_CLIPS]
    asked = [each for each in own if each["right"]]

    def share(some: Sequence[dict[str, Any]]) -> float:
        return fmean(mark for each in some for mark in each["right"])

    return {
        "seconds": seconds,
        "distance": [
            round(fmean(e["distance"] for e in own if e["seconds"] == each), 4) for each in seconds
        ],
        "right": {
            str(second): round(share([e for e in asked if e["seconds"] == second]), 4)
            for second in sorted({each["seconds"] for each in asked})
        },
        "right_before": share([each for each in asked if each["truth"] == 0]),
        "right_after": share([each for each in asked if each["truth"] == 1]),
        "questions": sum(len(each["right"]) for each in asked),
        "distance_at_end": fmean(e["distance"] for e in own if e["seconds"] == end),
        "kept": fmean(e["kept"] for e in own if e["seconds"] == end),
        "largest_step": max(each["step"] for each in own),
    }


def _asked(right: dict[str, float]) -> tuple[list[float], list[float]]:
    """Minutes and percent, with a hole where nothing was asked."""
    moments, marks = list[float](), list[float]()
    for text, share in right.items():
        if moments and float(text) > 60 * moments[-1] + ASKED_EVERY_SECONDS + 1:
            moments.append(nan)
            marks.append(nan)
        moments.append(float(text) / 60)
        marks.append(100 * share)
    return moments, marks


def plot(result: dict[str, Any]) -> None:
    """Right answers above, distances below; the turn on the left, the dawn on the right."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharey="row")
    titles = {"turn": "a thing turns colour in 5 minutes", "dawn": "the light rises in 10 minutes"}
    for column, (kind, title) in enumerate(titles.items()):
        above, below = panels[0][column], panels[1][column]
        for number, name in enumerate(SETTINGS):
            own, style = result["by_setting"][kind][name], "-" if number < 3 else ":"
            moments, marks = _asked(own["right"])
            above.plot(moments, marks, f"o{style}", color=f"C{number}", markersize=3, label=name)
            minutes = [each / 60 for each in own["seconds"]]
            below.plot(minutes, own["distance"], style, color=f"C{number}", label=name)
        above.set_title(title)
        above.set_ylim(-4, 104)
        below.axhline(THRESHOLD, color="grey", linewidth=0.8)
        below.set_xlabel("minutes")
    panels[0][0].set_ylabel("right answers from what is held, %")
    panels[1][0].set_ylabel("1 - cosine of what is held to the scene")
    panels[1][1].legend(fontsize="small")
    figure.savefig(RESULTS / "drift.png")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--dawns", type=int, default=3)
    options = parser.parse_args()
    config = Config()
    vlm = load(options.checkpoint, device=options.device, max_pixels=config.encode.max_pixels)
    streams = [turning(number) for number in range(options.turns)]
    streams += [dawning(number) for number in range(options.dawns)]
    samples = [
        sample
        for stream in track(streams, "watching", console=console)
        for sample in watch(vlm, config, stream)
    ]
    by_setting = {
        kind: {name: add_up(samples, kind, name) for name in SETTINGS} for kind in ("turn", "dawn")
    }
    for kind, settings in by_setting.items():
        for name, own in settings.items():
            console.print(
                f"{kind} {name:23} right before {own['right_before']:.0%}, "
                f"after {own['right_after']:.0%}; in the end {own['distance_at_end']:.3f} from "
                f"the scene; {own['kept']:.1%} kept; largest step {own['largest_step']:.3f}"
            )
    result = {
        "machine": describe(torch.device(vlm.device)),
        "checkpoint": options.checkpoint,
        "settings": SETTINGS,
        "by_setting": by_setting,
    }
    console.print("wrote", write("drift", result))
    plot(result)


if __name__ == "__main__":
    main()
