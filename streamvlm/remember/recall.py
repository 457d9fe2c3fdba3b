"""What of the found blocks comes back: all of it, or the tokens that fit the probe best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from streamvlm.types import KVBlock, RawKV, Recall

NOTHING = Recall(blocks=(), scores=())
"""Where no block is found, or none stands out."""


def fit_to_budget(
    recall: Recall, probe: Tensor, max_tokens: int, index_keys: Callable[[RawKV], Tensor]
) -> Recall:
    """The same blocks with at most `max_tokens` tokens in all: the visual tokens whose raw keys in
    the index layer fit the probe best, each with the text of its clip. Blocks and clips without any
    are left out; blocks that keep everything stay the same object. Equal scores go by block id,
    then by place.

    Segments first, then tokens inside them, after HISA (arXiv 2603.28458). `index_keys` is
    `VLM.index_keys`. Copies what is kept; changes nothing.
    """
    if sum(len(block.kv) for block in recall.blocks) <= max_tokens:
        return recall
    keep = _best(recall.blocks, probe, max_tokens, index_keys)
    kept = [
        (_cut(block, mask), score)
        for block, mask, score in zip(recall.blocks, keep, recall.scores, strict=True)
        if bool(mask.any())
    ]
    return Recall(
        blocks=tuple(block for block, _ in kept), scores=tuple(score for _, score in kept)
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tokens:
    """All tokens of some blocks, in a row."""

    clips: Tensor
    """int64 [S], to which clip each belongs; counts through all blocks."""
    is_visual: Tensor
    """bool [S]."""
    scores: Tensor
    """float32 [S]."""


def _best(
    blocks: Sequence[KVBlock],
    probe: Tensor,
    max_tokens: int,
    index_keys: Callable[[RawKV], Tensor],
) -> tuple[Tensor, ...]:
    """bool [S] for each block: which of its tokens are kept."""
    lengths = torch.tensor([length for block in blocks for length in block.clip_lengths])
    keys = [index_keys(block.kv).flatten(1) for block in blocks]
    tokens = _Tokens(
        clips=torch.repeat_interleave(lengths),
        is_visual=torch.cat([block.is_visual for block in blocks]),
        scores=torch.cat([(each * probe).sum(dim=1) for each in keys]),
    )
    kept = _best_tokens(tokens, len(lengths), max_tokens)
    return torch.split(kept, [len(block.kv) for block in blocks])


def _best_tokens(tokens: _Tokens, num_clips: int, max_tokens: int) -> Tensor:
    """bool [S]. The best visual tokens until the next one, with the text of a clip that it would be
    the first of, would be one too many.
    """
    visual = torch.nonzero(tokens.is_visual)[:, 0]
    # A stable sort leaves equal scores in the order of blocks and places.
    order = visual[torch.from_numpy(np.argsort(-tokens.scores[visual].numpy(), kind="stable"))]
    clips = tokens.clips[order]
    text = torch.bincount(tokens.clips[~tokens.is_visual], minlength=num_clips)
    is_first = torch.zeros(len(order), dtype=torch.bool)
    is_first[torch.from_numpy(np.unique(clips.numpy(), return_index=True)[1])] = True
    costs = 1 + text[clips] * is_first
    chosen = order[costs.cumsum(dim=0) <= max_tokens]
    is_open = torch.zeros(num_clips, dtype=torch.bool)
    is_open[tokens.clips[chosen]] = True
    kept = is_open[tokens.clips] & ~tokens.is_visual
    kept[chosen] = True
    return kept


def _cut(block: KVBlock, keep: Tensor) -> KVBlock:
    """The block with some of its tokens; one mask cuts everything."""
    if bool(keep.all()):
        return block
    rows = torch.nonzero(keep)[:, 0]
    there = rows.to(block.kv.keys.device)
    lengths = [int(clip.sum()) for clip in torch.split(keep, list(block.clip_lengths))]
    return replace(
        block,
        kv=RawKV(
            keys=block.kv.keys[:, :, there],
            values=block.kv.values[:, :, there],
            positions=block.kv.positions[rows],
        ),
        is_visual=block.is_visual[rows],
        clip_lengths=tuple(length for length in lengths if length),
    )
