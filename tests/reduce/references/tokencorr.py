"""Repetition counted pair by pair, in four quarters of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "tokencorr", "keep_ratio": 7 / 24, "similarity": 0.3}
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[replace(angles(0, 0, 0, 90, 0), salience=torch.tensor([0.9, 0.8, 0.7, 0.1, 0.2]))],
    rows=[[3, 4]],
)


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, similarity: float
) -> list[Expected]:
    """Each clip for itself."""
    return [Expected(rows=_kept(clip, round(keep_ratio * len(clip)), similarity)) for clip in clips]


def _kept(clip: VisualTokens, count: int, similarity: float) -> list[int]:
    _, height, width = clip.grid_thw
    quarters: dict[tuple[int, int], list[int]] = {}
    for row, (_, down, across) in enumerate(clip.cells.tolist()):
        quarters.setdefault((down * 2 // height, across * 2 // width), []).append(row)
    tiles = [quarters[at] for at in sorted(quarters)]
    redundant = {row for tile in tiles for row in tile if _repeats(clip, row, tile, similarity)}
    counts = _shared([len(set(tile) - redundant) for tile in tiles], [*map(len, tiles)], count)
    assert clip.salience is not None
    attention = clip.salience.tolist()
    rows: list[int] = []
    for tile, number in zip(tiles, counts, strict=True):
        rows += sorted(tile, key=lambda row: (row in redundant, -attention[row], row))[:number]
    return sorted(rows)


def _repeats(clip: VisualTokens, row: int, tile: list[int], similarity: float) -> bool:
    others = [other for other in tile if other != row]
    cosines = [round(_cosine(clip.features[row], clip.features[other]), 6) for other in others]
    return sum(cosine > similarity for cosine in cosines) > 0.1 * len(others)


def _shared(weights: list[int], sizes: list[int], count: int) -> list[int]:
    """In proportion; a full part gives what it cannot take to the others."""
    if not sum(weights):
        weights = sizes
    quotas = [count * weight / sum(weights) for weight in weights]
    full = [at for at, quota in enumerate(quotas) if sizes[at] and quota >= sizes[at]]
    if full:
        rest = [0 if at in full else weight for at, weight in enumerate(weights)]
        room = [0 if at in full else size for at, size in enumerate(sizes)]
        left = count - sum(sizes[at] for at in full)
        others = _shared(rest, room, left) if left else [0] * len(sizes)
        return [sizes[at] if at in full else others[at] for at in range(len(sizes))]
    parts = [int(quota) for quota in quotas]
    order = sorted(range(len(parts)), key=lambda at: (-round(quotas[at] - parts[at], 6), at))
    for at in order[: count - sum(parts)]:
        parts[at] += 1
    return parts


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
