"""One stream's stages in their order: clips in, blocks out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from streamvlm.beginning import Beginning
from streamvlm.config import Config
from streamvlm.encode import Encoder
from streamvlm.gaps import DEGRADED, ENGINE_FAILED, MAX_GAPS
from streamvlm.reduce import ReductionContext
from streamvlm.reduce.stream import ClipByClip
from streamvlm.remember import RecallSettings
from streamvlm.remember_config import RememberConfig
from streamvlm.seeing import JpegSight
from streamvlm.types import KeptTokens, VisualTokens
from streamvlm.vlm import load
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, make_gap, tiny_vlm
from tests.streams import ask, feed, make_pipeline, streamed_logits


def still(vlm: QwenVL, count: int, first: int = 0) -> list:
    picture = make_clip(0, size=clip_size(vlm)).pixels
    picture[1] = picture[0]
    return [make_clip(i, picture, size=clip_size(vlm)) for i in range(first, first + count)]


def test_clips_become_fresh_then_open_then_a_block(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm, fresh_clips=2, segment_clips=3)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(9)])
    status = pipeline.status()
    assert (status.blocks, status.fresh_clips, status.clips_encoded) == (2, 2, 9)
    assert [block.interval.start.pts_seconds for block in pipeline.memory.blocks] == [0, 3]
    assert status.remembered is not None
    assert (status.remembered.start.pts_seconds, status.remembered.end.pts_seconds) == (0, 9)
    assert status.tokens_seen == status.tokens_kept == 7 * 12


def test_fresh_clips_keep_all_their_tokens(vlm: QwenVL) -> None:
    pipeline = make_pipeline(
        vlm, {"name": "uniform", "keep_ratio": 0.1}, fresh_clips=2, segment_clips=2
    )
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(8)])
    fresh = ask(pipeline, "What?")._started.evidence[-1]
    assert fresh.num_tokens >= 2 * 12
    assert pipeline.status().tokens_kept == 6 * 1


def test_a_still_scene_is_encoded_once_and_time_goes_on(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm, fresh_clips=2, gate_threshold=0.01)
    feed(pipeline, still(vlm, 30))
    status = pipeline.status()
    assert (status.clips_encoded, status.clips_unchanged) == (1, 29)
    assert status.remembered is not None and status.remembered.end.pts_seconds == 30


@pytest.mark.parametrize("fresh_clips", [0, 1])
@pytest.mark.parametrize("segment_clips", [1, 2])
def test_time_goes_on_wherever_the_newest_clip_is(fresh_clips: int, segment_clips: int) -> None:
    vlm = tiny_vlm("qwen3-vl")
    pipeline = make_pipeline(
        vlm, fresh_clips=fresh_clips, segment_clips=segment_clips, gate_threshold=0.01
    )
    feed(pipeline, still(vlm, 5))
    remembered = pipeline.status().remembered
    assert remembered is not None and remembered.end.pts_seconds == 5


def test_nothing_is_compared_across_a_gap(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm, {"name": "dtd"}, fresh_clips=1, gate_threshold=0.01)
    feed(pipeline, still(vlm, 3))
    pipeline.interrupt(make_gap(3.0, 8.0))
    feed(pipeline, still(vlm, 3, first=8))
    feed(pipeline, [make_clip(20 + i, size=clip_size(vlm)) for i in range(3)])
    before, after = pipeline.memory.blocks[:2]
    assert (before.interval.end.pts_seconds, after.interval.start.pts_seconds) == (3, 8)
    assert after.num_visual == 12, "the first clip behind a gap is kept in full"
    assert [gap.interval.duration_seconds for gap in pipeline.status().gaps] == [5]


def test_a_gap_closes_the_segment(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm, segment_clips=4)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(2)])
    pipeline.interrupt(make_gap(2.0, 5.0))
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(5, 7)])
    (block,) = pipeline.memory.blocks
    assert (block.interval.start.pts_seconds, block.interval.end.pts_seconds) == (0, 2)


def test_gaps_are_bounded_and_the_newest_stay(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm)
    for index in range(3 * MAX_GAPS):
        pipeline.interrupt(make_gap(index, index + 0.5))
    gaps = pipeline.status().gaps
    assert len(gaps) == MAX_GAPS and gaps[-1].interval.start.pts_seconds == 3 * MAX_GAPS - 1


def test_a_fault_with_every_clip_is_one_gap(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm)
    pipeline.interrupt(make_gap(0, 3600))
    for index in range(3 * MAX_GAPS):
        pipeline.interrupt(make_gap(5000 + index, 5001 + index, ENGINE_FAILED))
    first, second = pipeline.status().gaps
    assert (first.interval.duration_seconds, second.interval.duration_seconds) == (3600, 192)


def test_evidence_never_covers_a_gap(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm, fresh_clips=4, segment_clips=4)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(2)])
    pipeline.interrupt(make_gap(2.0, 36_000.0))
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(36_000, 36_002)])
    answering = ask(pipeline, "What?")
    spans = [
        (piece.interval.start.pts_seconds, piece.interval.end.pts_seconds)
        for piece in answering._started.evidence
    ]
    assert spans == [(0, 2), (36_000, 36_002)]


def test_evidence_accounts_for_every_token_of_the_context(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm, fresh_clips=2, segment_clips=3)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(9)])
    answering = ask(pipeline, "What?")
    question = len(vlm.lay_out_question("What?", 0))
    told = sum(piece.num_tokens for piece in answering._started.evidence)
    in_context = answering._recalled_tokens + answering._prompt_tokens
    assert told == in_context - question - len(pipeline.memory.sinks)


def test_a_clip_of_which_nothing_is_kept_extends_what_is_remembered(vlm: QwenVL) -> None:
    """The published DTD keeps nothing of a clip that resembles the one before."""
    pipeline = make_pipeline(
        vlm, {"name": "dtd", "compare_with": "previous"}, fresh_clips=2, segment_clips=1
    )
    picture = make_clip(0, size=clip_size(vlm)).pixels
    clips = []
    for index in range(8):
        pixels = picture.copy()
        pixels[:, 0, 0] = index
        clips.append(make_clip(index, pixels))
    feed(pipeline, clips)
    (block,) = pipeline.memory.blocks
    status = pipeline.status()
    assert block.interval.end.pts_seconds == 6
    assert status.gaps == () and status.tokens_kept == 12
    assert status.remembered is not None and status.remembered.end.pts_seconds == 8


def test_a_failed_prefill_costs_its_segment_only(
    vlm: QwenVL, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline(vlm, fresh_clips=2, segment_clips=2, budget_bytes=2**20)
    clips = [make_clip(i, size=clip_size(vlm)) for i in range(20)]
    feed(pipeline, clips[:5])
    with monkeypatch.context() as patched:
        patched.setattr(vlm, "prefill", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            feed(pipeline, clips[5:6])
    feed(pipeline, clips[6:])
    (gap,) = pipeline.status().gaps
    assert gap.reason == ENGINE_FAILED
    assert (gap.interval.start.pts_seconds, gap.interval.end.pts_seconds) == (2, 4)
    starts = [block.interval.start.pts_seconds for block in pipeline.memory.blocks]
    assert starts == [0, *range(4, 18, 2)]


def test_a_failed_reduction_costs_its_clip_only(
    vlm: QwenVL, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline(vlm, fresh_clips=2, segment_clips=2)
    clips = [make_clip(i, size=clip_size(vlm)) for i in range(10)]
    feed(pipeline, clips[:5])
    with monkeypatch.context() as patched:
        patched.setattr(pipeline._reduction, "_reducer", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            feed(pipeline, clips[5:6])
    feed(pipeline, clips[6:])
    (gap,) = pipeline.status().gaps
    assert (gap.interval.start.pts_seconds, gap.interval.end.pts_seconds) == (3, 4)


def test_a_reducer_knows_the_clips_around_and_nothing_across_a_gap(
    vlm: QwenVL, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline(vlm, fresh_clips=2)
    clips = [make_clip(i, size=clip_size(vlm)) for i in range(8)]
    known: list[tuple[float, float | None, float | None]] = []
    reduction = pipeline._reduction
    assert isinstance(reduction, ClipByClip)
    keep_all = reduction._reducer

    def spy(tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        around = (context.previous, context.following)
        known.append((tokens.pts_seconds, *(each and each.pts_seconds for each in around)))
        return keep_all(tokens, context)

    monkeypatch.setattr(reduction, "_reducer", spy)
    feed(pipeline, clips[:3])
    pipeline.interrupt(make_gap(3, 4))
    feed(pipeline, clips[4:])
    assert known == [
        (0.25, None, 1.25),
        (1.25, 0.25, 2.25),
        (2.25, 1.25, None),
        (4.25, None, 5.25),
        (5.25, 4.25, 6.25),
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_cost_their_clip_only(vlm: QwenVL, value: float) -> None:
    pipeline = make_pipeline(vlm, {"name": "dtd"}, fresh_clips=2)
    clips = [make_clip(i, size=clip_size(vlm)) for i in range(8)]
    feed(pipeline, clips[:4])
    (tokens,) = Encoder(tower=vlm, max_batch_clips=1).encode(clips[4:5])
    features = tokens.features.clone()
    features[3, 5] = value
    with pytest.raises(ValueError, match=r"at 4\.25 s has features that are not finite"):
        pipeline.feed(replace(tokens, features=features))
    feed(pipeline, clips[5:])
    (gap,) = pipeline.status().gaps
    assert (gap.reason, gap.interval.start.pts_seconds) == (DEGRADED, 4)
    assert torch.stack(streamed_logits(ask(pipeline, "What?"), 2)[0]).isfinite().all()


def test_a_change_of_size_starts_anew(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm, {"name": "dtd"})
    feed(pipeline, [make_clip(i, size=clip_size(vlm, 3, 4)) for i in range(2)])
    feed(pipeline, [make_clip(i, size=clip_size(vlm, 5, 2)) for i in range(2, 4)])
    assert [block.num_visual for block in pipeline.memory.blocks][2] == 10
    ask(pipeline, "What?").advance()


def test_dtd_keeps_fewer_tokens_of_a_scene_where_one_corner_moves(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm, {"name": "dtd"}, gate_threshold=0.01)
    clips = still(vlm, 6)
    noise = np.random.default_rng(1)
    for clip in clips[1:]:
        corner = clip.pixels.copy()
        corner[:, :20, :20] = noise.integers(0, 256, (2, 20, 20, 3))
        object.__setattr__(clip, "pixels", corner)
    feed(pipeline, clips)
    status = pipeline.status()
    assert status.clips_encoded == 6
    assert status.tokens_kept < status.tokens_seen / 2


@pytest.mark.parametrize("budget", [{"tokens_per_minute": 1.0}, {"keep_ratio": 0.02}], ids=str)
def test_segments_of_which_nothing_is_kept_cost_no_clip(
    vlm: QwenVL, budget: dict[str, float]
) -> None:
    reduce = {"name": "compressor", "burst_clips": 1.0, **budget}
    pipeline = make_pipeline(vlm, reduce, recall_blocks=3)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(40)])
    status = pipeline.status()
    assert status.gaps == () and 12 <= status.tokens_kept < 40
    assert status.remembered and status.remembered.duration_seconds == 40.0
    ends = [block.interval.end.pts_seconds for block in pipeline.memory.blocks]
    assert ends == sorted(ends)


def test_a_long_stream_stays_within_the_span_of_positions(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm, policy="keep", max_span=200, local_blocks=3, recall_blocks=4)
    feed(pipeline, [make_clip(16 * i, size=clip_size(vlm)) for i in range(60)])
    prompt = ask(pipeline, "What?")._prompt
    assert prompt is not None
    assert pipeline._cursor.text > 800
    assert int(prompt.inputs.positions.max()) < 600


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_whole_way_on_cuda(family: str, dtype: str) -> None:
    """Keys and values stay on the device, ledgers and summaries on the cpu; an answer comes out."""
    vlm = load(f"random:{family}-tiny", dtype=dtype, device="cuda")
    pipeline = make_pipeline(
        vlm, {"name": "dtd", "neighbourhood": 3}, fresh_clips=2, segment_clips=2, recall_blocks=3
    )
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(12)], batch=4)
    block = pipeline.memory.blocks[0]
    assert block.kv.keys.device.type == "cuda"
    assert {block.kv.positions.device.type, block.summary.keys.device.type} == {"cpu"}
    answering = ask(pipeline, "What is it?", max_new_tokens=4)
    events = [event for _ in range(5) for event in answering.advance()]
    assert events[-1].usage.answer_tokens == 4 or events[-1].finish_reason == "stop"
    pipeline.memory.check()


@pytest.mark.gpu
def test_cuda_remembers_what_the_cpu_remembers(family: str) -> None:
    """The same tokens are kept, and recall finds the same blocks."""
    outcomes = []
    for device in ("cpu", "cuda"):
        vlm = load(f"random:{family}-tiny", dtype="float32", device=device)
        vlm._model.load_state_dict(tiny_vlm(family)._model.state_dict())
        pipeline = make_pipeline(vlm, {"name": "dtd"}, fresh_clips=2, recall_blocks=3)
        feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(10)])
        evidence = ask(pipeline, "What is it?")._started.evidence
        outcomes.append((pipeline.status().tokens_kept, [piece.block_id for piece in evidence]))
    assert outcomes[0] == outcomes[1]


def test_a_question_about_now_recalls_nothing_where_that_is_set(vlm: QwenVL) -> None:
    clips = [make_clip(i, size=clip_size(vlm)) for i in range(5)]
    for is_set, recalled in ((True, 0), (False, 3)):
        settings = RecallSettings(now_recalls_nothing=is_set)
        pipeline = make_pipeline(vlm, fresh_clips=2, recall=settings)
        feed(pipeline, clips)
        about_now = ask(pipeline, "What is there right now?")
        assert sum(each.block_id is not None for each in about_now._started.evidence) == recalled
        about_anything = ask(pipeline, "What is there?")
        assert sum(each.block_id is not None for each in about_anything._started.evidence) == 3


def test_the_config_says_how_memory_is_searched(vlm: QwenVL) -> None:
    remember = RememberConfig(
        score="bound",
        exact_vectors=9,
        recall_tokens=8,
        recall_selection="per_layer",
        newest_blocks=3,
        recall_gate=7.0,
        now_recalls_nothing=False,
    )
    pipeline = Beginning(vlm, Config(remember=remember)).pipeline()
    assert pipeline.memory._recall == RecallSettings(
        score="bound",
        exact_vectors=9,
        max_tokens=8,
        selection="per_layer",
        newest_blocks=3,
        gate=7.0,
        now_recalls_nothing=False,
    )
    for choice in ("quota", "vilamp"):
        remember = RememberConfig(recall_tokens=8, recall_choice=choice)
        pipeline = Beginning(vlm, Config(remember=remember)).pipeline()
        assert pipeline.memory._recall == RecallSettings(max_tokens=8, choice=choice)
    assert Beginning(vlm, Config()).pipeline().memory._recall == RecallSettings()


def test_the_config_says_which_pictures_are_kept(vlm: QwenVL) -> None:
    below = {"host_budget_bytes": 2**20, "host_form": "pictures"}
    settings = {"picture_clips": 3, "picture_quantiser": 9}
    remember = RememberConfig.model_validate({**below, **settings})
    beginning = Beginning(vlm, Config(remember=remember))
    sight = beginning.pipeline().memory._sight
    assert isinstance(sight, JpegSight)
    assert (sight.num_clips, sight.quantiser) == (3, 9)
    assert beginning.encoder.keeps_pictures and not sight.encoder.keeps_pictures
    bare = Beginning(vlm, Config())
    assert not bare.encoder.keeps_pictures and bare.pipeline().memory._sight is None
