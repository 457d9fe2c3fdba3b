"""Scenes as the service would have them: rendered, gated and encoded by the trained tower."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamvlm.encode import PixelGate
from streamvlm.encode.preprocess import preprocess
from streamvlm.evaluate.world.cells import cell_owners
from streamvlm.evaluate.world.render import PICTURE, render
from streamvlm.evaluate.world.script import Script, draw_pace, write
from streamvlm.evaluate.world.truth import Look, looks
from training.architecture import CELLS, SPEC
from training.leg import is_bfloat16_fast

MAX_CLIPS = 64
"""Encoded clips of a scene."""
_SECONDS_TOGETHER = {"cpu": 4, "cuda": 64}
_CLIPS_TOGETHER = {"cpu": 8, "cuda": 64}
"""Drawn, and encoded, in one go."""
_RETURN_SHARES = (0.1, 0.5, 0.8)
"""How often something that was there before comes again; what does is hardest to answer about."""
_STRETCHES_SHARE = 0.25
_LONGEST_GAP_SECONDS = 500


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


def scenes(
    visual: Any,
    seeds: Iterable[int],
    device: str,
    longest: int = 90,
    *,
    is_for_training: bool = False,
) -> Iterator[EncodedScene]:
    """The scenes of these seeds, less those that show next to nothing. For training more comes
    back, and many are seen a while at a time, with minutes between.
    """
    for seed in seeds:
        scene = encode_scene(visual, seed, device, longest, is_for_training=is_for_training)
        if len(scene.encoded) >= 4:
            yield scene


@torch.inference_mode()
def encode_scene(
    visual: Any, seed: int, device: str, longest: int = 90, *, is_for_training: bool = False
) -> EncodedScene:
    """The scene of this seed: how busy it is and when it begins are drawn from it too."""
    rng = np.random.default_rng((seed, 8))
    pace = draw_pace(rng)
    length = max(8, int(longest * rng.random() ** 0.5))  # long ones teach more
    seconds = list(range(length))
    if is_for_training:
        pace = replace(pace, return_share=float(rng.choice(_RETURN_SHARES)))
        if rng.random() < _STRETCHES_SHARE:
            seconds = _stretches(rng, length)
    script = _within(write(seed, float(seconds[-1] + 1), pace), seconds)
    gate = PixelGate(threshold=0.01, cell_pixels=SPEC.rule.cell_pixels)
    encoded, pictures = list[int](), list[Tensor]()
    for index, (clip, pixels) in enumerate(_watch(script, seconds, device)):
        if index and seconds[index] > seconds[index - 1] + 1:
            gate.forget()
        if not gate.changed_cells(pixels).any():
            continue
        if len(encoded) == MAX_CLIPS:
            seconds = seconds[:index]
            break
        gate.mark_encoded(pixels)
        encoded.append(index)
        pictures.append(clip)
    seen = looks(script, [float(second) for second in seconds])
    features, deepstack = _encode(visual, torch.stack(pictures), device)
    return EncodedScene(
        looks=seen,
        encoded=encoded,
        features=features,
        deepstack=deepstack,
        owners=torch.stack([cell_owners(seen[index], CELLS, CELLS) for index in encoded]),
    )


def _watch(
    script: Script, seconds: Sequence[int], device: str
) -> Iterator[tuple[Tensor, NDArray[np.uint8]]]:
    """The clips of these seconds, uint8 [2, H, W, 3]: on the device, and where the gate looks."""
    together = _SECONDS_TOGETHER[torch.device(device).type]
    for first in range(0, len(seconds), together):
        times = [second + half for second in seconds[first : first + together] for half in (0, 0.5)]
        drawn = render(script, times, height=PICTURE, width=PICTURE, device=device)
        clips = drawn.unflatten(0, (-1, 2))
        yield from zip(clips, clips.cpu().numpy(), strict=True)


def _stretches(rng: np.random.Generator, length: int) -> list[int]:
    """So many seconds of up to 40 minutes, in stretches of some seconds."""
    stretches, seconds, now = int(rng.integers(2, 9)), list[int](), 0
    for _ in range(stretches):
        now += int(rng.integers(2, _LONGEST_GAP_SECONDS))
        seconds += range(now, now + max(4, length // stretches))
        now = seconds[-1] + 1
    return seconds


def _within(script: Script, seconds: Sequence[int]) -> Script:
    """The script less the visits that are over before one of these seconds comes."""
    times = np.asarray(seconds, dtype=float)
    kept = [
        visit
        for visit in script.visits
        if ((times + 1 > visit.times[0]) & (times < visit.times[-1])).any()
    ]
    return replace(script, visits=tuple(kept))


def _encode(visual: Any, clips: Tensor, device: str) -> tuple[Tensor, Tensor]:
    """Features, float16 [N, 64, D], and deepstack features, [Z, N, 64, D], of clips, uint8
    [N, 2, H, W, 3].
    """
    features, deepstack = [], []
    for some in clips.split(_CLIPS_TOGETHER[torch.device(device).type]):
        grid = torch.tensor([[1, 2 * CELLS, 2 * CELLS]] * len(some), device=device)
        with torch.autocast(grid.device.type, torch.bfloat16, enabled=is_bfloat16_fast(device)):
            output = visual(preprocess(some, SPEC, device)[0], grid_thw=grid)
        features.append(output.pooler_output.unflatten(0, (len(some), -1)))
        deep = torch.stack(output.deepstack_features)
        deepstack.append(deep.unflatten(1, (len(some), -1)))
    return torch.cat(features).half().cpu(), torch.cat(deepstack, dim=1).half().cpu()
