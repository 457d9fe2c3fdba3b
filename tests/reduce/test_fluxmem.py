"""FluxMem beside its formula, which is among the references."""

from __future__ import annotations

import pytest
import torch
from made_tokens import angles

from streamvlm.reduce import ReductionContext
from streamvlm.reduce.strategies.fluxmem import FluxMem, otsu
from streamvlm.types import VisualTokens


def test_of_what_stands_still_the_newest_copy_stays() -> None:
    still, moved = angles(0, 0, 0, 0, 0), angles(0, 0, 0, 90, 0)
    fluxmem = FluxMem(merge=False)

    def kept(tokens: VisualTokens, before: VisualTokens, behind: VisualTokens) -> list[int]:
        around = ReductionContext(previous=before, following=behind)
        return fluxmem(tokens, around).indices.tolist()

    assert kept(still, still, still) == []
    assert kept(moved, still, still) == [3]
    assert fluxmem(still, ReductionContext()).indices.tolist() == [0, 1, 2, 3, 4]


def test_otsu_splits_two_heaps_and_says_when_there_is_one() -> None:
    threshold, is_split = otsu(torch.tensor([0.1, 0.12, 0.11, 1.0, 1.1]))
    assert is_split and 0.1 < threshold < 1.0
    threshold, is_split = otsu(torch.full((5,), 0.3))
    assert not is_split and threshold == pytest.approx(0.3)
