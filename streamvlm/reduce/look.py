"""How clips of many streams differ from what their streams know, found out in one go.

The heavy part of the composed compressor, everything that reads whole clips: distances to what was
last kept and to the clip before, and the order in which cells are worth keeping. All of it stays on
the device; what the host must know of it is read once, for all streams together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from streamvlm.reduce.base import Reference
from streamvlm.reduce.budget import Allowance
from streamvlm.reduce.change import ClipChange
from streamvlm.reduce.host import read, send
from streamvlm.reduce.ops import cosine_distances, ranked
from streamvlm.reduce.segment import Compared, static_runs
from streamvlm.types import VisualTokens

if TYPE_CHECKING:
    from streamvlm.reduce.compressor import Compressor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Standing:
    """What a stream knows when a clip comes."""

    settings: Compressor
    allowance: Allowance
    clip_index: int
    reference: Reference | None
    """Of the grid of the clip; None where there is none."""
    before: Compared | None
    """The clip before, as in `Segmenter.before`; None if of another grid."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Change:
    """How a clip differs from what was last kept of its cells."""

    distance: Tensor
    """float [N]."""
    rows: Tensor
    """int64 [N], those worth keeping first, the most changed first."""
    num_changed: int
    """Beyond the threshold."""
    is_cut: bool
    num_worth: int
    """Changed, of a cut, or due for a refresh."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looked:
    """What was found out about a clip."""

    allowance: Allowance
    change: Change | None
    """None where there is nothing to compare with."""
    clip: Tensor | Compared
    """For the segmenter."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    """The same of S clips, before the host knows."""

    distance: Tensor | None
    rows: Tensor | None
    runs: Tensor | None
    lengths: Tensor | None
    numbers: Tensor
    """float64 [S,n]: changed, cut, worth keeping; and how many cells have been static how long."""


def look(standings: Sequence[Standing], clips: Sequence[VisualTokens]) -> list[Looked]:
    """What is found out about one clip of each stream: the same in any company. Those with the same
    settings and shapes are looked at in one go.
    """
    groups = defaultdict(list)
    for number, (standing, clip) in enumerate(zip(standings, clips, strict=True)):
        known = standing.reference is not None, standing.before is not None
        like = clip.features.shape, clip.features.dtype, clip.grid_thw
        groups[standing.settings, known, like].append(number)
    asked = [
        _ask([standings[each] for each in group], [clips[each] for each in group])
        for group in groups.values()
    ]
    told = read(*(each.numbers for each in asked))
    looked: dict[int, Looked] = {}
    for group, found, numbers in zip(groups.values(), asked, told, strict=True):
        width = len(numbers) // len(group)
        for place, number in enumerate(group):
            own = list(map(int, numbers[place * width : (place + 1) * width]))
            looked[number] = _one(found, place, own, standings[number], clips[number])
    return [looked[number] for number in range(len(clips))]


def _ask(standings: Sequence[Standing], clips: Sequence[VisualTokens]) -> _Asked:
    """Of streams and clips that are alike in all that decides which sums are done."""
    settings, features = standings[0].settings, [clip.features for clip in clips]
    distance = rows = runs = lengths = None
    numbers = [torch.empty(len(clips), 0, dtype=torch.float64, device=features[0].device)]
    if standings[0].reference is not None:
        change = _change(standings, clips)
        worth, distance = change.is_worth_keeping, change.distance
        rows = ranked(worth, distance)
        counts = change.is_changed.sum(dim=-1), change.is_cut, worth.sum(dim=-1)
        numbers.append(torch.stack([each.double() for each in counts], dim=1))
    before = [each.before for each in standings if each.before is not None]
    if before:
        apart, lengths = cosine_distances(
            features, [each.features for each in before], [each.lengths for each in before]
        )
        runs, static = static_runs(
            apart,
            torch.stack([each.runs for each in before]),
            settings.segment_clips - 1,
            1 - settings.static_similarity,
        )
        numbers.append(static.double())
    return _Asked(
        distance=distance,
        rows=rows,
        runs=runs,
        lengths=lengths,
        numbers=torch.cat(numbers, dim=1),
    )


def _change(standings: Sequence[Standing], clips: Sequence[VisualTokens]) -> ClipChange:
    """Of clips whose streams have a reference."""
    references = [each.reference for each in standings if each.reference is not None]
    step, device = standings[0].settings.dtd.rule, clips[0].features.device
    distance = step.distances(clips, [each.features for each in references])
    age = torch.stack([each.age for each in references])
    own = [number for each in standings for number in (each.clip_index, each.allowance.threshold)]
    index, threshold = send(own, device).view(-1, 2, 1).unbind(dim=1)
    return step.judge(distance, age, index.long(), threshold.to(distance.dtype))


def _one(
    asked: _Asked, place: int, numbers: list[int], standing: Standing, clip: VisualTokens
) -> Looked:
    change, known = None, clip.features
    if asked.distance is not None and asked.rows is not None:
        num_changed, is_cut, num_worth = numbers[:3]
        numbers = numbers[3:]
        change = Change(
            distance=asked.distance[place],
            rows=asked.rows[place],
            num_changed=num_changed,
            is_cut=bool(is_cut),
            num_worth=num_worth,
        )
    compared: Tensor | Compared = known
    if asked.runs is not None and asked.lengths is not None:
        compared = Compared(
            features=known,
            lengths=asked.lengths[place],
            runs=asked.runs[place],
            counts=numbers,
        )
    return Looked(allowance=standing.allowance, change=change, clip=compared)
