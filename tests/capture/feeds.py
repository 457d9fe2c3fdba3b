"""Waiting for feeds and sources, always with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from streamvlm.capture import Feed, PushFeed, open_feed
from streamvlm.capture.backoff import Backoff
from streamvlm.capture.source import SourceItem
from streamvlm.types import Clip, Gap, GridRule

RULE = GridRule(cell_pixels=28, min_pixels=56 * 56, max_pixels=112 * 112)
FPS = 5.0
DEADLINE_SECONDS = 20.0


def quick_backoff() -> Backoff:
    """Reconnects at once, so that a test need not wait; still as patient after a refusal."""
    return Backoff(first_seconds=0.1, longest_seconds=0.2, refused_seconds=60.0)


class Taker:
    """A feed and what was taken from it."""

    def __init__(self, feed: Feed | PushFeed) -> None:
        self.feed = feed
        self.items: list[Clip | Gap] = []
        self._has_more = threading.Event()

    def start(self) -> None:
        self.feed.start(self._has_more.set)

    def take_until(self, is_enough: Callable[[list[Clip | Gap]], bool]) -> list[Clip | Gap]:
        """Take until `is_enough(items)`; fails at the deadline."""
        end_seconds = time.monotonic() + DEADLINE_SECONDS
        while not is_enough(self.items):
            item = self.feed.take()
            if item is not None:
                self.items.append(item)
                continue
            left_seconds = end_seconds - time.monotonic()
            assert left_seconds > 0, f"not enough: {self.items}; {self.feed.status()}"
            self._has_more.wait(left_seconds)
            self._has_more.clear()
        return self.items

    @property
    def clips(self) -> list[Clip]:
        return [item for item in self.items if isinstance(item, Clip)]

    @property
    def gaps(self) -> list[Gap]:
        return [item for item in self.items if isinstance(item, Gap)]


@contextmanager
def taking(
    address: str, *, queue_clips: int = 32, open_timeout_seconds: float = 5.0,
    read_timeout_seconds: float = 1.0, backoff: Backoff | None = None,
) -> Iterator[Taker]:  # fmt: skip
    """A started feed; stopped at the end."""
    feed = open_feed(
        "door",
        address,
        fps=FPS,
        rule=RULE,
        queue_clips=queue_clips,
        open_timeout_seconds=open_timeout_seconds,
        read_timeout_seconds=read_timeout_seconds,
        backoff=backoff or quick_backoff(),
    )
    taker = Taker(feed)
    taker.start()
    try:
        yield taker
    finally:
        feed.stop()


def give_until(
    items: Iterable[SourceItem], is_enough: Callable[[SourceItem], bool]
) -> list[SourceItem]:
    """Items up to and with the first that is enough; fails at the deadline."""
    end_seconds = time.monotonic() + DEADLINE_SECONDS
    given = []
    for item in items:
        given.append(item)
        if is_enough(item):
            return given
        assert time.monotonic() < end_seconds, f"nothing of the kind among {len(given)} items"
    raise AssertionError(f"the source ended after {len(given)} items")


def assert_times_advance(items: Iterable[Clip | Gap]) -> None:
    """Stream time never runs backwards, over clips and gaps in the order they were taken."""
    latest_seconds = -1.0
    for item in items:
        interval = item.interval
        first = item.times[0] if isinstance(item, Clip) else interval.start
        last = item.times[-1] if isinstance(item, Clip) else interval.end
        assert first.pts_seconds >= latest_seconds
        assert last.pts_seconds >= first.pts_seconds
        latest_seconds = last.pts_seconds
