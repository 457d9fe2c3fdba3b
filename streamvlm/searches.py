"""Searches from their arrival to what they found: bounded, and a stream at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from torch import Tensor

from streamvlm.config import RespondConfig
from streamvlm.errors import (
    CapacityError,
    InvalidInputError,
    StreamVLMError,
    TimeAheadError,
    TimeNotRememberedError,
)
from streamvlm.period import period_of
from streamvlm.questions import check_text
from streamvlm.respond import first_pass
from streamvlm.streams import WatchedStream
from streamvlm.types import Found, Moment, Question, Search
from streamvlm.vlm import VLM
from streamvlm.vlm.base import DEVICE_LOST

MAX_SEARCHES = 16
MAX_MOMENTS = 100
"""That one search finds at most."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Searching:
    search: Search
    found: Future[Found] = field(default_factory=Future)
    steps: Iterator[Found | None] | None = None


class SearchQueue:
    """Searches that wait or go on. `advance` belongs to the engine's thread, the rest to any."""

    def __init__(
        self,
        vlm: VLM,
        limits: RespondConfig,
        streams: Callable[[Sequence[str]], list[WatchedStream]],
    ) -> None:
        """`streams` gives those with these ids, or all where none is given; it may raise."""
        self._vlm, self._limits, self._streams = vlm, limits, streams
        self._lock = threading.Lock()
        self._waiting: deque[_Searching] = deque()
        self._failure: StreamVLMError | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, search: Search) -> Future[Found]:
        """Queue a search; cancelling the future ends it. Gives EngineStoppedError after `close`.

        Raises QuestionError, InvalidInputError, CapacityError.
        """
        check_text(search.text, self._limits)
        if not 1 <= search.most <= MAX_MOMENTS:
            raise InvalidInputError(f"top_k = {search.most}; allowed: 1 to {MAX_MOMENTS}")
        searching = _Searching(search=search)
        with self._lock:
            if self._failure is not None:
                searching.found.set_exception(self._failure)
            elif len(self._waiting) >= MAX_SEARCHES:
                raise CapacityError(f"{MAX_SEARCHES} searches are waiting, try again soon")
            else:
                self._waiting.append(searching)
        return searching.found

    def close(self, failure: StreamVLMError) -> None:
        """Nobody searches any more: what waits gets this."""
        with self._lock:
            self._failure, waiting = failure, list(self._waiting)
            self._waiting.clear()
        for each in waiting:
            if each.found.set_running_or_notify_cancel():
                each.found.set_exception(failure)

    def advance(self) -> bool:
        """One stream of the search that has waited longest; False where none waits."""
        with self._lock:
            searching = self._waiting[0] if self._waiting else None
        if searching is None:
            return False
        try:
            done: Found | Exception | None = self._step(searching)
        except DEVICE_LOST as error:
            self._end(searching, error)
            raise
        except Exception as error:
            done = error
        if done is not None:
            self._end(searching, done)
        return True

    def _step(self, searching: _Searching) -> Found | None:
        if searching.steps is None:
            searching.steps = self._steps(searching.search)
        if searching.found.cancelled():
            return Found()
        return next(searching.steps)

    def _end(self, searching: _Searching, result: Found | BaseException) -> None:
        with self._lock:
            if searching not in self._waiting:
                return  # closed meanwhile: its end has been told
            self._waiting.remove(searching)
        if not searching.found.set_running_or_notify_cancel():
            return
        if isinstance(result, Found):
            searching.found.set_result(result)
        else:
            searching.found.set_exception(result)

    def _steps(self, search: Search) -> Iterator[Found | None]:
        """None after each stream, and all that was found at last."""
        found, probe = Found(), None
        for stream in self._streams(search.stream_ids):
            if probe is None and stream.pipeline.memory.blocks:
                # Sinks are shared by all streams, and so is what is searched with.
                first = first_pass(self._vlm, search.text, stream.pipeline.memory.sinks)
                probe = first.probe
            moments = () if probe is None else _moments(stream, search, probe)
            there = Found(moments=moments, searched=(stream.stream_id,))
            found = found.joined(there, search.most)
            yield None
        yield found


def _moments(stream: WatchedStream, search: Search, probe: Tensor) -> tuple[Moment, ...]:
    """The best of one stream; none where nothing is remembered of the time that is searched."""
    pipeline = stream.pipeline
    if not (remembered := pipeline.remembered()):
        return ()
    asked = Question(
        question_id="", stream_id=stream.stream_id, text=search.text, during=search.during
    )
    blind = stream.feed.status().blind
    try:
        period = period_of(asked, remembered, stream.memory.gaps, blind, stream.zone)
    except (TimeAheadError, TimeNotRememberedError):
        return ()
    within = period.within if period else None
    best = pipeline.memory.rank(probe, search.most, within)
    return tuple(
        Moment(
            stream_id=stream.stream_id,
            interval=block.interval,
            score=score,
            block_id=block.block_id,
        )
        for block, score in best
    )
