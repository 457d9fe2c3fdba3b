"""Our positions against a reference written out plainly, and against transformers' own (invariant
I22).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from streamvlm.encode import Encoder
from streamvlm.vlm.positions import CLAMPED_GAP, Cursor, offsets, place_by_time
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, tiny_vlm
from tests.streams import ask, feed, make_pipeline, reference_positions

TEXT = "What happened?"
ROWS, COLUMNS = 3, 4


def streamed_positions(vlm: QwenVL, num_clips: int) -> Tensor:
    """int64 [3,S] of prefix, clips and question, laid out one after the other."""
    encoder = Encoder(tower=vlm, max_batch_clips=8)
    clips = [make_clip(i, size=clip_size(vlm, ROWS, COLUMNS)) for i in range(num_clips)]
    prefix, cursor = vlm.lay_out_prefix()
    parts = [prefix]
    for tokens in encoder.encode(clips):
        laid_out, cursor = vlm.lay_out_clip(tokens, cursor)
        parts.append(laid_out)
    parts.append(vlm.lay_out_question(TEXT, cursor.text))
    return torch.cat([part.positions for part in parts]).T


def token_types(vlm: QwenVL, num_clips: int) -> Tensor:
    """int [S]: 2 where the model sees a visual token, 0 for text."""
    visual = ROWS * COLUMNS
    before = len(vlm.lay_out_prefix()[0])
    question = len(vlm.lay_out_question(TEXT, 0))
    types = [0] * before
    for index in range(num_clips):
        if vlm.config.model_type == "qwen3_vl":
            written = f"<{index + 0.25:.1f} seconds><|vision_start|>"
            types += [0] * len(vlm.layout.token_ids(written)) + [2] * visual + [0]
        else:
            types += [2] * visual
    return torch.tensor(types + [0] * question)


def theirs(vlm: QwenVL, num_clips: int, seconds_per_clip: float = 1.0) -> Tensor:
    """int64 [3,S] as transformers computes them."""
    merge = vlm.patch_spec.merge_size
    types = token_types(vlm, num_clips)
    extra: dict[str, Any] = {}
    if vlm.config.model_type == "qwen2_5_vl":
        extra["second_per_grid_ts"] = torch.tensor([seconds_per_clip])
    positions, _ = vlm._model.model.get_rope_index(
        torch.zeros(1, len(types), dtype=torch.long),
        mm_token_type_ids=types[None],
        video_grid_thw=torch.tensor([[num_clips, ROWS * merge, COLUMNS * merge]]),
        **extra,
    )
    return positions[:, 0]


@pytest.mark.parametrize("num_clips", [1, 2, 20])
def test_qwen2_5_positions_equal_the_reference(num_clips: int) -> None:
    vlm = tiny_vlm("qwen2.5-vl")
    starts = [float(i) for i in range(num_clips)]
    expected = reference_positions(token_types(vlm, num_clips), starts, (ROWS, COLUMNS), 2)
    assert torch.equal(streamed_positions(vlm, num_clips), expected)


@pytest.mark.parametrize("num_clips", [1, 2, 20])
def test_qwen3_positions_equal_those_of_transformers(num_clips: int) -> None:
    vlm = tiny_vlm("qwen3-vl")
    assert torch.equal(streamed_positions(vlm, num_clips), theirs(vlm, num_clips))


def test_transformers_starts_the_text_behind_a_long_qwen2_5_video_too_early() -> None:
    """Documents the bug that is the reason for our own positions; the video itself agrees."""
    vlm, num_clips = tiny_vlm("qwen2.5-vl"), 20
    ours, wrong = streamed_positions(vlm, num_clips), theirs(vlm, num_clips)
    is_video_or_before = torch.arange(ours.shape[1]) < ours.shape[1] - len(
        vlm.lay_out_question(TEXT, 0)
    )
    assert torch.equal(ours[:, is_video_or_before], wrong[:, is_video_or_before])
    behind_video = ~is_video_or_before
    assert int(ours[:, behind_video].min()) == int(ours[:, is_video_or_before].max()) + 1
    assert int(wrong[:, behind_video].min()) < int(wrong[:, is_video_or_before].max())


def test_clips_never_share_a_temporal_position() -> None:
    cells, cursor, seen = torch.zeros(1, 3, dtype=torch.long), Cursor(text=4, temporal=4), []
    for index in range(20):
        positions, cursor = place_by_time(
            cells,
            (1, 1, 1),
            video_start=4,
            pts_seconds=index * 2 / 30,  # 30 frames a second: 15 clips for 2 positions
            tokens_per_second=2,
            cursor=cursor,
        )
        seen.append(int(positions[0, 0]))
    assert seen == sorted(set(seen))


def test_dropped_cells_still_count() -> None:
    one = torch.tensor([[0, 0, 0]])
    _, cursor = place_by_time(
        one,
        (1, 9, 9),
        video_start=4,
        pts_seconds=0.0,
        tokens_per_second=2,
        cursor=Cursor(text=4, temporal=4),
    )
    assert cursor.text == 4 + 9


gaps_and_lengths = st.lists(st.tuples(st.integers(0, 10**12), st.integers(1, 500)), max_size=30)


@given(gaps_and_lengths, st.sampled_from(["keep", "clamp", "compact"]), st.integers(1, 10**6))
def test_offsets_keep_order_and_never_overlap(
    pieces: list[tuple[int, int]], policy: Any, max_span: int
) -> None:
    """Runs of text with gaps between them, wherever the borders of blocks are."""
    positions: list[int] = []
    for gap, length in pieces:
        start = positions[-1] + 1 + gap if positions else gap
        positions += range(start, start + length)
    ledger = torch.tensor(positions, dtype=torch.long)[:, None].expand(-1, 3)
    moved = (ledger[:, 0] + offsets(ledger, policy, max_span)).tolist()
    steps = [after - before for before, after in pairwise(moved)]
    assert all(step >= 1 for step in steps)
    if policy == "compact":
        assert all(step == 1 for step in steps)
    if policy == "clamp":
        assert all(step <= CLAMPED_GAP + 1 for step in steps)
    if moved:
        assert moved[0] == positions[0]
        bound = max(max_span, len(positions) + CLAMPED_GAP * len(pieces))
        assert moved[-1] - moved[0] < bound


def test_keep_moves_nothing_within_the_span() -> None:
    ledger = torch.tensor([0, 1, 2, 900, 901])[:, None].expand(-1, 3)
    assert offsets(ledger, "keep", 1000).tolist() == [0] * 5
    assert offsets(ledger, "keep", 800).tolist()[-1] == -(897 - CLAMPED_GAP)


def test_cells_of_one_picture_are_never_torn_apart() -> None:
    """A picture wider than the clamp, and the text behind it."""
    cells = torch.tensor([[0, 0, column] for column in range(150)]) + 10
    ledger = torch.cat([cells, torch.tensor([[160, 160, 160]])])
    assert offsets(ledger, "compact", 1).tolist() == [0] * 151


@pytest.mark.parametrize("policy", ["keep", "clamp", "compact"])
def test_hours_of_stillness_do_not_stretch_a_context(family: str, policy: Any) -> None:
    vlm = tiny_vlm(family)
    pipeline = make_pipeline(
        vlm, policy=policy, max_span=24_000, fresh_clips=2, segment_clips=2, gate_threshold=0.01
    )
    clips = [make_clip(hour * 3600, size=clip_size(vlm)) for hour in range(0, 36, 4)]
    feed(pipeline, clips)
    prompt = ask(pipeline, TEXT)._prompt
    assert prompt is not None
    assert int(prompt.inputs.positions.max()) < 24_000
