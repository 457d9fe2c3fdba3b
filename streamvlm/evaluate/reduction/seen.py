"""What a strategy made of a video: clips, segments, time. Of pictures and features nothing is held:
an hour has thousands of clips.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from streamvlm.evaluate.reduction.fates import Fates


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenClip:
    """One clip of the video, and what became of it."""

    start_seconds: float
    end_seconds: float
    num_pixels: tuple[int, int]
    """Height and width."""
    drop_ratio: float = 1.0
    """The share of its cells that had not changed since they were last kept."""
    is_cut: bool = False
    """It shows another scene."""
    fates: Fates | None = None
    """None where nothing had changed and it was not encoded."""

    @property
    def num_kept(self) -> int:
        """Tokens of it in memory."""
        return self.fates.num_kept if self.fates else 0

    @property
    def num_cells(self) -> int:
        """Tokens that came of it."""
        return len(self.fates.owner) if self.fates else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One segment."""

    start_seconds: float
    end_seconds: float
    num_clips: int
    """That were encoded."""
    num_kept: int


@dataclass(slots=True)
class Spent:
    """Seconds of each part of the work."""

    decode: float = 0.0
    encode: float = 0.0
    reduce: float = 0.0

    @contextmanager
    def on(self, part: str, device: torch.device) -> Iterator[None]:
        """Count the time of what is done inside, with what it started on the device."""
        began = time.perf_counter()
        yield
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        setattr(self, part, getattr(self, part) + time.perf_counter() - began)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reduction:
    """What a strategy made of a video."""

    clips: tuple[SeenClip, ...]
    segments: tuple[Span, ...]
    key_clips: tuple[int, ...]
    """Which of the clips show best what the video shows, in order, see `KeyClips`."""
    steps: dict[str, int] | None
    """What each step of the composed compressor left, see `Steps`; None for other strategies."""
    spent: Spent
    kv_bytes_per_token: int

    @property
    def num_encoded(self) -> int:
        """Clips that the gate let in."""
        return sum(clip.fates is not None for clip in self.clips)

    @property
    def tokens_seen(self) -> int:
        """Of the clips that were encoded."""
        return sum(clip.num_cells for clip in self.clips)

    @property
    def tokens_kept(self) -> int:
        """In memory at the end."""
        return sum(clip.num_kept for clip in self.clips)
