"""What does reduction cost? Every strategy in milliseconds a clip, beside the vision forward.

    python benchmarks/reduce.py

Clips of the shape that a real model makes of 448 x 448 pictures, most cells still: 256 tokens of
3,584 (Qwen2.5-VL-7B), 196 of 4,096 with three deepstack maps (Qwen3-VL-8B). The vision tower has
random weights of the published size. Beside them the published forms of DTD, a loop over tokens,
and of HoliTom's segmentation, a loop over all pairs of clips, written from their descriptions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from machine import describe, write
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
)
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

from streamvlm.reduce import REDUCERS, SEGMENT_REDUCERS, build_reducer, open_stream
from streamvlm.reduce.segment import DPSegmenter
from streamvlm.types import ClockSource, Interval, StreamTime, VisualTokens
from streamvlm.vlm.random_weights import SIZES

SHAPES = {
    "qwen2.5-vl-7b": (256, 3584, 0, Qwen2_5_VisionTransformerPretrainedModel),
    "qwen3-vl-8b": (196, 4096, 3, Qwen3VLVisionModel),
}
"""Tokens, their size, deepstack maps, and the class of the tower."""
NUM_CLIPS = 32
SIMILARITY = 0.8

console = Console(highlight=False)


def made_clips(
    num_tokens: int, size: int, num_maps: int, dtype: torch.dtype, device: torch.device
) -> list[VisualTokens]:
    """A still scene under noise in which a sixth of the cells is new in every clip."""
    generator = torch.Generator(device).manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    side = int(num_tokens**0.5)
    cells = torch.cartesian_prod(torch.arange(1), torch.arange(side), torch.arange(side))
    still, clips = noise(num_tokens, size), []
    for number in range(NUM_CLIPS):
        features = still + 0.2 * noise(num_tokens, size)
        first = number * 11 % num_tokens
        features[first : first + num_tokens // 6] = noise(num_tokens, size)[: num_tokens // 6][
            : num_tokens - first
        ]
        start = StreamTime(
            pts_seconds=float(number), utc_seconds=1.7e9 + number, clock=ClockSource.FILE
        )
        features = features.to(dtype)
        clips.append(
            VisualTokens(
                features=features,
                cells=cells.to(device),
                grid_thw=(1, side, side),
                interval=Interval(start=start, end=start.later(1.0)),
                pts_seconds=number + 0.25,
                deepstack=features.repeat(num_maps, 1, 1) if num_maps else None,
            )
        )
    return clips


def milliseconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median of so many runs, after one that does not count."""
    taken = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken[1:])


def through(spec: dict[str, Any], clips: list[VisualTokens]) -> None:
    """All clips of one stream through a reducer."""
    stream = open_stream(build_reducer(spec), segment_clips=4)
    for clip, following in zip(clips, [*clips[1:], None], strict=True):
        stream.push(clip, following)
    stream.flush()


def published_dtd(clips: list[VisualTokens]) -> list[list[bool]]:
    """Token by token, each cosine brought to the host."""
    kept = []
    for before, now in pairwise(clips):
        keep = []
        for one, other in zip(before.features, now.features, strict=True):
            cosine = torch.cosine_similarity(one.float(), other.float(), dim=0).item()
            keep.append(not cosine > SIMILARITY)
        kept.append(keep)
    return kept


def published_segments(clips: list[VisualTokens]) -> list[int]:
    """All windows, the static cells of each by products of all pairs, sums brought to the host."""
    features = torch.stack([clip.features.float() for clip in clips])
    static = torch.cosine_similarity(features[:-1], features[1:], dim=-1) > SIMILARITY
    best, starts = [0.0], [0]
    for end in range(1, len(clips) + 1):
        value, start = best[end - 1], end - 1
        for clips_here in range(2, end + 1):
            window = static[end - clips_here : end - 1]
            gain = (clips_here - 1) * window.cumprod(dim=0)[-1].sum()
            here = best[end - clips_here] + gain.item()
            if here > value:
                value, start = here, end - clips_here
        best.append(value)
        starts.append(start)
    return starts


def online_segments(clips: list[VisualTokens]) -> None:
    """The same cuts by the online segmenter."""
    segmenter = DPSegmenter(similarity=SIMILARITY)
    for clip in clips:
        segmenter.push(clip.features)
    segmenter.flush()


def vision_forward(
    model_class: Any, size: str, num_tokens: int, dtype: torch.dtype, device: torch.device
) -> Callable[[], object]:
    """One clip of so many tokens through the tower of this size."""
    config = SIZES[size]().vision_config
    with torch.device(device):
        tower = model_class._from_config(config, dtype=dtype).eval()
    side = config.spatial_merge_size * int(num_tokens**0.5)
    grid = torch.tensor([[1, side, side]], device=device)
    row = config.in_channels * config.temporal_patch_size * config.patch_size**2
    patches = torch.randn(side * side, row, device=device, dtype=dtype)

    @torch.inference_mode()
    def forward() -> object:
        return tower(patches, grid_thw=grid)

    return forward


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    device = torch.device(options.device)
    dtype = torch.bfloat16
    names = [*SEGMENT_REDUCERS, *REDUCERS]
    result: dict[str, Any] = {"machine": describe(device), "dtype": str(dtype), "shapes": {}}
    for size, (num_tokens, width, num_maps, model_class) in SHAPES.items():
        clips = made_clips(num_tokens, width, num_maps, dtype, device)
        forward = vision_forward(model_class, size, num_tokens, dtype, device)
        vision = milliseconds(forward, device, options.repeats)

        def a_clip(work: Callable[..., object], *given: Any) -> float:
            return milliseconds(partial(work, *given), device, options.repeats) / NUM_CLIPS

        strategies = {name: a_clip(through, {"name": name}, clips) for name in names}
        published = {
            "dtd": {"published": a_clip(published_dtd, clips), "ours": strategies["dtd"]},
            "segments": {
                "published": a_clip(published_segments, clips),
                "ours": a_clip(online_segments, clips),
            },
        }
        result["shapes"][size] = {
            "vision_ms": vision,
            "ms_a_clip": strategies,
            "published_ms_a_clip": published,
        }
        _show(size, vision, strategies, published)
    console.print("wrote", write(f"reduce_{device.type}", result))


def _show(
    size: str,
    vision: float,
    strategies: dict[str, float],
    published: dict[str, dict[str, float]],
) -> None:
    table = Table(title=f"{size}: vision forward {vision:.0f} ms a clip")
    for column in ("strategy", "ms a clip", "% of vision"):
        table.add_column(column, justify="left" if column == "strategy" else "right")
    for name, taken in strategies.items():
        table.add_row(name, f"{taken:.2f}", f"{100 * taken / vision:.1f}")
    console.print(table)
    for name, both in published.items():
        ratio = both["published"] / both["ours"]
        console.print(
            f"{name}: published form {both['published']:.2f} ms, ours {both['ours']:.2f} ms, "
            f"{ratio:.1f} x"
        )


if __name__ == "__main__":
    main()
