"""The few operations of a text model that are worth a kernel of their own, twice: `plain` says in
torch what each of them is and runs everywhere, `fused` does it on a GPU in one kernel each.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType

import torch

from streamvlm.vlm.kernels import plain


def kernels_for(device: torch.device, head_size: int) -> ModuleType:
    """`fused` on a GPU where Triton is installed, for heads of a power of two, else `plain`."""
    is_even = head_size >= 16 and head_size & (head_size - 1) == 0
    if device.type == "cuda" and is_even and find_spec("triton"):
        from streamvlm.vlm.kernels import fused

        return fused
    return plain


__all__ = ["kernels_for", "plain"]
