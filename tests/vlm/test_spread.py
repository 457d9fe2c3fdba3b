"""A token with the positions of several members: against rotations worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRotaryEmbedding
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRotaryEmbedding

from streamvlm.types import RawKV
from streamvlm.vlm.inputs import bring_together
from streamvlm.vlm.positions import PositionPolicy, text_positions
from streamvlm.vlm.qwen import QwenVL
from streamvlm.vlm.random_weights import SIZES
from streamvlm.vlm.spread import SpreadRotary, joined, places
from tests.conftest import tiny_vlm

TEXT = "What is at the left?"
TOLERANCE = 1e-9
"""For float64 with sharpened attention."""


@pytest.fixture
def sharp(family: str) -> QwenVL:
    return tiny_vlm(family, dtype="float64", sharpened=True)


def axis_of(pair: int, sections: list[int], interleaved: bool) -> int:
    if not interleaved:
        return 0 if pair < sections[0] else 1 if pair < sections[0] + sections[1] else 2
    turn = pair % 3
    return turn if turn and pair < 3 * sections[turn] else 0


def angles_by_hand(vlm: QwenVL, positions: Tensor, spread: Tensor | None) -> Tensor:
    """float64 [S,E/2], one after the other."""
    rope, size = vlm.config.text_config.rope_parameters, vlm._head_size
    sections, pairs = rope["mrope_section"], range(size // 2)
    axes = [axis_of(pair, sections, rope.get("mrope_interleaved", False)) for pair in pairs]
    found = torch.zeros(len(positions), size // 2, dtype=torch.float64)
    for row, position in enumerate(positions.tolist()):
        members = [[0, 0, 0]] if spread is None else spread[row].tolist()
        for pair in pairs:
            axis = axes[pair]
            share = axes[:pair].count(axis) / sections[axis]
            member = members[math.floor(share * len(members) + 1e-9)]
            inverse = rope["rope_theta"] ** (-2 * pair / size)
            found[row, pair] = (position[axis] + member[axis]) * inverse
    return found


def rotated_by_hand(keys: Tensor, angles: Tensor) -> Tensor:
    first, second = keys.double().chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def noise(seed: int, num_members: int, num_tokens: int = 6) -> Tensor:
    """A spread as far as a picture is wide."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.randint(-9, 10, (num_tokens, num_members, 3), generator=generator)
    spread[:, 0] = 0
    return spread


def made_kv(vlm: QwenVL, seed: int, spread: Tensor | None) -> RawKV:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, vlm._layers, vlm._groups, 6, vlm._head_size)
    keys, values = torch.randn(shape, generator=generator).to(vlm.dtype)
    return RawKV(keys=keys, values=values, positions=text_positions(9 * seed, 6), spread=spread)


@pytest.mark.parametrize("num_members", [1, 2, 3, 8])
def test_parts_are_rotated_by_the_positions_of_their_members(family: str, num_members: int) -> None:
    vlm = tiny_vlm(family, dtype="float64")
    spread = noise(num_members, num_members)
    kv = made_kv(vlm, 2, spread)
    turned = vlm.rotate(kv.keys, places(kv.positions, spread))
    expected = rotated_by_hand(kv.keys, angles_by_hand(vlm, kv.positions, spread))
    assert torch.allclose(turned, expected, atol=1e-4)
    plain = rotated_by_hand(kv.keys, angles_by_hand(vlm, kv.positions, None))
    assert torch.allclose(turned, plain, atol=1e-4) is (num_members == 1)


def test_an_axis_is_cut_into_equal_parts_at_the_sizes_of_the_models() -> None:
    """As the paper has it: eight of 2, 3 and 3 pairs in Qwen2.5-VL, four of 6, 5 and 5 in the
    other.
    """
    for model, kind, num_members, shares in (
        ("qwen2.5-vl-3b", Qwen2_5_VLRotaryEmbedding, 8, (2, 3, 3)),
        ("qwen3-vl-4b", Qwen3VLTextRotaryEmbedding, 4, (6, 5, 5)),
    ):
        text = SIZES[model]().text_config
        parts = SpreadRotary(kind(text))._parts(num_members)
        rope = text.rope_parameters
        interleaved = rope.get("mrope_interleaved", False)
        axes = [axis_of(pair, rope["mrope_section"], interleaved) for pair in range(64)]
        for axis, share in enumerate(shares):
            own = [part for part, other in zip(parts.tolist(), axes, strict=False) if other == axis]
            assert own == [part for part in range(num_members) for _ in range(share)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_spread_of_zeros_changes_no_bit(family: str, dtype: str) -> None:
    vlm = tiny_vlm(family, dtype=dtype)
    plain = made_kv(vlm, 1, None)
    spread = replace(plain, spread=torch.zeros(6, 8, 3, dtype=torch.int64))
    inputs = vlm.lay_out_question(TEXT, 30)
    wide = replace(inputs, spread=torch.zeros(len(inputs), 8, 3, dtype=torch.int64))
    one, two = (vlm.open_context([kv]) for kv in (plain, spread))
    done, again = vlm.prefill(inputs, one), vlm.prefill(wide, two)
    assert torch.equal(done.logits, again.logits)
    for ours, theirs in zip(one.cache.layers, two.cache.layers, strict=True):
        assert torch.equal(ours.keys, theirs.keys)
    assert done.kv.spread is None and torch.equal(again.kv.spread, wide.spread)


def test_a_context_over_pieces_with_and_without_is_each_by_itself(vlm: QwenVL) -> None:
    pieces = [made_kv(vlm, 1, None), made_kv(vlm, 2, noise(2, 2)), made_kv(vlm, 3, noise(3, 3))]
    context = vlm.open_context(pieces)
    for layer, cached in enumerate(context.cache.layers):
        turned = [vlm.rotate(kv.keys[layer], places(kv.positions, kv.spread)) for kv in pieces]
        assert torch.equal(cached.keys[0], torch.cat(turned, dim=1))


def test_pieces_without_any_have_none_together() -> None:
    assert joined([None, None], [3, 4]) is None
    both = joined([None, noise(0, 2, 4)], [3, 4])
    assert both is not None and both.shape == (7, 2, 3) and not both[:3].any()


@pytest.mark.parametrize("policy", ["keep", "clamp", "compact"])
def test_what_follows_is_behind_all_members(vlm: QwenVL, policy: PositionPolicy) -> None:
    spread = torch.zeros(6, 2, 3, dtype=torch.int64)
    spread[2, 1] = 40
    pieces = [made_kv(vlm, 0, None), made_kv(vlm, 1, spread), made_kv(vlm, 20, None)]
    inputs = vlm.lay_out_question(TEXT, 190)
    together: dict[str, Any] = dict(policy=policy, max_span=10, moving_axes=(True, True, True))
    moved, asked, start = bring_together(pieces, inputs, following=0, **together)
    assert asked is not None and start == int(asked.positions.max()) + 1
    farthest = int(places(moved[1].positions, moved[1].spread).max())
    assert int(moved[2].positions.min()) > farthest
    _, _, alone = bring_together(pieces[:2], None, following=0, **together)
    assert alone > farthest
