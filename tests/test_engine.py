"""The engine, stepped by hand: no threads, no sleeping."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from streamvlm.config import Config
from streamvlm.engine import MAX_ANSWER_STEPS, StreamEngine
from streamvlm.errors import (
    CapacityError,
    ConfigError,
    EngineStoppedError,
    QuestionError,
    StreamEmptyError,
    StreamExistsError,
    StreamNotFoundError,
)
from streamvlm.gaps import ENGINE_FAILED
from streamvlm.types import (
    AnswerEvent,
    AnswerFailed,
    AnswerFinished,
    AnswerStarted,
    Clip,
    FeedStatus,
    FinishReason,
    Gap,
    Question,
    Sampling,
    SourceState,
    Tier,
)
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, make_gap, tiny_vlm


@dataclass
class ListFeed:
    """A feed whose clips are given by the test."""

    waiting: deque[Clip | Gap] = field(default_factory=deque)
    is_stopped: bool = False
    blind: Gap | None = None

    def take(self) -> Clip | Gap | None:
        return self.waiting.popleft() if self.waiting else None

    def status(self) -> FeedStatus:
        return FeedStatus(state=SourceState.LIVE, clips_waiting=len(self.waiting), blind=self.blind)

    def stop(self) -> None:
        self.is_stopped = True


def make_engine(**sections: dict[str, Any]) -> StreamEngine:
    defaults: dict[str, Any] = {"encode": {"max_batch_clips": 4}, "engine": {"max_streams": 3}}
    return StreamEngine(tiny_vlm("qwen3-vl"), Config.model_validate(defaults | sections))


def clips(count: int, stream_id: str = "door", first: int = 0) -> list[Clip]:
    size = clip_size(tiny_vlm("qwen3-vl"))
    return [make_clip(i, size=size, stream_id=stream_id) for i in range(first, first + count)]


def watch(engine: StreamEngine, stream_id: str = "door", count: int = 0) -> ListFeed:
    feed = ListFeed(deque(clips(count, stream_id)))
    engine.add_stream(stream_id, f"test:{stream_id}", feed)
    return feed


def question(number: int = 0, stream_id: str = "door", **sampling: Any) -> Question:
    return Question(
        question_id=f"q{number}",
        stream_id=stream_id,
        text="What is it?",
        sampling=Sampling(**{"max_new_tokens": 3, **sampling}),
    )


def settle(engine: StreamEngine, most: int = 500) -> int:
    for count in range(most):
        if not engine.step():
            return count
    raise AssertionError(f"still busy after {most} steps")


def test_clips_come_into_memory_and_questions_are_answered() -> None:
    engine, events = make_engine(), []
    watch(engine, count=12)
    settle(engine)
    assert engine.get_stream("door").memory.clips_encoded == 12
    engine.ask(question(), events.append)
    settle(engine)
    assert isinstance(events[-1], AnswerFinished)
    assert events[-1].usage.answer_tokens == 3


@pytest.mark.parametrize("name", ["ktv", "mmr", "holitom"])
def test_a_reducer_gets_the_attention_that_it_asks_for(name: str) -> None:
    """Else each clip would become a gap."""
    engine = make_engine(reduce={"name": name, "salience": "attention", "keep_ratio": 0.25})
    watch(engine, count=10)
    settle(engine)
    memory = engine.get_stream("door").memory
    assert (memory.clips_encoded, memory.gaps) == (10, ())
    assert 0 < memory.reduction_bytes


def test_two_streams_take_turns_and_share_batches() -> None:
    engine = make_engine()
    watch(engine, "door", 20)
    watch(engine, "yard", 2)
    engine.step()
    assert engine.get_stream("yard").memory.clips_encoded == 2
    assert engine.get_stream("door").memory.clips_encoded == 2


def test_streams_beyond_a_batch_are_not_starved() -> None:
    engine = make_engine(encode={"max_batch_clips": 1})
    for name in ("a", "b", "c"):
        watch(engine, name, 9)
    for _ in range(9):
        engine.step()
    assert [s.memory.clips_encoded for s in engine.list_streams()] == [3, 3, 3]


def test_questions_come_first_but_clips_are_not_starved() -> None:
    engine = make_engine()
    feed = watch(engine, count=8)
    settle(engine)
    # As many as steps are given to answers in a row, and each gives a token in every step.
    for number in range(MAX_ANSWER_STEPS):
        engine.ask(question(number, max_new_tokens=40), lambda event: None)
    # Each begins, which takes in what its stream has; only then do clips wait for answers.
    for _ in range(MAX_ANSWER_STEPS + 1):
        engine.step()
    feed.waiting.extend(clips(4, first=8))
    for _ in range(MAX_ANSWER_STEPS):
        engine.step()
    assert len(feed.waiting) == 4
    engine.step()
    assert len(feed.waiting) == 0


def test_a_question_sees_the_clips_that_waited_when_its_turn_came() -> None:
    engine, events = make_engine(capture={"queue_clips": 16}), []
    feed = watch(engine, count=10)
    other = watch(engine, "yard", 10)
    engine.ask(question(), events.append)
    engine.step()
    assert (len(feed.waiting), len(other.waiting)) == (0, 10)
    assert isinstance(events[0], AnswerStarted)
    assert events[0].evidence[-1].interval.end.pts_seconds == 10


def test_a_question_does_not_wait_for_ever_for_a_fast_source() -> None:
    engine, events = make_engine(capture={"queue_clips": 8}), []
    feed = watch(engine, count=100)
    engine.ask(question(), events.append)
    engine.step()
    assert isinstance(events[0], AnswerStarted)
    assert len(feed.waiting) == 100 - 8, "no more than the queue holds"


def test_questions_share_the_steps() -> None:
    engine = make_engine()
    watch(engine, count=4)
    settle(engine)
    seen: list[str] = []
    for number in range(3):
        engine.ask(question(number), lambda event: seen.append(event.question_id))
    for _ in range(3 + 2):
        engine.step()
    assert seen == ["q0", "q1", "q2"] * 3, "each begins by itself, then all give a token a step"


def test_a_cancelled_question_ends_at_its_next_step() -> None:
    engine, events = make_engine(), []
    watch(engine, count=4)
    settle(engine)
    engine.ask(question(max_new_tokens=200), events.append)
    for _ in range(4):
        engine.step()
    engine.cancel("q0")
    engine.step()
    assert isinstance(events[-1], AnswerFinished)
    assert events[-1].finish_reason is FinishReason.CANCELLED
    assert not engine.step()


def test_a_broken_listener_ends_its_question_only() -> None:
    engine, events = make_engine(), []
    watch(engine, count=4)
    settle(engine)

    def broken(event: AnswerEvent) -> None:
        raise RuntimeError("listener")

    engine.ask(question(0), broken)
    engine.ask(question(1), events.append)
    settle(engine)
    assert isinstance(events[-1], AnswerFinished)


def test_a_failing_encoder_becomes_a_gap_and_the_stream_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = make_engine()
    feed = watch(engine, count=2)
    with monkeypatch.context() as patched:
        patched.setattr(engine.vlm, "encode", lambda *_: 1 / 0)
        settle(engine)
    feed.waiting.extend(clips(3, first=2))
    settle(engine)
    memory = engine.get_stream("door").memory
    assert [(gap.reason, gap.interval.duration_seconds) for gap in memory.gaps] == [
        (ENGINE_FAILED, 2)
    ]
    assert memory.clips_encoded == 3


def test_a_clip_that_looks_like_a_lost_one_is_lost_too(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    feed = watch(engine, count=1)
    settle(engine)
    same = clips(1, first=7)[0].pixels
    same[1] = same[0]
    feed.waiting.extend(make_clip(i, same) for i in (1, 2, 3))
    with monkeypatch.context() as patched:
        patched.setattr(engine.vlm, "encode", lambda *_: 1 / 0)
        settle(engine)
    memory = engine.get_stream("door").memory
    assert [gap.interval.duration_seconds for gap in memory.gaps] == [3]
    assert memory.remembered is not None and memory.remembered.end.pts_seconds == 1


def test_a_batch_that_is_too_large_for_the_device_is_encoded_clip_by_clip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = make_engine()
    watch(engine, "door", 4)
    watch(engine, "yard", 4)
    encode = engine.vlm.encode

    def small(patches: Any, grids: list[Any]) -> Any:
        if len(grids) > 1:
            raise torch.OutOfMemoryError("planted")
        return encode(patches, grids)

    monkeypatch.setattr(engine.vlm, "encode", small)
    settle(engine)
    assert [s.memory.clips_encoded for s in engine.list_streams()] == [4, 4]
    assert not any(s.memory.gaps for s in engine.list_streams())


def test_a_wrong_clip_is_a_gap_of_its_own_stream_only() -> None:
    engine = make_engine()
    wide = np.zeros((2, 10, 10 * 250, 3), dtype=np.uint8)
    watch(engine, "door").waiting.append(make_clip(0, wide))
    watch(engine, "yard", 2)
    settle(engine)
    door, yard = engine.list_streams()
    assert (door.memory.clips_encoded, yard.memory.clips_encoded) == (0, 2)
    assert len(door.memory.gaps) == 1 and not yard.memory.gaps


def test_a_lost_device_ends_the_engine_and_fails_what_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, events = make_engine(), []
    feed = watch(engine, count=2)

    def lost(*_: Any) -> None:
        raise torch.AcceleratorError("planted")

    monkeypatch.setattr(engine.vlm, "encode", lost)
    engine.ask(question(), events.append)
    with pytest.raises(torch.AcceleratorError):
        engine.run()
    assert isinstance(events[-1], AnswerFailed) and feed.is_stopped
    with pytest.raises(EngineStoppedError):
        watch(engine, "new")


def test_unbalanced_books_do_not_end_the_engine(caplog: pytest.LogCaptureFixture) -> None:
    engine = make_engine()
    watch(engine, count=12)
    settle(engine)
    memory = engine._streams.get("door").pipeline.memory
    memory._tiers._num_bytes[Tier.DEVICE] += 1
    threading.Timer(0.2, engine.stop).start()
    engine.run()
    assert "do not balance" in caplog.text


def test_answers_at_a_time_are_bounded_and_the_others_wait() -> None:
    engine, seen = make_engine(engine={"max_answers": 2}), []
    watch(engine, count=4)
    settle(engine)
    for number in range(4):
        engine.ask(question(number), lambda event: seen.append(event))
    for _ in range(3):
        engine.step()
    assert {event.question_id for event in seen} == {"q0", "q1"}
    settle(engine)
    assert sum(isinstance(event, AnswerFinished) for event in seen) == 4


def test_a_question_cancelled_before_its_turn_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, events = make_engine(), []
    watch(engine)
    engine.ask(question(), events.append)
    engine.cancel("q0")
    monkeypatch.setattr(engine.vlm, "prefill", lambda *_: 1 / 0)
    settle(engine)
    (event,) = events
    assert event.finish_reason is FinishReason.CANCELLED


def test_a_gap_is_applied_before_what_comes_behind_it() -> None:
    engine = make_engine()
    feed = watch(engine)
    same = clips(1)[0].pixels
    same[1] = same[0]
    feed.waiting.extend([make_clip(0, same), make_gap(1.0, 5.0), make_clip(5, same)])
    settle(engine)
    assert engine.get_stream("door").memory.clips_encoded == 2


def test_asking_too_early_fails_with_its_own_error() -> None:
    engine, events = make_engine(), []
    watch(engine)
    engine.ask(question(), events.append)
    settle(engine)
    assert isinstance(events[-1], AnswerFailed)
    assert isinstance(events[-1].error, StreamEmptyError)


def test_removing_a_stream_stops_its_feed_and_fails_its_waiting_questions() -> None:
    engine, events = make_engine(), []
    feed = watch(engine, count=4)
    settle(engine)
    engine.ask(question(), events.append)
    engine.remove_stream("door")
    settle(engine)
    assert feed.is_stopped and isinstance(events[-1], AnswerFailed)
    with pytest.raises(StreamNotFoundError, match="'door'"):
        engine.get_stream("door")


def test_limits_are_errors_that_change_nothing() -> None:
    engine = make_engine(engine={"max_streams": 2, "max_questions": 1})
    watch(engine, "a", 2)
    with pytest.raises(StreamExistsError, match="'a'"):
        watch(engine, "a")
    watch(engine, "b")
    with pytest.raises(CapacityError, match="max_streams"):
        watch(engine, "c")
    engine.ask(question(0, "a"), lambda event: None)
    with pytest.raises(CapacityError, match="max_questions"):
        engine.ask(question(1, "a"), lambda event: None)
    assert len(engine.list_streams()) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"text": "  \n"}, "empty"),
        ({"text": "x" * 100_000}, "100000 characters; at most 4000"),
        ({"sampling": Sampling(max_new_tokens=0)}, "max_new_tokens = 0; allowed: 1 to 256"),
        ({"sampling": Sampling(max_new_tokens=257)}, "257"),
        ({"sampling": Sampling(temperature=-1)}, "temperature = -1"),
        ({"sampling": Sampling(temperature=1e-310)}, "allowed: 0, or 0.01 to 10"),
        ({"sampling": Sampling(temperature=float("nan"))}, "temperature = nan"),
        ({"sampling": Sampling(top_p=0)}, "top_p = 0"),
        ({"sampling": Sampling(seed=2**32)}, "seed = 4294967296"),
    ],
)
def test_a_wrong_question_is_refused_and_named(wrong: dict[str, Any], said: str) -> None:
    engine = make_engine()
    watch(engine, count=1)
    asked = Question(**{"question_id": "q", "stream_id": "door", "text": "What?", **wrong})
    with pytest.raises(QuestionError, match=said):
        engine.ask(asked, lambda event: None)


def test_a_question_of_too_many_tokens_is_refused_in_its_turn() -> None:
    engine, events = make_engine(), []
    watch(engine, count=2)
    long = Question(question_id="q", stream_id="door", text="\N{FOX FACE}" * 1000)
    engine.ask(long, events.append)
    settle(engine)
    assert isinstance(events[-1], AnswerFailed)
    assert "tokens; at most 1024 are allowed" in str(events[-1].error)


def test_an_outage_that_goes_on_is_part_of_the_answer() -> None:
    engine, events = make_engine(), []
    feed = watch(engine, count=3)
    feed.blind = make_gap(3.0, 99.0)
    engine.ask(question(), events.append)
    settle(engine)
    assert events[0].gaps == (feed.blind,)


def test_stopping_ends_an_answer_at_once_and_tells_it_once() -> None:
    engine, events = make_engine(), []
    watch(engine, count=4)
    settle(engine)
    engine.ask(question(), lambda event: (events.append(event), engine.stop()))
    settle(engine)
    assert [type(event) for event in events] == [AnswerStarted, AnswerFailed]


def test_stopping_fails_what_waits_and_takes_nothing_new() -> None:
    engine, events = make_engine(), []
    feed = watch(engine, count=4)
    engine.ask(question(), events.append)
    engine.stop()
    engine.run()
    assert feed.is_stopped and isinstance(events[-1].error, EngineStoppedError)
    with pytest.raises(EngineStoppedError):
        watch(engine, "new")


def test_a_budget_below_one_segment_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="budget_bytes = 1000 cannot hold one segment"):
        make_engine(remember={"budget_bytes": 1000})
    with pytest.raises(ConfigError) as refused:
        make_engine(remember={"budget_bytes": 1000})
    just_enough = int(str(refused.value).rpartition(" ")[2])
    make_engine(remember={"budget_bytes": just_enough})
    for form in ("embeddings", "pictures"):
        below = {"host_budget_bytes": 2**20, "host_form": form}
        with pytest.raises(ConfigError, match="cannot hold one segment"):
            make_engine(remember={"budget_bytes": just_enough, **below})


def test_an_answer_whose_token_cannot_be_run_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, seen = make_engine(), dict[str, list[Any]]()
    watch(engine, count=4)
    settle(engine)
    for number in range(3):
        engine.ask(question(number), lambda e: seen.setdefault(e.question_id, []).append(e))
    decode_together, failing = QwenVL.decode_together, list[Any]()

    def full(vlm: QwenVL, ids: list[int], positions: list[int], contexts: list[Any]) -> Any:
        failing[:] = failing or contexts[1:2]
        if failing[0] in contexts:
            raise torch.OutOfMemoryError("no room")
        return decode_together(vlm, ids, positions, contexts)

    monkeypatch.setattr(QwenVL, "decode_together", full)
    settle(engine)
    ends = {question_id: type(events[-1]) for question_id, events in seen.items()}
    assert ends == {"q0": AnswerFinished, "q1": AnswerFailed, "q2": AnswerFinished}
