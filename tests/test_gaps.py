"""The log of when a stream was blind."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamvlm.gaps import GapLog
from tests.conftest import make_gap

MOST = 5
gaps = st.lists(
    st.builds(
        lambda start, length, reason: make_gap(start, start + length, reason),
        st.integers(0, 100),
        st.integers(1, 20),
        st.sampled_from(["SOURCE_LOST", "ENGINE_FAILED"]),
    ),
    max_size=20,
)


@given(gaps)
def test_it_is_bounded_ordered_and_joined(noted: list) -> None:
    log = GapLog(MOST)
    for gap in noted:
        log.add(gap)
    kept = log.newest()
    assert len(kept) <= MOST
    for earlier, later in pairwise(kept):
        assert earlier.interval.start.pts_seconds <= later.interval.start.pts_seconds
        is_apart = later.interval.start.pts_seconds > earlier.interval.end.pts_seconds
        assert is_apart or earlier.reason != later.reason


@given(gaps)
def test_no_blind_second_is_forgotten_while_there_is_room(noted: list) -> None:
    log = GapLog(1000)
    for gap in noted:
        log.add(gap)

    def blind(of: list) -> set:
        return {
            (second, gap.reason)
            for gap in of
            for second in range(
                int(gap.interval.start.pts_seconds), int(gap.interval.end.pts_seconds)
            )
        }

    assert blind(list(log.newest())) == blind(noted)
