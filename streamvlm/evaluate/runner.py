"""Suites against the pipeline itself: every video is encoded once and watched by all methods.

What the service does around the pipeline (feeds, queues, the wire) is not here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, islice

import torch

from streamvlm.beginning import Beginning
from streamvlm.config import Config
from streamvlm.encode import Encoder, resize
from streamvlm.errors import TimeAheadError, TimeNotRememberedError
from streamvlm.evaluate.items import Case, Item, Video
from streamvlm.evaluate.methods import Method
from streamvlm.evaluate.outcomes import Outcome
from streamvlm.pipeline import StreamPipeline
from streamvlm.recalling import Recalls
from streamvlm.reduce import build_reducer
from streamvlm.respond import Answering, run_chosen
from streamvlm.types import (
    AnswerFinished,
    AnswerStarted,
    Clip,
    FinishReason,
    MemoryStatus,
    Question,
    Sampling,
    Signal,
    Usage,
    UtcInterval,
    VisualTokens,
)
from streamvlm.vlm import VLM

WayToRecall = Callable[[StreamPipeline], Recalls]
"""Another way than a pipeline's own, over its memory."""

OwnScore = Callable[[Item, str], float | None]
"""A suite's own rule: the score of an answer to an item in 0..1; None where it has none."""

_NOTHING_USED = Usage(
    prompt_tokens=0,
    recalled_tokens=0,
    answer_tokens=0,
    time_to_first_token_seconds=0.0,
    total_seconds=0.0,
)

MOST_TOGETHER = 16
"""Answers that are given at a time; each holds a copy of what it recalled."""

FIT_CLIPS = 64
"""Clips of each video that thresholds are fitted to."""


def run(
    vlm: VLM,
    cases: Iterable[Case],
    methods: Sequence[Method],
    *,
    config: Config,
    max_new_tokens: int = 32,
    own_score: OwnScore | None = None,
    other_ways: Mapping[str, WayToRecall] | None = None,
) -> Iterator[Outcome]:
    """Watch each video and ask its items at their moments, greedily: an outcome for each item and
    method, the items in order and the methods in order for each. Behind each method's own outcome
    come those with `other_ways` to recall from the same memory, under the names of these.

    An item is asked when the last clip of which all frames were taken by its `asked_seconds` has
    been seen, and no clip after it is shown to any method. Holds the memories of one video at a
    time.

    Raises ConfigError for a method that is not fitted or does not fit the config, SourceError for a
    video that cannot be read, StreamEmptyError for an item asked before the first clip was taken,
    ValueError for items that are not in order.
    """
    configs = [method.over(config) for method in methods]
    encoder = Encoder(
        tower=vlm,
        max_batch_clips=config.encode.max_batch_clips,
        signals=frozenset[Signal]().union(*(build_reducer(each.reduce).needs for each in configs)),
        keeps_pictures=any(each.remember.holds_pictures for each in configs),
    )
    for case in cases:
        _check_order(case)
        views = [
            _View(vlm, method, settings) for method, settings in zip(methods, configs, strict=True)
        ]
        clips = _Clips(_fitting(vlm, case.video, config.capture.fps))
        for asked_seconds, items in groupby(case.items, key=lambda item: item.asked_seconds):
            clips.show(asked_seconds, encoder, views)
            for item in items:
                asked = [
                    partial(view.ask, case.video.video_id, item, max_new_tokens, name, way)
                    for view in views
                    for name, way in ((view.name, None), *(other_ways or {}).items())
                ]
                for start in range(0, len(asked), MOST_TOGETHER):
                    answers = [ask() for ask in asked[start : start + MOST_TOGETHER]]
                    _finish(answers)
                    yield from (answer.outcome(own_score) for answer in answers)


def _check_order(case: Case) -> None:
    asked = [item.asked_seconds for item in case.items]
    if asked != sorted(asked):
        raise ValueError(f"the items of video {case.video.video_id} must be in order of asking")


def fit(
    vlm: VLM, methods: Sequence[Method], videos: Iterable[Video], *, config: Config
) -> list[Method]:
    """The methods with thresholds fitted to the beginnings of these videos, which are only read
    where there is something to fit. Raises SourceError.
    """
    if all(method.fitted_ratio is None for method in methods):
        return list(methods)
    encoder = Encoder(tower=vlm, max_batch_clips=config.encode.max_batch_clips)
    tokens = [
        replace(encoded, deepstack=None)
        for video in videos
        for clip in islice(_fitting(vlm, video, config.capture.fps), FIT_CLIPS)
        for encoded in encoder.encode([clip])
    ]
    return [method.fitted(tokens) for method in methods]


class _View:
    """One method watching one video."""

    def __init__(self, vlm: VLM, method: Method, config: Config) -> None:
        self._method = method
        self._beginning = Beginning(vlm, config)
        self._pipeline = self._beginning.pipeline()
        self._window: deque[VisualTokens] = deque(maxlen=config.respond.fresh_clips)
        self._shown_until = float("-inf")

    def admit(self, clip: Clip) -> bool:
        """Whether the clip must be encoded for this method."""
        return not self._method.is_gated or self._pipeline.admit(clip)

    def see(self, clip: Clip, tokens: VisualTokens | None) -> None:
        """The newest clip, with its tokens if it was admitted."""
        self._shown_until = clip.times[-1].pts_seconds
        if tokens is None:
            self._pipeline.extend(clip)
        elif self._method.is_window:
            self._window.append(tokens)
        else:
            self._pipeline.feed(tokens)

    @property
    def name(self) -> str:
        """Of the method."""
        return self._method.name

    def ask(
        self,
        video_id: str,
        item: Item,
        max_new_tokens: int,
        name: str,
        way: WayToRecall | None,
    ) -> _Answer:
        """The answer of the method, up to its first token; by another `way` to recall than the
        pipeline's own, under another `name`. That nothing is known of a time is an answer as well.
        """
        assert self._shown_until <= item.asked_seconds, "a clip from the future was shown"
        pipeline = self._begun_with_window() if self._method.is_window else self._pipeline
        question = Question(
            question_id=item.item_id,
            stream_id=video_id,
            text=item.question,
            sampling=Sampling(max_new_tokens=max_new_tokens),
            during=None if self._method.reads_times else UtcInterval(),
        )
        own = pipeline.recalling
        pipeline.recalling = way(pipeline) if way else own
        answer = _Answer(item=item, video_id=video_id, method=name, status=pipeline.status())
        try:
            answer.answering = pipeline.ask(question, time.monotonic())
        except (TimeAheadError, TimeNotRememberedError) as error:
            answer.finished = AnswerFinished(
                question_id=question.question_id,
                text=str(error),
                finish_reason=FinishReason.STOP,
                usage=_NOTHING_USED,
            )
        finally:
            pipeline.recalling = own
        answer.step()
        answer.step()
        return answer

    def _begun_with_window(self) -> StreamPipeline:
        pipeline = self._beginning.pipeline()
        for tokens in self._window:
            pipeline.feed(tokens)
        return pipeline


class _Clips:
    """The clips of a video, shown up to a moment and no further."""

    def __init__(self, clips: Iterator[Clip]) -> None:
        self._clips = clips
        self._next = next(clips, None)

    def show(self, asked_seconds: float, encoder: Encoder, views: Sequence[_View]) -> None:
        """Show all views what was taken by this moment and was not shown yet."""
        shown = self._until(asked_seconds)
        while batch := list(islice(shown, encoder.max_batch_clips)):
            _show(batch, encoder, views)

    def _until(self, seconds: float) -> Iterator[Clip]:
        while self._next is not None and self._next.times[-1].pts_seconds <= seconds:
            yield self._next
            self._next = next(self._clips, None)


def _show(batch: Sequence[Clip], encoder: Encoder, views: Sequence[_View]) -> None:
    """As the engine does: all gates first, then one encoder batch of what any of them lets in."""
    admitted = [[view.admit(clip) for view in views] for clip in batch]
    new = [clip for clip, by in zip(batch, admitted, strict=True) if any(by)]
    encoded = iter(encoder.encode(new))
    for clip, by in zip(batch, admitted, strict=True):
        tokens = next(encoded) if any(by) else None
        for view, is_new in zip(views, by, strict=True):
            view.see(clip, tokens if is_new else None)


@dataclass(slots=True, kw_only=True, eq=False)
class _Answer:
    """The answer of one method to one item."""

    item: Item
    video_id: str
    method: str
    status: MemoryStatus
    answering: Answering | None = None
    finished: AnswerFinished | None = None

    def step(self) -> None:
        """See `Answering.step`; nothing where it is finished."""
        if self.finished or self.answering is None:
            return
        for event in self.answering.step():
            if isinstance(event, AnswerStarted):
                newest = max(piece.interval.start.pts_seconds for piece in event.evidence)
                assert newest <= self.item.asked_seconds, "an answer draws on the future"
            elif isinstance(event, AnswerFinished):
                self.finished = event

    def outcome(self, own_score: OwnScore | None) -> Outcome:
        """What came of it, once it is finished."""
        assert self.finished is not None
        return Outcome.of(
            self.item,
            self.finished,
            self.status,
            video_id=self.video_id,
            method=self.method,
            own_score=own_score(self.item, self.finished.text) if own_score else None,
        )


def _finish(answers: Sequence[_Answer]) -> None:
    """Give the rest of all of them, a token of each at a time."""
    while going := [each for each in answers if each.finished is None]:
        run_chosen([each.answering for each in going if each.answering is not None])
        for each in going:
            each.step()


def _fitting(vlm: VLM, video: Video, fps: float) -> Iterator[Clip]:
    """The clips at the size that the model wants, as capture would give them."""
    rule = vlm.patch_spec.rule
    for clip in video.clips(fps, rule.max_pixels):
        if rule.fit(*clip.pixels.shape[1:3]) == clip.pixels.shape[1:3]:
            yield clip
        else:
            pixels = resize(torch.from_numpy(clip.pixels)[None], rule)[0]
            yield replace(clip, pixels=pixels.numpy())
