"""How a stream forgets some of what it saw: in blocks, in the open segment, in the fresh window."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from streamvlm.erasure import Erased, stretches, touches
from streamvlm.gaps import ERASED, GapLog
from streamvlm.recent import FreshClip
from streamvlm.reduce import StreamReduction
from streamvlm.remember import KVMemory
from streamvlm.types import Gap, StreamTime, UtcInterval


def forget(
    span: UtcInterval,
    memory: KVMemory,
    reduction: StreamReduction,
    fresh: deque[FreshClip],
    gaps: GapLog,
    seen_until: StreamTime | None,
) -> Erased:
    """Forget the blocks, the open segment and the fresh clips that the span touches: they are gaps
    now. A block behind them keeps what it made of having seen them.
    """
    blocks, waiting, clips = memory.blocks, reduction.waiting, list(fresh)
    seen = [block.interval for block in blocks]
    seen += [waiting.interval] if waiting else []
    seen += [clip.interval for clip in clips]
    gone = [block.block_id for block in blocks if touches(span, block.interval)]
    left = [clip for clip in clips if not touches(span, clip.interval)]
    num_clips = len(clips) - len(left)
    memory.erase(gone)
    fresh.clear()
    fresh.extend(replace(clip, after_gap=True) for clip in left)
    if waiting and touches(span, waiting.interval):
        num_clips += len(waiting.clips)
        reduction.forget()
    intervals = stretches(seen, span, seen_until)
    for interval in intervals:
        gaps.add(Gap(interval=interval, reason=ERASED))
    return Erased(num_blocks=len(gone), num_clips=num_clips, intervals=intervals)
