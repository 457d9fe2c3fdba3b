"""Matrix entropy by the other Gram matrix, that of the columns of heads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from made_tokens import make_tokens
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "entropyprune", "keep_ratio": 7 / 24, "num_heads": 4}

_LINE = [2.0, 0.0, 0.0, 0.0, -2.0, 0.0]
_TRIANGLE = [1.0, 0.0, -0.5, 0.75**0.5, -0.5, -(0.75**0.5)]
EXAMPLE = Example(
    settings={"keep_ratio": 0.4, "num_heads": 3},
    clips=[make_tokens([_LINE, _TRIANGLE, [0.0] * 6, [-each / 2 for each in _TRIANGLE], _LINE])],
    rows=[[1, 3]],
)


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, num_heads: int
) -> list[Expected]:
    """Each clip for itself."""
    kept = []
    for clip in clips:
        # To six places: what differs by rounding is equal, and the lower row wins.
        entropy = [round(entropy_of(row, num_heads), 6) for row in clip.features]
        order = sorted(range(len(clip)), key=lambda row: (-entropy[row], row))
        kept.append(Expected(rows=sorted(order[: round(keep_ratio * len(clip))])))
    return kept


def entropy_of(row: Tensor, num_heads: int, *, trace_normalise: bool = True) -> float:
    """Of one token, float [D]."""
    width = len(row) // num_heads
    heads = [row[start : start + width] for start in range(0, len(row), width)]
    mean = sum(heads) / num_heads
    covariance = torch.zeros(width, width, dtype=torch.float64)
    for head in heads:
        covariance += torch.outer(head - mean, head - mean) / num_heads
    if trace_normalise:
        covariance /= covariance.trace()
    weights = [float(each) for each in torch.linalg.eigvalsh(covariance) if each > 1e-9]
    return -sum(each * math.log(each) for each in weights) / math.log(num_heads)
