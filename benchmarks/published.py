"""The published forms of two methods, written plainly from their descriptions, to measure against.

DTD (TimeChat-Online, 2025, arXiv 2504.17343) and the segmentation of HoliTom (2025, arXiv
2505.21334).
"""

from __future__ import annotations

from itertools import pairwise

import torch

from streamvlm.types import VisualTokens

SIMILARITY = 0.8
"""Cosine beyond which a cell is as it was."""


def published_dtd(clips: list[VisualTokens]) -> list[list[bool]]:
    """Token by token, each cosine brought to the host."""
    kept = []
    for before, now in pairwise(clips):
        keep = []
        for one, other in zip(before.features, now.features, strict=True):
            cosine = torch.cosine_similarity(one.float(), other.float(), dim=0).item()
            keep.append(not cosine > SIMILARITY)
        kept.append(keep)
    return kept


def published_segments(clips: list[VisualTokens]) -> list[int]:
    """All windows, the static cells of each by products of all pairs, sums brought to the host."""
    features = torch.stack([clip.features.float() for clip in clips])
    static = torch.cosine_similarity(features[:-1], features[1:], dim=-1) > SIMILARITY
    best, starts = [0.0], [0]
    for end in range(1, len(clips) + 1):
        value, start = best[end - 1], end - 1
        for clips_here in range(2, end + 1):
            window = static[end - clips_here : end - 1]
            gain = (clips_here - 1) * window.cumprod(dim=0)[-1].sum()
            here = best[end - clips_here] + gain.item()
            if here > value:
                value, start = here, end - clips_here
        best.append(value)
        starts.append(start)
    return starts
