"""A token with the positions of several members: against rotations worked out by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRotaryEmbedding
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRotaryEmbedding

from streamvlm.encode import Encoder
from streamvlm.reduce import ReductionContext, build_reducer
from streamvlm.types import Clip, InputTokens, RawKV
from streamvlm.vlm import qwen
from streamvlm.vlm.inputs import bring_together, join
from streamvlm.vlm.positions import PositionPolicy, text_positions
from streamvlm.vlm.qwen import QwenVL
from streamvlm.vlm.random_weights import SIZES
from streamvlm.vlm.spread import SpreadRotary, joined, places
from tests.conftest import clip_size, make_clip, tiny_vlm
from tests.streams import ask, feed, make_pipeline, streamed_logits

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


NUM_CLIPS = 6
REDUCE = {"name": "ppe", "num_members": 3}


def clips_of(vlm: QwenVL) -> list[Clip]:
    return [make_clip(i, size=clip_size(vlm)) for i in range(NUM_CLIPS)]


def streamed(vlm: QwenVL, **settings: Any) -> Tensor:
    """The logits of an answer, everything recalled."""
    pipeline = make_pipeline(vlm, REDUCE, **settings)
    feed(pipeline, clips_of(vlm))
    return torch.stack(streamed_logits(ask(pipeline, TEXT), 1)[0])[0]


def one_input(vlm: QwenVL) -> InputTokens:
    """The same clips, merged, with the question behind them."""
    reducer = build_reducer(REDUCE)
    inputs, cursor = vlm.lay_out_prefix()
    encoder = Encoder(tower=vlm, max_batch_clips=1)
    for tokens in encoder.encode(clips_of(vlm)):
        laid_out, cursor = vlm.lay_out_clip(reducer(tokens, ReductionContext()), cursor)
        inputs = join([inputs, laid_out])
    return join([inputs, vlm.lay_out_question(TEXT, cursor.text)])


class ByHand(nn.Module):
    """In place of a rotary embedding: what was worked out for these tokens."""

    def __init__(self, angles: Tensor) -> None:
        super().__init__()
        self._angles = angles.repeat(1, 2)[None]

    def forward(self, like: Tensor, _ids: Tensor) -> tuple[Tensor, Tensor]:
        return self._angles.cos().to(like.dtype), self._angles.sin().to(like.dtype)


def by_hand(vlm: QwenVL, inputs: InputTokens) -> Tensor:
    """The logits of one forward with rotations of our own."""
    assert inputs.spread is not None and bool((inputs.spread != 0).any())
    plain = copy.copy(vlm)
    plain._text_model = copy.deepcopy(vlm._text_model)
    plain._text_model.rotary_emb = ByHand(angles_by_hand(vlm, inputs.positions, inputs.spread))
    return plain.prefill(inputs, plain.open_context([])).logits


def streaming_equals_one_forward(vlm: QwenVL, **settings: Any) -> None:
    inputs, logits = one_input(vlm), streamed(vlm, **settings)
    once = vlm.prefill(inputs, vlm.open_context([])).logits
    assert float((logits - once).abs().max()) < TOLERANCE
    # Angles by hand are of float64, those of the model of float32.
    assert float((logits - by_hand(vlm, inputs)).abs().max()) < 1e-5
    bare = vlm.prefill(replace(inputs, spread=None), vlm.open_context([])).logits
    assert float((logits - bare).abs().max()) > 1e-3, "it would not matter"


@pytest.mark.parametrize("settings", [{}, {"segment_clips": 4}], ids=["blocks", "open segment"])
def test_merged_tokens_through_memory_are_one_forward(
    sharp: QwenVL, settings: dict[str, Any]
) -> None:
    streaming_equals_one_forward(sharp, **settings)


def test_the_last_clips_in_full_stand_behind_merged_ones(sharp: QwenVL) -> None:
    pipeline = make_pipeline(sharp, REDUCE, fresh_clips=2)
    feed(pipeline, clips_of(sharp))
    prompt = ask(pipeline, TEXT)._prompt
    context, done = prompt.run(sharp)
    assert prompt.recent is not None and prompt.recent.spread is None
    again = sharp.prefill(prompt.inputs, sharp.open_context(prompt.remembered))
    assert torch.allclose(done.logits, again.logits, atol=TOLERANCE)
    assert context.num_tokens == sum(map(len, prompt.remembered)) + prompt.num_inputs


def recalled_at_one_position(patched: pytest.MonkeyPatch) -> None:
    """Keys of memory are rotated by the positions of the tokens alone."""
    bare = qwen.places_of
    patched.setattr(
        qwen, "places_of", lambda spans: bare([replace(kv, spread=None) for kv in spans])
    )


def run_at_one_position(patched: pytest.MonkeyPatch) -> None:
    """What is prefilled is rotated so."""
    patched.setattr(qwen, "places", lambda positions, _spread: positions)


def lost_on_the_way(patched: pytest.MonkeyPatch) -> None:
    """A prompt of several clips keeps the spread of none."""
    patched.setattr("streamvlm.vlm.inputs.joined", lambda _spreads, _lengths: None)


def members_in_another_order(patched: pytest.MonkeyPatch) -> None:
    """Parts are cut backwards."""
    parts = SpreadRotary._parts
    patched.setattr(SpreadRotary, "_parts", lambda own, count: count - 1 - parts(own, count))


@pytest.mark.parametrize(
    "plant",
    [recalled_at_one_position, run_at_one_position, lost_on_the_way, members_in_another_order],
)
def test_the_oracle_fails_on_a_planted_bug(
    sharp: QwenVL, plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        streaming_equals_one_forward(sharp)


def test_rotated_raw_keys_are_the_native_ones_in_every_dtype(family: str) -> None:
    for dtype in ("float32", "bfloat16"):
        vlm = tiny_vlm(family, dtype=dtype)
        inputs, context = one_input(vlm), vlm.open_context([])
        kv = vlm.prefill(inputs, context).kv
        for layer, cached in enumerate(context.cache.layers):
            turned = vlm.rotate(kv.keys[layer], places(kv.positions, kv.spread))
            assert torch.equal(turned, cached.keys[0])


def test_a_clip_says_how_far_its_members_are(vlm: QwenVL) -> None:
    (tokens, *_) = Encoder(tower=vlm, max_batch_clips=1).encode(clips_of(vlm)[:1])
    kept = build_reducer(REDUCE)(tokens, ReductionContext())
    laid_out, _ = vlm.lay_out_clip(kept, vlm.lay_out_prefix()[1])
    full, _ = vlm.lay_out_clip(tokens, vlm.lay_out_prefix()[1])
    assert full.spread is None and laid_out.spread is not None and kept.members is not None
    assert not laid_out.spread[~laid_out.is_visual].any()
    where = dict(
        zip(map(tuple, tokens.cells.tolist()), full.positions[full.is_visual].tolist(), strict=True)
    )
    there = places(laid_out.positions, laid_out.spread)[laid_out.is_visual]
    for cells, positions in zip(kept.members.tolist(), there.tolist(), strict=True):
        assert [where[tuple(cell)] for cell in cells] == positions


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


def test_angles_of_our_own_are_those_of_the_model(vlm: QwenVL) -> None:
    positions = torch.randint(0, 100_000, (50, 3), generator=torch.Generator().manual_seed(0))
    own, like = vlm._text_model.rotary_emb, torch.zeros(1, dtype=torch.bfloat16)
    expected = own(like, positions.T[:, None])
    got = vlm._angles(positions, like)
    assert all(torch.equal(a, b[0]) for a, b in zip(got, expected, strict=True))
    own.__dict__["frequencies"] = None
    try:
        assert torch.equal(vlm._angles(positions, like)[0], expected[0][0])
    finally:
        del own.__dict__["frequencies"]
