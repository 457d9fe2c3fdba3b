"""Times that are counted from the stream's beginning."""

from __future__ import annotations

import pytest

from streamvlm.when import read_stream_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("What was in the picture at 95.2 seconds?", 95.2),
        ("At 7 seconds, what did you see?", 7.0),
        ("What was there at the time of 812 seconds?", 812.0),
        ("Who came at second 42?", 42.0),
        ("Who came at minute 3?", 180.0),
        ("What happens 2 minutes into the video?", 120.0),
        ("What happens 1:35 into the recording?", 95.0),
        ("What happens 1:02:03 into this film?", 3723.0),
    ],
)
def test_moments_of_a_recording(text: str, seconds: float) -> None:
    found = read_stream_time(text)
    assert found is not None and found.pts_seconds == pytest.approx(seconds)
    assert found.words in text


@pytest.mark.parametrize(
    "text",
    [
        "What was there 20 seconds ago?",
        "Who came at 20 seconds before the van?",
        "How long did the cross stay, 14 seconds?",
        "Is the number 157?",
        "At 4 pm, who came?",
        "What was there at 95?",
        "Who ran into the video shop?",
    ],
)
def test_other_numbers_are_none(text: str) -> None:
    assert read_stream_time(text) is None
