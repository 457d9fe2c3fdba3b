"""What goes over the wire comes back as it was."""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from streamvlm.alerts import Alert, AlertRule, AlertState, Schedule, Severity
from streamvlm.erasure import Erased
from streamvlm.errors import (
    ErasureError,
    FrameError,
    InvalidInputError,
    SourceAuthError,
    StreamVLMError,
)
from streamvlm.types import (
    AnswerFinished,
    AnswerStarted,
    AnswerToken,
    AskedTime,
    ClockSource,
    Evidence,
    FeedStatus,
    FinishReason,
    Found,
    Gap,
    Interval,
    MemoryStatus,
    Moment,
    Question,
    Sampling,
    Search,
    SourceState,
    StreamStatus,
    StreamTime,
    TierStatus,
    UnknownTime,
    Usage,
    UtcInterval,
)
from streamvlm.wire import (
    alerts,
    answers,
    erasures,
    failures,
    frames,
    rules,
    searches,
    status,
    times,
)
from streamvlm.wire.v1 import event_service_pb2, query_service_pb2, stream_service_pb2, time_pb2

# A busy machine may take its time.
calm = settings(deadline=None)

counts = st.integers(0, 2**62)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
durations = st.integers(0, 10**12).map(lambda nanos: nanos / 10**9)
instants = st.builds(
    StreamTime,
    pts_seconds=st.floats(0, 1e9),
    # Of our days: in 1970 doubles tell apart less than a nanosecond.
    utc_seconds=st.floats(1e9, 4e9),
    clock=st.sampled_from(ClockSource),
    clock_error_seconds=durations,
)
intervals = st.tuples(instants, instants).map(
    lambda pair: Interval(
        start=min(pair, key=lambda time: time.pts_seconds),
        end=max(pair, key=lambda time: time.pts_seconds),
    )
)
gaps = st.builds(Gap, interval=intervals, reason=texts)
feeds = st.builds(
    FeedStatus,
    state=st.sampled_from(SourceState),
    reason=texts,
    message=texts,
    frames_decoded=counts,
    frames_sampled=counts,
    clips_dropped=counts,
    reconnects=counts,
    gaps_total=counts,
    gap_seconds_total=durations,
    clips_waiting=counts,
    last_frame=st.none() | instants,
    blind=st.none() | gaps,
)
memories = st.builds(
    MemoryStatus,
    **{
        name: counts
        for name in MemoryStatus.__dataclass_fields__
        if name not in ("remembered", "gaps", "tiers")
    },
    tiers=st.lists(
        st.builds(
            TierStatus,
            tier=texts,
            form=texts,
            blocks=counts,
            num_tokens=counts,
            num_bytes=counts,
        ),
        max_size=3,
    ).map(tuple),
    remembered=st.none() | intervals,
    gaps=st.lists(gaps, max_size=3).map(tuple),
)
evidences = st.builds(
    Evidence,
    interval=intervals,
    score=st.none() | st.floats(-1e6, 1e6),
    block_id=st.none() | counts,
    num_tokens=counts,
)
utc_intervals = st.builds(
    UtcInterval,
    start_seconds=st.just(-math.inf) | st.integers(10**9, 2 * 10**9).map(float),
    end_seconds=st.just(math.inf) | st.integers(2 * 10**9 + 1, 4 * 10**9).map(float),
)
asked_times = st.builds(
    AskedTime,
    words=texts,
    intervals=st.lists(utc_intervals, max_size=3).map(tuple),
    time_zone=texts,
    unknown=st.lists(st.builds(UnknownTime, interval=utc_intervals, reason=texts), max_size=2).map(
        tuple
    ),
    notes=st.lists(texts, max_size=2).map(tuple),
)
events = st.one_of(
    st.builds(
        AnswerStarted,
        question_id=texts,
        evidence=st.lists(evidences, max_size=3).map(tuple),
        gaps=st.lists(gaps, max_size=3).map(tuple),
        asked=st.none() | asked_times,
    ),
    st.builds(AnswerToken, question_id=texts, text=texts, token_id=counts),
    st.builds(
        AnswerFinished,
        question_id=texts,
        text=texts,
        finish_reason=st.sampled_from(FinishReason),
        usage=st.builds(
            Usage,
            prompt_tokens=counts,
            recalled_tokens=counts,
            answer_tokens=counts,
            time_to_first_token_seconds=durations,
            total_seconds=durations,
        ),
    ),
)
questions = st.builds(
    Question,
    question_id=st.just("q1"),
    stream_id=texts,
    text=texts,
    sampling=st.builds(
        Sampling,
        max_new_tokens=st.integers(-5, 2**31 - 1),
        temperature=st.floats(0, 10),
        top_p=st.floats(0, 1),
        seed=st.integers(-(2**63), 2**63 - 1),
    ),
    during=st.none() | utc_intervals,
)
searches_asked = st.builds(
    Search,
    text=texts,
    stream_ids=st.lists(texts, max_size=3, unique=True).map(tuple),
    during=st.none() | utc_intervals,
    most=st.integers(1, 2**31 - 1),
)
moments_found = st.builds(
    Moment, stream_id=texts, interval=intervals, score=st.floats(-1e6, 1e6), block_id=counts
)
founds = st.builds(
    Found,
    moments=st.lists(moments_found, max_size=3).map(tuple),
    searched=st.lists(texts, max_size=3).map(tuple),
    unsearched=st.lists(texts, max_size=3).map(tuple),
)
pushed_frames = st.builds(
    frames.PushedFrame,
    image=st.binary(max_size=20),
    encoding=st.sampled_from(["jpeg", "png", "rgb24"]),
    height=st.none() | st.integers(1, 2**31),
    width=st.none() | st.integers(1, 2**31),
    utc_seconds=st.none() | st.floats(1e9, 4e9),
    sequence=counts,
)


@calm
@given(instants)
def test_instants_come_back(time: StreamTime) -> None:
    assert times.instant_from_proto(times.instant_to_proto(time)) == time


@calm
@given(st.floats(-6e10, 2e11))
def test_timestamps_are_within_half_a_nanosecond(utc_seconds: float) -> None:
    message = times.timestamp_to_proto(utc_seconds)
    assert 0 <= message.nanos < 10**9
    assert times.timestamp_from_proto(message) == pytest.approx(utc_seconds, abs=1e-9)


@calm
@given(
    st.builds(
        StreamStatus,
        stream_id=texts,
        source=texts,
        created_utc_seconds=st.floats(1e9, 4e9),
        feed=feeds,
        memory=memories,
        time_zone=texts.filter(bool),
    )
)
def test_streams_come_back(stream: StreamStatus) -> None:
    assert status.stream_from_proto(status.stream_to_proto(stream)) == stream


@calm
@given(questions)
def test_questions_come_back(question: Question) -> None:
    assert answers.question_from_proto(answers.question_to_proto(question), "q1") == question


@calm
@given(events)
def test_events_come_back(event: answers.GivenEvent) -> None:
    assert answers.event_from_proto(answers.event_to_proto(event)) == event


@calm
@given(searches_asked)
def test_searches_come_back(search: Search) -> None:
    assert searches.search_from_proto(searches.search_to_proto(search)) == search


@calm
@given(founds)
def test_what_was_found_comes_back(found: Found) -> None:
    assert searches.found_from_proto(searches.found_to_proto(found)) == found


@calm
@given(pushed_frames)
def test_pushed_frames_come_back(frame: frames.PushedFrame) -> None:
    assert frames.frame_from_proto(frames.frame_to_proto(frame)) == frame


def test_acknowledgements_come_back() -> None:
    ack = frames.PushAck(
        sequence=7, is_sampled=False, frames_refused=2, clips_dropped=1, error=FrameError("x")
    )
    back = frames.ack_from_proto(frames.ack_to_proto(ack))
    assert (back.sequence, back.is_sampled, back.frames_refused, back.clips_dropped) == (
        7,
        False,
        2,
        1,
    )
    assert isinstance(back.error, FrameError) and str(back.error) == "x"


@pytest.mark.parametrize(
    "kind", sorted(failures.all_errors(), key=str), ids=lambda kind: kind.__name__
)
def test_errors_come_back(kind: type[StreamVLMError]) -> None:
    back = failures.error_from_proto(failures.error_to_proto(kind("what happened"), 3, {}))
    assert type(back) is kind and str(back) == "what happened"


def test_every_error_has_a_reason_of_its_own() -> None:
    reasons = [kind.reason for kind in failures.all_errors()]
    assert len(set(reasons)) == len(reasons)


def test_an_unknown_reason_is_an_error_all_the_same() -> None:
    message = failures.error_to_proto(SourceAuthError("from the future"), 9, {})
    text = message.SerializeToString().replace(b"SOURCE_AUTH_FAILED", b"SOURCE_AUTH_EXPIRE")
    back = failures.error_from_proto(type(message).FromString(text))
    assert type(back) is StreamVLMError and str(back) == "from the future"


def test_settings_that_are_not_set_have_their_defaults() -> None:
    request = query_service_pb2.AskRequest(stream_id="door", question="what?")
    assert answers.question_from_proto(request, "q1").sampling == Sampling()


def test_what_is_wrong_on_the_wire_is_named() -> None:
    backwards = time_pb2.Interval(start=time_pb2.Instant(pts_seconds=2.0))
    with pytest.raises(InvalidInputError, match="cannot end"):
        times.interval_from_proto(backwards)
    with pytest.raises(InvalidInputError, match="finite"):
        times.instant_from_proto(time_pb2.Instant(pts_seconds=math.nan))
    with pytest.raises(InvalidInputError, match="years 1 to 9999"):
        times.instant_from_proto(time_pb2.Instant(utc=Timestamp(seconds=2**62)))
    ended = time_pb2.UtcInterval(start=Timestamp(seconds=9), end=Timestamp(seconds=9))
    with pytest.raises(InvalidInputError, match="must end after it starts, got 9"):
        times.utc_interval_from_proto(ended)
    frame = stream_service_pb2.PushedFrame(encoding=stream_service_pb2.FRAME_ENCODING_JPEG)
    frame.capture_time.nanos = -1
    with pytest.raises(FrameError, match="nanos = -1"):
        frames.frame_from_proto(frame)
    with pytest.raises(FrameError, match="encoding 0"):
        frames.frame_from_proto(stream_service_pb2.PushedFrame())


def test_words_of_a_newer_service_are_unknown_and_do_no_harm() -> None:
    feed = status.feed_from_proto(stream_service_pb2.FeedStatus(state=77))  # type: ignore[arg-type]
    assert feed.state is SourceState.UNKNOWN
    for clock in (0, 77):
        instant = times.instant_from_proto(time_pb2.Instant(clock=clock))  # type: ignore[arg-type]
        assert instant.clock is ClockSource.UNKNOWN
    finished = query_service_pb2.AskResponse()
    finished.finished.finish_reason = 77  # type: ignore[assignment]
    event = answers.event_from_proto(finished)
    assert isinstance(event, AnswerFinished) and event.finish_reason is FinishReason.UNKNOWN
    assert answers.event_from_proto(query_service_pb2.AskResponse()) is None


@pytest.mark.parametrize("frame", [{"encoding": "webp"}, {"sequence": -1}, {"height": 2**40}])
def test_a_frame_that_does_not_fit_the_message_is_named(frame: dict[str, object]) -> None:
    with pytest.raises(FrameError, match=r"webp|cannot be sent"):
        frames.frame_to_proto(frames.PushedFrame(image=b"", **frame))  # type: ignore[arg-type]


clocks = st.times(timezones=st.none()).map(lambda each: each.replace(second=0, microsecond=0))
schedules = st.builds(
    Schedule,
    weekdays=st.frozensets(st.integers(0, 6), min_size=1),
    start=clocks,
    end=clocks,
    timezone=st.sampled_from([ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu")]),
)
armed = st.builds(
    AlertRule,
    rule_id=texts,
    text=texts.map("Is it {}?".format),
    stream_ids=st.frozensets(texts, max_size=3),
    enter_threshold=st.floats(0.5, 100),
    leave_threshold=st.floats(-100, 0),
    needed_looks=st.integers(1, 5),
    considered_looks=st.integers(5, 20),
    min_duration_seconds=st.integers(0, 86_400 * 1000).map(lambda millis: millis / 1000),
    cooldown_seconds=st.integers(0, 86_400 * 1000).map(lambda millis: millis / 1000),
    severity=st.sampled_from([Severity.INFO, Severity.WARNING, Severity.CRITICAL]),
    schedule=st.none() | schedules,
)
revisions = st.builds(
    Alert,
    alert_id=texts,
    revision=st.integers(0, 2**31 - 1),
    state=st.sampled_from(AlertState),
    rule_id=texts,
    stream_id=texts,
    began=instants,
    observed=instants,
    score=st.floats(-1e6, 1e6),
    highest_score=st.floats(-1e6, 1e6),
)


@calm
@given(armed)
def test_a_rule(rule: AlertRule) -> None:
    assert rules.rule_from_proto(rules.rule_to_proto(rule)) == rule


@calm
@given(revisions)
def test_an_alert(alert: Alert) -> None:
    assert alerts.alert_from_proto(alerts.alert_to_proto(alert)) == alert


def test_a_state_of_a_newer_service_is_unknown_and_a_kind_of_event_is_left_out() -> None:
    assert alerts.alert_from_proto(event_service_pb2.Alert(state=77)).state is AlertState.UNKNOWN  # type: ignore[arg-type]
    assert alerts.given_from_proto(event_service_pb2.SubscribeResponse(resume_token="t")) is None


@calm
@given(
    utc_intervals,
    st.builds(
        Erased,
        num_blocks=counts,
        num_clips=counts,
        num_events=counts,
        intervals=st.lists(intervals, max_size=3).map(tuple),
    ),
)
def test_erasures(span: UtcInterval, erased: Erased) -> None:
    request = erasures.erasure_to_proto("door", span)
    assert request.stream_id == "door" and erasures.erasure_from_proto(request) == span
    with pytest.raises(ErasureError, match="not set"):
        erasures.erasure_from_proto(stream_service_pb2.EraseStreamRequest(stream_id="door"))
    with pytest.raises(ErasureError, match="year 9999"):
        erasures.erasure_to_proto("door", UtcInterval(end_seconds=1.7e12))
    assert erasures.erased_from_proto(erasures.erased_to_proto(erased)) == erased
