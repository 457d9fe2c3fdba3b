"""The program as a process of its own: its first line, its signals, what it loads."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streamvlm.client import Client
from streamvlm.errors import StreamVLMError
from streamvlm.types import Sampling
from tests.program import ROOT, first_line, program
from tests.services.serving import LONG_ANSWER, Serving, push_stream

NOBODY = "127.0.0.1:1"
TINY = (
    "encode: {max_pixels: 12288}\n"
    "vlm: {checkpoint: 'random:qwen3-vl-tiny', dtype: float32, device: cpu}\n"
)


def test_a_port_in_use_is_one_line() -> None:
    with (
        Serving() as serving,
        program("serve", "--address", serving.address) as process,
    ):
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == f"error: another process listens on {serving.address}\n"


@pytest.mark.parametrize(
    "arguments", [["add", "a", "push:"], ["ask", "a", "b"], ["streams"], ["alerts"]]
)
def test_what_only_talks_to_the_service_does_not_load_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from streamvlm import cli\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert end.code == 1\n"
        "print(sorted({'torch', 'transformers', 'av', 'numpy'} & sys.modules.keys()))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--address", NOBODY],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == "[]\n", ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_says_when_it_is_ready_and_stops_when_told(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    arguments = ("serve", "--config", str(path), "--address", "127.0.0.1:0")
    with program(*arguments, STREAMVLM_LOG_FORMAT="json") as process:
        ready = first_line(process)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert ready.startswith("streamvlm is ready on 127.0.0.1:"), err
    assert (process.returncode, out) == (0, "")
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert any(event.startswith("gateway listens on") for event in events)
    assert "stopping" in events


def test_a_second_signal_ends_the_service_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY + f"respond: {{max_new_tokens: {LONG_ANSWER}}}\n")
    arguments = ("serve", "--config", str(path), "--address", "127.0.0.1:0")
    with program(*arguments) as process:
        address = first_line(process).split("on ")[1].split(",")[0]
        with Client(address) as client:
            push_stream(client, "pushed")
            answer = client.ask("pushed", "what?", Sampling(max_new_tokens=LONG_ANSWER))
            next(answer)
            process.send_signal(signal.SIGTERM)
            assert process.stderr is not None
            while "stopping" not in (line := process.stderr.readline()):
                assert line, "the service ended at the first signal"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=3) == -signal.SIGTERM
            with pytest.raises(StreamVLMError):
                list(answer)
