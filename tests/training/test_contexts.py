"""What mini is trained on is what the service would show it."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from streamvlm.types import ClockSource, Interval, StreamTime, VisualTokens
from streamvlm.vlm.inputs import join
from streamvlm.vlm.qwen import QwenVL
from streamvlm.vlm.qwen3_vl import QWEN3_VL
from training.architecture import CELLS, SPEC, build
from training.batch import Batch, answer_states, marks
from training.contexts import Range, draw
from training.scenes import EncodedScene, encode_scene
from training.shared_attention import shared_attention
from training.tokenizer import tokenizer
from training.writing import NO_LABEL, STAY_DIGITS, TIME_DIGITS, Context

FULL = Range(is_full=True, questions=6, max_clips=5)


@cache
def untrained() -> Any:
    """Mini's architecture with random weights."""
    return build(tokenizer()).eval()


@cache
def scene() -> EncodedScene:
    """A short one."""
    return encode_scene(untrained().model.visual, 3, "cpu")


def context(span: Range = FULL, seed: int = 0) -> Context:
    """The first that can be drawn from this seed on."""
    rng = np.random.default_rng(seed)
    while True:
        if drawn := draw(scene(), rng, span):
            return drawn


def test_a_context_is_what_the_service_lays_out() -> None:
    written = context(replace(FULL, questions=1))
    vlm = QwenVL(
        name="untrained",
        family=QWEN3_VL,
        model=build(tokenizer()),
        tokenizer=tokenizer(),
        patch_spec=SPEC,
    )
    told = [float(each) for each in re.findall(r"<(\d+\.\d) seconds>", _text_of(written))]
    pieces, cursor = vlm.lay_out_prefix()
    laid_out = [pieces]
    for number, seconds in enumerate(told):
        rows = slice(number * CELLS**2, (number + 1) * CELLS**2)
        clip, cursor = vlm.lay_out_clip(_tokens(written, rows, seconds), cursor)
        laid_out.append(clip)
    asked = re.search(
        r".*<\|vision_end\|>(.*?)<\|im_end\|>\n<\|im_start\|>", _text_of(written), re.DOTALL
    )
    assert asked
    laid_out.append(vlm.lay_out_question(asked[1], cursor.text))
    served = join(laid_out)

    size = len(served)
    assert torch.equal(written.positions[:size], served.positions)
    assert torch.equal(written.is_visual[:size], served.is_visual)
    assert served.deepstack is not None
    assert torch.equal(written.deepstack.float(), served.deepstack)
    embedded = vlm._text_model.embed_tokens(written.ids[:size])
    embedded[written.is_visual[:size]] = written.features.float()
    assert torch.equal(embedded, served.embeddings)
    first_answer = written.targets[size - 1 :]
    told_answer = tokenizer().decode(first_answer[first_answer >= 0])
    assert told_answer.endswith("<|im_end|>")


def _text_of(written: Context) -> str:
    text: str = tokenizer().decode(written.ids[~written.is_visual])
    return text


def _tokens(written: Context, rows: slice, seconds: float) -> VisualTokens:
    now = StreamTime(pts_seconds=seconds, utc_seconds=seconds, clock=ClockSource.FILE)
    grid = torch.cartesian_prod(torch.arange(1), torch.arange(CELLS), torch.arange(CELLS))
    return VisualTokens(
        features=written.features[rows].float(),
        cells=grid,
        grid_thw=(1, CELLS, CELLS),
        interval=Interval(start=now, end=now.later(1.0)),
        pts_seconds=seconds,
        deepstack=written.deepstack[:, rows].float(),
    )


@torch.no_grad()
def test_questions_of_one_context_do_not_see_each_other() -> None:
    written = context()
    only_last = written.part.eq(0) | written.part.eq(len(written.questions))
    alone = replace(
        written,
        ids=written.ids[only_last],
        positions=written.positions[only_last],
        part=written.part[only_last].clamp_max(1),
        targets=written.targets[only_last],
        is_visual=written.is_visual[only_last],
        questions=written.questions[-1:],
        evidence=written.evidence[-1:],
    )
    together, _ = answer_states(untrained(), Batch([written]))
    apart, _ = answer_states(untrained(), Batch([alone]))
    torch.testing.assert_close(together[-len(apart) :], apart, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_padding_changes_nothing() -> None:
    short, long = context(replace(FULL, max_clips=2)), context(FULL)
    assert len(short) < len(long)
    both, _ = answer_states(untrained(), Batch([short, long]))
    alone, _ = answer_states(untrained(), Batch([short]))
    torch.testing.assert_close(both[: len(alone)], alone, atol=1e-5, rtol=1e-4)


def test_attention_of_a_batch_is_that_of_one_mask_over_all_of_it() -> None:
    batch = Batch([context(replace(FULL, max_clips=2)), context(FULL)])
    size, shared = batch.ids.shape[1], batch.num_shared
    causal = torch.ones(size, size, dtype=torch.bool).tril()
    whole = torch.cat([causal[None, None, :shared].expand(2, -1, -1, -1), batch.mask], dim=2)
    torch.manual_seed(0)
    query = torch.randn(2, 4, size, 8)
    key, value = torch.randn(2, 2, 2, size, 8)
    layer = SimpleNamespace(layer_idx=0)
    attended, _ = shared_attention(layer, query, key, value, batch.mask, attended={})
    repeated = (each.repeat_interleave(2, dim=1) for each in (key, value))
    expected = scaled_dot_product_attention(query, *repeated, attn_mask=whole)
    torch.testing.assert_close(attended.transpose(1, 2), expected)


def test_a_visual_token_is_told_when_its_clip_was_and_when_its_thing_arrived() -> None:
    written = context(replace(FULL, questions=1))
    told = [float(each) for each in re.findall(r"<(\d+\.\d) seconds>", _text_of(written))]
    arrived = dict[int, float]()
    for token, (label, visit) in enumerate(
        zip(written.dense, written.visits.tolist(), strict=True)
    ):
        seconds = told[token // CELLS**2]
        _, own, its_arrival, _, stay = label.split([3, TIME_DIGITS, TIME_DIGITS, 2, STAY_DIGITS])
        assert _number(own) == int(seconds)
        if visit >= 0:
            assert _number(its_arrival) == int(arrived.setdefault(visit, seconds))
            assert _number(stay) == round(seconds - arrived[visit]) + 1
        else:
            assert (its_arrival == NO_LABEL).all()
    assert arrived


def _number(digits: torch.Tensor) -> int:
    return sum(int(digit) * 10**place for place, digit in enumerate(digits) if digit != NO_LABEL)


def test_an_answer_is_right_only_where_every_token_is() -> None:
    written = context()
    batch = Batch([written])
    logits = torch.nn.functional.one_hot(batch.targets, 600).float()
    assert marks(logits, batch).all()
    logits[-1] = torch.nn.functional.one_hot(torch.tensor(599), 600).float()
    assert marks(logits, batch).tolist() == [True] * (len(written.questions) - 1) + [False]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_left_out_what_stays_keeps_its_cell_and_order(seed: int) -> None:
    span = Range(questions=4, max_tokens=200)
    written = context(span, seed)
    assert int(written.is_visual.sum()) == len(written.features) == len(written.dense)
    assert written.features.shape[0] == written.deepstack.shape[1]
    in_clips = written.positions[written.part == 0]
    text = in_clips[~written.is_visual[written.part == 0]]
    assert (text.diff(dim=0) > 0).all(), "text goes on in time"
    answers = written.targets[written.targets >= 0]
    assert (answers == tokenizer().eos_token_id).sum() == len(written.questions)


def test_the_same_seed_draws_the_same_context() -> None:
    span = Range(questions=4)
    one, other = context(span, 5), context(span, 5)
    assert torch.equal(one.ids, other.ids)
    assert torch.equal(one.features, other.features)


def test_a_time_that_is_the_answer_is_told_in_the_context() -> None:
    rng, told = np.random.default_rng(1), 0
    while told < 8:
        written = draw(scene(), rng, Range(questions=24))
        for number, question in enumerate(written.questions if written else (), start=1):
            if written and question.family == "when" and question.group == "past":
                answer = written.targets[(written.part == number) & (written.targets >= 0)]
                seconds = tokenizer().decode(answer).removesuffix("<|im_end|>")
                assert f"<{seconds}>" in _text_of(written)
                told += 1


def test_a_scene_in_stretches_is_one_whose_truth_has_gaps() -> None:
    found = (
        encode_scene(untrained().model.visual, seed, "cpu", 12, is_for_training=True)
        for seed in range(30)
    )
    gapped = next(each for each in found if each.looks[-1].seconds > len(each.looks))
    times = [look.seconds for look in gapped.looks]
    begins = [index for index in range(1, len(times)) if times[index] > times[index - 1] + 1]
    assert begins and set(begins) <= set(gapped.encoded), "each stretch begins with a clip"
    shown = {visit for clip in gapped.owners.tolist() for visit in clip} - {-1}
    assert shown <= {sight.visit for look in gapped.looks for sight in look.sights}
    written = draw(gapped, np.random.default_rng(0), FULL)
    assert written is not None
    told = [float(each) for each in re.findall(r"<(\d+\.\d) seconds>", _text_of(written))]
    assert told == sorted(told)
