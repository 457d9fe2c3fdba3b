"""A stream's clips in the worker: nothing twice, one clock whatever ingest does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services import carried
from services.carried import INGEST_LOST, CarriedFeed
from streamvlm.gaps import RESTARTED
from streamvlm.remember import Counters, Snapshot
from streamvlm.types import Clip, FeedStatus, Gap, Interval, Run, SourceState
from streamvlm.vlm.positions import Cursor
from tests.conftest import at, make_clip

LIVE = FeedStatus(state=SourceState.LIVE)


def numbered(index: int, seconds: float | None = None) -> Clip:
    """The clip of this index, which begins at second `seconds` of its run, by default its index."""
    start = float(index) if seconds is None else seconds
    return replace(make_clip(index), clip_index=index, times=(at(start), at(start + 0.5)))


def taken(feed: CarriedFeed) -> list[Clip | Gap]:
    items = []
    while (item := feed.take()) is not None:
        items.append(item)
    return items


def linked(feed: CarriedFeed, run_id: str = "one") -> CarriedFeed:
    feed.link(run_id, lambda: None)
    feed.note(LIVE)
    return feed


def test_what_is_put_is_taken_once_and_counted() -> None:
    feed = linked(CarriedFeed(8))
    for index in range(3):
        feed.put(numbered(index))
    assert feed.status().clips_waiting == 3
    assert [item.clip_index for item in taken(feed) if isinstance(item, Clip)] == [0, 1, 2]
    assert feed.taken() == 3 and feed.taken() == 0


def test_what_is_sent_again_is_not_taken_in_again() -> None:
    feed = linked(CarriedFeed(8))
    gap = Gap(interval=Interval(start=at(2.0), end=at(3.0)), reason="SOURCE_LOST")
    sent: list[Clip | Gap] = [numbered(0), numbered(1), gap]
    for item in sent:
        feed.put(item)
    feed.unlink()
    linked(feed)
    for item in [*sent, numbered(3)]:
        feed.put(item)
    assert len(taken(feed)) == 4
    assert feed.taken() == 4, "three were there, one was new"
    feed.put(numbered(4))
    assert len(taken(feed)) == 1 and feed.taken() == 1


def test_a_new_run_goes_on_in_the_streams_own_time() -> None:
    feed = linked(CarriedFeed(8))
    for index in range(5):
        feed.put(numbered(index))
    taken(feed)
    feed.unlink()
    linked(feed, "two")
    later = numbered(0)
    later = replace(
        later, times=tuple(replace(time, utc_seconds=time.utc_seconds + 15) for time in later.times)
    )
    feed.put(later)
    gap, first = taken(feed)
    assert isinstance(gap, Gap) and isinstance(first, Clip)
    assert (gap.interval.start.pts_seconds, gap.interval.end.pts_seconds) == (5.0, 15.0)
    assert (first.clip_index, first.times[0].pts_seconds) == (5, 15.0)
    assert feed.taken() == 1, "the gap was not ingest's"
    feed.note(replace(LIVE, last_frame=at(0.5)))
    last = feed.status().last_frame
    assert last and last.pts_seconds == 15.5


def test_who_nobody_brings_is_blind(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(carried.time, "monotonic", lambda: now)
    feed = linked(CarriedFeed(8))
    feed.put(numbered(0))
    feed.unlink()
    assert feed.status().blind is None and feed.status().reason == INGEST_LOST
    now = 105.0
    status = feed.status()
    assert status.state is SourceState.RECONNECTING and status.blind is not None
    assert status.blind.interval.start.pts_seconds == 1.0
    assert status.blind.interval.duration_seconds == 5.0
    linked(feed)
    assert feed.status().state is SourceState.LIVE


def test_a_source_that_is_over_needs_nobody() -> None:
    feed = linked(CarriedFeed(8))
    feed.note(FeedStatus(state=SourceState.ENDED))
    feed.unlink()
    assert feed.status().state is SourceState.ENDED


def snapshot(run: Run, seen_until_seconds: float = 5.0, next_clip_index: int = 5) -> Snapshot:
    return Snapshot(
        blocks=(),
        next_block_id=0,
        cursor=Cursor(),
        policy="keep",
        seen_until=at(seen_until_seconds),
        next_clip_index=next_clip_index,
        unkept=None,
        gaps=(),
        counters=Counters(),
        num_evicted=0,
        run=run,
    )


def test_behind_a_restart_another_run_goes_on_in_the_streams_own_time() -> None:
    feed = linked(CarriedFeed(8, snapshot(Run(run_id="one"))), "two")
    assert not feed.status().run.is_placed
    later = tuple(replace(at(s), utc_seconds=at(s).utc_seconds + 60) for s in (0.0, 0.5))
    feed.put(replace(numbered(0), times=later))
    gap, clip = taken(feed)
    assert isinstance(gap, Gap) and isinstance(clip, Clip)
    assert (gap.reason, gap.interval.start.pts_seconds) == (RESTARTED, 5.0)
    assert gap.interval.end.pts_seconds == clip.times[0].pts_seconds == 60.0
    assert clip.clip_index == 5
    run = feed.status().run
    assert (run.run_id, run.shift_seconds, run.shift_clips) == ("two", 60.0, 5)


def test_behind_a_restart_the_same_run_is_taken_up_where_it_was_seen() -> None:
    """Ingest outlived the worker: it sends again what it does not know to have arrived."""
    before = CarriedFeed(
        8, snapshot(Run(run_id="one", shift_seconds=100.0, shift_clips=50), 105.0, 55)
    )
    feed = linked(before)
    for index in (3, 4, 9):
        feed.put(numbered(index))
    gap, clip = taken(feed)
    assert isinstance(gap, Gap) and isinstance(clip, Clip)
    assert (gap.reason, gap.interval.start.pts_seconds, gap.interval.end.pts_seconds) == (
        RESTARTED, 105.0, 109.0,
    )  # fmt: skip
    assert (clip.clip_index, clip.times[0].pts_seconds) == (59, 109.0)
    assert feed.taken() == 3, "what was seen before counts as taken"
    feed.put(numbered(20))
    assert len(taken(feed)) == 1, "only the first clip follows a restart"
