"""What became of each cell of a clip, for people to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streamvlm.reduce import Reduced
from streamvlm.types import VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fates:
    """What became of each cell of one clip; without pictures and features, as an hour has thousands
    of clips.
    """

    grid_thw: tuple[int, int, int]
    owner: NDArray[np.int32]
    """int32 [N]: the cell that each one stands for or joined, be it of another clip; -1 where it
    was dropped."""
    is_kept: NDArray[np.bool_]
    """bool [N]: in memory at its own place."""
    is_merged: NDArray[np.bool_]
    """bool [N]: one of several that share a token."""

    @property
    def num_kept(self) -> int:
        """Tokens in memory."""
        return int(self.is_kept.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipShape:
    """What must be known of a clip to read what became of it."""

    pts_seconds: float
    end_seconds: float
    grid_thw: tuple[int, int, int]

    @classmethod
    def of(cls, tokens: VisualTokens) -> Self:
        """Of a clip as the strategy was given it."""
        return cls(
            pts_seconds=tokens.pts_seconds,
            end_seconds=tokens.interval.end.pts_seconds,
            grid_thw=tokens.grid_thw,
        )


def fates_of(reduced: Reduced, clips: Sequence[ClipShape]) -> list[Fates]:
    """Those of each of the `clips` that were reduced to this."""
    if reduced.owners is not None:
        owners = reduced.owners().cpu().numpy()
        return _read(owners, clips)
    left = {kept.pts_seconds: kept for kept in reduced.clips}
    fates = []
    for clip in clips:
        kept, owner = left.get(clip.pts_seconds), np.full(prod(clip.grid_thw), -1)
        if kept is not None and kept.owner is not None:
            owner = kept.owner.cpu().numpy()
        elif kept is not None:
            owner[kept.indices.cpu().numpy()] = kept.indices.cpu().numpy()
        fates += _read(owner[None], [clip])
    return fates


def _read(owners: NDArray[np.int64], clips: Sequence[ClipShape]) -> list[Fates]:
    """Of owners [T,N], which are rows of the one list of them all."""
    num_cells = owners.shape[1]
    counts = np.bincount(owners[owners >= 0], minlength=owners.size + 1)  # -1 reads the last: 0
    rows = np.arange(owners.size).reshape(owners.shape)
    return [
        Fates(
            grid_thw=clip.grid_thw,
            owner=np.where(owner >= 0, owner % max(1, num_cells), -1).astype(np.int32),
            is_kept=owner == own,
            is_merged=counts[owner] > 1,
        )
        for clip, owner, own in zip(clips, owners, rows, strict=True)
    ]
