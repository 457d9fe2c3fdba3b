"""How far the feature of each visual token moves with the patches that become it.

What a projector makes of a small step is its gradient without one (zeroth order): the estimator of
"ZOO-Prune: Training-Free Token Pruning via Zeroth-Order Gradient Estimation in Vision-Language
Models" (2025, arXiv 2509.24837), at the merger, which is the projector of the towers of Qwen.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

NUM_DIRECTIONS = 64
STEP = 0.01
"""Length of a step in the space of all patches of a token."""


def sensitivity(merger: nn.Module, patches: Tensor) -> Tensor:
    """float [N], in float32 at least: |f(x + h u) - f(x - h u)| / 2h in mean over fixed directions
    u, the same for all tokens, where x is what the merger makes one token of.
    """
    # In bfloat16 a step spread over thousands of numbers would be rounded away. A copy, and its
    # function alone, as we are inside a hook of the merger itself.
    wide = torch.promote_types(patches.dtype, torch.float32)
    exact: Any = deepcopy(merger).to(wide)
    patches = patches.to(wide)
    rows = patches.reshape(-1, exact.hidden_size)  # one a token
    moved = torch.zeros_like(rows[:, 0])
    for step in STEP * _directions(exact.hidden_size).to(rows):
        ahead, behind = ((rows + way).view_as(patches) for way in (step, -step))
        moved += (exact.forward(ahead) - exact.forward(behind)).norm(dim=1)
    return moved / (2 * STEP * NUM_DIRECTIONS)


@cache
def _directions(size: int) -> Tensor:
    """float32 [directions, size] of length 1."""
    generator = torch.Generator().manual_seed(0)
    return normalize(torch.randn(NUM_DIRECTIONS, size, generator=generator), dim=1)
