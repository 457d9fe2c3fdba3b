"""Putting pieces of input and of memory into one context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from streamvlm.types import InputTokens, RawKV
from streamvlm.vlm.positions import PositionPolicy, offsets


def join(parts: Sequence[InputTokens]) -> InputTokens:
    """One after the other, positions as they are; at least one part."""
    deepstacks = [part.deepstack for part in parts if part.deepstack is not None]
    return InputTokens(
        embeddings=torch.cat([part.embeddings for part in parts]),
        positions=torch.cat([part.positions for part in parts]),
        is_visual=torch.cat([part.is_visual for part in parts]),
        deepstack=torch.cat(deepstacks, dim=1) if deepstacks else None,
    )


def bring_together(
    remembered: Sequence[RawKV],
    inputs: InputTokens | None,
    *,
    moving_axes: tuple[bool, bool, bool],
    policy: PositionPolicy,
    max_span: int,
) -> tuple[list[RawKV], InputTokens | None, int]:
    """Edit the ledgers of remembered pieces (oldest first) and of the inputs behind them by
    `positions.offsets`.

    Gives the pieces, the inputs, and how far the last of them moved (<= 0). Keys and values are
    shared, not copied.
    """
    ledgers = [kv.positions for kv in remembered]
    if inputs is not None:
        ledgers.append(inputs.positions)
    spans = [(int(ledger[:, 0].min()), int(ledger[:, 0].max()) + 1) for ledger in ledgers]
    moved = offsets(spans, policy, max_span)
    axes = torch.tensor(moving_axes)

    def shift(ledger: Tensor, offset: int) -> Tensor:
        return ledger + (offset * axes).to(ledger.device)

    pieces = [
        replace(kv, positions=shift(kv.positions, offset))
        for kv, offset in zip(remembered, moved, strict=False)
    ]
    if inputs is not None:
        inputs = replace(inputs, positions=shift(inputs.positions, moved[-1]))
    return pieces, inputs, moved[-1] if moved else 0
