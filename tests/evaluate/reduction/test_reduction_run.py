"""A video file reduced: the same as a stream of the service keeps."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from streamvlm.beginning import Beginning
from streamvlm.config import Config
from streamvlm.encode import Encoder
from streamvlm.evaluate.methods import kept_ratio, method
from streamvlm.evaluate.reduction import run
from streamvlm.evaluate.reduction.seen import Reduction
from streamvlm.evaluate.reduction.watching import KEY_CLIPS
from streamvlm.evaluate.suites.recorded import RecordedVideo
from streamvlm.reduce import build_reducer
from streamvlm.types import Clip, Gap
from tests.capture.videos import write_video
from tests.conftest import tiny_vlm

CONFIG = Config.model_validate({"respond": {"fresh_clips": 0}, "encode": {"max_batch_clips": 3}})
SPECS: list[dict[str, Any]] = [
    {"name": "dtd", "threshold": 0.05},
    {"name": "uniform"},
    {"name": "tome"},
    {"name": "holitom"},
    {"name": "compressor", "first_threshold": 0.05, "key_share": 0.3},
]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> RecordedVideo:
    """12 s of which shapes rest from 6 s to 10 s."""
    path = tmp_path_factory.mktemp("reduction") / "made.mp4"
    write_video(path, seconds=12.0, fps=8, options={"crf": "12"})
    return RecordedVideo(video_id="made", path=path, cell_pixels=32)


def reduced(video: RecordedVideo, spec: dict[str, Any], seconds: float | None = None) -> Reduction:
    vlm = tiny_vlm("qwen3-vl")
    clips = run.clips_until(vlm, video, CONFIG, seconds)
    return run.run(build_reducer(spec), vlm, clips, CONFIG)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["name"])
def test_what_is_kept_is_what_the_pipeline_keeps(
    video: RecordedVideo, spec: dict[str, Any]
) -> None:
    vlm = tiny_vlm("qwen3-vl")
    pipeline = Beginning(vlm, CONFIG.model_copy(update={"reduce": spec})).pipeline()
    encoder = Encoder(tower=vlm, max_batch_clips=1)
    clips = list(run.clips_until(vlm, video, CONFIG))
    for clip in clips:
        if pipeline.admit(clip):
            pipeline.feed(encoder.encode([clip])[0])
        else:
            pipeline.extend(clip)
    # What comes behind a gap closes all segments before it.
    pipeline.interrupt(Gap(interval=clips[-1].interval, reason="TEST"))
    status = pipeline.status()
    pipeline.feed(encoder.encode(clips[:1])[0])

    found = reduced(video, spec)
    blocks = pipeline.memory.blocks
    assert found.tokens_kept == sum(block.num_visual for block in blocks)
    assert found.tokens_seen == status.tokens_seen
    assert found.num_encoded == status.clips_encoded
    assert len(found.clips) == len(clips)
    assert len(found.clips) - found.num_encoded == status.clips_unchanged > 0
    assert found.kv_bytes_per_token == vlm.kv_bytes_per_token
    kept = [span for span in found.segments if span.num_kept]
    assert [span.num_kept for span in kept] == [block.num_visual for block in blocks]
    assert [span.end_seconds for span in kept] == [b.interval.end.pts_seconds for b in blocks]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["name"])
def test_the_figures_are_those_of_the_clips(video: RecordedVideo, spec: dict[str, Any]) -> None:
    found = reduced(video, spec)
    assert sum(span.num_kept for span in found.segments) == found.tokens_kept
    assert sum(span.num_clips for span in found.segments) == found.num_encoded
    assert all(0 <= clip.drop_ratio <= 1 for clip in found.clips)
    assert found.clips[0].drop_ratio == 0.0 and not found.clips[0].is_cut
    assert 1 <= len(found.key_clips) <= KEY_CLIPS
    assert list(found.key_clips) == sorted(set(found.key_clips))
    assert all(found.clips[key].fates for key in found.key_clips)
    assert found.spent.decode > 0 and found.spent.encode > 0 and found.spent.reduce > 0
    if spec["name"] == "compressor":
        assert found.steps is not None
        assert found.steps["seen"] == found.tokens_seen
        assert found.steps["kept"] == found.tokens_kept
    else:
        assert found.steps is None


def test_the_clip_behind_is_known_where_a_strategy_looks_at_it(video: RecordedVideo) -> None:
    vlm = tiny_vlm("qwen3-vl")
    spec: dict[str, Any] = {"name": "fluxmem"}
    clips = list(run.clips_until(vlm, video, CONFIG, 5.0))
    tokens = Encoder(tower=vlm, max_batch_clips=3).encode(clips)
    found = reduced(video, spec, 5.0)
    assert found.num_encoded == len(clips)
    assert found.tokens_kept / found.tokens_seen == kept_ratio(build_reducer(spec), tokens)


def test_only_the_beginning_is_read(video: RecordedVideo) -> None:
    found = reduced(video, {"name": "dtd"}, 3.0)
    assert [clip.start_seconds for clip in found.clips] == [0.0, 1.0, 2.0]


def test_a_threshold_is_fitted_with_the_other_settings(video: RecordedVideo) -> None:
    vlm = tiny_vlm("qwen3-vl")
    asked = method("dtd@0.4")
    made = run.fit(asked, vlm, run.clips_until(vlm, video, CONFIG), CONFIG)
    found = reduced(video, dict(made.settings["reduce"]))
    assert found.tokens_kept / found.tokens_seen == pytest.approx(0.4, abs=0.15)
    untouched = method("uniform@0.5")
    assert run.fit(untouched, vlm, iter([]), CONFIG) is untouched


def test_frames_are_let_go_while_the_video_goes_on(video: RecordedVideo) -> None:
    vlm, made = tiny_vlm("qwen3-vl"), list[weakref.ref[Any]]()

    def long_video() -> Iterator[Clip]:
        for clip in run.clips_until(vlm, video, CONFIG):
            made.append(weakref.ref(clip.pixels))
            alive = sum(each() is not None for each in made)
            assert alive <= 2 * CONFIG.encode.max_batch_clips + 1
            yield clip
            del clip

    run.run(build_reducer({"name": "dtd"}), vlm, long_video(), CONFIG)
    assert len(made) == 12


def test_another_scene_is_marked(tmp_path: Path) -> None:
    vlm = tiny_vlm("qwen3-vl")
    video = RecordedVideo(video_id="made", path=write_video(tmp_path / "cut.mp4", seconds=4.0))
    clips = list(run.clips_until(vlm, video, CONFIG))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, clips[2].pixels.shape, generator=generator, dtype=torch.uint8)
    clips[2].pixels[:] = noise.numpy()
    found = run.run(
        build_reducer({"name": "dtd", "cut_threshold": 0.02, "threshold": 0.01}), vlm, clips, CONFIG
    )
    assert found.clips[2].is_cut and not found.clips[0].is_cut
