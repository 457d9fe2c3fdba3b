"""Reductions made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamvlm.evaluate.reduction.fates import Fates
from streamvlm.evaluate.reduction.seen import Reduction, SeenClip, Span, Spent
from streamvlm.types import Clip, ClockSource, StreamTime

START = StreamTime(pts_seconds=0.0, utc_seconds=1.7e9, clock=ClockSource.FILE)


def fates(
    owner: Sequence[int],
    *,
    grid_thw: tuple[int, int, int],
    kept: Sequence[int],
    merged: Sequence[int] = (),
) -> Fates:
    """`kept` and `merged` are cells."""
    cells = np.arange(len(owner))
    return Fates(
        grid_thw=grid_thw,
        owner=np.array(owner, dtype=np.int32),
        is_kept=np.isin(cells, kept),
        is_merged=np.isin(cells, merged),
    )


def seen(
    second: float, fate: Fates | None, *, drop_ratio: float = 1.0, is_cut: bool = False
) -> SeenClip:
    """A clip of one second and 64 x 96 pixels."""
    return SeenClip(
        start_seconds=second,
        end_seconds=second + 1,
        num_pixels=(64, 96),
        drop_ratio=drop_ratio,
        is_cut=is_cut,
        fates=fate,
    )


def reduction(clips: Sequence[SeenClip]) -> Reduction:
    """One segment of them all."""
    kept = sum(clip.num_kept for clip in clips)
    span = Span(start_seconds=0, end_seconds=len(clips), num_clips=len(clips), num_kept=kept)
    return Reduction(
        clips=tuple(clips),
        segments=(span,),
        key_clips=(0,),
        steps=None,
        spent=Spent(),
        kv_bytes_per_token=1024,
    )


def pixels(second: int, height: int = 64, width: int = 96) -> Clip:
    """A clip of one second, blue."""
    picture = np.full((2, height, width, 3), (0, 0, 200), dtype=np.uint8)
    times = (START.later(second), START.later(second + 0.5))
    return Clip(stream_id="made", clip_index=second, pixels=picture, times=times, frame_seconds=0.5)
