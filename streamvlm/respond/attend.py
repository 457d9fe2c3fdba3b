"""Which of the blocks that an index found the model itself looks at.

An index compares keys with a question and knows neither where they stand nor what the layers above
make of them. The model does: the question is read over the candidates, and what its last token
attends to is what the answer would begin with. Everything else is left out of the answer's context,
where it would only distract. Among many thousand tokens attention is distracted too: more than fit
into one group are read in groups, of which the better half goes on to the next round.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import ceil

import torch
from torch import Tensor

from streamvlm.respond.prompt import assemble
from streamvlm.respond.select import Attended, Select, shared
from streamvlm.types import RawKV, Recall
from streamvlm.vlm import VLM, Cursor
from streamvlm.vlm.positions import PositionPolicy


def most_attended(
    vlm: VLM,
    question: str,
    *,
    sinks: RawKV,
    candidates: Recall,
    num_blocks: int,
    always: Sequence[int] = (),
    group_tokens: int,
    policy: PositionPolicy,
    max_span: int,
    select: Select = shared,
    max_tokens: int = 0,
) -> Recall:
    """What `select` makes of the `attention_shares` of the candidates, oldest first, with the
    highest ones as scores: `shared` the `num_blocks` with these. Besides them those with the ids
    `always`. All of them, with the scores that they have, where there are no more.

    Groups are of neighbours and have about `group_tokens` tokens; of each the better half goes on,
    but never so few that less than `num_blocks` are left. `max_tokens` is for `select`; 0: no
    bound.
    """

    def best_of(some: Recall, count: int, select: Select) -> Recall:
        is_sure = torch.tensor([block.block_id in always for block in some.blocks])
        if len(some.blocks) <= (count := count + int(is_sure.sum())):
            return some
        shares = attention_shares(
            vlm, question, sinks=sinks, candidates=some, policy=policy, max_span=max_span
        )
        return select(Attended(candidates=some, shares=shares, is_sure=is_sure), count, max_tokens)

    while len(groups := _groups(candidates, group_tokens)) > 1:
        least = ceil(num_blocks / len(groups))
        halves = [best_of(each, max(least, len(each.blocks) // 2), shared) for each in groups]
        before, candidates = candidates, _joined(halves)
        if len(candidates.blocks) == len(before.blocks):
            break
    return best_of(candidates, num_blocks, select)


def _groups(candidates: Recall, group_tokens: int) -> list[Recall]:
    """Neighbours together: as few groups as their sizes allow, all about as large."""
    ends = list(accumulate(len(block.kv) for block in candidates.blocks))
    count = max(1, ceil(ends[-1] / group_tokens)) if ends else 1
    group = [min(count - 1, (end - 1) * count // ends[-1]) for end in ends]
    return [
        Recall(
            blocks=tuple(b for b, own in zip(candidates.blocks, group, strict=True) if own == each),
            scores=tuple(s for s, own in zip(candidates.scores, group, strict=True) if own == each),
        )
        for each in sorted(set(group))
    ]


def _joined(parts: Sequence[Recall]) -> Recall:
    return Recall(
        blocks=tuple(block for part in parts for block in part.blocks),
        scores=tuple(score for part in parts for score in part.scores),
    )


def attention_shares(
    vlm: VLM,
    question: str,
    *,
    sinks: RawKV,
    candidates: Recall,
    policy: PositionPolicy,
    max_span: int,
) -> Tensor:
    """float32 [L,B] cpu, in [0, 1]: how much the head of each layer that attends most to a
    candidate attends to it, from the question's last token, all candidates being there. Needs one.

    Costs one prefill of the question over all candidates. Changes nothing.
    """
    following = max(int(block.kv.positions.max()) for block in candidates.blocks) + 1
    prompt = assemble(
        vlm,
        question,
        sinks=sinks,
        recall=candidates,
        recent=(),
        cursor=Cursor(text=following),
        policy=policy,
        max_span=max_span,
    )
    _, done = prompt.run(vlm)
    return done.attention(list(map(len, prompt.remembered)))[:, 1:]
