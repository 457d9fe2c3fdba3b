"""The front of a shuffled list, for each clip shuffled anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from made_tokens import angles

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "random", "keep_ratio": 7 / 24, "seed": 5}
# By what this draw happens to be: of lots nothing is obvious but how many there are.
EXAMPLE = Example(settings={"keep_ratio": 0.4}, clips=[angles(0, 0, 90, 0, 0)], rows=[[1, 3]])


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float, seed: int) -> list[Expected]:
    """The numpy seed sequence of seed and clip index, then torch's shuffling."""
    expected = []
    for number, clip in enumerate(clips):
        mixed = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
        shuffled = torch.randperm(len(clip), generator=torch.Generator().manual_seed(mixed))
        expected.append(Expected(rows=sorted(shuffled.tolist()[: round(keep_ratio * len(clip))])))
    return expected
