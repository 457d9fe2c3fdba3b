"""Does what a reducer holds stay flat for a day? 24 hours of clips, by a clock that runs fast.

    python benchmarks/day.py
    python benchmarks/day.py --only dtd --only compressor

A clip of small features a second, by turns an hour of calm, noise, cuts, drift and flashes, into
each reducer as a stream of its own. About every minute the bytes that it holds are taken, every
hour what it kept, beside its budget where it has one. Writes benchmarks/results/day.json; reducers
that are not run keep what was measured before. Exits with 1 where a reducer holds a clip more in
the last turn of the scenes than it did in the first one: samples meet segments in other states.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import torch
from machine import RESULTS, describe, write
from torch import Tensor

from streamvlm.reduce import REDUCERS, SEGMENT_REDUCERS, build_reducer, open_stream
from streamvlm.types import ClockSource, Interval, StreamTime, VisualTokens

GRID = (1, 4, 4)
CELLS, SIZE, LEVELS = 16, 16, 2
"""Of a clip: tokens, numbers in each, maps of deepstack."""
HOUR, SEGMENT_CLIPS = 3600, 4
SAMPLE_SECONDS = 59
"""No multiple of the length of a segment: every state of one is met."""
SPECS: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in (*REDUCERS, *SEGMENT_REDUCERS)},
    "dtd strict": {"name": "dtd", "compare_with": "previous"},
    "compressor by the minute": {"name": "compressor", "tokens_per_minute": 120},
    "compressor, all steps": {
        "name": "compressor",
        "background_ratio": 0.5,
        "key_share": 0.5,
        "neighbourhood": 3,
    },
}
CELL_LIST = torch.cartesian_prod(*(torch.arange(size) for size in GRID))


def calm(base: Tensor, noise: Tensor, second: int) -> Tensor:
    """Nothing but the noise of a sensor."""
    return base + 0.02 * noise


def noisy(base: Tensor, noise: Tensor, second: int) -> Tensor:
    """Each clip is another picture."""
    return noise


def cuts(base: Tensor, noise: Tensor, second: int) -> Tensor:
    """Another scene every twenty seconds."""
    return base.roll(second // 20, dims=0) + 0.05 * noise


def drift(base: Tensor, noise: Tensor, second: int) -> Tensor:
    """One scene becomes another, slowly."""
    share = second % HOUR / HOUR
    return (1 - share) * base + share * base.flip(0) + 0.02 * noise


def flashes(base: Tensor, noise: Tensor, second: int) -> Tensor:
    """Every fifth clip is of another brightness and of no scene."""
    return torch.ones_like(base) + 0.1 * noise if second % 5 == 0 else base + 0.02 * noise


SCENES: tuple[Callable[[Tensor, Tensor, int], Tensor], ...] = (calm, noisy, cuts, drift, flashes)


def clips(hours: int) -> Iterator[VisualTokens]:
    """A clip a second, the same for all reducers."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(CELLS, SIZE, generator=generator)
    for second in range(hours * HOUR):
        scene = SCENES[second // HOUR % len(SCENES)]
        noise = torch.randn(CELLS, SIZE, generator=generator)
        features = scene(base, noise, second)
        start = StreamTime(
            pts_seconds=float(second), utc_seconds=1.7e9 + second, clock=ClockSource.FILE
        )
        yield VisualTokens(
            features=features,
            cells=CELL_LIST,
            grid_thw=GRID,
            interval=Interval(start=start, end=start.later(1.0)),
            pts_seconds=second + 0.25,
            deepstack=features.repeat(LEVELS, 1, 1),
            salience=noise[:, 0].abs(),
            sensitivity=noise[:, 1].abs(),
        )


def budget(reducer: Any) -> float | None:
    """Tokens an hour that a reducer is set to, where it is."""
    if getattr(reducer, "tokens_per_minute", None) is not None:
        return float(60 * reducer.tokens_per_minute)
    ratio = getattr(reducer, "keep_ratio", None)
    return None if ratio is None else float(HOUR * CELLS * ratio)


def live(spec: dict[str, Any], hours: int) -> dict[str, Any]:
    """A day of one reducer."""
    reducer = build_reducer(spec)
    stream = open_stream(reducer, SEGMENT_CLIPS)
    began, process = time.monotonic(), psutil.Process()
    most, kept, resident = [0] * hours, [0] * hours, list[int]()
    for second, tokens in enumerate(clips(hours)):
        for segment in stream.push(tokens, None):
            kept[second // HOUR] += segment.num_tokens
        if second % SAMPLE_SECONDS == 0:
            most[second // HOUR] = max(most[second // HOUR], stream.num_bytes)
        if second % HOUR == HOUR - 1:
            resident.append(process.memory_info().rss)
    return {
        "settings": spec,
        "clip_bytes": CELLS * SIZE * 4 * (1 + LEVELS),
        "most_bytes": max(most),
        "most_bytes_first_turn": max(most[: len(SCENES)]),
        "most_bytes_last_turn": max(most[-len(SCENES) :]),
        "most_bytes_each_hour": most,
        "kept_each_hour": kept,
        "budget_each_hour": budget(reducer),
        "seen_each_hour": HOUR * CELLS,
        "resident_bytes_each_hour": resident,
        "seconds_taken": round(time.monotonic() - began),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--only", action="append", choices=list(SPECS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    lives, grew = dict[str, Any](), []
    for name in options.only or SPECS:
        own = lives[name] = live(SPECS[name], options.hours) | {
            "machine": describe(torch.device("cpu"))
        }
        if own["most_bytes_last_turn"] >= own["most_bytes_first_turn"] + own["clip_bytes"]:
            grew.append(name)
        most = max(own["kept_each_hour"])
        print(
            f"{name:26} holds at most {own['most_bytes']:6} bytes, "
            f"{own['most_bytes'] / own['clip_bytes']:.1f} clips, in the last turn "
            f"{own['most_bytes_last_turn']}; keeps at most {most} an hour of "
            f"{own['seen_each_hour']}, budget {own['budget_each_hour']}; "
            f"{own['seconds_taken']} s",
            flush=True,
        )
    path = RESULTS / "day.json"
    # Read late: several of these may run at a time.
    before = json.loads(path.read_text())["lives"] if path.exists() else {}
    scenes = [scene.__name__ for scene in SCENES]
    print(
        "wrote", write("day", {"hours": options.hours, "scenes": scenes, "lives": before | lives})
    )
    return 1 if grew else 0


if __name__ == "__main__":
    sys.exit(main())
