"""What does reduction cost? Every strategy in milliseconds a clip, beside the vision forward.

    python benchmarks/reduce.py

Clips of the shape that a real model makes of 448 x 448 pictures, most cells still: 256 tokens of
3,584 (Qwen2.5-VL-7B), 196 of 4,096 with three deepstack maps (Qwen3-VL-8B). Every strategy with one
stream of the first shape; a few, `CLOSELY`, with both shapes, and with 64 streams that take turns:
in one call where there is one for many streams, else in 64 calls, and both ways where there is a
choice. The vision tower has random weights of the published size, and takes one clip or
64 (64 on a GPU only); shares are of the forward of as many clips. Beside them the published forms
of DTD, a loop over tokens, and of HoliTom's segmentation, a loop over all pairs of clips, written
from their descriptions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from machine import describe, write
from published import SIMILARITY, published_dtd, published_segments
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
)
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

from streamvlm.reduce import (
    REDUCERS,
    SEGMENT_REDUCERS,
    ReductionContext,
    build_reducer,
    open_stream,
)
from streamvlm.reduce.carry import advance_reference
from streamvlm.reduce.compressor import Compressor
from streamvlm.reduce.ops import cosine_distance
from streamvlm.reduce.segment import DPSegmenter
from streamvlm.reduce.strategies.dtd import DTD
from streamvlm.reduce.together import push_together
from streamvlm.types import ClockSource, Interval, StreamTime, VisualTokens
from streamvlm.vlm.packed_attention import PACKED_ATTENTION
from streamvlm.vlm.random_weights import SIZES

SHAPES = {
    "qwen2.5-vl-7b": (256, 3584, 0, Qwen2_5_VisionTransformerPretrainedModel),
    "qwen3-vl-8b": (196, 4096, 3, Qwen3VLVisionModel),
}
"""Tokens, their size, deepstack maps, and the class of the tower."""
FOR_ALL = "qwen2.5-vl-7b"
"""The shape that all strategies are measured with."""
CLOSELY = ("all", "compressor", "divprune", "dtd", "evs", "holitom", "uniform")
"""Strategies that are measured with every shape, and with many streams."""
NUM_CLIPS = 32
FEW_CLIPS = 8
SLOW_MS = 200
"""Strategies that take longer for a clip are measured once, with `FEW_CLIPS`."""
NUM_STREAMS = 64
NUM_TURNS = 8
"""So many clips of each of the 64 streams; the first does not count."""

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
                salience=features[:, 0].float().abs(),
                sensitivity=features[:, 1].float().abs(),
            )
        )
    return clips


def milliseconds(
    work: Callable[[], object], device: torch.device, repeats: int, *, is_warm: bool = False
) -> float:
    """The median of so many runs, after one that does not count unless all `is_warm`."""
    taken = []
    for _ in range(repeats + (not is_warm)):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken[-repeats:])


def through(spec: dict[str, Any], clips: list[VisualTokens]) -> None:
    """All clips of one stream through a reducer."""
    stream = open_stream(build_reducer(spec), segment_clips=4)
    for clip, following in zip(clips, [*clips[1:], None], strict=True):
        stream.push(clip, following)
    stream.flush()


def of_one(name: str, clips: list[VisualTokens], device: torch.device, repeats: int) -> float:
    """Milliseconds a clip of one stream."""
    few = clips[:FEW_CLIPS]
    taken = milliseconds(partial(through, {"name": name}, few), device, 1) / len(few)
    if taken > SLOW_MS:
        return taken
    whole = partial(through, {"name": name}, clips)
    return milliseconds(whole, device, repeats, is_warm=True) / len(clips)


def of_many(name: str, clips: list[VisualTokens], device: torch.device, *, together: bool) -> float:
    """Milliseconds a clip where many streams take turns, each somewhere else in the scene."""
    turn = TOGETHER[name]() if together else _in_turn(name)
    places = [each % (NUM_CLIPS - NUM_TURNS) for each in range(NUM_STREAMS)]
    shown = [[clips[place + number] for place in places] for number in range(NUM_TURNS)]
    turn(shown[0])
    # A segment takes several turns; to those that know none one clip is like another.
    turns = shown[1:] if name in SEGMENT_REDUCERS else shown[1:3]
    taken = milliseconds(lambda: [turn(each) for each in turns], device, 1, is_warm=True)
    return taken / len(turns) / NUM_STREAMS


def _in_turn(name: str) -> Callable[[list[VisualTokens]], None]:
    streams = [open_stream(build_reducer({"name": name}), 4) for _ in range(NUM_STREAMS)]

    def turn(clips: list[VisualTokens]) -> None:
        for stream, clip in zip(streams, clips, strict=True):
            stream.push(clip, None)

    return turn


def _compressors() -> Callable[[list[VisualTokens]], None]:
    streams = [Compressor().open() for _ in range(NUM_STREAMS)]

    def turn(clips: list[VisualTokens]) -> None:
        for done in push_together(streams, clips):
            if isinstance(done, Exception):
                raise done

    return turn


def _dtds() -> Callable[[list[VisualTokens]], None]:
    contexts = [ReductionContext()] * NUM_STREAMS

    def turn(clips: list[VisualTokens]) -> None:
        kept = DTD().reduce_many(clips, contexts)
        for number, (clip, own) in enumerate(zip(clips, kept, strict=True)):
            context = contexts[number]
            reference = advance_reference(context.reference, clip, own, reuse=True)
            contexts[number] = replace(
                context, clip_index=context.clip_index + 1, reference=reference
            )

    return turn


TOGETHER = {"compressor": _compressors, "dtd": _dtds}
"""Those that take many streams in one call."""


def masks(clips: list[VisualTokens]) -> list[list[bool]]:
    """What the published form of DTD finds, and no more, by the distance that DTD uses here."""
    return [
        (cosine_distance(before.features, now.features) >= 1 - SIMILARITY).tolist()
        for before, now in pairwise(clips)
    ]


def online_segments(clips: list[VisualTokens]) -> None:
    """The same cuts by the online segmenter."""
    segmenter = DPSegmenter(similarity=SIMILARITY)
    for clip in clips:
        segmenter.push(clip.features)
    segmenter.flush()


def vision_forward(
    model_class: Any, size: str, num_tokens: int, dtype: torch.dtype, device: torch.device
) -> Callable[[int], object]:
    """So many clips of so many tokens through the tower of this size, as streamvlm runs it."""
    config = SIZES[size]().vision_config
    with torch.device(device):
        tower = model_class._from_config(config, dtype=dtype).eval()
    tower.config._attn_implementation = PACKED_ATTENTION
    side = config.spatial_merge_size * int(num_tokens**0.5)
    row = config.in_channels * config.temporal_patch_size * config.patch_size**2

    @torch.inference_mode()
    def forward(num_clips: int) -> object:
        grid = torch.tensor([[1, side, side]] * num_clips, device=device)
        patches = torch.zeros(num_clips * side * side, row, device=device, dtype=dtype)
        return tower(patches, grid_thw=grid)

    return forward


def of_vision(
    size: str, dtype: torch.dtype, device: torch.device, repeats: int
) -> dict[str, float]:
    """Milliseconds a clip of the tower, by how many clips it takes."""
    num_tokens, _, _, model_class = SHAPES[size]
    forward = vision_forward(model_class, size, num_tokens, dtype, device)
    if device.type == "cpu":
        # A forward takes many seconds here: one, and no warm-up.
        return {"1": milliseconds(partial(forward, 1), device, 1, is_warm=True)}
    return {
        str(count): milliseconds(partial(forward, count), device, repeats) / count
        for count in (1, NUM_STREAMS)
    }


def measured(size: str, device: torch.device, repeats: int) -> dict[str, Any]:
    """All figures of one shape."""
    num_tokens, width, num_maps, _ = SHAPES[size]
    clips = made_clips(num_tokens, width, num_maps, torch.bfloat16, device)

    def a_clip(work: Callable[..., object], *given: Any) -> float:
        return milliseconds(partial(work, *given), device, repeats) / NUM_CLIPS

    names = [*SEGMENT_REDUCERS, *REDUCERS] if size == FOR_ALL else CLOSELY
    one = {name: of_one(name, clips, device, repeats) for name in names}
    many = {name: of_many(name, clips, device, together=False) for name in CLOSELY}
    # The published form of DTD says what to keep; ours keeps it too, and carries the reference.
    ours = {
        "dtd, what to keep": a_clip(masks, clips),
        "dtd, all of it": one["dtd"],
        "segments": a_clip(online_segments, clips),
    }
    plain = a_clip(published_dtd, clips)
    published = {
        "dtd, what to keep": plain,
        "dtd, all of it": plain,
        "segments": a_clip(published_segments, clips),
    }
    return {
        "vision_ms_a_clip": of_vision(size, torch.bfloat16, device, repeats),
        "ms_a_clip": one,
        "ms_a_clip_of_64_streams_in_64_calls": many,
        "ms_a_clip_of_64_streams_in_one_call": {
            name: of_many(name, clips, device, together=True) for name in TOGETHER
        },
        "published_ms_a_clip": {
            name: {
                "published": published[name],
                "ours": ours[name],
                "times": published[name] / ours[name],
            }
            for name in published
        },
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    device = torch.device(options.device)
    result: dict[str, Any] = {"machine": describe(device), "dtype": "torch.bfloat16", "shapes": {}}
    for size in SHAPES:
        result["shapes"][size] = measured(size, device, options.repeats)
        _show(size, result["shapes"][size])
        console.print("wrote", write(f"reduce_{device.type}", result))
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _show(size: str, found: dict[str, Any]) -> None:
    vision = found["vision_ms_a_clip"]
    of = ", ".join(f"{taken:.2f} ms a clip of {count}" for count, taken in vision.items())
    table = Table(title=f"{size}: vision forward {of}")
    columns = "strategy", "1 stream", "% of vision", "64 streams", "% of vision", "calls"
    for column in columns:
        table.add_column(column, justify="left" if column == "strategy" else "right")
    # On a CPU a forward of many clips takes as long a clip as one of one.
    one, many = vision["1"], vision.get(str(NUM_STREAMS), vision["1"])
    ways = {
        1: found["ms_a_clip_of_64_streams_in_one_call"],
        NUM_STREAMS: found["ms_a_clip_of_64_streams_in_64_calls"],
    }
    for name, taken in found["ms_a_clip"].items():
        alone = name, f"{taken:.2f}", f"{100 * taken / one:.2f}"
        if name not in CLOSELY:
            table.add_row(*alone)
        for calls, of_streams in ways.items():
            if name in of_streams:
                of_many = of_streams[name]
                row = f"{of_many:.2f}", f"{100 * of_many / many:.2f}", str(calls)
                table.add_row(*alone, *row)
    console.print(table)
    for name, both in found["published_ms_a_clip"].items():
        console.print(
            f"{name}: published form {both['published']:.2f} ms, ours {both['ours']:.2f} ms, "
            f"{both['times']:.1f} x"
        )


if __name__ == "__main__":
    main()
