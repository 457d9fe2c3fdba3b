"""A block with fewer tokens: what an old one shrinks to before it is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from streamvlm.remember.pictures import Pictures
from streamvlm.remember.quantise import HeldKV, QuantisedKV, restored
from streamvlm.remember.stored import FileKV, StoredBlock
from streamvlm.types import InputTokens, RawKV
from streamvlm.vlm.spread import taken


def thinned(block: StoredBlock, share: float) -> StoredBlock:
    """The block with this share of its visual tokens, at least one: those that represent it, then
    those whose raw keys in the middle layer are least like the mean direction of all, after KeyDiff
    (arXiv 2504.15364), or embeddings where there are no keys; equal ones go by place. Text stays
    with the clips that keep any. Itself where nothing would go, or where it lies in a file or as
    pictures.

    No question is known yet: what differs most tells most. What is kept is kept to the bit.
    """
    kv = block.kv
    num_visual = block.num_visual
    count = max(1, round(share * num_visual))
    if isinstance(kv, FileKV | Pictures) or count >= num_visual:
        return block
    tokens = block.summary.tokens
    ranked = _ranked(_vectors(kv), block.is_visual, first=tokens)
    keep = _with_text(ranked[:count], block.is_visual, block.clip_lengths)
    rows = torch.nonzero(keep)[:, 0]
    lengths = [int(clip.sum()) for clip in torch.split(keep, list(block.clip_lengths))]
    places = keep.cumsum(dim=0) - 1
    is_kept = keep[tokens]
    return replace(
        block,
        kv=_taken(kv, rows),
        inputs=block.inputs and _inputs_taken(block.inputs, rows),
        is_visual=block.is_visual[rows],
        clip_lengths=tuple(length for length in lengths if length),
        summary=replace(
            block.summary, keys=block.summary.keys[is_kept], tokens=places[tokens[is_kept]]
        ),
    )


def cut_to(
    inputs: InputTokens, clip_lengths: Sequence[int], most: int
) -> tuple[InputTokens, list[int]]:
    """Clips of which at most so many tokens stay, and the tokens of each: the visual tokens that
    `thinned` would keep, but for what represents a block, while they fit with the text of their
    clips. One stays always.
    """
    if len(inputs) <= most:
        return inputs, list(clip_lengths)
    clips = torch.repeat_interleave(torch.tensor(clip_lengths))
    ranked = _ranked(inputs.embeddings, inputs.is_visual)
    cost = torch.ones_like(ranked)
    for clip in clips[ranked].unique():
        first = (clips[ranked] == clip).nonzero()[0, 0]
        cost[first] += int((~inputs.is_visual[clips == clip]).sum())
    count = max(1, int((cost.cumsum(dim=0) <= most).sum()))
    keep = _with_text(ranked[:count], inputs.is_visual, clip_lengths)
    lengths = [int(clip.sum()) for clip in torch.split(keep, list(clip_lengths))]
    return _inputs_taken(inputs, torch.nonzero(keep)[:, 0]), [each for each in lengths if each]


def _ranked(vectors: Tensor, is_visual: Tensor, first: Tensor | None = None) -> Tensor:
    """int64 [M]: the visual tokens of S, the rows in `first` before others."""
    directions = torch.nn.functional.normalize(vectors.float().cpu(), dim=1)
    unlike = 1 - directions @ directions[is_visual].mean(dim=0)
    if first is not None:
        unlike[first] += 2.0  # the others are 2 at most
    ranked = unlike.masked_fill(~is_visual, -torch.inf).sort(descending=True, stable=True)
    return ranked.indices[: int(is_visual.sum())]


def _with_text(rows: Tensor, is_visual: Tensor, clip_lengths: Sequence[int]) -> Tensor:
    """bool [S]: these, and the text of their clips."""
    keep = torch.zeros_like(is_visual)
    keep[rows] = True
    clips = torch.split(keep, list(clip_lengths))
    has_any = torch.cat([clip.any().expand(len(clip)) for clip in clips])
    return keep | (has_any & ~is_visual)


def _vectors(kv: RawKV | QuantisedKV | InputTokens) -> Tensor:
    """float [S,G*E] or [S,D]."""
    if isinstance(kv, InputTokens):
        return kv.embeddings
    exact = restored(kv, torch.device("cpu")) if isinstance(kv, QuantisedKV) else kv
    return exact.keys[len(exact.keys) // 2].transpose(0, 1).flatten(1)


def _taken(kv: RawKV | QuantisedKV | InputTokens, rows: Tensor) -> HeldKV:
    """These tokens of it; codes stay what they are."""
    if isinstance(kv, InputTokens):
        return _inputs_taken(kv, rows)
    if isinstance(kv, QuantisedKV):
        there = rows.to(kv.codes.device)
        return replace(
            kv,
            codes=kv.codes[:, :, :, there],
            value_grid=kv.value_grid[:, :, :, rows.to(kv.value_grid.device)],
            positions=kv.positions[rows],
            spread=taken(kv.spread, rows),
        )
    there = rows.to(kv.keys.device)
    both = torch.stack([kv.keys[:, :, there], kv.values[:, :, there]])
    return RawKV(
        keys=both[0],
        values=both[1],
        positions=kv.positions[rows],
        spread=taken(kv.spread, rows),
    )


def _inputs_taken(inputs: InputTokens, rows: Tensor) -> InputTokens:
    """One mask for all of it: deepstack has the visual tokens alone."""
    is_visual, deepstack = inputs.is_visual[rows], inputs.deepstack
    if deepstack is not None:
        places = inputs.is_visual.cumsum(dim=0) - 1
        deepstack = deepstack[:, places[rows[is_visual]].to(deepstack.device)]
    return InputTokens(
        embeddings=inputs.embeddings[rows.to(inputs.embeddings.device)],
        positions=inputs.positions[rows],
        is_visual=is_visual,
        deepstack=deepstack,
        spread=taken(inputs.spread, rows),
    )
