"""A look reads one probability off the fresh window and leaves no trace."""

from __future__ import annotations

import pytest
import torch

from streamvlm.errors import QuestionError, StreamEmptyError
from streamvlm.pipeline import StreamPipeline
from streamvlm.respond.look import first_tokens
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip
from tests.streams import ask, feed, make_pipeline

CONDITION = "Is there a red circle?"


@pytest.fixture
def pipeline(vlm: QwenVL) -> StreamPipeline:
    """Blocks in memory, an open segment and two fresh clips."""
    made = make_pipeline(vlm, fresh_clips=2, segment_clips=2)
    feed(made, [make_clip(i, size=clip_size(vlm)) for i in range(9)])
    return made


def first_logits(pipeline: StreamPipeline, text: str) -> torch.Tensor:
    """Of the answer to a question."""
    answering = ask(pipeline, text)
    answering.advance()
    assert answering._logits is not None
    return answering._logits


def test_it_is_how_much_likelier_yes_is_than_no(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm, fresh_clips=2, segment_clips=2, recall_blocks=0)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(2)])
    chances = first_logits(pipeline, CONDITION).double().softmax(0)
    yes, no = first_tokens(vlm)
    expected = torch.log(chances[yes].sum() / chances[no].sum())
    assert pipeline.look(CONDITION) == pytest.approx(float(expected), abs=1e-4)


def test_it_sees_the_fresh_window_and_nothing_older(pipeline: StreamPipeline, vlm: QwenVL) -> None:
    seen = pipeline.look(CONDITION)
    other = make_pipeline(vlm, fresh_clips=2, segment_clips=2)
    older = [make_clip(i, make_clip(i + 100, size=clip_size(vlm)).pixels) for i in range(7)]
    feed(other, [*older, *(make_clip(i, size=clip_size(vlm)) for i in (7, 8))])
    assert other.look(CONDITION) == pytest.approx(seen, abs=1e-5)
    feed(other, [make_clip(9, size=clip_size(vlm))])
    assert other.look(CONDITION) != pytest.approx(seen, abs=1e-5)


def test_it_changes_nothing(pipeline: StreamPipeline) -> None:
    status, logits = pipeline.status(), first_logits(pipeline, "What is it?")
    assert pipeline.look(CONDITION) == pipeline.look(CONDITION)
    assert pipeline.status() == status
    assert torch.equal(first_logits(pipeline, "What is it?"), logits)


def test_nothing_can_be_looked_at_before_the_first_picture(vlm: QwenVL) -> None:
    with pytest.raises(StreamEmptyError):
        make_pipeline(vlm).look(CONDITION)


def test_a_condition_has_the_length_of_a_question(pipeline: StreamPipeline) -> None:
    with pytest.raises(QuestionError, match="at most"):
        pipeline.look("very " * 5_000)


def test_without_a_fresh_window_the_open_segment_is_looked_at(vlm: QwenVL) -> None:
    pipeline = make_pipeline(vlm, fresh_clips=0, segment_clips=4)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(2)])
    assert isinstance(pipeline.look(CONDITION), float)


def test_what_both_can_begin_with_says_nothing() -> None:
    class Spelling:
        """A tokenizer that takes a letter or a space at a time."""

        def token_ids(self, text: str) -> list[int]:
            return [ord(letter) for letter in text]

    yes, no = first_tokens(Spelling())  # type: ignore[arg-type]
    assert [chr(each) for each in yes] == ["Y", "y"]
    assert [chr(each) for each in no] == ["N", "n"]
