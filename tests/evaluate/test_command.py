"""`streamvlm eval` from the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streamvlm import cli
from tests.capture.videos import write_video

SMALL = ("--checkpoint", "random:qwen3-vl-tiny", "--device", "cpu", "--max-new-tokens", "2")
SHORT = (*SMALL, "--videos", "1", "--seconds", "8", "--questions", "2")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command, in this process: exit status, output, errors."""
    monkeypatch.setenv("COLUMNS", "200")

    def evaluate(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["streamvlm", "eval", *arguments])
        with pytest.raises(SystemExit) as raised:
            cli.main()
        status = raised.value.code
        return status if isinstance(status, int) else 0, *capsys.readouterr()

    return evaluate


def test_a_table_tells_each_method_apart(evaluate: Run) -> None:
    status, out, _ = evaluate(*SHORT, "--method", "full", "--method", "last-4-frames")
    assert status == 0
    assert "random:qwen3-vl-tiny, pictures of at most 65536 pixels; videos: 1, questions: " in out
    for expected in ("BY GROUP", "FAMILY", "TOKENS KEPT", "full", "last-4-frames"):
        assert expected in out


def test_every_answer_and_the_settings_go_into_the_file(evaluate: Run, tmp_path: Path) -> None:
    path, picture = tmp_path / "result.json", tmp_path / "plot.svg"
    methods = ("--method", "service", "--method", "dtd@0.5")
    status, _, _ = evaluate(*SHORT, *methods, "--json", str(path), "--plot", str(picture))
    assert status == 0
    result = json.loads(path.read_text())
    assert [each["method"] for each in result["methods"]] == ["service", "dtd@0.5"]
    assert len(result["outcomes"]) == 2 * len({each["item_id"] for each in result["outcomes"]})
    assert {each["video_id"] for each in result["outcomes"]} == {"mini-900000000"}
    assert 0 < result["settings_of_methods"]["dtd@0.5"]["reduce"]["threshold"] < 2
    assert result["checkpoint"] == "random:qwen3-vl-tiny"
    assert "<svg" in picture.read_text()


def test_the_config_decides_what_the_service_does(evaluate: Run, tmp_path: Path) -> None:
    settings, path = tmp_path / "config.yaml", tmp_path / "result.json"
    settings.write_text("respond: {fresh_clips: 1, recall_blocks: 0}\nreduce: {name: uniform}\n")
    arguments = ("--method", "service", "--config", str(settings), "--json", str(path))
    assert evaluate(*SHORT, *arguments)[0] == 0
    result = json.loads(path.read_text())
    assert result["config"]["respond"]["fresh_clips"] == 1
    assert result["methods"][0]["cost"]["kept_ratio"] == 0.25


def test_a_benchmark_is_asked_from_its_files_and_scored_its_own_way(
    evaluate: Run, tmp_path: Path
) -> None:
    copy, path = tmp_path / "ovo", tmp_path / "result.json"
    (copy / "src_videos").mkdir(parents=True)
    for name in ("one.mp4", "two.mp4"):
        write_video(copy / "src_videos" / name, seconds=3.0)
    entries = [
        {
            "id": number,
            "task": "OCR",
            "video": video,
            "question": "What is written there?",
            "options": ["STOP", "GO"],
            "gt": 1,
            "realtime": 2.0,
        }
        for number, video in enumerate(("one.mp4", "two.mp4"))
    ]
    (copy / "ovo_bench_new.json").write_text(json.dumps(entries))
    suite = ("--suite", "ovo-bench", "--data", str(copy), "--json", str(path))
    status, out, _ = evaluate(*SMALL, *suite, "--method", "service", "--videos", "1")
    assert status == 0 and "OWN SCORE" in out
    result = json.loads(path.read_text())
    [asked] = result["outcomes"]
    assert (asked["video_id"], asked["clips_encoded"]) == ("one", 2)
    assert result["methods"][0]["own_averages"].keys() == {"now", "all"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--suite", "maxi"), "'maxi'; allowed: mini, streamingbench"),
        (("--method", "none"), "'none'; allowed: full, last-4-frames"),
        (("--method", "uniform@2"), "(0, 1], got '2'"),
        (("--seconds", "3"), "seconds = 3"),
        (("--data", "."), "--data"),
        (("--checkpoint", "random:big"), "random:qwen3-vl-tiny"),
        (("--device", "abacus"), "'abacus' here; allowed: auto, cpu"),
        (("--config", "no.yaml"), "no.yaml"),
        (("--json", "no/such/folder.json"), "no/such/folder.json"),
        (("--plot", "plot.txt"), ".png"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(
    evaluate: Run, arguments: tuple[str, str], named: str
) -> None:
    status, out, err = evaluate(*SHORT, *arguments)
    assert status == 1 and not out.strip()
    [line] = err.strip().splitlines()
    assert line.startswith("error: ") and named in line


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "--data DIR"),
        (("--data", "no-such-folder"), "no-such-folder"),
        (("--data", ".", "--seconds", "8"), "--seconds"),
    ],
)
def test_a_benchmark_needs_its_files_and_no_option_of_mini(
    evaluate: Run, arguments: tuple[str, ...], named: str
) -> None:
    status, _, err = evaluate(*SMALL, "--suite", "ovo-bench", *arguments)
    [line] = err.strip().splitlines()
    assert status == 1 and named in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("--videos", "0"),
        ("--questions", "many"),
        ("--seconds", "nan"),
        ("--seconds", "inf"),
        ("--nonsense",),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_done(
    evaluate: Run, arguments: tuple[str, ...]
) -> None:
    assert evaluate(*arguments)[0] == 2
