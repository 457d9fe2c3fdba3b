from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from services import logs

logger = logging.getLogger("streamvlm.somewhere")


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """As it was, when the test is over; pytest logs through it too."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level


def test_json_has_a_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    logger.warning("stream %s is\nlost", "door")
    logger.debug("not told")
    (line,) = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert event["event"] == "stream door is\nlost"
    assert (event["level"], event["logger"]) == ("warning", "streamvlm.somewhere")
    assert event["timestamp"].endswith("Z")


def test_text_is_keys_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    logger.info("stream %s: added", "door")
    line = capsys.readouterr().err
    assert line.startswith("timestamp=")
    assert line.endswith('level=info logger=streamvlm.somewhere event="stream door: added"\n')


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_stays_on_the_line_of_its_event(
    log_format: logs.LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(log_format)
    try:
        raise ValueError("what went wrong")
    except ValueError:
        logger.exception("stream door: failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "Traceback" in line and "what went wrong" in line
