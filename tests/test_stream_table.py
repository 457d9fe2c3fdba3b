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
    table.add(stream_id, "push:", feed, cast(StreamPipeline, Pipeline()))


def test_feeds_are_stopped_all_at_the_same_time() -> None:
    table, barrier = StreamTable(8), threading.Barrier(8)
    for index in range(8):
        add(table, f"s{index}", Meeting(barrier))
    table.close()
    assert table.all() == [] and not barrier.broken


def test_a_full_table_takes_no_more_and_no_id_twice() -> None:
    table = StreamTable(2)
    add(table, "a", Meeting(threading.Barrier(1)))
    with pytest.raises(StreamExistsError, match="exists already"):
        add(table, "a", Meeting(threading.Barrier(1)))
    add(table, "b", Meeting(threading.Barrier(1)))
    with pytest.raises(CapacityError, match="2 streams"):
        add(table, "c", Meeting(threading.Barrier(1)))


def test_a_removed_stream_has_its_place_until_its_feed_has_ended() -> None:
    table, barrier = StreamTable(1), threading.Barrier(2)
    add(table, "a", Meeting(barrier))
    removing = threading.Thread(target=table.remove, args=("a",))
    removing.start()
    while table.all():
        pass
    with pytest.raises((CapacityError, StreamExistsError)):
        add(table, "b", Meeting(barrier))
    barrier.wait(10)
    removing.join()
    add(table, "b", Meeting(barrier))


def test_a_closed_table_takes_nothing() -> None:
    table = StreamTable(1)
    table.close()
    with pytest.raises(EngineStoppedError):
        add(table, "a", Meeting(threading.Barrier(1)))
