"""A token of several contexts in one forward is a token of each."""

from __future__ import annotations

import pytest
import torch

from streamvlm.vlm.base import Context
from streamvlm.vlm.context import BufferLayer, KVContext, room_for
from streamvlm.vlm.qwen import QwenVL

TEXTS = ("What?", "What is at the left of the picture?", "Where is it now, and what was it before?")
STEPS = 4


def contexts(vlm: QwenVL) -> tuple[list[Context], list[int]]:
    """Three of different lengths, and where each goes on."""
    opened, ends = [], []
    for text in TEXTS:
        inputs, context = vlm.lay_out_question(text, 0), vlm.open_context([])
        vlm.prefill(inputs, context)
        opened.append(context)
        ends.append(len(inputs))
    return opened, ends


@pytest.mark.parametrize("count", [1, 2, 3])
def test_together_is_one_by_one(vlm: QwenVL, count: int) -> None:
    (alone, ends), (together, _) = contexts(vlm), contexts(vlm)
    for step in range(STEPS):
        token_ids = [11 * number + step for number in range(count)]
        positions = [end + step for end in ends[:count]]
        logits = vlm.decode_together(token_ids, positions, together[:count])
        expected = torch.stack(
            [vlm.decode(*each) for each in zip(token_ids, positions, alone, strict=False)]
        )
        assert torch.allclose(logits, expected, atol=1e-5)
    lengths = [context.num_tokens for context in together]
    assert lengths == [end + STEPS * (number < count) for number, end in enumerate(ends)]


def test_where_it_fails_no_context_has_grown(vlm: QwenVL, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, ends = contexts(vlm)
    expected = vlm.decode_together([5, 6, 7], ends, contexts(vlm)[0])
    calls = []
    update = BufferLayer.update

    def full(layer: BufferLayer, *states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(layer)
        if len(calls) == 5:
            raise torch.OutOfMemoryError("no room")
        return update(layer, *states)

    with monkeypatch.context() as patched:
        patched.setattr(BufferLayer, "update", full)
        with pytest.raises(torch.OutOfMemoryError):
            vlm.decode_together([5, 6, 7], ends, opened)
    assert [context.num_tokens for context in opened] == ends
    for context in opened:
        assert isinstance(context, KVContext)
        assert len({layer.get_seq_length() for layer in context.cache.layers}) == 1
    assert torch.equal(vlm.decode_together([5, 6, 7], ends, opened), expected)


def test_a_context_outgrows_its_buffer_and_keeps_what_it_holds(vlm: QwenVL) -> None:
    context = vlm.open_context([])
    inputs = vlm.lay_out_question("What?", 0)
    before = vlm.prefill(inputs, context).kv
    room = room_for(0)
    for position in range(len(inputs), room + 3):
        vlm.decode(7, position, context)
    assert isinstance(context, KVContext) and context.num_tokens == room + 3
    first = context.cache.layers[0]
    assert torch.equal(first.values[0, :, : len(inputs)], before.values[0])
    assert torch.equal(
        first.keys[0, :, : len(inputs)], vlm.rotate(before.keys[0], before.positions)
    )
