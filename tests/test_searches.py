from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError

import pytest

from streamvlm.config import RespondConfig
from streamvlm.errors import (
    CapacityError,
    EngineStoppedError,
    InvalidInputError,
    QuestionError,
    StreamNotFoundError,
)
from streamvlm.searches import MAX_SEARCHES, SearchQueue
from streamvlm.streams import WatchedStream
from streamvlm.types import ClockSource, Found, Interval, Moment, Search, StreamTime
from tests.conftest import tiny_vlm

RED = Search(text="a red van")


def no_streams(stream_ids: Sequence[str]) -> list[WatchedStream]:
    if "nowhere" in stream_ids:
        raise StreamNotFoundError("no stream 'nowhere'")
    return []


def queue() -> SearchQueue:
    return SearchQueue(tiny_vlm("qwen3-vl"), RespondConfig(), no_streams)


def test_a_search_of_no_streams_finds_nothing() -> None:
    searches = queue()
    found = searches.add(RED)
    assert searches.advance() and found.result(0) == Found() and len(searches) == 0
    assert not searches.advance()


def test_a_stream_that_is_none_is_told() -> None:
    searches = queue()
    found = searches.add(Search(text="red", stream_ids=("nowhere",)))
    searches.advance()
    with pytest.raises(StreamNotFoundError):
        found.result(0)


def test_who_leaves_frees_the_queue() -> None:
    searches = queue()
    waiting = [searches.add(RED) for _ in range(MAX_SEARCHES)]
    with pytest.raises(CapacityError, match="16 searches are waiting"):
        searches.add(RED)
    waiting[0].cancel()
    searches.advance()
    searches.add(RED)
    with pytest.raises(CancelledError):
        waiting[0].result(0)


def test_what_waits_ends_with_the_engine() -> None:
    searches = queue()
    waiting = searches.add(RED)
    searches.close(EngineStoppedError("stopping"))
    for found in (waiting, searches.add(RED)):
        with pytest.raises(EngineStoppedError):
            found.result(0)
    assert not searches.advance()


@pytest.mark.parametrize("text", ["", " ", "x" * 5_000])
def test_a_text_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(QuestionError):
        queue().add(Search(text=text))


@pytest.mark.parametrize("most", [-1, 0, 101])
def test_a_number_of_moments_out_of_range_is_named(most: int) -> None:
    with pytest.raises(InvalidInputError, match=f"top_k = {most}; allowed: 1 to 100"):
        queue().add(Search(text="red", most=most))


def test_the_best_of_all_come_first() -> None:
    at = StreamTime(pts_seconds=0.0, utc_seconds=0.0, clock=ClockSource.FILE)

    def moment(stream_id: str, score: float) -> Moment:
        span = Interval(start=at, end=at)
        return Moment(stream_id=stream_id, interval=span, score=score, block_id=0)

    one = Found(moments=(moment("a", 3.0), moment("a", 1.0)), searched=("a",))
    other = Found(moments=(moment("b", 3.0), moment("b", 2.0)), searched=("b",))
    both = one.joined(other, 3)
    assert [(each.stream_id, each.score) for each in both.moments] == [
        ("a", 3.0),
        ("b", 3.0),
        ("b", 2.0),
    ]
    assert both.searched == ("a", "b")
