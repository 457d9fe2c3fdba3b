"""Sampling is by time at any frame rate; clips never reach across an interruption."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvlm.capture.sampling import ClipAssembler, TimeSampler
from streamvlm.types import ClockSource, Frame, StreamTime

RATES = st.floats(min_value=0.2, max_value=30)


def taken(times_seconds: list[float], fps: float) -> list[float]:
    sampler = TimeSampler(fps)
    return [time_seconds for time_seconds in times_seconds if sampler.wants(time_seconds)]


@given(fps=RATES, steps=st.lists(st.floats(min_value=-0.5, max_value=5), max_size=300))
def test_frames_are_never_closer_than_half_a_period_nor_too_many(
    fps: float, steps: list[float]
) -> None:
    chosen = taken(np.cumsum([0.0, *steps]).tolist(), fps)
    spacings = np.diff(chosen)
    assert (spacings >= 0.5 / fps - 1e-9).all()
    assert len(chosen) <= (chosen[-1] - chosen[0]) * fps + 1.25 + 1e-6


@given(fps=RATES, jitter=st.lists(st.floats(min_value=0.1, max_value=1), min_size=200))
def test_any_rate_that_is_high_enough_gives_the_asked_rate(fps: float, jitter: list[float]) -> None:
    """Steps of up to half a period, as uneven as they like, lose nothing."""
    times_seconds = np.cumsum([0.0, *(np.array(jitter) * 0.5 / fps)]).tolist()
    chosen = taken(times_seconds, fps)
    assert abs(len(chosen) - (times_seconds[-1] * fps + 1)) <= 1.5


@pytest.mark.parametrize("source_fps", [2.0, 3.0, 5.0, 7.0, 12.5, 25.0, 29.97, 60.0])
def test_two_frames_a_second_from_every_usual_rate(source_fps: float) -> None:
    chosen = taken([index / source_fps for index in range(round(source_fps * 60))], 2.0)
    assert len(chosen) == pytest.approx(120, abs=1)


def test_a_source_at_the_sampling_rate_keeps_every_frame_despite_jitter() -> None:
    noise = np.random.default_rng(0).uniform(-0.06, 0.06, 100)
    times_seconds = (np.arange(100) * 0.5 + noise).tolist()
    assert taken(times_seconds, 2.0) == times_seconds


def test_equal_and_older_times_are_not_taken() -> None:
    assert taken([0.0, 0.0, -1.0, 0.5, 0.5, 0.4, 1.0], 2.0) == [0.0, 0.5, 1.0]


def test_after_a_gap_the_rate_does_not_catch_up() -> None:
    later = [100 + index / 25 for index in range(26)]
    assert taken([0.0, 0.5, *later], 2.0) == [0.0, 0.5, 100.0, 100.48, 101.0]


def frame(index: int, height: int = 28) -> Frame:
    time = StreamTime(pts_seconds=index / 2, utc_seconds=index / 2, clock=ClockSource.FILE)
    pixels = np.full((height, 28, 3), index, np.uint8)
    return Frame(pixels=pixels, time=time, frame_index=index)


def test_two_frames_make_a_clip() -> None:
    assembler = ClipAssembler("door", 2.0)
    clips = [clip for index in range(5) for clip in assembler.add(frame(index))]
    assert [clip.clip_index for clip in clips] == [0, 1]
    assert [[t.pts_seconds for t in clip.times] for clip in clips] == [[0, 0.5], [1, 1.5]]
    assert clips[1].pixels[:, 0, 0, 0].tolist() == [2, 3]


def test_a_lone_frame_is_repeated_at_an_interruption() -> None:
    assembler = ClipAssembler("door", 2.0, first_clip_index=7)
    assert assembler.flush() == []
    assembler.add(frame(4))
    (clip,) = assembler.flush()
    assert clip.clip_index == 7
    assert clip.pixels[:, 0, 0, 0].tolist() == [4, 4]
    assert assembler.flush() == []


def test_frames_of_different_sizes_never_share_a_clip() -> None:
    assembler = ClipAssembler("door", 2.0)
    clips = assembler.add(frame(0)) + assembler.add(frame(1, 56)) + assembler.add(frame(2, 56))
    assert [clip.pixels.shape[1] for clip in clips] == [28, 56]
    assert [len(set(clip.times)) for clip in clips] == [1, 2]


@pytest.mark.parametrize("utc_step_seconds", [-100.0, 100.0, -0.6])
def test_frames_before_and_after_a_jump_of_utc_share_no_clip(utc_step_seconds: float) -> None:
    assembler = ClipAssembler("s", 2.0)
    pixels = np.zeros((28, 28, 3), np.uint8)
    clips = []
    for index in range(4):
        utc_seconds = 1000 + index / 2 + (utc_step_seconds if index else 0)
        time = StreamTime(pts_seconds=index / 2, utc_seconds=utc_seconds, clock=ClockSource.RTCP_SR)
        clips += assembler.add(Frame(pixels=pixels, time=time, frame_index=index))
    assert [[time.pts_seconds for time in clip.times] for clip in clips] == [[0, 0], [0.5, 1.0]]
    for clip in clips:
        assert clip.interval.end.utc_seconds > clip.interval.start.utc_seconds
