"""`streamvlm reduce` from the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamvlm import cli
from tests.capture.videos import write_video

SMALL = ("--checkpoint", "random:qwen3-vl-tiny", "--device", "cpu")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def reduce(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """The command, in this process and another folder: exit status, output, errors."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "made.mp4", seconds=8.0, fps=8)

    def reduce(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["streamvlm", "reduce", *arguments])
        with pytest.raises(SystemExit) as raised:
            cli.main()
        status = raised.value.code
        return status if isinstance(status, int) else 0, *capsys.readouterr()

    return reduce


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 16_000), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_a_table_tells_what_was_kept(reduce: Run) -> None:
    status, out, err = reduce("made.mp4", *SMALL, "--strategy", "uniform@0.25")
    assert status == 0 and not err.strip()
    assert "8 seen, 1 of them not encoded" in out
    assert "140 seen, 35 kept: 25.0%" in out
    for name in ("strategy", "uniform keep_ratio=0.25", "KV", "segments", "key clips", "decode"):
        assert name in out
    assert "steps" not in out


def test_the_steps_of_the_compressor_are_told(reduce: Run) -> None:
    status, out, _ = reduce("made.mp4", *SMALL, "--strategy", "compressor", "--set", "merge=off")
    assert status == 0
    assert "compressor merge=off" in out and "seen 140, dropping" in out


def test_pictures_and_figures_are_of_the_same_clips(reduce: Run, tmp_path: Path) -> None:
    arguments = ("--picture", "sheet.png", "--video", "film.mp4", "--seconds", "5", "--json")
    status, out, _ = reduce("made.mp4", *SMALL, "--strategy", "dtd@0.5", *arguments)
    assert status == 0
    told = json.loads(out)
    assert told["clips_seen"] == len(told["clips"]) == 5
    assert told["tokens_kept"] == sum(clip["tokens_kept"] for clip in told["clips"])
    assert told["tokens_kept"] == sum(each["tokens_kept"] for each in told["segments"])
    assert told["kv_bytes_saved"] == told["kv_bytes_per_token"] * (
        told["tokens_seen"] - told["tokens_kept"]
    )
    assert 0 < told["strategy"]["threshold"] < 2
    assert set(told["ms_per_clip"]) == {"decode", "encode", "reduce"}
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert len(list(container.decode(video=0))) == 2 * told["clips_seen"]


def test_the_config_names_the_strategy(reduce: Run, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("reduce: {name: tome}\ncapture: {fps: 1}\n")
    arguments = ("--config", "config.yaml", "--set", "keep_ratio=0.5", "--json")
    status, out, _ = reduce("made.mp4", *SMALL, *arguments)
    told = json.loads(out)
    assert status == 0 and told["strategy"] == {"name": "tome", "keep_ratio": 0.5}
    assert told["fps"] == 1 and told["clips_seen"] == 4
    assert told["tokens_kept"] * 2 == told["tokens_seen"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("none.mp4",), "none.mp4: there is no such file"),
        (("text.mp4",), "text.mp4 is not video that can be decoded"),
        (("sound.mp4",), "sound.mp4 is not video that can be decoded"),
        (("rtsp://host/1",), "there is no such file"),
        ((".",), "not a file"),
        (("made.mp4", "--strategy", "none"), "'none' is no strategy; known: all, aot"),
        (("made.mp4", "--set", "treshold=1"), "'treshold'; allowed: threshold"),
        (("made.mp4", "--checkpoint", "random:big"), "random:qwen3-vl-tiny"),
        (("made.mp4", "--picture", "none/sheet.png"), "cannot write none/sheet.png"),
        (("made.mp4", "--picture", "sheet.xyz"), ".png"),
        (("made.mp4", "--video", "film.avi"), "film.avi: the name must end in .mp4"),
        (("made.mp4", "--video", "made.mp4"), "it is the video itself"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    reduce: Run, tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    (tmp_path / "text.mp4").write_text("nothing to see")
    write_sound(tmp_path / "sound.mp4")
    status, out, err = reduce(*SMALL, *arguments)
    assert status == 1 and not out.strip()
    [line] = err.strip().splitlines()
    assert line.startswith("error: ") and named in line
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("arguments", [(), ("made.mp4", "--seconds", "0"), ("made.mp4", "--wrong")])
def test_wrong_usage_is_refused(reduce: Run, arguments: tuple[str, ...]) -> None:
    assert reduce(*arguments)[0] == 2
