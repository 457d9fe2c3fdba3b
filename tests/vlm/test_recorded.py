"""A recorded pass gives what the classes of transformers give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from streamvlm.encode import Encoder
from streamvlm.vlm import load
from streamvlm.vlm.context import KVContext
from streamvlm.vlm.qwen import QwenVL
from streamvlm.vlm.recorded import Recordings
from streamvlm.vlm.text_layers import can_be_recorded
from tests.conftest import clip_size, make_clip, tiny_vlm


@contextmanager
def recording(vlm: QwenVL) -> Iterator[Recordings]:
    """The model runs so while inside."""
    before = vlm.recordings
    vlm.recordings = Recordings(
        vlm._text_model, index_layer=vlm._index_layer, num_deepstack=vlm._num_deepstack
    )
    try:
        yield vlm.recordings
    finally:
        vlm.recordings = before


def everything(vlm: QwenVL) -> list[Tensor]:
    """What comes of a clip, a question, and some tokens of an answer: alone and with another."""
    (tokens,) = Encoder(tower=vlm, max_batch_clips=1).encode([make_clip(0, size=clip_size(vlm))])
    prefix, cursor = vlm.lay_out_prefix()
    clip, cursor = vlm.lay_out_clip(tokens, cursor)
    context = vlm.open_context([])
    first, seen = vlm.prefill(prefix, context), vlm.prefill(clip, context)
    asked = vlm.prefill(vlm.lay_out_question("What is at the left?", cursor.text), context)
    other = vlm.open_context([first.kv, seen.kv])
    ends = [1000, 2000]
    told = [asked.logits, asked.probe, asked.attention([len(prefix), len(clip)])]
    told += [each for done in (first, seen, asked) for each in (done.kv.keys, done.kv.values)]
    told += [vlm.decode(7, ends[0], context)]
    told += [vlm.decode_together([5, 6], [ends[0] + 1, ends[1]], [context, other])]
    assert isinstance(context, KVContext) and isinstance(other, KVContext)
    return [each.cpu() for each in (*told, context.keys, context.values, other.keys, other.values)]


def differs(one: list[Tensor], two: list[Tensor]) -> float:
    pairs = zip(one, two, strict=True)
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)


def test_it_is_what_the_model_does(family: str) -> None:
    vlm = tiny_vlm(family, sharpened=True)
    assert can_be_recorded(vlm._text_model)
    expected = everything(vlm)
    with recording(vlm) as recordings:
        got = everything(vlm)
        assert {(1, 1), (2, 1), (1, 32)} <= set(recordings._passes), "nothing was recorded"
    assert differs(got, expected) < 1e-5


def test_what_is_too_large_goes_the_other_way(vlm: QwenVL) -> None:
    with recording(vlm) as recordings:
        assert recordings.pass_for(1, 10_000) is None
        assert recordings.pass_for(2, 2) is None
        assert recordings.pass_for(1000, 1) is None
        assert not recordings._passes


def test_where_there_is_no_memory_for_it_the_model_does_it(
    vlm: QwenVL, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = everything(vlm)

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("streamvlm.vlm.recorded.RecordedPass", full)
    with recording(vlm):
        assert differs(everything(vlm), expected) < 1e-6
    assert "no memory to record" in caplog.text


@pytest.mark.parametrize("bias", [False, True])
def test_weights_side_by_side_are_still_the_model_s_own(bias: bool) -> None:
    from streamvlm.vlm.text_layers import _side_by_side

    one, two = torch.nn.Linear(4, 3, bias=bias), torch.nn.Linear(4, 2, bias=bias)
    x = torch.randn(5, 4)
    before = torch.cat([one(x), two(x)], dim=-1)
    product = _side_by_side([one, two])
    assert torch.allclose(product(x), before)
    assert torch.allclose(torch.cat([one(x), two(x)], dim=-1), before)
    with torch.no_grad():
        one.weight.mul_(2)
    assert torch.allclose(product(x)[:, :3], one(x))


@pytest.mark.gpu
def test_on_the_gpu_too(family: str) -> None:
    """Recorded and replayed, in float32; twice, so that nothing of the first run is left over."""
    vlm = load(f"random:{family}-tiny", dtype="float32", device="cuda")
    recordings, vlm.recordings = vlm.recordings, None
    assert recordings is not None
    expected = everything(vlm)
    vlm.recordings = recordings
    for _ in range(2):
        assert differs(everything(vlm), expected) < 1e-4
    assert {(1, 1), (2, 1), (1, 32)} <= set(recordings._passes)
