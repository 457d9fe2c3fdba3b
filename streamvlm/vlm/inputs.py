"""Putting pieces of input and of memory into one context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from streamvlm.types import InputTokens, RawKV
from streamvlm.vlm.positions import PositionPolicy, offsets, rebase
from streamvlm.vlm.spread import joined, places


def join(parts: Sequence[InputTokens]) -> InputTokens:
    """One after the other, positions as they are; at least one part."""
    deepstacks = [part.deepstack for part in parts if part.deepstack is not None]
    return InputTokens(
        embeddings=torch.cat([part.embeddings for part in parts]),
        positions=torch.cat([part.positions for part in parts]),
        is_visual=torch.cat([part.is_visual for part in parts]),
        deepstack=torch.cat(deepstacks, dim=1) if deepstacks else None,
        spread=joined([part.spread for part in parts], [*map(len, parts)]),
    )


def bring_together(
    remembered: Sequence[RawKV],
    inputs: InputTokens | None,
    *,
    following: int,
    moving_axes: tuple[bool, bool, bool],
    policy: PositionPolicy,
    max_span: int,
) -> tuple[list[RawKV], InputTokens | None, int]:
    """Edit the ledgers of remembered pieces (the sinks, then oldest first) and of the inputs behind
    them: `keep` by `positions.rebase`, and all policies by `positions.offsets`. What spreads over
    several positions ends behind all of them.

    `following` is where text behind all of them would go. Gives the pieces, the inputs, and where
    that text goes now: behind everything. Keys and values are shared, not copied.
    """
    ledgers = [kv.positions for kv in remembered] + ([inputs.positions] if inputs else [])
    ledger = torch.cat([*ledgers, torch.full((1, 3), following)])
    spreads = [kv.spread for kv in remembered] + ([inputs.spread] if inputs else [])
    spread = joined([*spreads, None], [*map(len, ledgers), 1])
    axes = torch.tensor(moving_axes)
    if policy == "keep":
        num_sinks = len(remembered[0]) if remembered else 0
        ledger[num_sinks:] -= rebase(ledger, num_sinks, max_span) * axes
    moved = offsets(places(ledger, spread).flatten(1), policy, max_span)
    placed = ledger + moved[:, None] * axes
    behind = places(placed, spread)[:-1]
    start = max(int(ledger[-1, 0] + moved[-1]), int(behind.max()) + 1 if len(behind) else 0)
    split = torch.split(placed[:-1], [len(piece) for piece in ledgers])
    pieces = [
        replace(kv, positions=positions) for kv, positions in zip(remembered, split, strict=False)
    ]
    if inputs is not None:
        inputs = replace(inputs, positions=split[-1])
    return pieces, inputs, start
