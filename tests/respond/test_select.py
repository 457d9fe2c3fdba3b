"""The same for all layers, or for each layer its own at as many tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from streamvlm.pipeline import StreamPipeline
from streamvlm.remember import RecallSettings
from streamvlm.respond import SELECTIONS, attend
from streamvlm.respond.select import Attended, per_layer, shared
from streamvlm.types import AnswerFinished, Recall
from streamvlm.vlm.inputs import join
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, tiny_vlm
from tests.remember.test_recall import made
from tests.streams import ask, feed, make_pipeline, streamed_logits
from tests.test_invariants import TOLERANCE, attention, masked_attention

TEXT = "What is at the left?"


def attended(lengths: list[int], shares: list[list[float]], sure: list[int] | None = None) -> Any:
    blocks = tuple(made(place, [(1, [0.0] * (n - 1))]) for place, n in enumerate(lengths))
    is_sure = torch.tensor([place in (sure or []) for place in range(len(lengths))])
    found = Recall(blocks=blocks, scores=(0.0,) * len(blocks))
    return Attended(candidates=found, shares=torch.tensor(shares), is_sure=is_sure)


def ids(recall: Recall) -> list[int]:
    return [block.block_id for block in recall.blocks]


def rows(recall: Recall) -> list[list[tuple[int, int]]]:
    """(block, token of it) of each layer."""
    tokens = [(b.block_id, token) for b in recall.blocks for token in range(len(b.kv))]
    assert recall.by_layer is not None
    return [[tokens[at] for at in own.nonzero()[:, 0].tolist()] for own in recall.by_layer]


def whole(block_id: int, length: int) -> list[tuple[int, int]]:
    return [(block_id, token) for token in range(length)]


def test_each_layer_takes_what_it_attends_to_and_the_last_block_is_cut_to_fit() -> None:
    found = attended([3, 2, 4, 3, 2], [[0.9, 0.1, 0.2, 0.3, 0.0], [0.1, 0.5, 0.8, 0.2, 0.0]])
    assert ids(shared(found, 2, 0)) == [0, 2]
    recall = per_layer(found, 2, 0)
    assert ids(recall) == [0, 1, 2, 3] and recall.num_tokens == 7
    assert rows(recall) == [
        [*whole(0, 3), (2, 0), *whole(3, 3)],
        [*whole(1, 2), *whole(2, 4), (3, 0)],
    ]
    assert recall.scores == pytest.approx((0.9, 0.5, 0.8, 0.3))
    assert recall.tokens_of_blocks == [3, 2, 4, 3]


def test_a_bound_on_tokens_holds_in_each_layer() -> None:
    found = attended([3, 2, 4], [[0.9, 0.1, 0.2], [0.1, 0.5, 0.8]])
    recall = per_layer(found, 2, 4)
    assert rows(recall) == [[*whole(0, 3), (2, 0)], whole(2, 4)]


def test_what_is_sure_comes_first_in_all_layers() -> None:
    found = attended([3, 2, 3, 3], [[0.9, 0.0, 0.2, 0.1], [0.1, 0.0, 0.8, 0.7]], sure=[1])
    recall = per_layer(found, 2, 0)
    assert rows(recall) == [[*whole(0, 3), *whole(1, 2)], [*whole(1, 2), *whole(2, 3)]]


def test_equal_shares_go_to_the_older() -> None:
    found = attended([2, 2, 2], [[0.5, 0.5, 0.5]] * 2)
    for select in SELECTIONS.values():
        assert ids(select(found, 2, 0)) == [0, 1]


@st.composite
def found(draw: st.DrawFn) -> tuple[Attended, int, int]:
    lengths = draw(st.lists(st.integers(2, 5), min_size=2, max_size=7))
    share = st.floats(0, 1, width=16)
    row = st.lists(share, min_size=len(lengths), max_size=len(lengths))
    shares = draw(st.lists(row, min_size=1, max_size=4))
    sure = draw(st.lists(st.integers(0, len(lengths) - 1), max_size=2))
    num_blocks = draw(st.integers(1, len(lengths)))
    return attended(lengths, shares, sure), num_blocks, draw(st.integers(0, 12))


@given(found())
@settings(max_examples=60, deadline=None)
def test_all_layers_have_as_many_tokens_as_all_would_share(
    drawn: tuple[Attended, int, int],
) -> None:
    attended, num_blocks, max_tokens = drawn
    together = shared(attended, num_blocks, max_tokens).num_tokens
    recall = per_layer(attended, num_blocks, max_tokens)
    assert recall.by_layer is not None
    expected = min(together, max_tokens) if max_tokens else together
    assert recall.by_layer.sum(dim=1).tolist() == [expected] * len(attended.shares)
    assert all(count > 0 for count in recall.tokens_of_blocks), "a block that no layer has"
    assert ids(recall) == sorted(ids(recall))


def test_layers_with_other_counts_are_refused() -> None:
    blocks = (made(0, [(0, [0.0, 0.0])]),)
    with pytest.raises(ValueError, match=r"equally many in all layers, got \[2, 1\]"):
        Recall(blocks=blocks, scores=(0.0,), by_layer=torch.tensor([[True, True], [True, False]]))
    with pytest.raises(ValueError, match=r"shape \[None, 2\], got \[2, 3\]"):
        Recall(blocks=blocks, scores=(0.0,), by_layer=torch.ones(2, 3, dtype=torch.bool))


def watched(vlm: QwenVL, **recall: Any) -> StreamPipeline:
    """Six blocks of 24 visual tokens, a segment that is open, two fresh clips."""
    pipeline = make_pipeline(
        vlm, fresh_clips=2, segment_clips=2, recall_blocks=2, recall=RecallSettings(**recall)
    )
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(15)])
    return pipeline


def as_if_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """All layers attend to what any attends to."""
    shares_of = attend.attention_shares

    def alike(*args: Any, **settings: Any) -> Tensor:
        shares = shares_of(*args, **settings)
        return shares.amax(dim=0, keepdim=True).expand_as(shares)

    monkeypatch.setattr(attend, "attention_shares", alike)


@pytest.mark.parametrize("newest_blocks", [0, 1])
def test_layers_that_choose_the_same_answer_as_all_together_to_the_bit(
    vlm: QwenVL, monkeypatch: pytest.MonkeyPatch, newest_blocks: int
) -> None:
    as_if_alike(monkeypatch)
    told = []
    for selection in SELECTIONS:
        answering = ask(watched(vlm, selection=selection, newest_blocks=newest_blocks), TEXT)
        evidence = answering._started.evidence
        prompt = answering._prompt
        assert prompt is not None and (prompt.by_layer is None) == (selection == "shared")
        told.append((torch.stack(streamed_logits(answering, 4)[0]), evidence, prompt.num_recalled))
    assert torch.equal(told[0][0], told[1][0])
    assert told[0][1:] == told[1][1:]


def chosen_by_hand(vlm: QwenVL, candidates: Recall) -> Tensor:
    """The first layer attends to blocks 0 and 3, the others to 5 and 2."""
    shares = torch.full((vlm._layers, len(candidates.blocks)), 0.1)
    shares[0, [0, 3]] = torch.tensor([0.9, 0.8])
    shares[1:, [5, 2]] = torch.tensor([0.9, 0.7])
    return shares


@pytest.mark.parametrize("is_cut", [False, True])
def test_an_answer_is_that_of_a_mask_in_each_layer(
    family: str, is_cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question's context against one forward over all that any layer has (I3)."""
    vlm = tiny_vlm(family, dtype="float64", sharpened=True)
    max_tokens = 5 + len(watched(vlm).memory.blocks[0].kv) if is_cut else 0
    monkeypatch.setattr(
        attend, "attention_shares", lambda *_, candidates, **__: chosen_by_hand(vlm, candidates)
    )
    pipeline = watched(vlm, selection="per_layer", max_tokens=max_tokens)
    answering = ask(pipeline, TEXT)
    blocks = [each.block_id for each in answering._started.evidence if each.block_id is not None]
    assert {0, 2, 3, 5} <= set(blocks)
    prompt = answering._prompt
    assert prompt is not None and prompt.by_layer is not None
    streamed, tokens = streamed_logits(answering, 3)

    num_sinks = len(pipeline.memory.sinks)
    mask = torch.zeros(vlm._layers, sum(map(len, prompt.remembered)), dtype=torch.bool)
    owner = [-1] * num_sinks
    for block_id, kv in zip(blocks, prompt.remembered[1:], strict=True):
        owner += [block_id] * len(kv)
    for layer in range(vlm._layers):
        # Texts around clips differ in length: what is missing of two blocks is from the oldest.
        best = [0, 3, 1] if layer == 0 else [5, 2, 0]
        left = max_tokens or sum(len(pipeline.memory.blocks[place].kv) for place in (0, 5))
        mask[layer, :num_sinks] = True
        for block_id in best:
            at = [place for place, each in enumerate(owner) if each == block_id][:left]
            mask[layer, at] = True
            left -= len(at)
    assert len(set(mask.sum(dim=1).tolist())) == 1 and not bool((mask[0] == mask[1]).all())

    answer = [vlm.layout.text([each], prompt.next_position + i) for i, each in enumerate(tokens)]
    inputs = join([prompt.inputs, *answer])
    causal = torch.ones(len(inputs), len(inputs)).tril().bool()

    def mask_of(layer: int) -> Tensor:
        return torch.cat([mask[layer].expand(len(inputs), -1), causal], dim=1)

    with torch.inference_mode(), attention(vlm, masked_attention(mask_of)):
        hidden = vlm._run(inputs, vlm.open_context(prompt.remembered))
    expected = vlm.logits(hidden)[-len(tokens) - 1 :]
    assert float((torch.stack(streamed) - expected).abs().max()) < TOLERANCE


def test_an_answer_has_as_many_tokens_either_way(family: str) -> None:
    """And says so; layers do differ where nobody tells them what to attend to."""
    vlm = tiny_vlm(family, sharpened=True)
    used, evidence = {}, {}
    for selection in SELECTIONS:
        answering = ask(watched(vlm, selection=selection), TEXT)
        evidence[selection] = [e for e in answering._started.evidence if e.block_id is not None]
        while not isinstance((event := answering.advance()[-1]), AnswerFinished):
            pass
        used[selection] = event.usage.recalled_tokens
    assert used["per_layer"] == used["shared"]
    assert len(evidence["shared"]) == 2 and len(evidence["per_layer"]) > 2


def test_a_bound_on_tokens_is_kept(family: str) -> None:
    vlm = tiny_vlm(family, sharpened=True)
    for max_tokens in (1, 30):
        pipeline = watched(vlm, selection="per_layer", max_tokens=max_tokens)
        prompt = ask(pipeline, TEXT)._prompt
        assert prompt is not None
        assert prompt.num_recalled == len(pipeline.memory.sinks) + max_tokens


def test_times_and_now_mean_what_they_mean_otherwise(vlm: QwenVL) -> None:
    pipeline = watched(vlm, selection="per_layer")
    first = pipeline.memory.blocks[0].interval
    named = [(first.start.pts_seconds, first.end.pts_seconds)]
    assert ids(pipeline.recalling.begin(TEXT)(named)) == [0]
    assert ids(pipeline.recalling.begin("What is there right now?")(None)) == []
    margin = watched(vlm).look("Is it dark?")
    ask(pipeline, TEXT)
    assert pipeline.look("Is it dark?") == margin
