"""The oracle: streaming with nothing thrown away is the plain model.

With every reduction off, no window and everything recalled, the streamed answer's logits equal one
full-context forward of the unmodified transformers model (invariants I1, I5 and I21 of the design).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from streamvlm.capture import PushFeed
from streamvlm.config import Config
from streamvlm.engine import StreamEngine
from streamvlm.remember import KVMemory
from streamvlm.remember.stored import StoredBlock
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, tiny_vlm
from tests.streams import EVERYTHING, ask, feed, make_pipeline, offline_logits, streamed_logits

TEXT = "When did the red van leave?"
NUM_CLIPS = 10


def plain_model(vlm: QwenVL) -> Any:
    """The same weights, with the attention and the rotary embedding that transformers would use by
    itself.
    """
    model = copy.deepcopy(vlm._model)
    model.model.language_model.rotary_emb = model.model.language_model.rotary_emb._own
    model.model.visual.config._attn_implementation = "sdpa"
    return model


def largest_difference(vlm: QwenVL, **settings: Any) -> float:
    batch = settings.pop("batch", 1)
    clips = [make_clip(i, size=clip_size(vlm)) for i in range(NUM_CLIPS)]
    pipeline = make_pipeline(vlm, **settings)
    feed(pipeline, clips, batch=batch)
    streamed, tokens = streamed_logits(ask(pipeline, TEXT), 4)
    with torch.inference_mode():
        offline = offline_logits(vlm, plain_model(vlm), clips, TEXT, tokens)
    pairs = zip(streamed, offline, strict=True)
    return max(float((ours - theirs).abs().max()) for ours, theirs in pairs)


@pytest.mark.parametrize("batch", [1, 8], ids=["one_by_one", "in_bulk"])
@pytest.mark.parametrize("segment_clips", [1, 2, 5])
@pytest.mark.parametrize("fresh_clips", [0, 3])
def test_streaming_equals_one_forward(
    vlm: QwenVL, segment_clips: int, fresh_clips: int, batch: int
) -> None:
    """I1 and I5; I21 as the group sizes differ."""
    difference = largest_difference(
        vlm, segment_clips=segment_clips, fresh_clips=fresh_clips, batch=batch
    )
    assert difference < 1e-5


@pytest.mark.parametrize("segment_clips", [1, 2, 5])
def test_streaming_equals_one_forward_with_sharp_attention(family: str, segment_clips: int) -> None:
    vlm = tiny_vlm(family, dtype="float64", sharpened=True)
    assert largest_difference(vlm, segment_clips=segment_clips, fresh_clips=2) < 1e-9


def sinks_all_at_one_position(patched: pytest.MonkeyPatch) -> None:
    """I1: keys are rotated to positions that are not theirs."""
    angles = QwenVL._angles
    patched.setattr(QwenVL, "_angles", lambda vlm, p, like: angles(vlm, p.clamp(min=1), like))


def decoded_one_position_too_far(patched: pytest.MonkeyPatch) -> None:
    """I5: the tokens of the answer are not where one forward would have them."""
    decode = QwenVL.decode
    patched.setattr(QwenVL, "decode", lambda vlm, t, p, context: decode(vlm, t, p + 1, context))


def a_segment_sees_one_segment_before_it(patched: pytest.MonkeyPatch) -> None:
    """I21: what a clip knows of those before it depends on how clips are grouped."""
    append = KVMemory.append

    def narrow(memory: KVMemory, *segment: Any) -> StoredBlock:
        memory._local_blocks = 1
        return append(memory, *segment)

    patched.setattr(KVMemory, "append", narrow)


@pytest.mark.parametrize(
    "plant",
    [
        sinks_all_at_one_position,
        decoded_one_position_too_far,
        a_segment_sees_one_segment_before_it,
    ],
)
def test_the_oracle_fails_on_a_planted_bug(
    family: str, plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = tiny_vlm(family, dtype="float64", sharpened=True)
    plant(monkeypatch)
    assert largest_difference(vlm, segment_clips=2) > 1e-6


@pytest.mark.parametrize("in_bulk", [False, True], ids=["one_by_one", "in_bulk"])
@pytest.mark.parametrize("segment_clips", [1, 2, 5])
def test_pushed_frames_equal_one_forward(vlm: QwenVL, segment_clips: int, in_bulk: bool) -> None:
    """The whole way from pushed bytes: feed, engine, memory, answer."""
    clips = [make_clip(i, size=clip_size(vlm)) for i in range(NUM_CLIPS)]
    everything = {"local_blocks": EVERYTHING, "max_span": 10**9, "segment_clips": segment_clips}
    config = Config.model_validate(
        {
            "encode": {"gate_threshold": 0.0},
            "reduce": {"name": "all"},
            "remember": everything,
            "respond": {"fresh_clips": 2, "recall_blocks": EVERYTHING},
        }
    )
    engine = StreamEngine(vlm, config)
    rule = vlm.patch_spec.rule
    feed = PushFeed("door", fps=2.0, rule=rule, queue_clips=NUM_CLIPS, pause_seconds=5.0)
    engine.add_stream("door", "push:", feed)
    for clip in clips:
        for pixels, time in zip(clip.pixels, clip.times, strict=True):
            height, width, _ = pixels.shape
            feed.push(
                pixels.tobytes(), "rgb24", height=height, width=width, utc_seconds=time.utc_seconds
            )
            if not in_bulk:
                engine.step()
    while engine.step():
        pass
    pipeline = engine._streams.get("door").pipeline
    streamed, tokens = streamed_logits(ask(pipeline, TEXT), 4)
    with torch.inference_mode():
        offline = offline_logits(vlm, plain_model(vlm), clips, TEXT, tokens)
    for ours, theirs in zip(streamed, offline, strict=True):
        assert float((ours - theirs).abs().max()) < 1e-5
