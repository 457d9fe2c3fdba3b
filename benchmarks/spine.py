"""What a clip costs at each stage and how soon an answer begins, beside plain transformers.

    python benchmarks/spine.py                                  the tiny model on this machine
    python benchmarks/spine.py --video FILE                     also the decoder, on real video
    python benchmarks/spine.py --checkpoint random:qwen3-vl-8b --device cuda

The plain path re-encodes and re-prefills the same clips for every question (`generate` of the
transformers model); ours recalls their keys and values. Both are measured in turn, in one run, on
the same clips.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe, write
from rich.console import Console
from rich.table import Table

from streamvlm.beginning import Beginning
from streamvlm.config import Config
from streamvlm.encode import Encoder, preprocess
from streamvlm.pipeline import StreamPipeline
from streamvlm.reduce import ReductionContext, build_reducer, reduce_clip
from streamvlm.types import (
    AnswerFinished,
    Clip,
    ClockSource,
    Question,
    Sampling,
    StreamTime,
    Usage,
    VisualTokens,
)
from streamvlm.vlm import Cursor, load
from streamvlm.vlm.inputs import join
from streamvlm.vlm.qwen import QwenVL

QUESTION = "When did the red van leave?"
CLIPS_PER_BLOCK = 4
FRESH_CLIPS = 4
SIDE = 448


def in_turn(
    works: list[Callable[[], Any]], device: torch.device, repeats: int
) -> list[dict[str, float]]:
    """Each work once, `repeats` times over, after a warm-up: its median, fastest and slowest run
    in milliseconds.
    """
    times: list[list[float]] = [[] for _ in works]
    for run in range(repeats + 1):
        for work, taken in zip(works, times, strict=True):
            wait_for(device)
            start = time.perf_counter()
            work()
            wait_for(device)
            if run:
                taken.append(1000 * (time.perf_counter() - start))
    return [
        {"median": statistics.median(taken), "min": min(taken), "max": max(taken)}
        for taken in times
    ]


def milliseconds(work: Callable[[], Any], device: torch.device, repeats: int) -> dict[str, float]:
    """As `in_turn`, for one work."""
    return in_turn([work], device, repeats)[0]


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def noise_clip(index: int) -> Clip:
    """A clip that no reducer can make smaller."""
    pixels = np.random.default_rng(index).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    times = tuple(
        StreamTime(pts_seconds=index + half, utc_seconds=index + half, clock=ClockSource.FILE)
        for half in (0.0, 0.5)
    )
    return Clip(stream_id="bench", clip_index=index, pixels=pixels, times=times, frame_seconds=0.5)


def decode_milliseconds(video: Path, vlm: QwenVL) -> float:
    """Decoding and resizing one clip of a file at 2 frames a second; needs av and decord."""
    from streamvlm.capture import open_feed

    feed = open_feed(
        "bench",
        str(video),
        fps=2.0,
        rule=vlm.patch_spec.rule,
        queue_clips=10_000,
        open_timeout_seconds=10.0,
        read_timeout_seconds=5.0,
    )
    feed.start(lambda: None)
    feed.wait_until_live(20.0)
    start, count = time.perf_counter(), 0
    try:
        while feed.status().state in ("live", "connecting") or feed.status().clips_waiting:
            if isinstance(feed.take(), Clip):
                count += 1
            else:
                time.sleep(0.001)
    finally:
        feed.stop()
    return 1000 * (time.perf_counter() - start) / max(1, count)


def stage_milliseconds(vlm: QwenVL, repeats: int) -> dict[str, Any]:
    """One clip through preprocessing, tower, reducer and prefill; figures are for one clip."""
    device, clips = vlm.device, [noise_clip(i) for i in range(8)]
    encoder = Encoder(tower=vlm, max_batch_clips=8)
    pixels = torch.from_numpy(clips[0].pixels[None])
    tokens = encoder.encode(clips)
    reducer = build_reducer({"name": "dtd"})
    _, context = reduce_clip(reducer, tokens[0], ReductionContext())
    prefix, cursor = vlm.lay_out_prefix()
    sinks = vlm.prefill(prefix, vlm.open_context([])).kv
    block = lay_out(vlm, tokens[:CLIPS_PER_BLOCK], cursor)
    eight = milliseconds(lambda: encoder.encode(clips), device, repeats)
    prefill = milliseconds(lambda: vlm.prefill(block, vlm.open_context([sinks])), device, repeats)
    return {
        "preprocess": milliseconds(
            lambda: preprocess(pixels, vlm.patch_spec, device), device, repeats
        ),
        "encode, 1 clip": milliseconds(lambda: encoder.encode(clips[:1]), device, repeats),
        "encode, 8 clips": {key: value / 8 for key, value in eight.items()},
        "reduce (dtd)": milliseconds(lambda: reducer(tokens[1], context), device, repeats),
        "prefill, all tokens kept": {
            key: value / CLIPS_PER_BLOCK for key, value in prefill.items()
        },
    }


def lay_out(vlm: QwenVL, tokens: list[VisualTokens], cursor: Cursor) -> Any:
    """Clips one after the other."""
    parts = []
    for clip in tokens:
        laid_out, cursor = vlm.lay_out_clip(clip, cursor)
        parts.append(laid_out)
    return join(parts)


def watched_pipeline(vlm: QwenVL, clips: list[Clip]) -> StreamPipeline:
    """A stream of which everything is remembered and recalled."""
    config = Config.model_validate(
        {
            "reduce": {"name": "all"},
            "encode": {"gate_threshold": 0.0},
            "remember": {
                "segment_clips": CLIPS_PER_BLOCK,
                "budget_bytes": 2**40,
                "local_blocks": 4,
                "max_span": 10**9,
                "candidate_tokens": 0,
            },
            "respond": {"fresh_clips": FRESH_CLIPS, "recall_blocks": len(clips)},
        }
    )
    pipeline = Beginning(vlm, config).pipeline()
    encoder = Encoder(tower=vlm, max_batch_clips=1)
    for clip in clips:
        pipeline.admit(clip)
        pipeline.feed(encoder.encode([clip])[0])
    return pipeline


def first_token(pipeline: StreamPipeline) -> Usage:
    """Ask and compute the first token."""
    question = Question(
        question_id="q", stream_id="bench", text=QUESTION, sampling=Sampling(max_new_tokens=1)
    )
    answering = pipeline.ask(question, time.monotonic())
    answering.advance()
    finished = answering.advance()[-1]
    assert isinstance(finished, AnswerFinished)
    return finished.usage


def plain_first_token(vlm: QwenVL, clips: list[Clip]) -> None:
    """The same question to the plain model: preprocess, encode and prefill every clip again."""
    model = vlm._model
    cells = (SIDE // vlm.patch_spec.rule.cell_pixels) ** 2
    pad = "<|video_pad|>" * cells
    if model.config.model_type == "qwen3_vl":
        video = "".join(
            f"<{clip.pts_seconds:.1f} seconds><|vision_start|>{pad}<|vision_end|>" for clip in clips
        )
    else:
        video = f"<|vision_start|>{pad * len(clips)}<|vision_end|>"
    ids = torch.tensor(
        [vlm.layout.token_ids(f"{vlm.layout.turn_start}{video}{QUESTION}{vlm.layout.turn_end}")]
    )
    pixels = torch.from_numpy(np.stack([clip.pixels for clip in clips]))
    patches, grid = preprocess(pixels, vlm.patch_spec, vlm.device)
    extra: dict[str, Any] = {}
    if model.config.model_type == "qwen2_5_vl":
        extra["second_per_grid_ts"] = torch.tensor([1.0])
    model.generate(
        input_ids=ids.to(vlm.device),
        attention_mask=torch.ones_like(ids).to(vlm.device),
        mm_token_type_ids=((ids == model.config.video_token_id).int() * 2).to(vlm.device),
        pixel_values_videos=patches.to(vlm.dtype),
        video_grid_thw=torch.tensor([[len(clips), *grid[1:]]], device=vlm.device),
        max_new_tokens=1,
        do_sample=False,
        **extra,
    )


def answer_milliseconds(vlm: QwenVL, recalled: list[int], repeats: int) -> list[dict[str, Any]]:
    """Time to first token at each number of recalled tokens: ours and the plain path's, in turn,
    on the same clips.
    """
    cells = (SIDE // vlm.patch_spec.rule.cell_pixels) ** 2
    ours_attention, plain_attention = vlm._vision.config._attn_implementation, "sdpa"
    rows, bytes_per_second = [], bandwidth(vlm.device)
    for number in recalled:
        num_blocks = max(1, round(number / (CLIPS_PER_BLOCK * cells)))
        clips = [noise_clip(i) for i in range(num_blocks * CLIPS_PER_BLOCK + FRESH_CLIPS)]
        pipeline = watched_pipeline(vlm, clips)

        def ours(pipeline: StreamPipeline = pipeline) -> None:
            vlm._vision.config._attn_implementation = ours_attention
            first_token(pipeline)

        def after_a_new_clip(ask: Callable[[], None] = ours, pipeline: Any = pipeline) -> None:
            pipeline._ready.forget()
            ask()

        def theirs(clips: list[Clip] = clips) -> None:
            vlm._vision.config._attn_implementation = plain_attention
            plain_first_token(vlm, clips)

        works = [after_a_new_clip, ours, theirs]
        unready, streamed, plain = in_turn(works, vlm.device, repeats)
        vlm._vision.config._attn_implementation = ours_attention
        usage = first_token(pipeline)
        rows.append(
            {
                "recalled_tokens": usage.recalled_tokens,
                "prefilled_tokens": usage.prompt_tokens,
                "clips": len(clips),
                "streamvlm_ms": streamed,
                "streamvlm_after_a_new_clip_ms": unready,
                "floor_ms": 1000
                * bytes_of_an_answer(vlm, usage.recalled_tokens)
                / bytes_per_second,
                "plain_ms": plain,
                "plain_over_streamvlm": plain["median"] / streamed["median"],
            }
        )
    return rows


def bandwidth(device: torch.device) -> float:
    """Bytes that a plain copy reads and writes in a second."""
    # On a GPU so many that the launch does not count.
    size = 2**31 if device.type == "cuda" else 2**28
    there = torch.ones(size, dtype=torch.uint8, device=device)
    other = torch.empty_like(there)
    taken = milliseconds(lambda: other.copy_(there), device, 5)["median"]
    return 2 * len(there) / taken * 1000


def bytes_of_an_answer(vlm: QwenVL, recalled: int) -> float:
    """That must be read and written until the first token is there, when so many are recalled: two
    passes over the weights, of which one ends in a token, recalled keys and values once from where
    they are to the context, and once out of it.
    """
    text = vlm._text_model
    layers = sum(each.numel() for layer in text.layers for each in layer.parameters())
    last: int = vlm._model.lm_head.weight.numel()
    return vlm.dtype.itemsize * (2 * layers + last) + 3 * recalled * vlm.kv_bytes_per_token


def show(result: dict[str, Any]) -> None:
    """Two tables."""
    console = Console()
    stages = Table(title=f"{result['checkpoint']} on {result['machine']['device']}: ms a clip")
    for column in ("stage", "median", "min", "max"):
        stages.add_column(column, justify="right" if column != "stage" else "left")
    for stage, figure in result["stages_ms_per_clip"].items():
        stages.add_row(stage, *(f"{figure[key]:.2f}" for key in ("median", "min", "max")))
    console.print(stages)
    answers = Table(title="time to first token, ms (median)")
    ours = "streamvlm", "after a new clip", "floor", "over the floor"
    for column in ("recalled tokens", "clips", *ours, "plain transformers", "ratio"):
        answers.add_column(column, justify="right")
    for row in result["time_to_first_token"]:
        answers.add_row(
            str(row["recalled_tokens"]),
            str(row["clips"]),
            f"{row['streamvlm_ms']['median']:.1f}",
            f"{row['streamvlm_after_a_new_clip_ms']['median']:.1f}",
            f"{row['floor_ms']:.1f}",
            f"{row['streamvlm_ms']['median'] / row['floor_ms']:.1f} x",
            f"{row['plain_ms']['median']:.1f}",
            f"{row['plain_over_streamvlm']:.1f} x",
        )
    console.print(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="random:qwen3-vl-tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--recalled", type=int, nargs="+", default=[1024, 4096, 8192])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--video", type=Path, help="a video file, to time the decoder as well")
    arguments = parser.parse_args()
    load_seconds = list[float]()
    for _ in range(2):  # the first one imports transformers too
        began = time.perf_counter()
        vlm = load(
            arguments.checkpoint,
            dtype=arguments.dtype,
            device=arguments.device,
            max_pixels=SIDE * SIDE,
        )
        load_seconds.append(round(time.perf_counter() - began, 3))
    stages = stage_milliseconds(vlm, arguments.repeats)
    if arguments.video:
        figure = decode_milliseconds(arguments.video, vlm)
        stages = {"decode and resize": dict.fromkeys(("median", "min", "max"), figure), **stages}
    result = {
        "checkpoint": arguments.checkpoint,
        "dtype": str(vlm.dtype).removeprefix("torch."),
        "picture": [SIDE, SIDE],
        "machine": describe(vlm.device),
        "load_seconds": dict(zip(("first", "again"), load_seconds, strict=True)),
        "stages_ms_per_clip": stages,
        "time_to_first_token": answer_milliseconds(vlm, arguments.recalled, arguments.repeats),
    }
    show(result)
    name = arguments.checkpoint.removeprefix("random:").replace("/", "_")
    print("wrote", write(f"spine-{name}-{vlm.device.type}", result))


if __name__ == "__main__":
    main()
