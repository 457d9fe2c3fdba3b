"""Clips in, visual tokens out: order, grouping, and independence of the other clips."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from streamvlm.encode import Encoder, preprocess
from streamvlm.reduce.ops import keep_rows
from streamvlm.types import Clip, ClockSource, GridRule, StreamTime, VisualTokens
from streamvlm.vlm.patches import PatchSpec

HALF = (0.5, 0.5, 0.5)
SPEC = PatchSpec(
    patch_size=16,
    mean=HALF,
    std=HALF,
    rule=GridRule(cell_pixels=32, min_pixels=32 * 32, max_pixels=128 * 128),
)


class LinearTower(nn.Module):
    """Merges 2 x 2 patches and projects them: a vision tower without attention, in float64."""

    device = torch.device("cpu")

    def __init__(self, *, num_levels: int = 2) -> None:
        super().__init__()
        merged = 4 * SPEC.patch_values
        generator = torch.Generator().manual_seed(0)
        self.patch_spec = SPEC
        self.project = nn.Linear(merged, 8, dtype=torch.float64)
        self.levels = nn.ModuleList(
            nn.Linear(merged, 8, dtype=torch.float64) for _ in range(num_levels)
        )
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=merged**-0.5, generator=generator)
        self.forwards: list[list[tuple[int, int, int]]] = []

    @torch.no_grad()
    def encode(
        self, patches: Tensor, grid_thw: list[tuple[int, int, int]]
    ) -> tuple[Tensor, Tensor | None]:
        assert len(patches) == sum(t * h * w for t, h, w in grid_thw)
        self.forwards.append(grid_thw)
        merged = patches.double().view(-1, 4 * SPEC.patch_values)
        levels = [level(merged) for level in self.levels]
        return self.project(merged), torch.stack(levels) if levels else None


def make_clip(seed: int, height: int = 64, width: int = 96, frames: int = 2) -> Clip:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)
    pixels.flags.writeable = False  # as decoders hand them out
    start = StreamTime(pts_seconds=float(seed), utc_seconds=1.7e9, clock=ClockSource.ARRIVAL)
    return Clip(
        stream_id=f"camera {seed % 3}",
        clip_index=seed,
        pixels=pixels,
        times=tuple(start.later(i / 2) for i in range(frames)),
        frame_seconds=0.5,
    )


MIXED = [
    make_clip(0),
    make_clip(1, 128, 64),
    make_clip(2),
    make_clip(3, 100, 130),
    make_clip(4),
    make_clip(5, 128, 64),
    make_clip(6, frames=3),
    make_clip(7),
]
"""Clips of three streams, in four shapes."""


def assert_same(ours: VisualTokens, theirs: VisualTokens) -> None:
    assert (ours.grid_thw, ours.interval) == (theirs.grid_thw, theirs.interval)
    assert torch.equal(ours.cells, theirs.cells)
    torch.testing.assert_close(ours.features, theirs.features, atol=1e-12, rtol=0)
    assert ours.deepstack is not None and theirs.deepstack is not None
    torch.testing.assert_close(ours.deepstack, theirs.deepstack, atol=1e-12, rtol=0)


@pytest.fixture(scope="module")
def one_by_one() -> list[VisualTokens]:
    encoder = Encoder(tower=LinearTower(), max_batch_clips=1)
    return [encoder.encode([clip])[0] for clip in MIXED]


@pytest.mark.parametrize("max_batch_clips", [1, 2, 3, 100])
def test_tokens_do_not_depend_on_batching(
    one_by_one: list[VisualTokens], max_batch_clips: int
) -> None:
    encoder = Encoder(tower=LinearTower(), max_batch_clips=max_batch_clips)
    for ours, theirs in zip(encoder.encode(MIXED), one_by_one, strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("seed", range(5))
def test_tokens_do_not_depend_on_order_or_on_other_clips(
    one_by_one: list[VisualTokens], seed: int
) -> None:
    chosen = random.Random(seed).sample(range(len(MIXED)), k=2 + seed)
    encoder = Encoder(tower=LinearTower(), max_batch_clips=3)
    for index, tokens in zip(chosen, encoder.encode([MIXED[i] for i in chosen]), strict=True):
        assert_same(tokens, one_by_one[index])


def test_a_token_is_what_the_tower_makes_of_its_own_pixels() -> None:
    """Row i of the result shows cell i: paint one cell and see which token changes."""
    clip = make_clip(0)
    pixels = clip.pixels.copy()
    pixels[:, 32:64, 64:96] = 255
    painted = Clip(
        stream_id="painted",
        clip_index=0,
        pixels=pixels,
        times=clip.times,
        frame_seconds=clip.frame_seconds,
    )
    before, after = Encoder(tower=LinearTower(), max_batch_clips=8).encode([clip, painted])
    changed = (before.features != after.features).any(dim=1)
    assert before.cells[changed].tolist() == [[0, 1, 2]]
    assert before.deepstack is not None and after.deepstack is not None
    assert torch.equal((before.deepstack != after.deepstack).any(dim=2).all(dim=0), changed)


@pytest.mark.parametrize(
    ("max_batch_clips", "clips_of_forwards"),
    [(1, [1] * 8), (2, [2, 2, 2, 1, 1]), (3, [3, 1, 2, 1, 1]), (100, [4, 2, 1, 1])],
)
def test_clips_of_one_size_share_a_forward(
    max_batch_clips: int, clips_of_forwards: list[int]
) -> None:
    tower = LinearTower()
    Encoder(tower=tower, max_batch_clips=max_batch_clips).encode(MIXED)
    assert [len(grids) for grids in tower.forwards] == clips_of_forwards
    assert all(len(set(grids)) == 1 for grids in tower.forwards)


def test_cells_and_interval_are_those_of_the_clip() -> None:
    clip = make_clip(6, frames=3)
    (tokens,) = Encoder(tower=LinearTower(), max_batch_clips=1).encode([clip])
    assert tokens.grid_thw == (2, 2, 3)
    assert tokens.interval == clip.interval
    expected = [[t, row, column] for t in range(2) for row in range(2) for column in range(3)]
    assert tokens.cells.tolist() == expected


def test_other_sizes_are_brought_to_the_grid() -> None:
    (tokens,) = Encoder(tower=LinearTower(), max_batch_clips=1).encode([make_clip(3, 100, 130)])
    assert tokens.grid_thw == (1, 3, 4)


def test_a_model_without_deepstack_has_none() -> None:
    encoder = Encoder(tower=LinearTower(num_levels=0), max_batch_clips=8)
    assert [tokens.deepstack for tokens in encoder.encode(MIXED)] == [None] * len(MIXED)


def test_tokens_of_one_clip_do_not_keep_those_of_the_batch_alive() -> None:
    clips = [make_clip(seed) for seed in range(4)]
    for tokens in Encoder(tower=LinearTower(), max_batch_clips=4).encode(clips):
        assert tokens.deepstack is not None
        for tensor in (tokens.features, tokens.deepstack):
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def test_tokens_bring_the_last_frame_along_where_it_is_wanted() -> None:
    clips = [make_clip(seed) for seed in range(3)]
    tower = LinearTower()
    plain = Encoder(tower=tower, max_batch_clips=4).encode(clips)
    pictured = Encoder(tower=tower, max_batch_clips=4, keeps_pictures=True).encode(clips)
    for clip, one, two in zip(clips, plain, pictured, strict=True):
        assert one.picture is None and two.picture is not None
        assert torch.equal(one.features, two.features)
        assert np.array_equal(two.picture.numpy(), clip.pixels[-1])
        assert two.picture.untyped_storage().nbytes() == clip.pixels[-1].nbytes
        kept = keep_rows(two, torch.tensor([0, 2]))
        assert kept.picture is two.picture


def test_the_tower_sees_the_patches_of_the_preprocessing() -> None:
    tower, clip = LinearTower(), make_clip(0)
    (tokens,) = Encoder(tower=tower, max_batch_clips=1).encode([clip])
    patches, grid_thw = preprocess(torch.from_numpy(clip.pixels.copy())[None], SPEC)
    features, _ = tower.encode(patches, [grid_thw])
    assert torch.equal(tokens.features, features)


def test_no_clips_need_no_forward() -> None:
    tower = LinearTower()
    assert Encoder(tower=tower, max_batch_clips=8).encode([]) == []
    assert tower.forwards == []


def test_an_impossible_batch_size_is_refused() -> None:
    with pytest.raises(ValueError, match="max_batch_clips must be positive, got 0"):
        Encoder(tower=LinearTower(), max_batch_clips=0)
