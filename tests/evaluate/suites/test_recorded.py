"""Recorded videos as a model sees them, and the table of suites."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from streamvlm.capture.length import length_seconds
from streamvlm.errors import SourceFormatError, SourceNotFoundError
from streamvlm.evaluate.items import Video
from streamvlm.evaluate.suites import SUITES
from streamvlm.evaluate.suites.recorded import RecordedVideo, Skipped, cases
from streamvlm.evaluate.suites.timestamps import to_seconds
from tests.capture.videos import cut, write_video
from tests.evaluate.suites import copies

COPIES: dict[str, Callable[[Path], Path]] = {
    "streamingbench": copies.streamingbench,
    "ovo-bench": copies.ovo_bench,
    "video-mme": copies.video_mme,
    "mlvu": copies.mlvu,
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_loaded_watched_asked_and_scored(tmp_path: Path, name: str) -> None:
    suite = SUITES[name]
    loaded = list(suite.load(COPIES[name](tmp_path)))
    ids = [item.item_id for case in loaded for item in case.items]
    assert ids and len(ids) == len(set(ids))
    for case in loaded:
        times = [item.asked_seconds for item in case.items]
        assert times == sorted(times)
    clips = list(loaded[0].video.clips(2.0, 64 * 64))
    assert sum(len(clip.times) for clip in clips) == copies.SECONDS * 2
    scored = [(item, suite.own_score(item, item.answer)) for item in loaded[0].items]
    assert all(score for _, score in scored)
    assert max(suite.own_averages(scored).values()) == 1.0


def test_clips_are_two_frames_at_the_rate_and_no_larger_than_asked(tmp_path: Path) -> None:
    path = write_video(tmp_path / "odd: name.mp4", seconds=2.5, height=240, width=320)
    video: Video = RecordedVideo(video_id="v", path=path)
    clips = list(video.clips(2.0, 128 * 128))
    assert [clip.clip_index for clip in clips] == [0, 1, 2]
    assert [time.pts_seconds for clip in clips for time in clip.times] == pytest.approx(
        [0.0, 0.5, 1.0, 1.5, 2.0, 2.0], abs=0.06
    )
    for clip in clips:
        assert clip.stream_id == "v" and clip.frame_seconds == 0.5
        height, width = clip.pixels.shape[1:3]
        assert height * width <= 128 * 128 and height % 32 == width % 32 == 0


def test_each_call_begins_anew(tmp_path: Path) -> None:
    video = RecordedVideo(video_id="v", path=write_video(tmp_path / "v.mp4"))
    first, again = next(video.clips(2.0, 64 * 64)), next(video.clips(2.0, 64 * 64))
    assert np.array_equal(first.pixels, again.pixels)


def test_a_damaged_video_gives_what_it_has_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_video(tmp_path / "whole.mp4", seconds=6.0, options={"movflags": "faststart"})
    video = RecordedVideo(video_id="v", path=cut(whole, tmp_path / "cut.mp4", 0.5))
    with caplog.at_level(logging.WARNING):
        clips = list(video.clips(2.0, 64 * 64))
    assert 0 < len(clips) < 6
    assert "video v:" in caplog.text and "is cut short or damaged" in caplog.text


def test_a_video_that_is_gone_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError):
        next(RecordedVideo(video_id="v", path=tmp_path / "gone.mp4").clips(2.0, 64 * 64))


def test_ids_that_come_twice_are_told_apart(tmp_path: Path) -> None:
    row = copies.streamingbench_row("Real-Time Visual Understanding", 1)
    folder = copies.streamingbench(tmp_path)
    copies.put_csv(folder / "StreamingBench/Real_Time_Visual_Understanding.csv", [row, row])
    case = next(SUITES["streamingbench"].load(folder))
    assert [item.item_id for item in case.items] == [
        row["question_id"],
        f"{row['question_id']}#2",
    ]


def test_cases_need_something_to_ask() -> None:
    with pytest.raises(ValueError, match="suite x: nothing can be asked"):
        cases("x", [], skip_missing=True, skipped=Skipped())


def test_the_length_is_what_the_container_says(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", seconds=1.5)
    assert length_seconds(path) == pytest.approx(1.5, abs=0.15)
    (tmp_path / "text.mp4").write_text("text")
    with pytest.raises(SourceFormatError, match=r"text\.mp4 is not video"):
        length_seconds(tmp_path / "text.mp4")


def test_a_file_that_does_not_say_its_length_is_an_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.h264", seconds=0.5)
    with pytest.raises(SourceFormatError, match=r"v\.h264 does not say how long it is"):
        length_seconds(path)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:01:23", 83.0),
        ("1:02:03", 3723.0),
        ("01:23", 83.0),
        ("00:00:01.5", 1.5),
        ("83", None),
        ("1:2:3:4", None),
        ("-1:00", None),
        ("00:01:xx", None),
        ("", None),
    ],
)
def test_timestamps(text: str, seconds: float | None) -> None:
    assert to_seconds(text) == seconds
