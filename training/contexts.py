"""What mini learns to answer from: which clips and tokens of a scene a context holds.

As the service makes them: a history with tokens left out or whole segments missing, the newest
clips behind it. The truth that questions are asked about is what the context shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from streamvlm.evaluate.world.phrasings import Split
from streamvlm.evaluate.world.questions import FAMILIES, ask
from streamvlm.evaluate.world.truth import Look
from training.scenes import EncodedScene
from training.writing import Context, write

SEGMENT_CLIPS = 4
_HARD = ("before", "after", "last", "left_before", "at_time", "how_long", "number")
_EASY = ("color", "shape", "size", "ever", "is_there", "is_moving", "more_than")
_FAMILIES = (*FAMILIES, *(each for each in FAMILIES if each not in _EASY), *_HARD)
"""What is known least is asked most: three times as often as what is known."""
_TEXT_A_CLIP = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What contexts are drawn from; the curriculum widens it."""

    max_clips: int = 64
    max_tokens: int = 900
    """Of the clips; a context is cut at its old end to fit."""
    questions: int = 24
    background: float = 0.25
    """Of the empty cells of a fresh clip that is thinned, how many stay."""
    thinned_share: float = 0.6
    """How often fresh clips are thinned: empty cells take time and teach little."""
    whole_share: float = 0.1
    """How many contexts leave nothing out of their history."""
    long_share: float = 0.0
    """How many begin where their scene begins and end late in it."""
    is_full: bool = False
    """Nothing left out anywhere: for measuring."""
    split: Split = "train"


Kept = dict[int, Tensor]
"""Encoded clip -> rows kept of it, oldest first."""


def draw(scene: EncodedScene, rng: np.random.Generator, span: Range) -> Context | None:
    """A context of this scene with questions; None where nothing can be asked."""
    newest = int(rng.integers(1, len(scene.encoded)))
    oldest = 0
    if rng.random() < span.long_share:
        newest = int(rng.integers(len(scene.encoded) // 2, len(scene.encoded)))
    elif rng.random() < 0.5 and not span.is_full:
        oldest = int(rng.integers(0, newest))
    oldest = max(oldest, newest + 1 - span.max_clips)
    num_fresh = newest + 1 - oldest if span.is_full else int(rng.choice([1, 2, 4]))
    split = max(oldest, newest + 1 - num_fresh)
    history, fresh = range(oldest, split), range(split, newest + 1)
    kept = _keep_of_history(scene, history, rng, span) | _keep_of_fresh(scene, fresh, rng, span)
    if not span.is_full and rng.random() < 0.3:
        kept = _forget_segments(kept, history, rng)
    kept = _cut_to(kept, span.max_tokens)
    if not any(len(rows) for rows in kept.values()):
        return None
    firsts = _first_shown(scene, kept)
    looks = _looks_shown(scene, kept, firsts, rng)
    families = _FAMILIES if span.split == "train" else tuple(FAMILIES)
    questions = ask(looks, rng, span.questions, span.split, families)
    if not questions:
        return None
    return write(scene, kept, firsts, looks, questions, rng, is_moved=not span.is_full)


def _keep_of_history(
    scene: EncodedScene, history: Sequence[int], rng: np.random.Generator, span: Range
) -> Kept:
    rest = 1 - span.whole_share
    shares = [span.whole_share, 0.7 * rest, 0.3 * rest]
    way = rng.choice(["all", "differential", "random"], p=shares)
    if way == "differential":
        return _differential(scene, history, float(rng.uniform(0.15, 0.5)), bool(rng.integers(2)))
    ratio = 1.0 if way == "all" else float(rng.choice([0.2, 0.35, 0.6]))
    return {clip: _random_rows(scene, clip, ratio, rng) for clip in history}


def _keep_of_fresh(
    scene: EncodedScene, fresh: Sequence[int], rng: np.random.Generator, span: Range
) -> Kept:
    if span.is_full or rng.random() >= span.thinned_share:
        return {clip: torch.arange(scene.owners.shape[1]) for clip in fresh}
    kept = {}
    for clip in fresh:
        is_chosen = torch.zeros(scene.owners.shape[1], dtype=torch.bool)
        is_chosen[_random_rows(scene, clip, span.background, rng)] = True
        kept[clip] = (is_chosen | (scene.owners[clip] >= 0)).nonzero()[:, 0]
    return kept


def _random_rows(scene: EncodedScene, clip: int, ratio: float, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(np.flatnonzero(rng.random(len(scene.owners[clip])) < ratio))


def _differential(
    scene: EncodedScene, history: Sequence[int], threshold: float, is_one_kept: bool
) -> Kept:
    """As `reduce.strategies.dtd` does it, without its refreshes."""
    kept: Kept = {}
    reference: Tensor | None = None
    for clip in history:
        features = scene.features[clip].float()
        features = features / features.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        if reference is None:
            rows, reference = torch.arange(len(features)), features.clone()
        else:
            distance = 1 - (features * reference).sum(dim=-1)
            is_kept = distance > threshold
            if is_one_kept and not is_kept.any():
                is_kept[distance.argmax()] = True
            rows = is_kept.nonzero()[:, 0]
            reference[rows] = features[rows]
        kept[clip] = rows
    return kept


def _forget_segments(kept: Kept, history: Sequence[int], rng: np.random.Generator) -> Kept:
    """Some segments of the history are not recalled."""
    share = float(rng.uniform(0.2, 0.9))
    gone = {
        clip
        for first in range(0, len(history), SEGMENT_CLIPS)
        if rng.random() < share
        for clip in history[first : first + SEGMENT_CLIPS]
    }
    return {clip: rows for clip, rows in kept.items() if clip not in gone}


def _cut_to(kept: Kept, max_tokens: int) -> Kept:
    """The newest clips that fit, at least one."""
    total = 0
    result: Kept = {}
    for clip, rows in reversed(kept.items()):
        total += len(rows) + _TEXT_A_CLIP
        if total > max_tokens and result:
            break
        result[clip] = rows
    return dict(reversed(result.items()))


def _first_shown(scene: EncodedScene, kept: Kept) -> dict[int, int]:
    """Visit -> the first clip in which a token of it was kept."""
    firsts: dict[int, int] = {}
    for clip, rows in kept.items():
        for visit in set(scene.owners[clip][rows].tolist()) - {-1}:
            firsts.setdefault(visit, clip)
    return firsts


def _looks_shown(
    scene: EncodedScene, kept: Kept, firsts: dict[int, int], rng: np.random.Generator
) -> list[Look]:
    """Looks at the clips of the context and at the still time behind each, without the things of
    which no token was kept yet.
    """
    newest, looks = max(kept), []
    for clip in kept:
        start = scene.encoded[clip]
        end = scene.encoded[clip + 1] if clip + 1 < len(scene.encoded) else len(scene.looks)
        if clip == newest:
            # A question may come at any time until something new happens.
            end = int(rng.integers(start + 1, end + 1))
        for look in scene.looks[start:end]:
            shown = tuple(s for s in look.sights if firsts.get(s.visit, newest + 1) <= clip)
            looks.append(replace(look, sights=shown))
    return looks
