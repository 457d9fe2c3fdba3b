"""Stream time never runs backwards; UTC comes from the best clock there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvlm.capture.clock import Instant, Resume, StreamClock, span
from streamvlm.types import ClockSource, StreamTime

UTC = 1_750_000_000.0


def arriving(seconds: float) -> Instant:
    return Instant(monotonic_seconds=500.0 + seconds, utc_seconds=UTC + seconds)


def test_a_new_connection_goes_on_by_the_clock_of_this_machine() -> None:
    clock = StreamClock()
    assert clock.at(90.0, arriving(0)).pts_seconds == 0
    assert clock.at(91.0, arriving(1)).pts_seconds == 1
    clock.reconnect()
    assert clock.at(3.0, arriving(31)).pts_seconds == 31
    assert clock.at(4.0, arriving(32)).pts_seconds == 32


@pytest.mark.parametrize("jump_seconds", [-3600.0, 3600.0])
def test_a_camera_that_sets_its_clock_does_not_move_stream_time(jump_seconds: float) -> None:
    clock = StreamClock()
    clock.at(100.0, arriving(0))
    assert clock.at(101.0 + jump_seconds, arriving(1)).pts_seconds == pytest.approx(1)


def test_pictures_that_come_late_and_all_at_once_keep_their_times() -> None:
    clock = StreamClock()
    clock.at(0.0, arriving(0))
    times = [clock.at(1.0 + i, arriving(9 + i / 1000)).pts_seconds for i in range(8)]
    assert times == pytest.approx([1, 2, 3, 4, 5, 6, 7, 8])


def test_utc_climbs_the_ladder_of_clocks() -> None:
    clock = StreamClock()
    first = clock.at(10.0, arriving(0.3))
    assert first.clock is ClockSource.ARRIVAL and first.clock_error_seconds > 0
    clock.camera_says(10.0, UTC)
    good = clock.at(11.0, arriving(1.3))
    assert good.clock is ClockSource.RTCP_SR
    assert good.utc_seconds == pytest.approx(UTC + 1)
    assert good.clock_error_seconds == pytest.approx(0.3)
    clock.camera_says(12.0, UTC - 100)
    skewed = clock.at(12.0, arriving(2.3))
    assert skewed.clock is ClockSource.RTCP_SR_SKEWED
    assert skewed.utc_seconds == pytest.approx(UTC - 100)
    assert skewed.clock_error_seconds == pytest.approx(102.3, abs=0.01)


def test_arrival_times_follow_the_least_delayed_picture() -> None:
    clock = StreamClock()
    clock.at(0.0, arriving(2.0))
    clock.at(1.0, arriving(1.2 + 1))
    late = clock.at(2.0, arriving(9.0))
    assert late.utc_seconds == pytest.approx(UTC + 3.2, abs=0.01)


def test_a_clock_that_takes_over_goes_on_where_the_last_one_stood() -> None:
    last = StreamTime(pts_seconds=40.0, utc_seconds=UTC, clock=ClockSource.ARRIVAL)
    resume = Resume(
        began_monotonic_seconds=500.0, last=last, known_until=last, reason="SOURCE_LOST",
        next_frame_index=80, next_clip_index=40,
    )  # fmt: skip
    assert StreamClock(resume).at(0.0, arriving(45)).pts_seconds == 45
    assert StreamClock(resume).at(0.0, arriving(12)).pts_seconds > 40


@given(
    st.lists(
        st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1, max_size=5), max_size=20
    )
)
def test_no_connection_starts_before_the_last_one_ended(connections: list[list[float]]) -> None:
    clock, latest_seconds, now = StreamClock(), -1.0, 0.0
    for source_times in connections:
        clock.reconnect()
        first = clock.at(source_times[0], arriving(now)).pts_seconds
        assert first > latest_seconds
        rest = [clock.at(t, arriving(now)).pts_seconds for t in source_times[1:]]
        latest_seconds, now = max([first, *rest]), now + 0.5


@pytest.mark.parametrize("rate", [0.97, 0.99, 1.0, 1.01, 1.1])
def test_a_camera_that_counts_wrong_hides_no_outage(rate: float) -> None:
    clock, latest_seconds = StreamClock(), -1.0
    for index in range(3600):
        last = clock.at(index * rate, arriving(index))
        assert last.pts_seconds > latest_seconds
        assert last.pts_seconds == pytest.approx(index, abs=3)
        assert last.utc_seconds == pytest.approx(UTC + index, abs=2)
        latest_seconds = last.pts_seconds
    assert last.pts_seconds < 3599 + 1.01
    clock.reconnect()
    assert clock.at(0.0, arriving(3599 + 30)).pts_seconds - last.pts_seconds >= 29


def test_pictures_that_a_server_had_buffered_do_not_push_stream_time_ahead() -> None:
    clock, now = StreamClock(), 0.0
    for _ in range(20):
        clock.reconnect()
        burst = [clock.at(t, arriving(now + t / 1000)).pts_seconds for t in range(10)]
        assert burst == sorted(burst)
        now += 0.1
        for index in range(20):
            last = clock.at(10.0 + index, arriving(now)).pts_seconds
            assert abs(last - now) <= 1.02
            now += 1
        now += 5


def test_a_camera_whose_reports_drift_states_the_drift_but_not_a_clock_that_was_set() -> None:
    clock = StreamClock()
    clock.at(0.0, arriving(0))
    clock.camera_says(0.0, UTC)
    clock.camera_says(100.0, UTC + 101.5)
    assert clock.at(100.0, arriving(101.5)).clock_error_seconds == pytest.approx(1.5)
    # By now arrivals agree with the camera, which is no proof that it will not drift again.
    assert clock.at(140.0, arriving(141.5)).clock_error_seconds == pytest.approx(1.5)
    clock.camera_says(141.0, UTC + 5000)
    clock.camera_says(142.0, UTC + 143.5)
    assert clock.at(142.0, arriving(143.5)).clock_error_seconds < 0.1


def test_an_interval_over_a_change_of_clock_never_runs_backwards() -> None:
    start = StreamTime(pts_seconds=1.0, utc_seconds=UTC, clock=ClockSource.RTCP_SR)
    end = StreamTime(pts_seconds=3.0, utc_seconds=UTC - 99, clock=ClockSource.ARRIVAL)
    interval = span(start, end)
    assert interval.duration_seconds == 2
    assert interval.end.utc_seconds == UTC + 2
    assert span(start, start.later(1)).end == start.later(1)
