"""From a script to pictures: many frames at once, on a CPU or a GPU.

What differs from frame to frame is drawn sprite by sprite into small patches; the rest of a frame
is its background, the light and the noise of the sensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from streamvlm.evaluate.world.script import Script, Visit
from streamvlm.evaluate.world.sprites import REACH, SIDE, sprite

PICTURE = 256
"""Pixels of a picture's side, the size that mini was trained on."""
_CHUNK_FRAMES = {"cpu": 2, "cuda": 256}
"""Frames drawn together: on a CPU as many as stay in its cache."""
_MARGIN = 0.3
"""Of the shorter side, all around a frame while it is drawn: sprites are never clipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """How a camera sees: drawn from the scene's seed."""

    noise: float
    """Standard deviation of the sensor's noise, in grey levels."""
    drift: float
    """How far the light swings around its mean, as a share."""
    drift_seconds: float
    flicker: float
    """How much the light changes from frame to frame, as a share."""


def lens(seed: int) -> Lens:
    """The camera of this seed."""
    rng = np.random.default_rng((seed, 3))
    return Lens(
        noise=float(rng.uniform(0.5, 4.0)),
        drift=float(rng.uniform(0.0, 0.12)),
        drift_seconds=float(rng.uniform(60.0, 600.0)),
        flicker=float(rng.uniform(0.0, 0.01)),
    )


def render(
    script: Script,
    times: Sequence[float],
    *,
    height: int = PICTURE,
    width: int = PICTURE,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The frames at these times, uint8 [F, H, W, 3]; the same for the same script and times."""
    chunk = _CHUNK_FRAMES[torch.device(device).type]
    pieces = [times[first : first + chunk] for first in range(0, len(times), chunk)]
    return torch.cat([_render(script, piece, height, width, device) for piece in pieces])


def _render(
    script: Script, times: Sequence[float], height: int, width: int, device: torch.device | str
) -> Tensor:
    shown = [script.shown_at(each) for each in times]
    views = [script.view(each) for each in shown]
    grounds = {view: _ground(script.seed, view, height, width).to(device) for view in set(views)}
    canvas, margin = _canvas([grounds[view] for view in views], min(height, width))
    _draw(canvas, script, shown, margin, min(height, width), (height, width))
    frames = canvas[:, :, margin : margin + height, margin : margin + width]
    # From here on in place: the canvas is ours, and a CPU spends its time on memory here.
    frames.mul_(_light(script, shown).to(device)[:, None, None, None])
    if black := [number for number, each in enumerate(times) if script.is_black(each)]:
        frames[black] = 4.0
    frames.add_(_noise(script.seed, shown, height, width, device)).round_().clamp_(0, 255)
    return frames.permute(0, 2, 3, 1).to(torch.uint8, memory_format=torch.contiguous_format)


def _canvas(grounds: list[Tensor], side: int) -> tuple[Tensor, int]:
    """Backgrounds [F, 3, H + 2m, W + 2m] and m; what lies in the margin is cut off later."""
    margin = int(_MARGIN * side)
    frames = torch.stack(grounds)
    canvas = frames.new_zeros(
        len(frames), 3, frames.shape[2] + 2 * margin, frames.shape[3] + 2 * margin
    )
    canvas[:, :, margin:-margin, margin:-margin] = frames
    return canvas, margin


class _Drawn(NamedTuple):
    """A visit in a frame."""

    frame: int
    seconds: float
    visit: Visit
    center: tuple[float, float]
    """On the canvas, in pixels."""

    @property
    def radius(self) -> float:
        return self.visit.thing.radius

    @property
    def picture(self) -> Tensor:
        return sprite(self.visit.thing, self.visit.color(self.seconds))


def _draw(
    canvas: Tensor,
    script: Script,
    shown: list[float],
    margin: int,
    side: int,
    size: tuple[int, int],
) -> None:
    """Draw every visit into every frame that it is in; later visits over earlier ones."""
    height, width = size
    layers: list[list[_Drawn]] = []
    for frame, seconds in enumerate(shown):
        depth = 0
        for visit in script.visits:
            place = visit.at(seconds)
            if place is None:
                continue
            if depth == len(layers):
                layers.append([])
            center = (place[0] * width + margin, place[1] * height + margin)
            layers[depth].append(_Drawn(frame, seconds, visit, center))
            depth += 1
    for layer in layers:
        _draw_layer(canvas, layer, side)


def _draw_layer(canvas: Tensor, layer: list[_Drawn], side: int) -> None:
    """At most one sprite a frame, so that all can be blended in one go."""
    device = canvas.device
    frames = torch.tensor([each.frame for each in layer], device=device)
    sprites = torch.stack([each.picture for each in layer]).to(device)  # [n, 4, S, S]
    scales = torch.tensor([each.radius * side / REACH for each in layer])
    scale = scales.to(device)
    centers = torch.tensor([each.center for each in layer], device=device)  # [n, 2] x, y
    patch = int(float(scales.max()) * SIDE) + 4
    corners = (centers - patch / 2).round()
    # Where each patch pixel lies in its sprite, in the -1..1 of grid_sample.
    steps = torch.arange(patch, device=device) + 0.5
    offsets = (corners[:, None] + steps[:, None] - centers[:, None]) / scale[:, None, None]
    grid = (offsets * 2 / SIDE).float()  # [n, patch, 2] x, y
    where = torch.stack(
        [
            grid[:, None, :, 0].expand(-1, patch, -1),
            grid[:, :, None, 1].expand(-1, -1, patch),
        ],
        dim=-1,
    )
    shrunk = _sharpened(sprites, float(scales.mean()))
    drawn = grid_sample(shrunk, where, align_corners=False)  # [n, 4, patch, patch]
    rows = (corners[:, 1].long()[:, None] + torch.arange(patch, device=device)).clamp_(
        0, canvas.shape[2] - 1
    )
    columns = (corners[:, 0].long()[:, None] + torch.arange(patch, device=device)).clamp_(
        0, canvas.shape[3] - 1
    )
    index = (frames[:, None, None], slice(None), rows[:, :, None], columns[:, None, :])
    under = canvas[index].permute(0, 3, 1, 2)
    opacity = drawn[:, 3:]
    canvas[index] = (under + opacity * (drawn[:, :3] - under)).permute(0, 2, 3, 1)


def _sharpened(sprites: Tensor, scale: float) -> Tensor:
    """Averaged down where they are drawn at half their size or less, against jagged edges."""
    if scale > 0.6:
        return sprites
    smaller = interpolate(sprites, scale_factor=0.5, mode="area")
    return interpolate(smaller, scale_factor=2.0, mode="bilinear", align_corners=False)


def _light(script: Script, shown: Sequence[float]) -> Tensor:
    """float32 [F]: how bright each frame is."""
    seed, eye = script.seed, lens(script.seed)
    seconds = np.asarray(shown)
    swing = 1 + eye.drift * np.sin(2 * np.pi * (seconds / eye.drift_seconds + seed % 7 / 7))
    flicker = [np.random.default_rng((seed, 4, int(each * 1000))).normal() for each in shown]
    usual = swing * (1 + eye.flicker * np.asarray(flicker))
    return torch.tensor(usual * [script.light(each) for each in shown], dtype=torch.float32)


def _noise(
    seed: int, shown: Sequence[float], height: int, width: int, device: torch.device | str
) -> Tensor:
    """float32 [F, 3, H, W]: cuttings of one field of noise, which is much cheaper than drawing
    anew.
    """
    field = _noise_field(height + 64, width + 64, device)
    strength = lens(seed).noise
    frames = []
    for seconds in shown:
        draw = np.random.default_rng((seed, 5, int(seconds * 1000)))
        top, left = draw.integers(0, 64, size=2).tolist()
        frames.append(field[:, top : top + height, left : left + width])
    return torch.stack(frames) * strength


@lru_cache(maxsize=4)
def _noise_field(height: int, width: int, device: torch.device | str) -> Tensor:
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(0)).to(device)


@lru_cache(maxsize=64)
def _ground(seed: int, view: int, height: int, width: int) -> Tensor:
    """float32 [3, H, W]: a dull background with texture at several scales and some edges."""
    rng = np.random.default_rng((seed, 6, view))
    ground = torch.full((3, height, width), float(rng.uniform(80, 165)))
    ground += torch.from_numpy(rng.uniform(-12, 12, size=(3, 1, 1)).astype(np.float32))
    side = min(height, width)
    for cells, strength in ((3, 22.0), (11, 10.0), (48, 5.0)):
        rows, columns = max(2, cells * height // side), max(2, cells * width // side)
        coarse = torch.from_numpy(rng.normal(0, strength, (1, 1, rows, columns)).astype(np.float32))
        ground += interpolate(coarse, (height, width), mode="bilinear", align_corners=False)[0]
    for _ in range(rng.integers(0, 5)):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        tall, wide = rng.integers(side // 12, side // 3, size=2).tolist()
        ground[:, top : top + tall, left : left + wide] += float(rng.uniform(-28, 28))
    return ground.clamp(45, 200)
