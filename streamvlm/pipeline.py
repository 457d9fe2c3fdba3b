"""One stream: the stages in their order. The only place that knows it.

clip -> gate -> [encode] -> fresh window -> reduce -> open segment -> memory        `admit`, `feed`
question -> probe -> recall -> prompt -> answer                                     `ask`
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from streamvlm.encode import PixelGate
from streamvlm.errors import StreamEmptyError
from streamvlm.reduce import Reducer, ReductionContext, Reference, advance_reference
from streamvlm.remember import KVMemory
from streamvlm.respond import Answering, assemble
from streamvlm.types import (
    Clip,
    Evidence,
    Gap,
    InputTokens,
    Interval,
    MemoryStatus,
    Question,
    RawKV,
    Recall,
    StreamTime,
    VisualTokens,
)
from streamvlm.vlm import VLM, Cursor
from streamvlm.vlm.inputs import join
from streamvlm.vlm.positions import PositionPolicy

MAX_GAPS = 64
"""Gaps that a stream remembers; the oldest go first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fresh:
    """A clip in the fresh window."""

    tokens: VisualTokens
    after_gap: bool
    """The stream was blind just before: nothing may be compared across."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _OpenSegment:
    """Clips that have been reduced but are not a block yet."""

    clips: tuple[InputTokens, ...]
    interval: Interval


class StreamPipeline:
    """Everything that one stream carries from clip to clip; bounded, whatever the stream's
    length.
    """

    def __init__(
        self,
        vlm: VLM,
        reducer: Reducer,
        sinks: RawKV,
        first_cursor: Cursor,
        *,
        gate_threshold: float,
        fresh_clips: int,
        segment_clips: int,
        budget_bytes: int,
        local_blocks: int,
        recall_blocks: int,
        policy: PositionPolicy,
        max_span: int,
    ) -> None:
        self.memory = KVMemory(
            vlm,
            sinks,
            budget_bytes=budget_bytes,
            local_blocks=local_blocks,
            policy=policy,
            max_span=max_span,
        )
        self._vlm, self._reducer = vlm, reducer
        self._gate = PixelGate(
            threshold=gate_threshold, cell_pixels=vlm.patch_spec.rule.cell_pixels
        )
        self._fresh_clips, self._segment_clips = fresh_clips, segment_clips
        self._recall_blocks, self._policy, self._max_span = recall_blocks, policy, max_span
        self._fresh: deque[_Fresh] = deque()
        self._open: _OpenSegment | None = None
        self._cursor = first_cursor
        self._previous: VisualTokens | None = None
        self._reference: Reference | None = None
        self._gaps: deque[Gap] = deque(maxlen=MAX_GAPS)
        self._is_after_gap = False
        self._num_encoded = self._num_unchanged = 0
        self._tokens_seen = self._tokens_kept = 0

    def admit(self, clip: Clip) -> bool:
        """Whether the clip shows anything new. One that does must be encoded and fed, the others
        extended.
        """
        is_new = bool(self._gate.changed_cells(clip.pixels).any())
        if is_new:
            self._gate.mark_encoded(clip.pixels)
        return is_new

    def extend(self, clip: Clip) -> None:
        """The clip showed nothing new: what was seen last held until its end."""
        self._num_unchanged += 1
        self._extend(clip.interval.end)

    def feed(self, tokens: VisualTokens) -> None:
        """The newest clip, encoded. It joins the fresh window; the oldest there is reduced and
        joins the segment.
        """
        self._num_encoded += 1
        self._fresh.append(_Fresh(tokens=tokens, after_gap=self._is_after_gap))
        self._is_after_gap = False
        while len(self._fresh) > self._fresh_clips:
            self._reduce(self._fresh.popleft())

    def interrupt(self, gap: Gap) -> None:
        """The stream was blind: remember when, and compare nothing across."""
        self._gaps.append(gap)
        self._gate.forget()
        self._is_after_gap = True

    def _extend(self, end: StreamTime) -> None:
        if self._fresh:
            newest = self._fresh.pop()
            tokens = replace(newest.tokens, interval=newest.tokens.interval.until(end))
            self._fresh.append(replace(newest, tokens=tokens))
        elif self._open:
            self._open = replace(self._open, interval=self._open.interval.until(end))
        elif self.memory.blocks:
            self.memory.extend(end)

    def _reduce(self, fresh: _Fresh) -> None:
        tokens = fresh.tokens
        if fresh.after_gap:
            self._close_segment()
            self._previous = self._reference = None
        context = ReductionContext(
            clip_index=self._num_encoded, previous=self._previous, reference=self._reference
        )
        kept = self._reducer(tokens, context)
        self._previous = tokens
        self._reference = advance_reference(self._reference, tokens, kept)
        self._tokens_seen += len(tokens)
        self._tokens_kept += len(kept)
        if not len(kept):
            self._extend(tokens.interval.end)
            return
        laid_out, self._cursor = self._vlm.lay_out_clip(kept, self._cursor)
        clips = (*self._open.clips, laid_out) if self._open else (laid_out,)
        start = self._open.interval if self._open else tokens.interval
        self._open = _OpenSegment(clips=clips, interval=start.until(tokens.interval.end))
        if len(clips) >= self._segment_clips:
            self._close_segment()

    def _close_segment(self) -> None:
        if self._open:
            self.memory.append(join(self._open.clips), self._open.interval)
            self._open = None

    def ask(self, question: Question, asked_at: float) -> Answering:
        """An answer from what is known now; nothing that comes later changes it, and it changes
        nothing.

        Raises StreamEmptyError where nothing was seen yet.
        """
        if not (self._fresh or self._open or self.memory.blocks):
            raise StreamEmptyError(f"stream {question.stream_id!r} has not shown a picture yet")
        recall = self._recall(question.text)
        recent, cursor = self._lay_out_recent()
        prompt = assemble(
            self._vlm,
            question.text,
            sinks=self.memory.sinks,
            recall=recall,
            recent=recent,
            cursor=cursor,
            policy=self._policy,
            max_span=self._max_span,
        )
        return Answering(
            self._vlm,
            question,
            prompt,
            evidence=[*_recalled_evidence(recall), *self._recent_evidence()],
            gaps=tuple(self._gaps),
            asked_at=asked_at,
        )

    def _recall(self, text: str) -> Recall:
        """A first pass over the question alone gives the probe that the index is searched with."""
        if not (self._recall_blocks and self.memory.blocks):
            return Recall(blocks=(), scores=())
        sinks = self.memory.sinks
        inputs = self._vlm.lay_out_question(text, len(sinks))
        probe = self._vlm.prefill(inputs, self._vlm.open_context([sinks])).probe
        return self.memory.recall(probe, self._recall_blocks)

    def _lay_out_recent(self) -> tuple[list[InputTokens], Cursor]:
        recent, cursor = list(self._open.clips if self._open else ()), self._cursor
        for fresh in self._fresh:
            laid_out, cursor = self._vlm.lay_out_clip(fresh.tokens, cursor)
            recent.append(laid_out)
        return recent, cursor

    def _recent_evidence(self) -> list[Evidence]:
        evidence = []
        if self._open:
            evidence.append(
                _always_in_context(
                    self._open.interval, sum(int(clip.is_visual.sum()) for clip in self._open.clips)
                )
            )
        if self._fresh:
            interval = self._fresh[0].tokens.interval.until(self._fresh[-1].tokens.interval.end)
            evidence.append(
                _always_in_context(interval, sum(len(fresh.tokens) for fresh in self._fresh))
            )
        return evidence

    def status(self) -> MemoryStatus:
        """What is remembered now."""
        blocks = self.memory.blocks
        intervals = [block.interval for block in (*blocks[:1], *blocks[-1:])]
        intervals += [self._open.interval] if self._open else []
        intervals += [fresh.tokens.interval for fresh in self._fresh]
        return MemoryStatus(
            blocks=len(blocks),
            kv_bytes=self.memory.num_bytes,
            budget_bytes=self.memory.budget_bytes,
            evicted_blocks=self.memory.num_evicted,
            clips_encoded=self._num_encoded,
            clips_unchanged=self._num_unchanged,
            tokens_seen=self._tokens_seen,
            tokens_kept=self._tokens_kept,
            fresh_clips=len(self._fresh),
            remembered=intervals[0].until(intervals[-1].end) if intervals else None,
            gaps=tuple(self._gaps),
        )


def _recalled_evidence(recall: Recall) -> list[Evidence]:
    return [
        Evidence(
            interval=block.interval,
            score=score,
            block_id=block.block_id,
            num_tokens=len(block.kv),
        )
        for block, score in zip(recall.blocks, recall.scores, strict=True)
    ]


def _always_in_context(interval: Interval, num_tokens: int) -> Evidence:
    return Evidence(interval=interval, score=None, block_id=None, num_tokens=num_tokens)
