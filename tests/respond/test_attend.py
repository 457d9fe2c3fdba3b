"""The model's own attention chooses among what the index found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import pytest
from torch import Tensor

from streamvlm.pipeline import StreamPipeline
from streamvlm.remember import RecallSettings
from streamvlm.respond import attend, most_attended
from streamvlm.types import Recall
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip
from tests.streams import ask, feed, make_pipeline


def candidates(vlm: QwenVL) -> tuple[Recall, StreamPipeline]:
    pipeline = make_pipeline(vlm, fresh_clips=2, segment_clips=2)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(14)])
    blocks = pipeline.memory.blocks
    return Recall(blocks=blocks, scores=tuple(map(float, range(len(blocks))))), pipeline


def attended(
    vlm: QwenVL,
    found: Recall,
    pipeline: StreamPipeline,
    num_blocks: int,
    always: Sequence[int] = (),
    group_tokens: int = 10_000,
) -> Recall:
    return most_attended(
        vlm,
        "What?",
        sinks=pipeline.memory.sinks,
        candidates=found,
        num_blocks=num_blocks,
        always=always,
        group_tokens=group_tokens,
        policy="keep",
        max_span=24_000,
    )


def test_what_the_last_token_attends_to_comes_back_oldest_first(vlm: QwenVL) -> None:
    found, pipeline = candidates(vlm)
    sinks = pipeline.memory.sinks
    pieces = [sinks, *(block.kv for block in found.blocks)]
    following = max(int(piece.positions.max()) for piece in pieces) + 1
    inputs = vlm.lay_out_question("What?", following)
    shares = vlm.prefill(inputs, vlm.open_context(pieces)).attention([*map(len, pieces)])
    shares = shares[:, 1:].amax(dim=0)
    best = sorted(shares.argsort(descending=True)[:2].tolist())

    recall = attended(vlm, found, pipeline, 2)
    assert [block.block_id for block in recall.blocks] == [found.blocks[i].block_id for i in best]
    assert recall.scores == tuple(float(shares[i]) for i in best)


def test_a_block_that_draws_attention_is_found(vlm: QwenVL) -> None:
    """Keys four times as long are what a sharpened softmax goes to, in some head."""
    found, pipeline = candidates(vlm)
    loud = found.blocks[3]
    louder = replace(loud, kv=replace(loud.kv, keys=40 * loud.kv.keys))
    among = replace(found, blocks=(*found.blocks[:3], louder, *found.blocks[4:]))
    (chosen,) = attended(vlm, among, pipeline, 1).blocks
    assert chosen.block_id == loud.block_id


def test_few_candidates_all_come_back_as_they_are(vlm: QwenVL) -> None:
    found, pipeline = candidates(vlm)
    assert attended(vlm, found, pipeline, len(found.blocks)) is found


def test_the_index_alone_decides_where_that_is_set(vlm: QwenVL) -> None:
    """And evidence says by its score who decided: a share of attention is in [0, 1]."""
    scores = {}
    for candidate_tokens in (0, 10_000):
        settings = RecallSettings(candidate_tokens=candidate_tokens)
        pipeline = make_pipeline(vlm, recall_blocks=2, fresh_clips=2, recall=settings)
        feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(14)])
        evidence = ask(pipeline, "What?")._started.evidence
        scores[candidate_tokens] = [each.score for each in evidence if each.block_id is not None]
    assert [*map(len, scores.values())] == [2, 2] and scores[0] != scores[10_000]
    assert all(0 < share <= 1 for share in scores[10_000])


def test_what_always_comes_back_takes_the_place_of_nothing(vlm: QwenVL) -> None:
    found, pipeline = candidates(vlm)
    alone = attended(vlm, found, pipeline, 2)
    rest = [b for b in found.blocks if b.block_id not in {a.block_id for a in alone.blocks}]
    sure = rest[-1].block_id
    recall = attended(vlm, found, pipeline, 2, always=[sure])
    ids = [block.block_id for block in recall.blocks]
    assert ids == sorted([sure, *(block.block_id for block in alone.blocks)])
    assert max(recall.scores) <= 1
    assert attended(vlm, found, pipeline, 2, always=[alone.blocks[0].block_id]) != alone


@pytest.mark.parametrize("candidate_tokens", [0, 10_000])
def test_the_newest_blocks_come_back_besides(vlm: QwenVL, candidate_tokens: int) -> None:
    recalled = {}
    for newest_blocks in (0, 3, 99):
        settings = RecallSettings(
            candidate_tokens=candidate_tokens, newest_blocks=newest_blocks, score="cosine"
        )
        pipeline = make_pipeline(vlm, recall_blocks=2, fresh_clips=2, recall=settings)
        feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(14)])
        blocks = pipeline.recalling.begin("What?")(None).blocks
        recalled[newest_blocks] = [block.block_id for block in blocks]
    all_ids = [block.block_id for block in pipeline.memory.blocks]
    assert len(recalled[0]) == 2
    assert len(recalled[3]) == 5 and recalled[3][-3:] == all_ids[-3:]
    assert recalled[99] == all_ids
    within = pipeline.memory.blocks[0].interval
    named = [(within.start.pts_seconds, within.end.pts_seconds)]
    assert [b.block_id for b in pipeline.recalling.begin("What?")(named).blocks] == [0]
    assert pipeline.recalling.begin("What is there right now?")(None).blocks == ()


def test_more_than_a_group_is_read_in_groups_of_which_half_goes_on(
    vlm: QwenVL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As written down plainly: neighbours, rounds, halves."""
    found, pipeline = candidates(vlm)
    tokens = sum(len(block.kv) for block in found.blocks)
    read: list[list[int]] = []
    shares_of = attend.attention_shares

    def noting(*args: Any, candidates: Recall, **settings: Any) -> Tensor:
        read.append([block.block_id for block in candidates.blocks])
        return shares_of(*args, candidates=candidates, **settings)

    monkeypatch.setattr(attend, "attention_shares", noting)
    assert len(found.blocks) == 6
    recall = attended(vlm, found, pipeline, 1, group_tokens=ceil(tokens / 2))
    assert read[:2] == [[0, 1, 2], [3, 4, 5]], "two groups of neighbours"
    assert len(read) == 3 and len(read[2]) == 2, "the better half of each, read together"
    assert [block.block_id for block in recall.blocks] in ([each] for each in read[2])

    apart = attended(vlm, found, pipeline, 4, group_tokens=1)
    together = attended(vlm, found, pipeline, 4)
    assert (apart.blocks, apart.scores) == (together.blocks, together.scores), "groups of one"
