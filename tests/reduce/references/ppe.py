"""Density peaks of each clip, every member of a cluster ranked by how far it is from the peak."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected, _peaks
from streamvlm.types import VisualTokens

SPEC = {"name": "ppe", "keep_ratio": 7 / 24, "num_members": 3}
# Two groups. Five neighbours are all there are, so the peak of each is nearest to the other one.
EXAMPLE = Example(settings={"keep_ratio": 0.4}, clips=[angles(0, 4, 8, 90, 94)], rows=[[2, 3]])


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, num_members: int
) -> list[Expected]:
    """Each clip for itself."""
    return [_merged(clip.features, round(keep_ratio * len(clip)), num_members) for clip in clips]


def _merged(rows: Tensor, count: int, num_members: int) -> Expected:
    owners = _peaks.owners(list(rows), count, neighbours=5)
    groups = {peak: [row for row in range(len(rows)) if owners[row] == peak] for peak in owners}
    peaks = sorted(groups)
    members = []
    for peak in peaks:
        far = {row: round(float((rows[row] - rows[peak]).norm()), 9) for row in groups[peak]}
        nearest = [peak, *sorted(set(groups[peak]) - {peak}, key=lambda row: (far[row], row))]
        while len(nearest) < num_members:
            nearest += nearest[: len(groups[peak])]
        members.append(nearest[:num_members])
    return Expected(
        rows=peaks,
        features=torch.stack([rows[groups[peak]].mean(dim=0) for peak in peaks]),
        weight=[len(groups[peak]) for peak in peaks],
        members=members,
    )
