"""The first layer of a vision tower as the matrix product that it is.

transformers writes it as a convolution whose kernel is exactly one patch, so nothing slides; the
same numbers as a matrix product are faster on a CPU.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import linear


class PatchProjection(nn.Module):
    """A convolution over single patches; has its weights, under the same names."""

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, patches: Tensor) -> Tensor:
        """float [P,C,T,Y,X] to [P,D,1,1,1]."""
        rows = linear(patches.flatten(1), self.weight.flatten(1), self.bias)
        return rows[:, :, None, None, None]
