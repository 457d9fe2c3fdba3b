"""Which of the blocks that an index found the model itself looks at, asked once.

An index compares keys with a question and knows neither where they stand nor what the layers above
make of them. The model does: the question is read over all candidates at once, and what its last
token attends to is what the answer would begin with. Everything else is left out of the answer's
context, where it would only distract.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from streamvlm.respond.prompt import assemble
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
    policy: PositionPolicy,
    max_span: int,
) -> Recall:
    """The `num_blocks` candidates of the highest `attention_shares`, oldest first, with these as
    scores; equal ones go to the older. Besides them those with the ids `always`. All of them, with
    the scores that they have, where there are no more.
    """
    is_sure = [block.block_id in always for block in candidates.blocks]
    count = num_blocks + sum(is_sure)
    if len(candidates.blocks) <= count:
        return candidates
    shares = attention_shares(
        vlm, question, sinks=sinks, candidates=candidates, policy=policy, max_span=max_span
    )
    ranked = shares.masked_fill(torch.tensor(is_sure), torch.inf)
    best = ranked.sort(descending=True, stable=True).indices[:count].sort().values.tolist()
    return Recall(
        blocks=tuple(candidates.blocks[place] for place in best),
        scores=tuple(float(shares[place]) for place in best),
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
    """float32 [B] cpu, in [0, 1]: how much the head that attends most to a candidate attends to it,
    from the question's last token, all candidates being there. Needs one.

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
    context = vlm.open_context(prompt.remembered)
    return vlm.prefill(prompt.inputs, context).attention(list(map(len, prompt.remembered)))[1:]
