"""How much a token resembles what is usual: the kernel of VidCom2 and of STC.

Both look at the channels that vary least, and at directions only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamvlm.reduce.ops import by_strength

_BANDWIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)


def steady_channels(features: Tensor) -> Tensor:
    """int64 [C]: the half of the channels of float [N,D] that vary least, in order. They tell most
    of the scene and least of its noise.
    """
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    variance = wide.var(dim=0, correction=0)
    return by_strength(-variance)[: max(1, len(variance) // 2)].sort().values


def resemblance(rows: Tensor, mean: Tensor) -> Tensor:
    """float [N] of rows [N,C] to a mean [C]: Gaussian kernels of several widths, added up."""
    square = (rows - mean).square().sum(dim=-1)
    return torch.stack([torch.exp(-square / (2 * width)) for width in _BANDWIDTHS]).sum(dim=0)
