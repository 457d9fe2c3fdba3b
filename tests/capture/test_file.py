"""Files: every odd one gives its pictures at the right times, every bad one a typed error."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from feeds import RULE
from videos import cut, turn_upright_by_90, write_video

from streamvlm.capture import SourceAddress
from streamvlm.capture.file import MODIFICATION_ERROR_SECONDS, FileSource
from streamvlm.capture.picture import Resizer
from streamvlm.capture.sampling import TimeSampler
from streamvlm.errors import SourceError, SourceFormatError, SourceNotFoundError
from streamvlm.types import Frame, GridRule, SourceReport, SourceState

UNEVEN = np.cumsum([0.0, *random.Random(1).choices([0.02, 0.05, 0.1, 0.3], k=40)]).round(3)


def read(
    path: Path | str, fps: float = 5.0, rule: GridRule = RULE
) -> tuple[list[Frame], SourceReport]:
    source = FileSource("door", SourceAddress.parse(str(path)), fps=fps, rule=rule)
    *items, last = source
    assert items[0] == SourceReport(state=SourceState.LIVE)
    assert isinstance(last, SourceReport) and last.state is SourceState.ENDED
    return [item for item in items if isinstance(item, Frame)], last


def by_av(path: Path, fps: float, rule: GridRule) -> list[tuple[float, np.ndarray]]:
    """The frames that should be sampled, decoded without decord."""
    sampler, resizer = TimeSampler(fps), Resizer(rule)
    with av.open(str(path)) as container:
        return [
            (picture.time, resizer.pixels(picture))
            for picture in container.decode(video=0)
            if sampler.wants(picture.time)
        ]


def blocks(pixels: np.ndarray) -> np.ndarray:
    """Mean color of each block of 14 x 14 pixels."""
    height, width, _ = pixels.shape
    means: np.ndarray = pixels.reshape(height // 14, 14, width // 14, 14, 3).mean((1, 3))
    return means


ODD: dict[str, dict[str, Any]] = {
    "plain.mp4": {},
    "uneven.mp4": {"times_seconds": UNEVEN.tolist()},
    "uneven.mkv": {"times_seconds": UNEVEN.tolist()},
    "ten_bit.mp4": {"pix_fmt": "yuv420p10le"},
    "grey.mp4": {"pix_fmt": "gray"},
    "odd_size.mp4": {"height": 121, "width": 161, "pix_fmt": "yuv444p"},
    "portrait.mp4": {"height": 320, "width": 180},
    "one_frame.mp4": {"times_seconds": [0.0]},
    "starts_late.mp4": {"times_seconds": [5 + index / 10 for index in range(20)]},
    "motion_jpeg.mkv": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "uhd.mp4": {"height": 2160, "width": 3840, "times_seconds": [0.0, 0.2, 0.4]},
}


@pytest.mark.parametrize("name", ODD)
def test_every_odd_file_gives_its_pictures_at_their_times(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, **ODD[name])
    frames, last = read(path)
    expected = by_av(path, 5.0, RULE)
    times_seconds = [frame.time.pts_seconds for frame in frames]
    first_seconds = expected[0][0]
    assert times_seconds == pytest.approx([t - first_seconds for t, _ in expected], abs=0.002)
    for frame, (_, pixels) in zip(frames, expected, strict=True):
        assert frame.pixels.shape == pixels.shape
        # decord turns into RGB before the resize, with an older swscale: fine texture differs.
        difference = blocks(frame.pixels) - blocks(pixels)
        assert np.abs(difference).mean() < 2 and np.abs(difference).max() < 10
    assert last.reason == ""


def test_without_a_resize_decord_and_pyav_agree_to_the_last_bit(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", height=112, width=140, times_seconds=UNEVEN.tolist())
    rule = GridRule(cell_pixels=28, min_pixels=1, max_pixels=10**6)
    frames, _ = read(path, rule=rule)
    for frame, (_, pixels) in zip(frames, by_av(path, 5.0, rule), strict=True):
        assert (frame.pixels == pixels).all()


def test_pictures_are_turned_upright_by_both_decoders(tmp_path: Path) -> None:
    path = turn_upright_by_90(write_video(tmp_path / "a.mp4", height=112, width=140))
    rule = GridRule(cell_pixels=28, min_pixels=1, max_pixels=10**6)
    frames, _ = read(path, rule=rule)
    assert frames[0].pixels.shape == (140, 112, 3)
    assert (frames[0].pixels == by_av(path, 5.0, rule)[0][1]).all()


def test_creation_time_gives_utc_else_the_file_does_with_a_large_error(tmp_path: Path) -> None:
    dated = write_video(tmp_path / "a.mp4", metadata={"creation_time": "2024-05-06T07:08:09Z"})
    frames, _ = read(dated)
    assert frames[1].time.utc_seconds == pytest.approx(1714979289.2)
    undated = write_video(tmp_path / "b.mp4")
    frames, _ = read(undated)
    began_seconds = undated.stat().st_mtime - 2.0
    assert frames[0].time.utc_seconds == pytest.approx(began_seconds, abs=0.2)
    assert frames[0].time.clock_error_seconds == MODIFICATION_ERROR_SECONDS


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_cut_file_gives_what_it_has_and_says_so(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_video(tmp_path / name, seconds=6, options={"movflags": "faststart"})
    frames, last = read(cut(whole, tmp_path / f"cut_{name}", 0.5))
    assert 2.0 < frames[-1].time.pts_seconds < 4.0
    assert last.reason == "SOURCE_NOT_VIDEO" and "cut short" in last.message
    assert ("PyAV takes over" in caplog.text) == name.endswith("mp4")


def test_damage_in_the_middle_costs_only_what_it_hits(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=6, options={"movflags": "faststart"})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = random.Random(0).randbytes(2000)
    path.write_bytes(content)
    frames, _ = read(path)
    times_seconds = [frame.time.pts_seconds for frame in frames]
    assert times_seconds == sorted(set(times_seconds))
    assert times_seconds[0] == 0 and times_seconds[-1] > 5


def bad_file(folder: Path, what: str) -> Path:
    path = folder / f"{what}.mp4"
    if what == "empty":
        path.touch()
    elif what == "text":
        path.write_text("not a video\n" * 1000)
    elif what == "folder":
        path.mkdir()
    elif what == "no_index":
        cut(write_video(folder / "whole.mp4"), path, 0.5)
    elif what == "sound":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=44_100, layout="mono")
            silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
            silence.sample_rate = 44_100
            silence.planes[0].update(bytes(silence.planes[0].buffer_size))
            container.mux(stream.encode(silence))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("what", ["empty", "text", "folder", "no_index", "sound", "missing"])
def test_every_bad_file_is_a_typed_error_that_names_it(what: str, tmp_path: Path) -> None:
    path = bad_file(tmp_path, what)
    kind: type[SourceError] = SourceNotFoundError if what == "missing" else SourceFormatError
    with pytest.raises(kind, match=f"{what}.mp4"):
        read(path)


def test_a_name_that_is_too_long_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="there is no such file"):
        read(tmp_path / ("x" * 300 + ".mp4"))
    with pytest.raises(SourceNotFoundError):
        read("/" + "x/" * 2040)


def test_a_picture_that_no_model_takes_is_refused_before_the_stream_is_live(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wide.mkv", height=16, width=4000, seconds=0.3)
    with pytest.raises(SourceFormatError, match="200:1"):
        next(iter(FileSource("door", SourceAddress.parse(str(path)), fps=2.0, rule=RULE)))
