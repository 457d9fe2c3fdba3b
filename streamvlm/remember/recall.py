"""What of the found blocks comes back: all of it, or the tokens that a choice has room for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from streamvlm.remember.choosing import CHOICES, Chosen, FoundTokens, Joined
from streamvlm.remember.settings import RecallSettings
from streamvlm.types import KVBlock, RawKV, Recall
from streamvlm.vlm.spread import taken

NOTHING = Recall(blocks=(), scores=())
"""Where no block is found, or none stands out."""


def fit_to_budget(
    recall: Recall, probe: Tensor, index_keys: Callable[[RawKV], Tensor], settings: RecallSettings
) -> Recall:
    """The same blocks with at most `settings.max_tokens` tokens in all, where there is such a
    bound: the visual tokens that `settings.choice` chooses, or means of some, each with the text of
    its clip. Blocks and clips without any are left out; blocks that keep everything stay the same
    object. Where each layer has tokens of its own they must be within the bound already.

    `index_keys` is `VLM.index_keys`. Copies what is kept; changes nothing.
    """
    budget = settings.max_tokens
    if not budget or recall.num_tokens <= budget:
        return recall
    assert recall.by_layer is None, f"{recall.num_tokens} tokens a layer of {budget}"
    chosen = CHOICES[settings.choice]()(_found(recall.blocks, probe, index_keys), budget)
    kept = _with_text(recall.blocks, chosen.rows)
    assert int(kept.sum()) <= budget, f"{settings.choice} chose {int(kept.sum())} of {budget}"
    masks = torch.split(kept, [len(block.kv) for block in recall.blocks])
    joined = _of_each(recall.blocks, chosen)
    cut = [
        (_cut(block, mask, means), score)
        for block, mask, means, score in zip(
            recall.blocks, masks, joined, recall.scores, strict=True
        )
        if bool(mask.any())
    ]
    return Recall(blocks=tuple(block for block, _ in cut), scores=tuple(score for _, score in cut))


def _found(
    blocks: Sequence[KVBlock], probe: Tensor, index_keys: Callable[[RawKV], Tensor]
) -> FoundTokens:
    """Their visual tokens; clips without any do not count."""
    clips, is_visual = _clips(blocks), _is_visual(blocks)
    num_visual, num_all = torch.bincount(clips[is_visual]), torch.bincount(clips)
    shown = num_visual.nonzero()[:, 0]
    return FoundTokens(
        keys=torch.cat([index_keys(block.kv)[block.is_visual] for block in blocks]),
        probe=probe,
        clips=torch.repeat_interleave(num_visual[shown]),
        num_text=num_all[shown] - num_visual[shown],
    )


def _with_text(blocks: Sequence[KVBlock], rows: Tensor) -> Tensor:
    """bool [S] over all tokens: these of the visual ones, and all text of their clips."""
    clips, is_visual = _clips(blocks), _is_visual(blocks)
    kept = torch.zeros(len(clips), dtype=torch.bool)
    kept[is_visual.nonzero()[rows, 0]] = True
    is_open = torch.zeros(int(clips.max()) + 1, dtype=torch.bool)
    is_open[clips[kept]] = True
    return kept | (is_open[clips] & ~is_visual)


def _of_each(blocks: Sequence[KVBlock], chosen: Chosen) -> Iterator[Joined | None]:
    """What is joined in each block, by places in it."""
    start = 0
    for block in blocks:
        end = start + block.num_visual
        if (all_joined := chosen.joined) is None:
            yield None
        else:
            places = block.is_visual.nonzero()[:, 0]
            is_here = (all_joined.rows >= start) & (all_joined.rows < end)
            yield Joined(
                rows=places[all_joined.rows[is_here] - start],
                into=places[all_joined.into[is_here] - start],
                shares=all_joined.shares[is_here],
            )
        start = end


def _clips(blocks: Iterable[KVBlock]) -> Tensor:
    """int64 [S], to which clip each token belongs; counts through all blocks."""
    return torch.repeat_interleave(
        torch.tensor([length for block in blocks for length in block.clip_lengths])
    )


def _is_visual(blocks: Iterable[KVBlock]) -> Tensor:
    """bool [S]."""
    return torch.cat([block.is_visual for block in blocks])


def _cut(block: KVBlock, keep: Tensor, joined: Joined | None) -> KVBlock:
    """The block with some of its tokens; one mask cuts everything."""
    if bool(keep.all()):
        return block
    rows = torch.nonzero(keep)[:, 0]
    there = rows.to(block.kv.keys.device)
    kv = block.kv if joined is None else _with_means(block.kv, joined)
    lengths = [int(clip.sum()) for clip in torch.split(keep, list(block.clip_lengths))]
    return replace(
        block,
        kv=RawKV(
            keys=kv.keys[:, :, there],
            values=kv.values[:, :, there],
            positions=kv.positions[rows],
            spread=taken(kv.spread, rows),
        ),
        is_visual=block.is_visual[rows],
        clip_lengths=tuple(length for length in lengths if length),
    )


def _with_means(kv: RawKV, joined: Joined) -> RawKV:
    """A copy in which means of raw keys and of values stand at the places that are joined into.
    They are rotated to the positions of that place, which are those of real tokens.
    """
    device = kv.keys.device
    places, group = joined.into.unique(return_inverse=True)
    rows, places, group = joined.rows.to(device), places.to(device), group.to(device)

    def joining(states: Tensor) -> Tensor:
        wide = states[:, :, rows].to(torch.promote_types(states.dtype, torch.float32))
        wide = wide * joined.shares.to(device)[:, None]
        means = wide.new_zeros(*states.shape[:2], len(places), states.shape[-1])
        means = means.index_add(2, group, wide)
        return states.index_copy(2, places, means.to(states.dtype))

    return replace(kv, keys=joining(kv.keys), values=joining(kv.values))
