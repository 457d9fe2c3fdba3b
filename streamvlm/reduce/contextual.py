"""What is left out of a clip, gathered into few contextual tokens: the merging of VisionZip.

VisionZip and DUET-VLM share it, and differ in what is gathered where. Their contextual token is its
target *plus* the mean of what joined it, of about twice the length of any other token; here it is
the mean of all of them, as in AngelSlim's port, at the target's place. They compare the keys of the
tower's last layer; here it is the tokens themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamvlm.reduce.ops import directions, first_highest, merge_rows
from streamvlm.types import KeptTokens, VisualTokens


def gather(tokens: VisualTokens, dominant: Tensor, pool: Tensor, count: int) -> KeptTokens:
    """Keep the rows `dominant` as they are, and what is in the rows `pool` in `count` rows: evenly
    spaced ones of it, in its order, which each of the others joins where it is most alike, of
    equals the first in the clip. Both are int64 and disjoint; what is in neither is left out.
    """
    owner = torch.full((len(tokens),), -1, dtype=torch.int64, device=tokens.features.device)
    owner[dominant] = dominant
    if count:
        step = len(pool) // count
        targets = pool[: step * count : step].sort().values
        gathered, into = (directions(tokens.features[rows]) for rows in (pool, targets))
        owner[pool] = targets[first_highest(gathered @ into.T)]
        owner[targets] = targets
    return merge_rows(tokens, owner)
