"""HoliTom beside its description, which is among the references."""

from __future__ import annotations

import torch
from made_tokens import angles, make_tokens
from torch import Tensor

from streamvlm.reduce import Reduced
from streamvlm.reduce.strategies.holitom import HoliTom
from streamvlm.types import VisualTokens

CELLS, SIZE = 20, 6


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clips_of(num_clips: int, seed: int) -> list[Tensor]:
    """Most cells stand still under noise; a quarter is new in every clip."""
    still = noise(CELLS, SIZE, seed=seed)
    shown = []
    for number in range(num_clips):
        clip = still + 0.1 * noise(CELLS, SIZE, seed=seed + 100 + number)
        clip[: CELLS // 4] = noise(CELLS // 4, SIZE, seed=seed + 200 + number)
        shown.append(clip)
    return shown


def reduced(clips: list[VisualTokens], **settings: float) -> list[Reduced]:
    stream = HoliTom(segment_clips=64, **settings).open()
    return [each for clip in clips for each in stream.push(clip, None)] + stream.flush()


def test_still_cells_stay_once_and_at_least_one_of_them() -> None:
    still = [angles(0, 10, 90, 100, 180) for _ in range(6)]
    (segment,) = reduced(still, keep_ratio=1.0)
    (kept,) = segment.clips
    assert kept.indices.tolist() == [0, 1, 2, 3, 4] and (kept.weight == 6).all()
    (segment,) = reduced(still, keep_ratio=0.01)
    (kept,) = segment.clips
    assert len(kept) == 1 and kept.weight.item() == 30


def test_deepstack_is_merged_like_the_features() -> None:
    clips = [make_tokens(clip, deepstack=clip.repeat(2, 1, 1)) for clip in clips_of(4, seed=9)]
    for kept in reduced(clips, keep_ratio=0.25)[0].clips:
        assert kept.deepstack is not None
        assert torch.allclose(kept.deepstack, kept.features.repeat(2, 1, 1), atol=1e-5)
