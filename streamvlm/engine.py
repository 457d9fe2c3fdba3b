"""Many streams, one device: `step` is the only loop body. Synchronous; one thread owns the model.

Other threads only put things in and read snapshots: questions go into a bounded queue, clips wait
in each stream's feed, and status is a frozen value that the engine replaces after each job.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from streamvlm.beginning import Beginning
from streamvlm.config import Config
from streamvlm.erasing import ErasureQueue
from streamvlm.erasure import Erased
from streamvlm.errors import EngineStoppedError
from streamvlm.gaps import ENGINE_FAILED
from streamvlm.looks import AlertListener, LookTable
from streamvlm.questions import Listener, QuestionQueue
from streamvlm.reduce import build_reducer
from streamvlm.respond import Answering
from streamvlm.searches import SearchQueue
from streamvlm.snapshots import KeptStream, SnapshotKeeper
from streamvlm.streams import ClipFeed, StreamTable, WatchedStream
from streamvlm.types import (
    Clip,
    Found,
    Gap,
    Question,
    Search,
    StreamStatus,
    UtcInterval,
    VisualTokens,
)
from streamvlm.vlm import VLM, load
from streamvlm.vlm.base import DEVICE_LOST

log = logging.getLogger(__name__)

MAX_ANSWER_STEPS = 8
"""Answer steps in a row while clips wait: many questions must not blind the streams."""


class StreamEngine:
    """Watches streams and answers questions about them on one device."""

    def __init__(
        self,
        vlm: VLM,
        config: Config,
        on_alert: AlertListener = lambda _: None,
        snapshot_folder: Path | None = None,
    ) -> None:
        """Raises ConfigError where a segment cannot fit into a stream's memory."""
        self.vlm, self._config = vlm, config
        self._beginning = Beginning(vlm, config)
        limits = config.engine
        self._streams = StreamTable(limits.max_streams)
        self._searches = SearchQueue(vlm, config.respond, self._streams.named)
        self._questions = QuestionQueue(
            config.respond, limits.max_questions, limits.max_answers, self._begin_answer
        )
        self.snapshots = SnapshotKeeper(vlm, config.remember, snapshot_folder)
        """What outlives this engine; any thread may open and erase."""
        self.rules = LookTable(config.watch, on_alert)
        """Standing questions; any thread may add and remove them."""
        self._erasures = ErasureQueue(self._streams.get, self._forget, self.snapshots.replace)
        self._answer_steps = self._turn = 0
        self._has_looked = self._is_stopping = False
        self._has_work = threading.Event()

    @classmethod
    def from_config(
        cls,
        config: Config,
        on_alert: AlertListener = lambda _: None,
        snapshot_folder: Path | None = None,
    ) -> StreamEngine:
        """Load the model and build everything that the config names.

        Raises ConfigError, CheckpointError.
        """
        build_reducer(config.reduce)  # loading takes minutes: a misspelt setting shall not wait
        vlm = load(
            config.vlm.checkpoint,
            dtype=config.vlm.dtype,
            device=config.vlm.device,
            max_pixels=config.encode.max_pixels,
        )
        return cls(vlm, config, on_alert, snapshot_folder)

    def add_stream(
        self,
        stream_id: str,
        source: str,
        feed: ClipFeed,
        *,
        created_utc_seconds: float | None = None,
        kept: KeptStream | None = None,
        time_zone: str = "UTC",
    ) -> StreamStatus:
        """Watch a feed from now on; `source` is its address without credentials. It was created
        now, unless it is known to be older, and goes on from `snapshots.open` where that is given.

        Raises StreamExistsError, CapacityError, EngineStoppedError; the caller keeps the feed then.
        """
        pipeline = self._beginning.pipeline(self.snapshots.folder_of(stream_id))
        if kept and kept.snapshot:
            pipeline.restore(kept.snapshot)
        stream = self._streams.add(
            stream_id, source, feed, pipeline, created_utc_seconds, time_zone
        )
        if kept:
            self.snapshots.begin(stream, kept)
        log.info("stream %s: added, source %s", stream_id, source)
        self.wake()
        return stream.status()

    def get_stream(self, stream_id: str) -> StreamStatus:
        """A stream's status. Raises StreamNotFoundError."""
        return self._streams.get(stream_id).status()

    def list_streams(self) -> list[StreamStatus]:
        """All streams, by id."""
        return [stream.status() for stream in self._streams.all()]

    def remove_stream(self, stream_id: str) -> None:
        """Stop watching and forget everything but snapshots; answers that have begun go on.

        Raises StreamNotFoundError.
        """
        self.snapshots.forget(stream_id)
        self._streams.remove(stream_id)
        log.info("stream %s: removed", stream_id)

    def erase(self, stream_id: str, span: UtcInterval) -> Future[Erased]:
        """Forget what was seen in the span, in memory and in snapshots: `ErasureQueue.add`."""
        done = self._erasures.add(stream_id, span)
        self.wake()
        return done

    def _forget(self, stream: WatchedStream, span: UtcInterval) -> Erased:
        self._take_in(stream)
        self._questions.end_begun(stream.stream_id)
        self.rules.forget_scene(stream.stream_id)
        return stream.erase(span)

    def ask(self, question: Question, listener: Listener) -> None:
        """Queue a question; its events come to `listener`, AnswerFinished or AnswerFailed last.

        Raises QuestionError, StreamNotFoundError, CapacityError, EngineStoppedError; no event then.
        """
        self._streams.get(question.stream_id)
        self._questions.add(question, listener)
        self.wake()

    def cancel(self, question_id: str) -> None:
        """End an answer at its next step; unknown and finished questions are left alone."""
        self._questions.cancel(question_id)
        self.wake()

    def search(self, search: Search) -> Future[Found]:
        """Queue a search; cancelling the future ends it. Gives StreamNotFoundError,
        EngineStoppedError; raises QuestionError, InvalidInputError, CapacityError.
        """
        found = self._searches.add(search)
        self.wake()
        return found

    def _begin_answer(self, question: Question, asked_at: float) -> Answering:
        """An answer from all that the stream's source had given when the question's turn came."""
        stream = self._streams.get(question.stream_id)
        self._take_in(stream)
        return stream.pipeline.ask(question, asked_at, stream.feed.status().blind, stream.zone)

    def _take_in(self, stream: WatchedStream) -> None:
        """What waits in its feed, as far as the feed's bound: it may be faster than the engine."""
        left = self._config.capture.queue_clips
        while left > 0 and (taken := self._watch(self._ready([stream]))):
            left -= taken

    def step(self) -> bool:
        """Do the most urgent piece of work; False when there is none.

        A question's next token and a search's next stream come before the oldest clips, but at most
        MAX_ANSWER_STEPS times in a row while clips wait; looks and clips take turns.
        """
        if self._erasures.advance():
            return True
        if self._answer_steps < MAX_ANSWER_STEPS and (
            self._questions.advance() or self._searches.advance()
        ):
            self._answer_steps += 1
            return True
        self._answer_steps = 0
        streams = self._streams.all()
        if self._has_looked and self._watch(self._ready(streams)):
            self._has_looked = False
            return True
        self._has_looked = self.rules.advance(streams)
        return (
            self._has_looked or self._watch(streams) > 0 or bool(self._questions or self._searches)
        )

    def run(self) -> None:
        """Step until `stop`; on the thread that owns the model.

        Raises what only a new process can mend, such as a device that is lost; streams and
        questions are ended then as by `stop`.
        """
        try:
            while not self._is_stopping:
                self._has_work.clear()
                self.snapshots.take_due()
                if self.step():
                    continue
                for stream in self._streams.all():
                    stream.check_books()
                # The timeout only bounds how long a missed wake-up could go unnoticed.
                self._has_work.wait(timeout=1.0)
        finally:
            self.stop()
            self.snapshots.finish()

    def wake(self) -> None:
        """There is something to do; any thread."""
        self._has_work.set()

    def stop(self) -> None:
        """End `run` after its current step, fail what waits at once, stop all feeds; any thread."""
        self._is_stopping = True
        failure = EngineStoppedError("the engine is stopping")
        for each in (self._questions, self._searches, self.rules, self._erasures):
            each.close(failure)
        self.wake()
        self._streams.close()

    def _ready(self, streams: Sequence[WatchedStream]) -> list[WatchedStream]:
        """Those whose next clip need not wait for a look; only a file can wait."""
        return [each for each in streams if not (each.can_wait and self.rules.is_due(each))]

    def _watch(self, streams: Sequence[WatchedStream]) -> int:
        """Bring what waits in the feeds into memory, as one batch. Gives how much it was."""
        batch = self._take_batch(streams)
        new = [item for stream, item in batch if isinstance(item, Clip) and stream.admit(item)]
        encoded = dict(zip(map(id, new), self._encode(new), strict=True))
        lost: set[str] = set()
        for stream, item in batch:
            tokens = encoded.get(id(item))
            if id(item) in encoded:
                (lost.discard if tokens else lost.add)(stream.stream_id)
            # What looks like a lost clip was not seen either.
            if isinstance(item, Clip) and stream.stream_id in lost:
                item = Gap(interval=item.interval, reason=ENGINE_FAILED)
            stream.remember(item, tokens)
        return len(batch)

    def _encode(self, clips: list[Clip]) -> list[VisualTokens | None]:
        """Visual tokens of each clip; None where it cannot be encoded, not even by itself."""
        try:
            return list(self._beginning.encoder.encode(clips))
        except DEVICE_LOST:
            raise
        except Exception as error:
            names = ", ".join(sorted({clip.stream_id for clip in clips}))
            log.exception("streams %s: %d clips not encoded: %s", names, len(clips), error)
        if len(clips) == 1:
            return [None]
        return [tokens for clip in clips for tokens in self._encode([clip])]

    def _take_batch(
        self, streams: Sequence[WatchedStream]
    ) -> list[tuple[WatchedStream, Clip | Gap]]:
        """What waits, a piece from each stream in turn, up to one encoder batch.

        Nothing of a stream comes behind a gap in one batch: its gate must hear of the gap first.
        Nor does a second clip where rules look, or they would look past the first.
        """
        waiting = deque(streams)
        waiting.rotate(-self._turn)
        self._turn = (self._turn + 1) % max(1, len(waiting))
        batch: list[tuple[WatchedStream, Clip | Gap]] = []
        while waiting and len(batch) < self._config.encode.max_batch_clips:
            stream = waiting.popleft()
            if (item := stream.take()) is None:
                continue
            batch.append((stream, item))
            if isinstance(item, Clip) and not self.rules.watches(stream.stream_id):
                waiting.append(stream)
        return batch
