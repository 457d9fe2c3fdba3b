"""What a question is answered from: sinks, recalled blocks, the recent clips in full, the
question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import pad

from streamvlm.types import InputTokens, RawKV, Recall
from streamvlm.vlm import VLM, Context, Cursor, Prefilled
from streamvlm.vlm.inputs import bring_together, join
from streamvlm.vlm.positions import PositionPolicy


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """A context, ready to be prefilled."""

    remembered: tuple[RawKV, ...]
    """Sinks and recalled blocks, oldest first, with the positions they have in this context."""
    recent: InputTokens | None
    """Open segment and fresh window, behind all of `remembered`; None where there is nothing."""
    asked: InputTokens
    """The question, behind everything."""
    by_layer: Tensor | None = None
    """bool [L,S] cpu: which of the tokens of `remembered` each layer attends to, as in `Recall`."""
    ready: RawKV | None = None
    """Keys and values of `recent` in this context, where somebody has them, see `ready`."""

    @property
    def inputs(self) -> InputTokens:
        """All that is not remembered."""
        return join([self.recent, self.asked]) if self.recent else self.asked

    @property
    def num_inputs(self) -> int:
        """Tokens that are not remembered."""
        return (len(self.recent) if self.recent else 0) + len(self.asked)

    def run(self, vlm: VLM) -> tuple[Context, Prefilled]:
        """A context of its own with everything in it, and what came of the question."""
        if self.ready is None:
            context = vlm.open_context(self.remembered, self.by_layer)
            return context, vlm.prefill(self.inputs, context)
        by_layer = _and_all(self.by_layer, behind=len(self.ready))
        context = vlm.open_context([*self.remembered, self.ready], by_layer)
        return context, vlm.prefill(self.asked, context)

    @property
    def num_recalled(self) -> int:
        """Cached tokens taken from memory that each layer attends to, sinks included."""
        if self.by_layer is not None:
            return int(self.by_layer[0].sum())
        return sum(len(kv) for kv in self.remembered)

    @property
    def next_position(self) -> int:
        """Position of the first token of the answer."""
        return int(self.asked.positions.max()) + 1


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
    return Prompt(
        remembered=tuple(remembered),
        recent=inputs,
        asked=asked,
        by_layer=_and_all(recall.by_layer, before=len(sinks)),
    )


def _and_all(by_layer: Tensor | None, *, before: int = 0, behind: int = 0) -> Tensor | None:
    """The same with so many tokens more that all layers attend to."""
    return None if by_layer is None else pad(by_layer, (before, behind), value=True)
