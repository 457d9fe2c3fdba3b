"""What a stream's reduction holds is told, and bounded by its settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from made_tokens import make_tokens

from streamvlm.reduce import REDUCERS, SEGMENT_REDUCERS, build_reducer, open_stream
from streamvlm.reduce.footprint import held_bytes
from streamvlm.types import VisualTokens

CELLS, SIZE, LEVELS, SEGMENT_CLIPS = 16, 24, 2, 4
GRID = (1, 4, 4)
CLIP_BYTES = CELLS * (SIZE * 4 * (1 + LEVELS) + 3 * 8 + 2 * 4)
"""Features, deepstack, cells, salience and sensitivity."""
KEPT_BYTES = CLIP_BYTES + CELLS * (8 + 4)
"""... with indices and weights, where all is kept."""
REFERENCE_BYTES = CELLS * (SIZE * 4 + 8)
KEY_BYTES = 16 * 2 * SIZE * 4
"""Sixteen runs of clips, a mean and a key each."""

VARIANTS: list[dict[str, Any]] = [
    *({"name": name} for name in (*REDUCERS, *SEGMENT_REDUCERS)),
    {"name": "dtd", "compare_with": "previous"},
    {"name": "holitom", "segment_clips": 3},
    {"name": "compressor", "segment_clips": 3, "key_share": 0.5, "background_ratio": 0.5},
    {"name": "compressor", "segmenter": "anchor", "tokens_per_minute": 60},
]


def day(num_clips: int) -> list[VisualTokens]:
    """Calm, noise, cuts, drift and flashes, by turns."""
    generator = torch.Generator().manual_seed(0)
    base, clips = torch.randn(CELLS, SIZE, generator=generator), []
    for number in range(num_clips):
        noise = torch.randn(CELLS, SIZE, generator=generator)
        features = (
            base + 0.02 * noise,
            noise,
            base.roll(number // 7, dims=0) + 0.05 * noise,
            base * (1 - number / num_clips) + base.flip(0) * number / num_clips,
            torch.ones_like(base) if number % 5 == 0 else base + 0.02 * noise,
        )[number // 20 % 5]
        tokens = make_tokens(features, grid_thw=GRID, deepstack=features.repeat(LEVELS, 1, 1))
        clips.append(replace(tokens, salience=noise[:, 0].abs(), sensitivity=noise[:, 1].abs()))
    return clips


def most_bytes(spec: dict[str, Any]) -> int:
    """By the settings: what may wait, and what the next clip is compared with."""
    reducer: Any = build_reducer(spec)
    if spec["name"] in SEGMENT_REDUCERS:
        waiting = reducer.segment_clips * (CLIP_BYTES + KEPT_BYTES + CELLS)
        return int(waiting + REFERENCE_BYTES + 8 * CELLS + KEY_BYTES)
    carried = CLIP_BYTES
    return SEGMENT_CLIPS * KEPT_BYTES + CLIP_BYTES + REFERENCE_BYTES + carried


@pytest.mark.parametrize("spec", VARIANTS, ids=lambda spec: "-".join(map(str, spec.values())))
def test_what_a_stream_holds_never_exceeds_its_bound(spec: dict[str, Any]) -> None:
    stream, most = open_stream(build_reducer(spec), SEGMENT_CLIPS), most_bytes(spec)
    assert stream.num_bytes == 0
    held = []
    for number, clip in enumerate(day(130)):
        stream.push(clip, None)
        held.append(stream.num_bytes)
        if number == 120:
            stream.flush()
            assert stream.num_bytes <= held[0] + KEY_BYTES, "nothing waits behind a gap"
    assert 0 < held[0] and max(held) <= most


def test_the_bound_of_a_longer_segment_is_not_that_of_a_shorter_one() -> None:
    """Else the bound above would be too wide to say anything."""
    spec: dict[str, Any] = {"name": "compressor", "segment_clips": 12}
    stream, most = open_stream(build_reducer(spec), SEGMENT_CLIPS), 0
    for clip in day(100):
        stream.push(clip, None)
        most = max(most, stream.num_bytes)
    assert most > most_bytes({"name": "compressor", "segment_clips": 4})


@dataclass(frozen=True)
class Part:
    tensor: torch.Tensor
    others: tuple[Any, ...] = ()


def test_what_is_shared_counts_once_and_a_view_in_full() -> None:
    whole, other = torch.zeros(100), torch.zeros(3, dtype=torch.int64)
    assert held_bytes([Part(whole), whole, whole[:2]], {"other": Part(other, (whole,))}) == 424
    assert held_bytes(Part(whole[:1])) == 400, "the rest cannot be freed"
    assert held_bytes("text", 1.0, None) == 0
