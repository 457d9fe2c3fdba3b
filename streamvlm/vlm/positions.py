"""Rotary positions of text and clips on three axes (temporal, height, width), as plain integers.

We compute them ourselves and always pass them: transformers 5.3 to 5.23 starts the text after a
Qwen2.5-VL video at max(H, W) instead of one past the largest position (a sibling of its issue
45381), and keeps `rope_deltas` on the module, where two streams would overwrite each other's.

Two ways of placing a clip, both as published with the models:

- by order (Qwen3-VL): every clip is a picture of its own behind a text with its time, and all three
  axes move on;
- by time (Qwen2.5-VL): all clips are one video; the temporal axis follows the clock, rows and
  columns stay where the video began.

Positions of a stream only grow, so the ledger is int64, and `rebase` and `offsets` bring what one
context uses close together again: the model computes angles in float32, and they grow wrong as
positions grow large.
"""

from __future__ import annotations

import math
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


def cells_of(grid_thw: tuple[int, int, int], device: torch.device | None = None) -> Tensor:
    """int64 [N,3]: (t, row, column) of every cell of a clip in raster order."""
    return torch.cartesian_prod(*(torch.arange(size, device=device) for size in grid_thw))


def place_by_order(cells: Tensor, grid_thw: tuple[int, int, int], start: int) -> tuple[Tensor, int]:
    """Positions int64 [K,3] of a clip's tokens that begins at `start`, and where whatever follows
    begins.

    `cells` int64 [K,3] are the kept ones; what follows begins where it would if all had been kept.
    """
    return _on_host(cells, grid_thw) + start, start + max(grid_thw)


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
    positions = _on_host(cells, grid_thw) + torch.tensor([temporal, video_start, video_start])
    following = temporal + depth
    text = max(cursor.text, following, video_start + max(rows, columns))
    return positions, Cursor(text=text, temporal=following)


def _on_host(cells: Tensor, grid_thw: tuple[int, int, int]) -> Tensor:
    """The same; a clip that keeps all of them needs no copy, which waits for all that the device is
    at.
    """
    return cells_of(grid_thw) if len(cells) == math.prod(grid_thw) else cells.cpu()


def rebase(ledger: Tensor, num_sinks: int, max_span: int) -> int:
    """How far everything behind the sinks may move down, as one piece: >= 0.

    `ledger` int64 [S,3], in reading order, the sinks first. What is as old as a month stands behind
    them then as it stood when the stream was young, the only place where a model has ever seen
    video; distances within it stay, and adding a constant to all of them changes nothing that they
    say to each other. 0 while the whole range is narrower than `max_span`: nothing is imprecise
    there, and what lies between is kept as it was.
    """
    temporal = ledger[:, 0]
    if not 0 < num_sinks < len(ledger) or int(temporal[-1] - temporal[0]) < max_span:
        return 0
    return max(0, int(temporal[num_sinks]) - int(ledger[:num_sinks].max()) - 1)


def offsets(ledger: Tensor, policy: PositionPolicy, max_span: int) -> Tensor:
    """How far to move each token of one context on the axes that move: int64 [S], all <= 0.

    `ledger` int64 [S,3], in reading order. A gap is what lies between a token's temporal position
    and everything before it, be it between two blocks or inside one that a still scene stretched.

        keep      nothing moves (unless the whole range, rebased, is wider than `max_span`: then
                  `clamp`)
        clamp     gaps are cut to at most CLAMPED_GAP
        compact   gaps vanish
    """
    temporal = ledger[:, 0]
    is_narrow = len(ledger) < 2 or int(temporal[-1] - temporal[0]) < max_span
    if policy == "keep" and is_narrow:
        return torch.zeros_like(temporal)
    widest = 0 if policy == "compact" else CLAMPED_GAP
    ends = ledger.amax(dim=1).cummax(dim=0).values + 1
    excess = (temporal[1:] - ends[:-1] - widest).clamp(min=0)
    return -torch.cat([excess.new_zeros(1), excess.cumsum(dim=0)])
