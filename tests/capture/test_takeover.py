"""Where the next decoder of a camera goes on when one has died."""

from __future__ import annotations

import numpy as np
from feeds import RULE

from streamvlm.capture import Feed, SourceAddress
from streamvlm.errors import SourceLostError
from streamvlm.types import Clip, ClockSource, Gap, Interval, StreamTime


def instant(seconds: float) -> StreamTime:
    return StreamTime(pts_seconds=seconds, utc_seconds=seconds, clock=ClockSource.ARRIVAL)


def test_decoders_that_die_again_and_again_leave_gaps_that_do_not_overlap() -> None:
    feed = Feed(
        "door", SourceAddress.parse("rtsp://cam/1"), fps=2.0, rule=RULE, queue_clips=4,
        open_timeout_seconds=1.0, read_timeout_seconds=1.0,
    )  # fmt: skip
    assert feed._resume(SourceLostError("x")) is None
    times = (instant(0), instant(0.5))
    pixels = np.zeros((2, 28, 28, 3), np.uint8)
    feed._accept(
        Clip(stream_id="door", clip_index=0, pixels=pixels, times=times, frame_seconds=0.5)
    )
    for end_seconds in (60.0, 120.0, 180.0):
        resume = feed._resume(SourceLostError("x"))
        assert resume is not None
        blind = Interval(start=resume.known_until, end=instant(end_seconds))
        feed._accept(Gap(interval=blind, reason=resume.reason))
    assert feed._resume(SourceLostError("x")).last == instant(180)  # type: ignore[union-attr]
    status = feed.status()
    assert (status.gaps_total, status.gap_seconds_total) == (1, 179)
