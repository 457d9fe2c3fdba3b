"""The built-in suite: synthetic cameras whose truth is known, asked in phrasings never trained on.

Needs no data. Every video is made from a seed while it is watched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import floor, isfinite, isqrt
from pathlib import Path

import numpy as np

from streamvlm.capture.synthetic import FIRST_UTC_SECONDS
from streamvlm.errors import ConfigError
from streamvlm.evaluate.items import Case, Item
from streamvlm.evaluate.live_truth import item_of
from streamvlm.evaluate.suites.averages import Scored
from streamvlm.evaluate.world.questions import ask
from streamvlm.evaluate.world.render import PICTURE, render
from streamvlm.evaluate.world.script import Script, draw_pace, write
from streamvlm.evaluate.world.truth import looks
from streamvlm.types import Clip, ClockSource, StreamTime

NAME = "mini"

TEST_SEEDS = range(900_000_000, 1_000_000_000)
"""Seeds of the scenes that are asked about; training takes none of them."""

_FPS = 2.0
_CLIP_SECONDS = 1.0
"""Two frames, half a second each: what the truth is told for."""
_CLIPS_TOGETHER = 4
"""Clips rendered at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticVideo:
    """A script as a camera sees it: a `Video` rendered while it is watched."""

    script: Script
    side: int = PICTURE
    """Height and width of its pictures in pixels: the truth is that of a square."""

    @property
    def video_id(self) -> str:
        """Its seed."""
        return f"mini-{self.script.seed}"

    def clips(self, fps: float, max_pixels: int) -> Iterator[Clip]:
        """Clips of two frames from second 0 on, scaled down to `max_pixels` where they are larger;
        a few are rendered at a time.

        Raises ConfigError for another `fps` than 2, for which the truth is not told.
        """
        if fps != _FPS:
            raise ConfigError(f"suite mini: capture.fps = {fps:g}; allowed: {_FPS:g}")
        side = min(self.side, isqrt(max_pixels))
        count = floor(self.script.seconds / _CLIP_SECONDS)
        for first in range(0, count, _CLIPS_TOGETHER):
            numbers = range(first, min(first + _CLIPS_TOGETHER, count))
            seconds = [index / fps for index in range(2 * numbers.start, 2 * numbers.stop)]
            frames = render(self.script, seconds, height=side, width=side)
            pairs = frames.numpy().reshape(len(numbers), 2, side, side, 3)
            for number, pair in zip(numbers, pairs, strict=True):
                yield Clip(
                    stream_id=self.video_id,
                    clip_index=number,
                    pixels=pair,
                    times=(_at(2 * number / fps), _at((2 * number + 1) / fps)),
                    frame_seconds=1 / fps,
                )


def load(
    folder: Path | None = None,
    *,
    skip_missing: bool = False,
    skipped: Counter[str] | None = None,
    videos: int = 12,
    seconds: float = 64.0,
    questions_per_ask: int = 6,
) -> Iterator[Case]:
    """The suite's first videos, as `cases` makes them; none is ever missing. Raises ConfigError,
    also for a folder: there are no files.
    """
    if folder is not None:
        raise ConfigError(f"suite mini: it makes its videos itself; remove --data {folder}")
    return cases(TEST_SEEDS[:videos], seconds=seconds, questions_per_ask=questions_per_ask)


def own_score(item: Item, answer: str) -> None:
    """None: strict scoring is all there is."""


def own_averages(scored: Scored) -> Mapping[str, float]:
    """Nothing, as nothing is scored."""
    return {}


def cases(
    seeds: Iterable[int],
    *,
    seconds: float = 64.0,
    asks_per_video: int = 4,
    questions_per_ask: int = 6,
    side: int = PICTURE,
) -> Iterator[Case]:
    """A video a seed, of `seconds` and with pictures of `side` x `side` pixels. It is asked at
    `asks_per_video` evenly spaced moments, the last at its end; up to `questions_per_ask` questions
    each. The same for the same arguments.

    Raises ConfigError for a seed outside `TEST_SEEDS`, for a video too short to be asked so often,
    for numbers below 1, and for a length that is not finite.
    """
    if not isfinite(seconds):
        raise ConfigError(f"suite mini: seconds = {seconds} must be a finite number")
    num_clips = floor(seconds / _CLIP_SECONDS)
    for name, number in (
        ("asks_per_video", asks_per_video),
        ("questions_per_ask", questions_per_ask),
    ):
        if number < 1:
            raise ConfigError(f"suite mini: {name} = {number} must be at least 1")
    if num_clips < 2 * asks_per_video:
        raise ConfigError(
            f"suite mini: seconds = {seconds:g} is too short for {asks_per_video} moments to ask "
            f"at; at least {2 * asks_per_video * _CLIP_SECONDS:g}"
        )
    moments = [
        round(num_clips * (number + 1) / asks_per_video) - 1 for number in range(asks_per_video)
    ]
    return (_case(seed, seconds, moments, questions_per_ask, side) for seed in seeds)


def _case(seed: int, seconds: float, moments: list[int], questions: int, side: int) -> Case:
    if seed not in TEST_SEEDS:
        raise ConfigError(
            f"suite mini: seed {seed} is not one to test with; allowed: {TEST_SEEDS.start} to "
            f"{TEST_SEEDS.stop - 1}"
        )
    script = write(seed, seconds, draw_pace(np.random.default_rng((seed, 8))))
    shown = looks(script, [number * _CLIP_SECONDS for number in range(moments[-1] + 1)])
    items = tuple(
        item_of(question, f"mini-{seed}-{moment}-{number}")
        for moment in moments
        for number, question in enumerate(
            ask(
                shown[: moment + 1],
                np.random.default_rng((seed, 9, moment)),
                questions,
                split="test",
            )
        )
    )
    video = SyntheticVideo(script=script, side=side)
    return Case(video=video, items=items)


def _at(seconds: float) -> StreamTime:
    return StreamTime(
        pts_seconds=seconds, utc_seconds=FIRST_UTC_SECONDS + seconds, clock=ClockSource.FILE
    )
