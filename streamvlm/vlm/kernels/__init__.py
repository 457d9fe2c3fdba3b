"""The few operations of a text model that are worth a kernel of their own, twice: `plain` says in
torch what each of them is and runs everywhere, `fused` does it on a GPU in one kernel each.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType

import torch

from streamvlm.vlm.kernels import plain


def kernels_for(device: torch.device) -> ModuleType:
    """`fused` on a GPU where Triton is installed, else `plain`."""
    if device.type == "cuda" and find_spec("triton"):
        from streamvlm.vlm.kernels import fused

        return fused
    return plain


__all__ = ["kernels_for", "plain"]
