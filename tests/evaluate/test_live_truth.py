"""Script seconds, camera UTC and stream seconds are one time, and the truth follows."""

from __future__ import annotations

import numpy as np
import pytest

from streamvlm.errors import SourceError, StreamEmptyError
from streamvlm.evaluate.live_truth import LiveTruth, item_of
from streamvlm.evaluate.world.questions import FAMILIES
from streamvlm.evaluate.world.script import Pace, Script, Trouble, write
from streamvlm.evaluate.world.truth import Look, look
from streamvlm.types import (
    AnswerStarted,
    ClockSource,
    Evidence,
    FeedStatus,
    Gap,
    Interval,
    MemoryStatus,
    SourceState,
    StreamStatus,
    StreamTime,
)

BEGAN_UTC = 1_750_000_000.25
LATE_SECONDS = 3.4
"""Of the script, when the stream began."""
SCRIPT = write(5, 40.0, Pace(between=2.0, quiet_share=0.0, trouble_every=0.0))


def at(seconds: float, clock: ClockSource = ClockSource.RTCP_SR) -> StreamTime:
    utc_seconds = BEGAN_UTC + LATE_SECONDS + seconds
    return StreamTime(pts_seconds=seconds, utc_seconds=utc_seconds, clock=clock)


def status(last_frame: StreamTime | None) -> StreamStatus:
    return StreamStatus(
        stream_id="door",
        source="rtsp://camera",
        created_utc_seconds=BEGAN_UTC,
        feed=FeedStatus(state=SourceState.LIVE, last_frame=last_frame),
        memory=MemoryStatus(),
    )


def live(script: Script = SCRIPT) -> LiveTruth:
    return LiveTruth.of(script, BEGAN_UTC, status(at(7.5)))


def started(*ends_seconds: float, gaps: tuple[Gap, ...] = ()) -> AnswerStarted:
    evidence = [
        Evidence(
            interval=Interval(start=at(end - 1), end=at(end)),
            score=None,
            block_id=None,
            num_tokens=1,
        )
        for end in ends_seconds
    ]
    return AnswerStarted(question_id="q", evidence=tuple(evidence), gaps=gaps)


def test_script_and_stream_seconds_are_tied_by_the_camera_s_utc() -> None:
    truth = live()
    assert truth.stream_seconds(LATE_SECONDS) == pytest.approx(0.0, abs=1e-6)
    assert truth.script_seconds(10.0) == pytest.approx(13.4, abs=1e-6)
    assert truth.num_looks == 36  # 36.6 s are left, a clip is 1 s


def test_a_stream_without_a_frame_or_the_camera_s_clock_has_no_truth() -> None:
    with pytest.raises(StreamEmptyError, match="'door'"):
        LiveTruth.of(SCRIPT, BEGAN_UTC, status(None))
    with pytest.raises(SourceError, match="'arrival'"):
        LiveTruth.of(SCRIPT, BEGAN_UTC, status(at(1.5, ClockSource.ARRIVAL)))


def content(shown: Look) -> object:
    return [
        (sight.visit, sight.zone, sight.moving, pytest.approx(sight.visible, abs=1e-4))
        for sight in shown.sights
    ], shown.is_black


def test_looks_show_the_script_at_the_clips_of_the_stream() -> None:
    looks = live().looks(20)
    assert [each.seconds for each in looks] == [index + 0.25 for index in range(21)]
    for index, each in enumerate(looks):
        assert content(each) == content(look(SCRIPT, index + LATE_SECONDS))


def test_what_the_camera_suffers_moves_along() -> None:
    troubled = Script(
        seed=5,
        seconds=40.0,
        visits=SCRIPT.visits,
        troubles=(Trouble(name="black", start=10.0, end=12.0),),
    )
    black = [index for index, each in enumerate(live(troubled).looks(20)) if each.is_black]
    assert black == [7, 8]  # 10.0 to 12.0 in the script is 6.6 to 8.6 in the stream


def test_answers_are_in_stream_seconds() -> None:
    truth, newest = live(), 30
    by_kind = {str(each.thing.kind): each for each in SCRIPT.visits}
    found = 0
    for seed in range(20):
        for question in truth.questions(newest, np.random.default_rng(seed), len(FAMILIES)):
            assert question.asked_seconds == newest + 0.5
            if question.family == "when" and question.answer != "not seen":
                kind = next(kind for kind in by_kind if kind in question.text)
                came = truth.stream_seconds(by_kind[kind].times[0])
                assert 0 <= float(question.answer.split()[0]) - came < 3  # in through the edge
                assert item_of(question, "q").tolerance_seconds == 2.0
                found += 1
            elif question.family == "count":
                assert item_of(question, "q").tolerance_seconds is None
    assert found


def test_only_what_is_about_the_past_has_an_age_and_not_whether_it_was_ever_there() -> None:
    truth, aged = live(), set[str]()
    ageless: dict[str, set[str]] = {"past": set(), "now": set()}
    for seed in range(20):
        for question in truth.questions(30, np.random.default_rng(seed), len(FAMILIES)):
            item = item_of(question, "q")
            if item.event_seconds is None:
                ageless.setdefault(question.group, set()).add(question.family)
            else:
                aged.add(question.group)
                assert item.event_seconds == question.event_seconds < item.asked_seconds
    assert aged == {"past"}
    assert ageless["past"] == {"ever"} and "color" in ageless["now"]


def test_the_newest_look_of_an_answer_follows_from_its_evidence() -> None:
    truth = live()
    assert truth.newest_look(started(4.0, 9.0)) == 8
    assert truth.look_of(8.5) == 8 and truth.look_of(9.0) == 9 and truth.look_of(8.999) == 9
    with pytest.raises(SourceError, match="interrupted"):
        truth.newest_look(started(4.0, 9.5))
    gap = Gap(interval=Interval(start=at(2), end=at(3)), reason="SOURCE_LOST")
    with pytest.raises(SourceError, match="interrupted"):
        truth.newest_look(started(9.0, gaps=(gap,)))


def test_looks_are_alike_while_nothing_comes_goes_or_moves_elsewhere() -> None:
    truth = live()
    looks = truth.looks(30)
    alike = [truth.is_unchanged(index, index + 1) for index in range(30)]
    assert any(alike) and not all(alike)
    for index in range(30):
        visits = [[sight.visit for sight in each.sights] for each in looks[index : index + 2]]
        assert not alike[index] or visits[0] == visits[1]
    changed = alike.index(False)
    assert not truth.is_unchanged(changed + 1, changed)
    assert not truth.is_unchanged(0, 30)
