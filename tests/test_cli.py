from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from streamvlm import cli
from streamvlm.client import Client
from tests.program import first_line, interrupt, program
from tests.services.serving import Serving, until

ROOT = Path(__file__).parents[1]
STILL = "synthetic:still?seconds=4&height=96&width=128"
NOBODY = "127.0.0.1:1"


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The program, in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["streamvlm", *arguments])
        with pytest.raises(SystemExit) as raised:
            cli.main()
        status = raised.value.code
        return Ended(status if isinstance(status, int) else 0, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        yield serving


@pytest.fixture
def here(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STREAMVLM_ADDRESS", serving.address)
    return serving.address


def add_and_see(run: Run, source: str) -> Ended:
    """Add a stream `door`; it has shown something then."""
    added = run("add", "door", source, "--json")
    until(
        lambda: json.loads(run("streams", "door", "--json").out)["memory"]["remembered"] is not None
    )
    return added


def test_a_stream_from_add_to_remove(run: Run, here: str) -> None:
    assert run("add", "door", STILL).out == f"door: watching {STILL}\n"
    listed = run("streams")
    assert listed.status == 0 and "door" in listed.out and "STATE" in listed.out
    assert "remembers" in run("streams", "door").out
    assert run("remove", "door") == Ended(0, "door: removed\n", "")
    assert run("add", "door", STILL, "--time-zone", "Europe/Berlin").status == 0
    assert "Europe/Berlin" in run("streams").out and "Europe/Berlin" in run("streams", "door").out
    assert run("remove", "door").status == 0
    refused = run("add", "door", STILL, "--time-zone", "Mars")
    assert (refused.status, refused.out) == (1, "") and "time_zone = 'Mars'" in refused.err
    assert "no streams" in run("streams").err


def test_an_answer_is_words_then_evidence_then_numbers(run: Run, here: str) -> None:
    add_and_see(run, "synthetic:moving?seconds=4&height=96&width=128")
    answer = run("ask", "door", "what was that?", "--max-new-tokens", "8")
    run("remove", "door")
    assert answer.status == 0
    words, evidence, numbers = (
        answer.out.index(mark) for mark in ("\n", "CAMERA TIME, UTC", "first token after")
    )
    assert words < evidence < numbers
    assert "2026-01-01 00:00:00.0" in answer.out and "0.0 - " in answer.out


def test_what_a_question_asks_about_is_shown(run: Run, here: str) -> None:
    add_and_see(run, "synthetic:moving?seconds=4&height=96&width=128")
    few = ("--max-new-tokens", "2")
    told = run("ask", "door", "What was there since 2025-12-31 23:59?", *few)
    given = run("ask", "door", "what?", "--to", "2026-01-01T01:00:02+01:00", *few)
    ahead = run("ask", "door", "what?", "--from", "2099-01-01", *few)
    wrong = run("ask", "door", "what?", "--from", "teatime", *few)
    run("remove", "door")
    assert "asked about 'since 2025-12-31 23:59': 2025-12-31 23:59:00 to 2026-01-01" in told.out
    assert "not known: 2025-12-31 23:59:00 to 2026-01-01 00:00:00, BEFORE_MEMORY" in told.out
    assert "asked about ... to 2026-01-01 00:00:02 UTC" in given.out
    assert ahead.status == 1 and "is ahead" in ahead.err and ahead.err.count("\n") == 1
    assert wrong.status == 2 and "teatime" in wrong.err


def test_moments_that_fit_are_a_table(run: Run, here: str) -> None:
    add_and_see(run, "synthetic:moving?seconds=40&height=96&width=128")
    until(lambda: json.loads(run("streams", "door", "--json").out)["memory"]["blocks"] > 0)
    shown = run("search", "red van", "--stream", "door", "--top", "3")
    found = json.loads(run("search", "red van", "--to", "2026-01-01T00:00:05", "--json").out)
    nothing = run("search", "red van", "--from", "2027-01-01")
    nowhere = run("search", "red van", "--stream", "nowhere")
    run("remove", "door")
    assert "SCORE" in shown.out and "door" in shown.out and "2026-01-01 00:00:0" in shown.out
    assert found["searched"] == ["door"] and found["moments"][0]["stream_id"] == "door"
    assert nothing == Ended(0, "", "nothing found on 1 streams\n")
    assert nowhere == Ended(1, "", "error: no stream 'nowhere'\n")


def test_scripts_read_json(run: Run, here: str) -> None:
    assert json.loads(add_and_see(run, STILL).out)["stream_id"] == "door"
    assert json.loads(run("streams", "--json").out)[0]["feed"]["state"] in ("live", "ended")
    assert json.loads(run("streams", "door", "--json").out)["memory"]["budget_bytes"] > 0
    answer = json.loads(run("ask", "door", "what?", "--json", "--max-new-tokens", "4").out)
    run("remove", "door")
    assert answer["evidence"][0]["interval"]["start"]["clock"] == "file"
    assert answer["usage"]["answer_tokens"] <= 4


def test_what_a_stream_saw_is_erased_and_the_stream_stays(run: Run, here: str) -> None:
    add_and_see(run, STILL)
    when = ("--from", "2026-01-01T01:00:00+01:00", "--to", "2026-01-01T00:00:02Z")
    erased = run("erase", "door", *when)
    again = run("erase", "door", *when, "--json")
    assert run("remove", "door").status == 0
    assert erased.status == 0 and erased.out.startswith("door: erased ")
    assert "2026-01-01 00:00:00.0" in erased.out
    assert json.loads(again.out) | {"intervals": []} == {
        "num_blocks": 0, "num_clips": 0, "num_events": 0, "intervals": [],
    }  # fmt: skip
    unclear = [run("erase", "door"), run("erase", "door", "--all", *when)]
    assert [each.status for each in unclear] == [2, 2] and "--all" in unclear[0].err
    assert run("erase", "door", "--from", "noon").status == 2
    backwards = run("erase", "door", "--from", when[3], "--to", when[1])
    assert backwards.status == 1 and "must end after it starts" in backwards.err


@pytest.mark.usefixtures("here")
def test_webhooks_are_named_in_the_config(run: Run) -> None:
    assert "no webhooks" in run("webhooks").err
    ended = run("replay", "pager")
    assert ended.status == 1 and "no webhook 'pager'; there are: none" in ended.err


def test_a_standing_question_from_watch_to_unwatch(run: Run, here: str) -> None:
    ended = run("watch", "red", "Is there a red circle?", "--on", "door", "--cooldown", "5")
    assert ended.status == 0 and ended.out.startswith("red: watching for 'Is there a red circle?'")
    assert "Is there a red circle?" in run("rules").out
    (rule,) = json.loads(run("rules", "--json").out)
    assert (rule["stream_ids"], rule["cooldown_seconds"]) == (["door"], 5.0)
    assert run("unwatch", "red") == Ended(0, "red: removed\n", "")
    assert "no rules" in run("rules").err


def test_alerts_are_told_as_they_fire(run: Run, here: str, serving: Serving) -> None:
    with program("alerts", "--json", STREAMVLM_ADDRESS=here) as following:
        until(lambda: serving.services.gateway.num_subscribers == 1)
        run("watch", "always", "Is it?", "--enter", "-1000", "--leave", "-2000")
        add_and_see(run, "synthetic:moving?seconds=4&height=96&width=128")
        told = json.loads(first_line(following))
        interrupt(following)
    run("remove", "door")
    run("unwatch", "always")
    assert (told["alert"]["rule_id"], told["alert"]["state"]) == ("always", "firing")
    assert told["resume_token"]


def test_a_relative_file_is_that_of_the_caller(
    run: Run, here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path / "clip.mp4") in run("add", "clip", "clip.mp4").err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["streams"], f"no streamvlm service answers on {NOBODY}"),
        (["ask", "door", "what?"], f"no streamvlm service answers on {NOBODY}"),
        (["serve", "--config", "nowhere.yaml"], "cannot read config nowhere.yaml"),
    ],
)
def test_an_error_is_one_line_and_status_1(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("STREAMVLM_ADDRESS", NOBODY)
    ended = run(*arguments)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith(f"error: {message}") and ended.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["ask", "door"], ["dance"], ["streams", "--colour"], ["ask", "a", "b", "--temperature", "x"]],
)
def test_wrong_usage_is_status_2(run: Run, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.status == 2 and "Traceback" not in ended.err and ended.err


def test_a_refusal_of_the_service_is_one_line(run: Run, here: str) -> None:
    for arguments, message in (
        (["ask", "nowhere", "what?"], "no stream 'nowhere'"),
        (["add", "Door!", "push:"], "'Door!' cannot be a stream id"),
        (["add", "cam", "rtsp://me:hunter2@127.0.0.1:1/x"], "rtsp://127.0.0.1:1/x"),
    ):
        ended = run(*arguments)
        assert ended.status == 1 and ended.err.startswith(f"error: {message}")
        assert ended.err.count("\n") == 1 and "hunter2" not in ended.err


def test_an_unknown_config_key_is_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "typo.yaml"
    path.write_text("capture: {fsp: 2}\n")
    ended = run("serve", "--config", str(path))
    assert ended.status == 1 and "unknown key 'capture.fsp'; allowed here: fps" in ended.err


def test_a_wrong_environment_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMVLM_LOG_FORMAT", "xml")
    ended = run("serve")
    assert ended.status == 1 and ended.err.startswith("error: STREAMVLM_LOG_FORMAT='xml'")


def test_the_doctor_finds_this_machine_fit(run: Run, here: str) -> None:
    ended = run("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(ended.out)}
    assert ended.status == 0
    assert {"Python", "torch", "libavformat", "faiss", "checkpoint"} <= checks.keys()
    assert checks["service"]["is_ok"] and here in checks["service"]["detail"]


def test_the_doctor_fails_where_something_needed_is_missing(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "lost.yaml"
    path.write_text("vlm: {checkpoint: /no/such/model}\n")
    ended = run("doctor", "--config", str(path), "--address", NOBODY)
    assert ended.status == 1
    assert "/no/such/model" in ended.out and f"answers on {NOBODY}" in ended.out


def test_a_long_address_is_refused_without_its_password(run: Run, here: str) -> None:
    ended = run("add", "cam", "rtsp://me:hunter2@host/" + "x" * 5_000)
    assert ended.status == 1 and ended.err.startswith("error: a source address may have 4096")
    assert ended.err.count("\n") == 1 and "hunter2" not in ended.err


@pytest.mark.parametrize("source", ["x" * 4_000, "a\0b"])
def test_what_can_be_no_file_is_for_the_service_to_refuse(run: Run, here: str, source: str) -> None:
    ended = run("add", "door", source)
    assert ended.status == 1 and ended.err.startswith("error: ")


@pytest.mark.parametrize(
    "option", [("--max-new-tokens", "9999999999"), ("--seed", "9" * 20), ("--temperature", "11")]
)
def test_options_have_bounds(run: Run, option: tuple[str, str]) -> None:
    ended = run("ask", "door", "what?", *option)
    assert ended.status == 2 and option[0] in ended.err


def test_what_is_no_unicode_is_one_line(run: Run, here: str) -> None:
    ended = run("ask", "door", "\udcff")
    assert ended == Ended(1, "", "error: a text has characters that are not Unicode\n")


def test_a_bug_is_one_line_unless_debugging(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(address: str | None) -> Client:
        raise RuntimeError("rtsp://me:hunter2@host")

    monkeypatch.setattr(cli, "client_at", fail)
    ended = run("streams")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == "internal error: RuntimeError; STREAMVLM_DEBUG=1 shows where\n"
    monkeypatch.setenv("STREAMVLM_DEBUG", "1")
    with pytest.raises(RuntimeError):
        cli.main()
