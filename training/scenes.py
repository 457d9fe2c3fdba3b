"""Scenes as the service would have them: rendered, gated and encoded by the trained tower."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from streamvlm.encode import PixelGate
from streamvlm.encode.preprocess import preprocess
from streamvlm.evaluate.suites.mini import PICTURE
from streamvlm.evaluate.world.cells import cell_owners
from streamvlm.evaluate.world.render import render
from streamvlm.evaluate.world.script import draw_pace, write
from streamvlm.evaluate.world.truth import Look, looks
from training.architecture import CELLS, SPEC

MAX_CLIPS = 64
"""Encoded clips of a scene."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodedScene:
    """N clips that showed something new, of the looks that the camera took."""

    looks: list[Look]
    """Of every clip, encoded or not."""
    encoded: list[int]
    """Which looks were encoded, [N]."""
    features: Tensor
    """float16 [N, 64, D]."""
    deepstack: Tensor
    """float16 [Z, N, 64, D]."""
    owners: Tensor
    """int64 [N, 64]: the visit that covers each cell, or -1."""


def scenes(visual: Any, first_seed: int, device: str, longest: int = 90) -> Iterator[EncodedScene]:
    """Scenes without end, one a seed."""
    seed = first_seed
    while True:
        scene = encode_scene(visual, seed, device, longest)
        if len(scene.encoded) >= 4:
            yield scene
        seed += 1


@torch.inference_mode()
def encode_scene(visual: Any, seed: int, device: str, longest: int = 90) -> EncodedScene:
    """The scene of this seed: how busy it is and when it begins are drawn from it too."""
    rng = np.random.default_rng((seed, 8))
    pace = draw_pace(rng)
    length = max(8, int(longest * rng.random() ** 0.5))  # long ones teach more
    script = write(seed, float(length), pace)
    gate = PixelGate(threshold=0.01, cell_pixels=SPEC.rule.cell_pixels)
    encoded, patches = list[int](), list[Tensor]()
    for first in range(0, length, 4):
        times = [second + half for second in range(first, first + 4) for half in (0.0, 0.5)]
        frames = render(script, times, height=PICTURE, width=PICTURE, device=device).cpu()
        for offset, clip in enumerate(frames.unflatten(0, (-1, 2))):
            if first + offset < length and gate.changed_cells(clip.numpy()).any():
                gate.mark_encoded(clip.numpy())
                encoded.append(first + offset)
                patches.append(preprocess(clip[None], SPEC)[0])
        if len(encoded) >= MAX_CLIPS:
            length = min(length, first + 4)
    seen = looks(script, [float(second) for second in range(length)])
    features, deepstack = _encode(visual, patches, device)
    return EncodedScene(
        looks=seen,
        encoded=encoded,
        features=features,
        deepstack=deepstack,
        owners=torch.stack([cell_owners(seen[index], CELLS, CELLS) for index in encoded]),
    )


def _encode(visual: Any, patches: list[Tensor], device: str) -> tuple[Tensor, Tensor]:
    features, deepstack = [], []
    for first in range(0, len(patches), 8):
        some = patches[first : first + 8]
        grid = torch.tensor([[1, 2 * CELLS, 2 * CELLS]] * len(some), device=device)
        output = visual(torch.cat(some).to(device), grid_thw=grid)
        features.append(output.pooler_output.unflatten(0, (len(some), -1)))
        deep = torch.stack(output.deepstack_features)
        deepstack.append(deep.unflatten(1, (len(some), -1)))
    return torch.cat(features).half().cpu(), torch.cat(deepstack, dim=1).half().cpu()
