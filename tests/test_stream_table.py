from __future__ import annotations

import threading
from typing import cast

import pytest

from streamvlm.errors import CapacityError, EngineStoppedError, StreamExistsError
from streamvlm.pipeline import StreamPipeline
from streamvlm.streams import StreamTable
from streamvlm.types import FeedStatus, MemoryStatus, SourceState


class Meeting:
    """A feed whose stop ends only when that of all others has begun."""

    def __init__(self, barrier: threading.Barrier) -> None:
        self._barrier = barrier

    def take(self) -> None:
        return None

    def status(self) -> FeedStatus:
        return FeedStatus(state=SourceState.LIVE)

    def stop(self) -> None:
        self._barrier.wait(10)


class Pipeline:
    def status(self) -> MemoryStatus:
        return MemoryStatus()


def add(table: StreamTable, stream_id: str, feed: Meeting) -> None:
    with table.reserve(stream_id):
        table.add(stream_id, "push:", feed, cast(StreamPipeline, Pipeline()))


def test_feeds_are_stopped_all_at_the_same_time() -> None:
    table, barrier = StreamTable(8), threading.Barrier(8)
    for index in range(8):
        add(table, f"s{index}", Meeting(barrier))
    table.close()
    assert table.all() == [] and not barrier.broken


def test_a_place_that_is_reserved_is_taken() -> None:
    table = StreamTable(1)
    with table.reserve("a"):
        with pytest.raises(StreamExistsError, match="being opened"), table.reserve("a"):
            pass
        with pytest.raises(CapacityError), table.reserve("b"):
            pass
    with table.reserve("b"):
        pass


def test_a_removed_stream_has_its_place_until_its_feed_has_ended() -> None:
    table, barrier = StreamTable(1), threading.Barrier(2)
    add(table, "a", Meeting(barrier))
    removing = threading.Thread(target=table.remove, args=("a",))
    removing.start()
    while table.all():
        pass
    with pytest.raises((CapacityError, StreamExistsError)), table.reserve("b"):
        pass
    barrier.wait(10)
    removing.join()
    with table.reserve("b"):
        pass


def test_what_was_being_opened_is_not_added_to_a_closed_table() -> None:
    table = StreamTable(1)
    with table.reserve("a"):
        table.close()
        with pytest.raises(EngineStoppedError):
            table.add("a", "push:", Meeting(threading.Barrier(1)), cast(StreamPipeline, Pipeline()))
