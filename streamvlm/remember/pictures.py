"""What a block is seen again from: a few of its clips, a frame of each as JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

from streamvlm.types import InputTokens, KeptTokens, StreamTime, VisualTokens


class Sight(Protocol):
    """Makes pictures of clips small, and sees them again."""

    @property
    def num_clips(self) -> int:
        """Most clips of a block of which a picture is kept."""
        ...

    def pack(self, picture: Tensor) -> Tensor:
        """uint8 [B] of a picture uint8 [H,W,3]; both on a CPU."""
        ...

    def see(self, packed: Sequence[Tensor], start: StreamTime) -> list[VisualTokens]:
        """All visual tokens of each picture, as of a clip that begins then and stands still. Costs
        a forward of the vision tower.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pictures:
    """P clips of a block, oldest first."""

    packed: tuple[Tensor, ...]
    """uint8 [B] cpu of each."""
    pts_seconds: Tensor
    """float64 [P], as in `VisualTokens`."""
    places: Tensor
    """int64 [P]: the temporal position of the first token of each clip, to which it comes back."""
    num_tokens: int
    """Most that come back: those of the block before it became pictures. Where even these are fewer
    than one visual token with the text of its clip takes, that one."""

    def __len__(self) -> int:
        return self.num_tokens

    @property
    def num_bytes(self) -> int:
        """Of all of it together."""
        return sum(each.nbytes for each in (*self.packed, self.pts_seconds, self.places))


def pictures_of(
    clips: Sequence[KeptTokens],
    inputs: InputTokens,
    clip_lengths: Sequence[int],
    sight: Sight | None,
) -> Pictures | None:
    """Of evenly spaced ones of the clips that are laid out in `inputs`, `clip_lengths` tokens each;
    None where one of these came without a picture, or nobody wants any.
    """
    if sight is None:
        return None
    count = min(sight.num_clips, len(clips))
    chosen = [(2 * number + 1) * len(clips) // (2 * count) for number in range(count)]
    pictures = [clips[each].picture for each in chosen]
    packed = tuple(sight.pack(each) for each in pictures if each is not None)
    if not packed or len(packed) < count:
        return None
    starts = [0, *accumulate(clip_lengths)]
    return Pictures(
        packed=packed,
        pts_seconds=torch.tensor([clips[each].pts_seconds for each in chosen], dtype=torch.float64),
        places=inputs.positions[[starts[each] for each in chosen], 0],
        num_tokens=len(inputs),
    )
