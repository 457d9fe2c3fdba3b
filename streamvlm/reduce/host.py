"""Where the host and the device wait for each other.

How many tokens are kept is the shape of a tensor, and where a segment ends is the host's business:
some small numbers must leave the device. They leave it in `read`, which waits, and nowhere else in
the compressor, the segmenters and DTD: once a clip for any number of streams, and once or twice
where a segment is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor


def read(*tensors: Tensor) -> list[list[float]]:
    """The numbers of each tensor, flat, in one transfer; whole ones are exact up to 2^53. Nobody
    waits where there are none.
    """
    flat = [tensor.flatten().double() for tensor in tensors]
    numbers = torch.cat(flat).tolist() if any(map(len, flat)) else []
    ends = list(accumulate(len(each) for each in flat))
    return [numbers[end - len(each) : end] for end, each in zip(ends, flat, strict=True)]


def send(numbers: Sequence[float], device: torch.device) -> Tensor:
    """float64 [n] on the device; the host does not wait for it."""
    here = torch.tensor(numbers, dtype=torch.float64)
    return here if device.type == "cpu" else here.pin_memory().to(device, non_blocking=True)
