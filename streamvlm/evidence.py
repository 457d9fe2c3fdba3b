"""What an answer is given from: recalled blocks, and what is not a block yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamvlm.types import Evidence, InputTokens, Interval, Recall


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recent:
    """Clips that are not a block yet, laid out: the open segment, or one that is still fresh."""

    clips: tuple[InputTokens, ...]
    interval: Interval
    is_continued: bool = False
    """The next clip of the fresh window, without a gap: one piece of evidence with those before."""

    @property
    def num_tokens(self) -> int:
        """Text around the clips included."""
        return sum(len(clip) for clip in self.clips)


def of_recall(recall: Recall) -> list[Evidence]:
    """One piece for each recalled block, with its score."""
    return [
        Evidence(
            interval=block.interval,
            score=score,
            block_id=block.block_id,
            num_tokens=num_tokens,
        )
        for block, score, num_tokens in zip(
            recall.blocks, recall.scores, recall.tokens_of_blocks, strict=True
        )
    ]


def of_recent(recent: Sequence[Recent]) -> list[Evidence]:
    """The open segment and each stretch of the fresh window: always in the context, so unscored."""
    evidence: list[Evidence] = []
    for piece in recent:
        if piece.is_continued:
            last = evidence[-1]
            evidence[-1] = replace(
                last,
                interval=last.interval.until(piece.interval.end),
                num_tokens=last.num_tokens + piece.num_tokens,
            )
        else:
            evidence.append(
                Evidence(
                    interval=piece.interval,
                    score=None,
                    block_id=None,
                    num_tokens=piece.num_tokens,
                )
            )
    return evidence
