"""The life of one answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from streamvlm.errors import StreamEmptyError
from streamvlm.respond import Answering, run_chosen
from streamvlm.types import AnswerEvent, AnswerFinished, AnswerStarted, AnswerToken, FinishReason
from streamvlm.vlm.qwen import QwenVL
from streamvlm.vlm.random_weights import tiny_tokenizer
from tests.conftest import clip_size, make_clip, make_gap
from tests.streams import ask, feed, make_pipeline


def run(answering: Answering) -> list[AnswerEvent]:
    events: list[AnswerEvent] = []
    while not events or not isinstance(events[-1], AnswerFinished):
        events += answering.advance()
    return events


@pytest.fixture
def begun(vlm: QwenVL) -> Answering:
    pipeline = make_pipeline(vlm, fresh_clips=2, segment_clips=2, recall_blocks=2)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(9)])
    pipeline.interrupt(make_gap(9.0, 12.0))
    return ask(pipeline, "What is it?", max_new_tokens=5)


def test_it_starts_with_evidence_and_ends_with_usage(begun: Answering) -> None:
    recalled_tokens = begun._recalled_tokens
    started, *tokens, finished = run(begun)
    assert begun._prompt is None, "a running answer pins no blocks"
    assert isinstance(started, AnswerStarted) and isinstance(finished, AnswerFinished)
    assert all(isinstance(token, AnswerToken) for token in tokens)
    # 9 clips: 3 blocks of 2, 1 in the open segment, 2 fresh; 2 of the blocks are recalled.
    recalled = [item for item in started.evidence if item.block_id is not None]
    assert len(recalled) == 2 and all(item.score is not None for item in recalled)
    spans = [
        (item.interval.start.pts_seconds, item.interval.end.pts_seconds)
        for item in started.evidence[2:]
    ]
    assert spans == [(6, 7), (7, 9)]
    assert [gap.reason for gap in started.gaps] == ["SOURCE_LOST"]
    assert finished.usage.answer_tokens == len(tokens) == 5
    assert finished.finish_reason is FinishReason.LENGTH
    assert finished.usage.recalled_tokens == recalled_tokens > 0
    assert 0 < finished.usage.time_to_first_token_seconds <= finished.usage.total_seconds


def test_the_pieces_are_the_whole_text(begun: Answering) -> None:
    events = run(begun)
    pieces = "".join(event.text for event in events if isinstance(event, AnswerToken))
    finished = events[-1]
    assert isinstance(finished, AnswerFinished)
    assert finished.text == pieces


def test_a_stop_token_ends_it_and_is_not_shown(
    begun: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = tiny_tokenizer().eos_token_id
    monkeypatch.setattr("streamvlm.respond.answer.choose", lambda *_: stop)
    events = run(begun)
    finished = events[-1]
    assert isinstance(finished, AnswerFinished)
    assert (finished.finish_reason, finished.text, len(events)) == (FinishReason.STOP, "", 2)


def test_a_character_of_many_tokens_comes_whole(
    begun: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter(tiny_tokenizer()("a🚐b").input_ids)
    monkeypatch.setattr("streamvlm.respond.answer.choose", lambda *_: next(ids))
    begun.question = replace(
        begun.question, sampling=replace(begun.question.sampling, max_new_tokens=6)
    )
    pieces = [event.text for event in run(begun) if isinstance(event, AnswerToken)]
    assert pieces == ["a", "", "", "", "🚐", "b"]


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_character_that_never_becomes_whole_is_told_at_the_end(
    begun: Answering, monkeypatch: pytest.MonkeyPatch, is_stopped: bool
) -> None:
    broken = tiny_tokenizer()("a🚐").input_ids[:3]
    ids = iter([*broken, tiny_tokenizer().eos_token_id])
    monkeypatch.setattr("streamvlm.respond.answer.choose", lambda *_: next(ids))
    sampling = replace(begun.question.sampling, max_new_tokens=9 if is_stopped else 3)
    begun.question = replace(begun.question, sampling=sampling)
    events = run(begun)
    pieces = [event.text for event in events if isinstance(event, AnswerToken)]
    assert "".join(pieces) == events[-1].text and pieces[-1] == "�"


def test_sampling_with_one_seed_is_one_answer(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(3)])
    texts = []
    for _ in range(2):
        answering = ask(pipeline, "What?", max_new_tokens=8)
        sampling = replace(answering.question.sampling, temperature=1.5, seed=11)
        answering.question = replace(answering.question, sampling=sampling)
        answering._generator = torch.Generator().manual_seed(11)
        texts.append(run(answering)[-1].text)
    assert texts[0] == texts[1]


def test_a_stream_that_showed_nothing_cannot_be_asked(vlm: QwenVL) -> None:
    with pytest.raises(StreamEmptyError, match="'door'"):
        ask(make_pipeline(vlm), "What?")


def test_many_answers_are_given_as_each_would_be_alone(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm, fresh_clips=2, segment_clips=2, recall_blocks=2)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(9)])
    texts = ["What is it?", "Where?", "What is at the left of it?"]
    alone = [run(ask(pipeline, text, 3 + number)) for number, text in enumerate(texts)]
    together = [ask(pipeline, text, 3 + number) for number, text in enumerate(texts)]
    told: list[list[AnswerEvent]] = [[] for _ in together]
    while going := [i for i, events in enumerate(told) if not over(events)]:
        for number in going:
            told[number] += together[number].step()
        run_chosen([together[number] for number in going])
    for events, expected in zip(told, alone, strict=True):
        assert [getattr(event, "text", None) for event in events] == [
            getattr(event, "text", None) for event in expected
        ]


def over(events: list[AnswerEvent]) -> bool:
    return bool(events) and isinstance(events[-1], AnswerFinished)
