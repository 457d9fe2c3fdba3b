"""Qwen2.5-VL: all clips are one video whose temporal positions follow the clock; windowed vision
attention.

Source: "Qwen2.5-VL Technical Report", arXiv 2502.13923, and the published transformers classes.
"""

from __future__ import annotations

from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from streamvlm.types import KeptTokens, VisualTokens
from streamvlm.vlm.layout import Family, QwenLayout
from streamvlm.vlm.positions import Cursor, place_by_time


def _clip_layout(
    layout: QwenLayout, tokens: KeptTokens | VisualTokens, cursor: Cursor
) -> tuple[str, Tensor, str, Cursor]:
    positions, cursor = place_by_time(
        tokens.cells,
        tokens.grid_thw,
        video_start=layout.video_start,
        pts_seconds=tokens.interval.start.pts_seconds,
        tokens_per_second=layout.config.vision_config.tokens_per_second,
        cursor=cursor,
    )
    return "", positions, "", cursor


QWEN2_5_VL = Family(
    model_type="qwen2_5_vl",
    model_class=Qwen2_5_VLForConditionalGeneration,
    video_prefix="<|vision_start|>",
    video_suffix="<|vision_end|>",
    clip_layout=_clip_layout,
    positions_scheme="by_time",
    moving_axes=(True, False, False),
    raw_key_module="k_proj",
    raw_query_module="q_proj",
    has_deepstack=False,
)
