"""One stream: the stages in their order. The only place that knows it.

clip -> gate -> [encode] -> fresh window -> reduce -> open segment -> memory        `admit`, `feed`
question -> probe -> recall -> prompt -> answer                                     `ask`
standing question -> fresh window -> how much likelier yes is than no               `look`
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, tzinfo

import numpy as np
from numpy.typing import NDArray

from streamvlm import evidence
from streamvlm.encode import PixelGate, check_finite, scene_of
from streamvlm.erasure import Erased
from streamvlm.errors import QuestionError, StreamEmptyError
from streamvlm.evidence import Recent
from streamvlm.forgetting import forget
from streamvlm.gaps import DEGRADED, MAX_GAPS, RESTARTED, GapLog
from streamvlm.period import period_of
from streamvlm.recalling import Recalling, Recalls
from streamvlm.recent import FreshClip, lay_out, lay_out_recent
from streamvlm.reduce import Reduced, StreamReduction
from streamvlm.remember import NOTHING, Counters, Snapshot
from streamvlm.respond import Answering, Prompt, Ready, assemble, look
from streamvlm.types import (
    Clip,
    Gap,
    Interval,
    MemoryStatus,
    Question,
    Recall,
    StreamTime,
    UtcInterval,
    VisualTokens,
)
from streamvlm.vlm import VLM, Cursor
from streamvlm.vlm.inputs import join


class StreamPipeline:
    """Everything that one stream carries from clip to clip; bounded, whatever the stream's
    length.
    """

    def __init__(
        self,
        vlm: VLM,
        reduction: StreamReduction,
        recalling: Recalling,
        first_cursor: Cursor,
        *,
        gate_threshold: float,
        fresh_clips: int,
        max_question_tokens: int,
    ) -> None:
        """Nothing was seen yet; `recalling` brings the stream's empty memory."""
        self.memory = recalling.memory
        self.recalling: Recalls = recalling
        """What questions bring back; may be exchanged between two of them."""
        self._vlm, self._reduction = vlm, reduction
        self._gate = PixelGate(
            threshold=gate_threshold, cell_pixels=vlm.patch_spec.rule.cell_pixels
        )
        self.scene: NDArray[np.float32] | None = None
        """What the newest clip shows, coarsely, see `encode.scene`; None before the first."""
        self._fresh_clips = fresh_clips
        self._max_question_tokens = max_question_tokens
        self._policy, self._max_span = recalling.policy, recalling.max_span
        self._fresh: deque[FreshClip] = deque()
        self._ready = Ready()
        self._cursor = first_cursor
        self._gaps = GapLog(MAX_GAPS)
        self._is_after_gap, self._next_clip_index = False, 0
        self._seen_until: StreamTime | None = None
        self._counted = Counters()

    def admit(self, clip: Clip) -> bool:
        """Whether the clip shows anything new. One that does must be encoded and fed, the others
        extended.
        """
        self._seen_until, self._next_clip_index = clip.interval.end, clip.clip_index + 1
        is_new = bool(self._gate.changed_cells(clip.pixels).any())
        self.scene = scene_of(clip.pixels, self._vlm.patch_spec.rule.cell_pixels)
        if is_new:
            self._gate.mark_encoded(clip.pixels)
        return is_new

    def extend(self, clip: Clip) -> None:
        """The clip showed nothing new: what was seen last held until its end."""
        self._counted.clips_unchanged += 1
        if self._fresh:
            newest = self._fresh.pop()
            interval = newest.tokens.interval.until(clip.interval.end)
            self._fresh.append(replace(newest, tokens=replace(newest.tokens, interval=interval)))
        elif not self._reduction.extend(clip.interval.end) and self.memory.blocks:
            self.memory.extend(clip.interval.end)

    def feed(self, tokens: VisualTokens) -> None:
        """The newest clip, encoded. It joins the fresh window; the oldest there leaves for memory.

        Where that fails, what was lost is noted as a gap and the error raised; the stream goes on.
        """
        self._counted.clips_encoded += 1
        self._ready.forget()
        with self._gaps.noting_loss_of(tokens.interval, DEGRADED):
            check_finite(tokens)
        self._fresh.append(FreshClip(tokens=tokens, after_gap=self._is_after_gap))
        self._is_after_gap = False
        while len(self._fresh) > self._fresh_clips:
            if self._fresh[0].after_gap:
                self._append(self._reduction.flush())
            leaving = self._fresh.popleft().tokens
            with self._gaps.noting_loss_of(leaving.interval):
                segments = self._reduction.push(leaving, self._behind())
            self._counted.tokens_seen += len(leaving)
            self._append(segments)

    def interrupt(self, gap: Gap) -> None:
        """The stream was blind: remember when, and compare nothing across."""
        self._seen_until = gap.interval.end
        self._gaps.add(gap)
        self._gate.forget()
        self._is_after_gap = True

    def _behind(self) -> VisualTokens | None:
        """The oldest fresh clip; None where the stream was blind before it."""
        if not self._fresh or self._fresh[0].after_gap:
            return None
        return self._fresh[0].tokens

    def _append(self, segments: Sequence[Reduced]) -> None:
        """Segments that are complete become blocks; one that fails costs no other one."""
        failure: Exception | None = None
        for segment in segments:
            self._counted.tokens_kept += segment.num_tokens
            try:
                with self._gaps.noting_loss_of(segment.interval):
                    self._append_one(segment)
            except Exception as error:
                failure = error
        if failure:
            raise failure

    def _append_one(self, segment: Reduced) -> None:
        if segment.clips:
            laid_out, self._cursor = lay_out(self._vlm, segment, self._cursor)
            clips = laid_out.clips
            lengths = [*map(len, clips)]
            self.memory.append(join(clips), segment.interval, lengths, segment.clips)
        elif self.memory.blocks:
            # Never what waits: it is newer than this segment.
            self.memory.extend(segment.interval.end)

    def erase(self, span: UtcInterval) -> Erased:
        """See `forgetting.forget`; `settle` must follow."""
        self._gate.forget()
        self._ready.forget()
        self.scene, self._is_after_gap = None, True
        kept = self.memory, self._reduction, self._fresh, self._gaps
        return forget(span, *kept, self._seen_until)

    def settle(self) -> None:
        """What waits becomes blocks; nothing that was seen is compared with what comes."""
        try:
            self._append(self._reduction.flush())
        finally:
            self._reduction.forget()

    def ask(
        self, question: Question, asked_at: float, blind: Gap | None = None, zone: tzinfo = UTC
    ) -> Answering:
        """An answer from what is known now; nothing that comes later changes it, and it changes
        nothing. `blind` is an outage that goes on now; times in the text are those of `zone`.

        Raises StreamEmptyError, QuestionError for one with too many tokens, and as `period_of`.
        """
        if not (remembered := self.remembered()):
            raise StreamEmptyError(f"stream {question.stream_id!r} has not shown a picture yet")
        self._check_length(question.text)
        period = period_of(question, remembered, self._gaps.newest(), blind, zone)
        recalled = self.recalling.begin(question.text)
        recent, cursor = self._lay_out_recent()
        recall = recalled(period.within if period else None)
        prompt = self._assemble(question.text, recall, recent, cursor)
        return Answering(
            self._vlm,
            question,
            prompt,
            evidence=[*evidence.of_recall(recall), *evidence.of_recent(recent)],
            gaps=[*self._gaps.newest(), *([blind] if blind else [])],
            asked_at=asked_at,
            asked=period.asked if period else None,
        )

    def look(self, condition: str) -> float:
        """How much likelier "yes" is than "no" as the answer to a question about now, in nats; from
        the fresh window alone (the open segment where there is none). Changes nothing.

        Raises StreamEmptyError, QuestionError as `ask`.
        """
        recent, cursor = self._lay_out_recent()
        if not recent:
            raise StreamEmptyError("the stream shows nothing that could be looked at")
        self._check_length(condition)
        fresh = recent[-len(self._fresh) :] if self._fresh else recent
        return look(self._vlm, self._assemble(condition, NOTHING, fresh, cursor))

    def _assemble(
        self, text: str, recall: Recall, recent: Sequence[Recent], cursor: Cursor
    ) -> Prompt:
        prompt = assemble(
            self._vlm,
            text,
            sinks=self.memory.sinks,
            recall=recall,
            recent=[clip for piece in recent for clip in piece.clips],
            cursor=cursor,
            policy=self._policy,
            max_span=self._max_span,
        )
        return self._ready.made(self._vlm, prompt)

    def _check_length(self, text: str) -> None:
        tokens, most = self._vlm.question_length(text), self._max_question_tokens
        if tokens > most:
            raise QuestionError(f"the question has {tokens} tokens; at most {most} are allowed")

    def _lay_out_recent(self) -> tuple[list[Recent], Cursor]:
        return lay_out_recent(self._vlm, self._reduction.waiting, self._fresh, self._cursor)

    def remembered(self) -> list[Interval]:
        """All that an answer can draw on, oldest first."""
        newer = [waiting.interval] if (waiting := self._reduction.waiting) else []
        newer += [fresh.tokens.interval for fresh in self._fresh]
        return [*(block.interval for block in self.memory.blocks), *newer]

    def snapshot(self) -> Snapshot | None:
        """What outlives a restart, as of now: everything but the open segment and the fresh window.
        Copies no tensor. None before anything was seen.
        """
        if self._seen_until is None:
            return None
        blocks = self.memory.blocks
        recent = self.remembered()[len(blocks) :]
        return Snapshot(
            blocks=blocks,
            next_block_id=self.memory.next_block_id,
            cursor=self._cursor,
            policy=self._policy,
            seen_until=self._seen_until,
            next_clip_index=self._next_clip_index,
            unkept=recent[0].until(recent[-1].end) if recent else None,
            gaps=self._gaps.newest(),
            counters=replace(self._counted),
            num_evicted=self.memory.num_evicted,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from there; before the first clip. What was in no block is a gap by now."""
        self.memory.restore(snapshot.blocks, snapshot.next_block_id, snapshot.num_evicted)
        self._counted = replace(snapshot.counters)
        self._cursor = snapshot.cursor
        self._seen_until, self._next_clip_index = snapshot.seen_until, snapshot.next_clip_index
        for gap in snapshot.gaps:
            self._gaps.add(gap)
        if snapshot.unkept:
            self._gaps.add(Gap(interval=snapshot.unkept, reason=RESTARTED))
        self._is_after_gap = True

    def status(self) -> MemoryStatus:
        """What is remembered now."""
        remembered, waiting = self.remembered(), self._reduction.waiting
        return MemoryStatus(
            blocks=len(self.memory.blocks),
            kv_bytes=self.memory.num_bytes,
            budget_bytes=self.memory.budget_bytes,
            evicted_blocks=self.memory.num_evicted,
            lost_blocks=self.memory.num_lost,
            tiers=self.memory.tiers(),
            clips_encoded=self._counted.clips_encoded,
            clips_unchanged=self._counted.clips_unchanged,
            tokens_seen=self._counted.tokens_seen,
            tokens_kept=self._counted.tokens_kept + (waiting.num_tokens if waiting else 0),
            reduction_bytes=self._reduction.num_bytes,
            fresh_clips=len(self._fresh),
            remembered=remembered[0].until(remembered[-1].end) if remembered else None,
            gaps=self._gaps.newest(),
        )
