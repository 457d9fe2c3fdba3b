"""What a question is answered from: sinks, recalled blocks, the recent clips in full, the
question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamvlm.types import InputTokens, RawKV, Recall
from streamvlm.vlm import VLM, Cursor
from streamvlm.vlm.inputs import bring_together, join
from streamvlm.vlm.positions import PositionPolicy


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """A context, ready to be prefilled."""

    remembered: tuple[RawKV, ...]
    """Sinks and recalled blocks, oldest first, with the positions they have in this context."""
    inputs: InputTokens
    """Open segment, fresh window and question; positions behind all of `remembered`."""

    @property
    def num_recalled(self) -> int:
        """Cached tokens taken from memory, sinks included."""
        return sum(len(kv) for kv in self.remembered)

    @property
    def next_position(self) -> int:
        """Position of the first token of the answer."""
        return int(self.inputs.positions.max()) + 1


def assemble(
    vlm: VLM,
    question: str,
    *,
    sinks: RawKV,
    recall: Recall,
    recent: Sequence[InputTokens],
    cursor: Cursor,
    policy: PositionPolicy,
    max_span: int,
) -> Prompt:
    """Put a context together; changes none of its parts.

    `recent` are the clips that are not in memory yet, oldest first, and `cursor` is where text
    behind them goes. The question starts behind every position in the context, dropped tokens of
    the recent clips included.
    """
    remembered, inputs, start = bring_together(
        [sinks, *(block.kv for block in recall.blocks)],
        join(recent) if recent else None,
        following=cursor.text,
        moving_axes=vlm.moving_axes,
        policy=policy,
        max_span=max_span,
    )
    asked = vlm.lay_out_question(question, start)
    return Prompt(remembered=tuple(remembered), inputs=join([inputs, asked]) if inputs else asked)
