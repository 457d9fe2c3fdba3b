"""A decoder process that misbehaves costs its stream's thread no more than the timeout."""

from __future__ import annotations

import time

import pytest
from feeds import FPS, RULE

from streamvlm.capture import SourceAddress, process
from streamvlm.capture.backoff import Backoff
from streamvlm.capture.decoder import DecoderJob
from streamvlm.errors import SourceLostError, SourceStalledError

JOB = DecoderJob(
    stream_id="door",
    address=SourceAddress.parse("rtsp://cam/1"),
    fps=FPS,
    rule=RULE,
    open_timeout_seconds=1.0,
    read_timeout_seconds=1.0,
    backoff=Backoff(),
)
HALF_A_MESSAGE = "os.write(fd, struct.pack('!i', 1_000_000) + b'x' * 10); time.sleep(60)"
CLOSED_PIPE = "os.close(fd); time.sleep(60)"


@pytest.mark.parametrize(
    ("does", "error", "says"),
    [
        ("time.sleep(60)", SourceStalledError, "was silent for 0.5 s"),
        (HALF_A_MESSAGE, SourceStalledError, "in the middle of a message"),
        (CLOSED_PIPE, SourceLostError, "SIGKILL"),
        ("sys.exit(3)", SourceLostError, "exit status 3"),
    ],
)
def test_receiving_ends_in_time_whatever_the_decoder_does(
    monkeypatch: pytest.MonkeyPatch, does: str, error: type[Exception], says: str
) -> None:
    program = f"import os, struct, sys, time; fd = int(sys.argv[1]); {does}"
    monkeypatch.setattr(process, "_PROGRAM", program)
    monkeypatch.setattr(process, "STOP_SECONDS", 0.5)
    decoder = process.DecoderProcess(JOB)
    began_seconds = time.monotonic()
    try:
        with pytest.raises(error, match=says):
            decoder.receive(0.5)
    finally:
        decoder.close()
    assert time.monotonic() - began_seconds < 5
