"""Rotary positions of text and clips on three axes (temporal, height, width), as plain integers.

We compute them ourselves and always pass them: transformers 5.3 to 5.23 starts the text after a
Qwen2.5-VL video at max(H, W) instead of one past the largest position (a sibling of its issue
45381), and keeps `rope_deltas` on the module, where two streams would overwrite each other's.

Two ways of placing a clip, both as published with the models: - by order (Qwen3-VL): every clip is
a picture of its own behind a text with its time, and all three axes move on;
- by time (Qwen2.5-VL): all clips are one video; the temporal axis follows the clock, rows and
columns stay where the
  video began.

Positions of a stream only grow, so the ledger is int64 and `offsets` brings what one context uses
close together again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

PositionPolicy = Literal["keep", "clamp", "compact"]

CLAMPED_GAP = 64
"""Largest distance left between two pieces by `clamp`: a few clips, so that "some time passed"
stays visible.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a stream's next tokens go."""

    text: int = 0
    """Position of the next text token: one past everything so far, dropped tokens included."""
    temporal: int = 0
    """Smallest temporal position that the next clip may take where clips are placed by time."""


def text_positions(start: int, num_tokens: int) -> Tensor:
    """int64 [S,3]: equal on all axes, counting up from `start`."""
    return torch.arange(start, start + num_tokens)[:, None].expand(-1, 3).contiguous()


def place_by_order(cells: Tensor, grid_thw: tuple[int, int, int], start: int) -> tuple[Tensor, int]:
    """Positions int64 [K,3] of a clip's tokens that begins at `start`, and where whatever follows
    begins.

    `cells` int64 [K,3] are the kept ones; what follows begins where it would if all had been kept.
    """
    return cells.cpu() + start, start + max(grid_thw)


def place_by_time(
    cells: Tensor,
    grid_thw: tuple[int, int, int],
    *,
    video_start: int,
    pts_seconds: float,
    tokens_per_second: float,
    cursor: Cursor,
) -> tuple[Tensor, Cursor]:
    """Positions int64 [K,3] of a clip's tokens inside the one video that began at `video_start`,
    and the next cursor.

    The temporal position is floor(pts * tokens_per_second), but never one that an earlier clip has:
    above `2 * tokens_per_second` frames a second the published formula gives neighbouring clips the
    same one.
    """
    depth, rows, columns = grid_thw
    temporal = max(cursor.temporal, video_start + math.floor(pts_seconds * tokens_per_second))
    positions = cells.cpu() + torch.tensor([temporal, video_start, video_start])
    following = temporal + depth
    text = max(cursor.text, following, video_start + max(rows, columns))
    return positions, Cursor(text=text, temporal=following)


def offsets(
    spans: Sequence[tuple[int, int]], policy: PositionPolicy, max_span: int
) -> tuple[int, ...]:
    """How far to move each piece of one context, oldest first, on the axes that move; all are <= 0.

    `spans` are half-open ranges [first, end) of temporal positions, not decreasing, one a piece.

        keep      nothing moves (unless the whole range is wider than `max_span`: then `clamp`)
        clamp     gaps between pieces are cut to at most CLAMPED_GAP
        compact   gaps between pieces vanish
    """
    if not spans:
        return ()
    if policy == "keep" and spans[-1][1] - spans[0][0] <= max_span:
        return (0,) * len(spans)
    widest = 0 if policy == "compact" else CLAMPED_GAP
    moved, offset, previous_end = [], 0, spans[0][0]
    for first, end in spans:
        offset -= max(0, first - previous_end - widest)
        moved.append(offset)
        previous_end = max(previous_end, end)
    return tuple(moved)
