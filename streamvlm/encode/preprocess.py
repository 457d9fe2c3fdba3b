"""Pictures to patches as the processors of the Qwen2-VL family do it, for many clips at once.

Our own because transformers' video processors need torchvision. Without a resize the patches equal
those of `Qwen2VLImageProcessorPil` bit by bit on a CPU; with one they differ by rounding, seldom by
more than a grey level. Only in noise does it show that Pillow may resize the columns first.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from streamvlm.types import GridRule
from streamvlm.vlm.patches import PatchSpec


def resize(pixels: Tensor, rule: GridRule) -> Tensor:
    """Pictures at the size that the rule wants: uint8 [B,T,H,W,3] on a CPU to uint8 [B,T,H',W',3].

    The same tensor when the size is right already. Raises ValueError for a picture beyond 200:1.
    """
    height, width = rule.fit(pixels.shape[2], pixels.shape[3])
    if (height, width) == pixels.shape[2:4]:
        return pixels
    # Bytes in, bytes out: rounds to grey levels between the passes, as the processors do.
    channels_first = pixels.flatten(0, 1).permute(0, 3, 1, 2)
    resized: Tensor = interpolate(channels_first, (height, width), mode="bicubic", antialias=True)
    return resized.permute(0, 2, 3, 1).view(*pixels.shape[:2], height, width, 3)


def preprocess(
    pixels: Tensor, spec: PatchSpec, device: torch.device | str = "cpu"
) -> tuple[Tensor, tuple[int, int, int]]:
    """Clips of one size, uint8 [B,T,H,W,3] on a CPU, to what the vision tower reads.

    Returns patches, float32 [B*t*h*w, C*T*P*P] on `device`, and the (t, h, w) of every clip in
    patches before merging, as transformers wants them. Patches that become one visual token are
    neighbours in the order. A T that is no multiple of the temporal patch is filled up with the
    last frame. Raises ValueError for a picture beyond 200:1.
    """
    # To the device as bytes, a quarter of what floats would be.
    fitted = _fill_up(resize(pixels, spec.rule), spec.temporal_patch_size).to(device)
    num_clips, num_frames, height, width, _ = fitted.shape
    patch, merge = spec.patch_size, spec.merge_size
    grid_thw = (num_frames // spec.temporal_patch_size, height // patch, width // patch)
    grid = fitted.view(
        *(num_clips, grid_thw[0], spec.temporal_patch_size),
        *(grid_thw[1] // merge, merge, patch),
        *(grid_thw[2] // merge, merge, patch),
        3,
    )
    # [B, t, h/merge, w/merge, merge, merge, C, T, P, P]
    patches = grid.permute(0, 1, 3, 6, 4, 7, 9, 2, 5, 8)
    return _normalise(patches.reshape(-1, 3, spec.patch_values // 3), spec), grid_thw


def _fill_up(pixels: Tensor, temporal_patch_size: int) -> Tensor:
    """[B,T,H,W,3] with the last frame repeated until T is a multiple of `temporal_patch_size`."""
    missing = -pixels.shape[1] % temporal_patch_size
    if not missing:
        return pixels
    return torch.cat([pixels, pixels[:, -1:].expand(-1, missing, -1, -1, -1)], dim=1)


def _normalise(patches: Tensor, spec: PatchSpec) -> Tensor:
    """uint8 [n, C, values] to float32 [n, C*values]: (value / 255 - mean) / std."""
    mean, std = (
        torch.tensor(each, device=patches.device)[:, None] for each in (spec.mean, spec.std)
    )
    # Three steps in the processor's order: fused, they would differ in the last bit.
    return patches.float().div_(255).sub_(mean).div_(std).flatten(1)
