"""A pipeline fed by hand, and the plain full-context forward that it must equal."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from streamvlm.encode import Encoder, preprocess
from streamvlm.pipeline import StreamPipeline
from streamvlm.recalling import Recalling
from streamvlm.reduce import build_reducer, open_stream
from streamvlm.remember import DEFAULTS, KVMemory
from streamvlm.respond import Answering
from streamvlm.types import Clip, Question, Sampling, Signal
from streamvlm.vlm.qwen import QwenVL
from streamvlm.vlm.random_weights import tiny_tokenizer

EVERYTHING = 10_000


def make_pipeline(
    vlm: QwenVL, reduce: dict[str, Any] | None = None, **settings: Any
) -> StreamPipeline:
    """A pipeline with every reduction off, no window and everything recalled, unless told
    otherwise.
    """
    prefix, cursor = vlm.lay_out_prefix()
    reducer = build_reducer(reduce or {"name": "all"})
    reduction = open_stream(reducer, settings.pop("segment_clips", 1))
    positions: dict[str, Any] = dict(
        policy=settings.pop("policy", "keep"), max_span=settings.pop("max_span", 10**9)
    )
    recall = settings.pop("recall", DEFAULTS)
    memory = KVMemory(
        vlm,
        vlm.prefill(prefix, vlm.open_context([])).kv,
        budget_bytes=settings.pop("budget_bytes", 2**30),
        local_blocks=settings.pop("local_blocks", EVERYTHING),
        recall=recall,
        storage=settings.pop("storage", None),
        **positions,
    )
    recalling = Recalling(
        vlm=vlm,
        memory=memory,
        settings=recall,
        num_blocks=settings.pop("recall_blocks", EVERYTHING),
        **positions,
    )
    defaults = dict(gate_threshold=0.0, fresh_clips=0, max_question_tokens=EVERYTHING)
    return StreamPipeline(vlm, reduction, recalling, cursor, **(defaults | settings))


def feed(
    pipeline: StreamPipeline,
    clips: list[Clip],
    batch: int = 1,
    *,
    signals: frozenset[Signal] = frozenset(),
    keeps_pictures: bool = False,
) -> None:
    """Bring clips into the pipeline, `batch` at a time through the vision tower."""
    encoder = Encoder(
        tower=pipeline._vlm, max_batch_clips=batch, signals=signals, keeps_pictures=keeps_pictures
    )
    for start in range(0, len(clips), batch):
        some = clips[start : start + batch]
        new = [clip for clip in some if pipeline.admit(clip)]
        encoded = dict(zip((clip.clip_index for clip in new), encoder.encode(new), strict=True))
        for clip in some:
            if clip.clip_index in encoded:
                pipeline.feed(encoded[clip.clip_index])
            else:
                pipeline.extend(clip)


def ask(pipeline: StreamPipeline, text: str, max_new_tokens: int = 4) -> Answering:
    """A greedy answer, not begun."""
    question = Question(
        question_id="q",
        stream_id="door",
        text=text,
        sampling=Sampling(max_new_tokens=max_new_tokens),
    )
    return pipeline.ask(question, time.monotonic())


def streamed_logits(answering: Answering, num_tokens: int) -> tuple[list[Tensor], list[int]]:
    """Logits after the prompt and after each of the first `num_tokens` - 1 tokens, and the
    tokens.
    """
    answering.advance()
    logits, tokens = [answering._logits], []
    # Past a stop token too: what counts here is the numbers, not the sentence.
    for _ in range(num_tokens - 1):
        token = int(logits[-1].argmax())
        tokens.append(token)
        logits.append(
            answering._vlm.decode(token, answering._position + len(tokens) - 1, answering._context)
        )
    return logits, tokens


def offline_logits(
    vlm: QwenVL, model: Any, clips: list[Clip], text: str, tokens: list[int]
) -> list[Tensor]:
    """The same numbers by one forward of the transformers model over everything.

    Its own vision attention, placeholders, merging of features and deepstack; for Qwen3-VL its own
    positions as well. For Qwen2.5-VL the positions are those of `reference_positions`, since 5.23's
    are wrong.
    """
    tokenizer = tiny_tokenizer()
    is_qwen3 = model.config.model_type == "qwen3_vl"
    merged = _merged_grid(vlm, clips[0])
    num_visual = merged[0] * merged[1]
    video_pad = "<|video_pad|>" * num_visual
    if is_qwen3:
        video = "".join(
            f"<{(clip.times[0].pts_seconds + clip.times[1].pts_seconds) / 2:.1f} seconds>"
            f"<|vision_start|>{video_pad}<|vision_end|>"
            for clip in clips
        )
    else:
        video = f"<|vision_start|>{video_pad * len(clips)}<|vision_end|>"
    prompt = f"<|im_start|>user\n{video}{text}<|im_end|>\n<|im_start|>assistant\n"
    ids = torch.tensor([tokenizer(prompt).input_ids + tokens])
    pixels = torch.from_numpy(np.stack([clip.pixels for clip in clips]))
    patches, grid = preprocess(pixels, vlm.patch_spec)
    types = (ids == model.config.video_token_id).int() * 2
    positions = None
    if not is_qwen3:
        starts = [clip.times[0].pts_seconds for clip in clips]
        per_second = model.config.vision_config.tokens_per_second
        positions = reference_positions(types[0], starts, merged, per_second)[:, None]
    output = model(
        input_ids=ids,
        pixel_values_videos=patches.to(model.dtype),
        video_grid_thw=torch.tensor([[len(clips), *grid[1:]]]),
        mm_token_type_ids=types,
        position_ids=positions,
        use_cache=False,
    )
    return list(output.logits[0, -len(tokens) - 1 :])


def _merged_grid(vlm: QwenVL, clip: Clip) -> tuple[int, int]:
    cell = vlm.patch_spec.rule.cell_pixels
    return clip.pixels.shape[1] // cell, clip.pixels.shape[2] // cell


def reference_positions(
    types: Tensor, clip_starts: list[float], merged: tuple[int, int], tokens_per_second: float
) -> Tensor:
    """Positions int64 [3,S] of text (types 0) around one Qwen2.5-VL video (types 2), written out
    plainly.

    The rule of arXiv 2502.13923: text counts up on all axes; the video's t follows the clock, its h
    and w the cell; what follows the video starts one past its largest position.
    """
    rows, columns = merged
    start = int((types == 0).int().cumprod(0).sum())
    positions = [[i, i, i] for i in range(start)]
    for clip_start in clip_starts:
        t = start + int(clip_start * tokens_per_second)
        positions += [[t, start + h, start + w] for h in range(rows) for w in range(columns)]
    following = max(max(position) for position in positions) + 1
    rest = len(types) - len(positions)
    positions += [[following + i] * 3 for i in range(rest)]
    return torch.tensor(positions).T
