"""Clips of many streams to visual tokens, in few large forwards of the vision tower."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from streamvlm.encode.preprocess import preprocess
from streamvlm.types import Clip, Signal, VisualTokens
from streamvlm.vlm.patches import PatchSpec
from streamvlm.vlm.positions import cells_of


class VisionTower(Protocol):
    """The part of a model that sees."""

    @property
    def patch_spec(self) -> PatchSpec:
        """How it wants its pictures."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it runs; pictures are normalised there."""
        ...

    def encode(
        self, patches: Tensor, grid_thw: list[tuple[int, int, int]]
    ) -> tuple[Tensor, Tensor | None]:
        """One forward without gradients, in which no clip sees another.

        `patches` float32 [P, C*T*P*P] of all clips one after the other, `grid_thw` the patches of
        each. Returns features [N,D] of the merged tokens, clip after clip in raster order, and
        deepstack [Z,N,D] where there is one.
        """
        ...

    def encode_with_signals(
        self, patches: Tensor, grid_thw: list[tuple[int, int, int]], signals: frozenset[Signal]
    ) -> tuple[Tensor, Tensor | None, Mapping[Signal, Tensor]]:
        """The same, and each of the signals, float [N]."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoder:
    """Encodes clips of one size together. Without state: streams cannot disturb each other."""

    tower: VisionTower
    max_batch_clips: int
    """Most clips in one forward."""
    signals: frozenset[Signal] = frozenset()
    """What the tokens tell besides their features; each costs something."""
    keeps_pictures: bool = False
    """Whether the tokens bring a frame along, for who wants it seen again."""

    def __post_init__(self) -> None:
        if self.max_batch_clips < 1:
            raise ValueError(f"max_batch_clips must be positive, got {self.max_batch_clips}")

    def encode(self, clips: Sequence[Clip]) -> list[VisualTokens]:
        """The visual tokens of each clip, in the order of `clips`.

        They do not depend on the other clips, rounding of the tower apart. Costs one forward for
        each `max_batch_clips` clips of one size. Raises ValueError for a picture beyond 200:1.
        """
        tokens: dict[int, VisualTokens] = {}
        for batch in _batches(clips, self.max_batch_clips):
            tokens.update(zip(batch, self._forward([clips[i] for i in batch]), strict=True))
        return [tokens[i] for i in range(len(clips))]

    def _forward(self, clips: list[Clip]) -> list[VisualTokens]:
        """Encode clips of one size in one forward."""
        spec = self.tower.patch_spec
        pixels = torch.from_numpy(np.stack([clip.pixels for clip in clips]))
        patches, patch_grid = preprocess(pixels, spec, self.tower.device)
        grids = [patch_grid] * len(clips)
        told: Mapping[Signal, Tensor] = {}
        if self.signals:
            features, deepstack, told = self.tower.encode_with_signals(patches, grids, self.signals)
        else:
            features, deepstack = self.tower.encode(patches, grids)
        t, h, w = patch_grid
        grid_thw = (t, h // spec.merge_size, w // spec.merge_size)
        cells = cells_of(grid_thw, features.device)
        nothing = [None] * len(clips)
        signals = {signal: values.chunk(len(clips)) for signal, values in told.items()}
        # Copies, because a view would keep the tokens of the whole batch alive with those of one.
        return [
            VisualTokens(
                features=own.clone(),
                cells=cells,
                grid_thw=grid_thw,
                interval=clip.interval,
                pts_seconds=clip.pts_seconds,
                deepstack=None if levels is None else levels.clone(),
                picture=torch.from_numpy(clip.pixels[-1].copy()) if self.keeps_pictures else None,
                **{signal: values[number].clone() for signal, values in signals.items()},
            )
            for number, clip, own, levels in zip(
                range(len(clips)),
                clips,
                features.chunk(len(clips)),
                nothing if deepstack is None else deepstack.chunk(len(clips), dim=1),
                strict=True,
            )
        ]


def _batches(clips: Sequence[Clip], max_batch_clips: int) -> Iterator[list[int]]:
    """Indices of clips that share their size, at most `max_batch_clips` together, in order."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, clip in enumerate(clips):
        groups.setdefault(clip.pixels.shape, []).append(i)
    for group in groups.values():
        for start in range(0, len(group), max_batch_clips):
            yield group[start : start + max_batch_clips]
