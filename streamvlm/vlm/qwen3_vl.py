"""Qwen3-VL: every clip is a picture of its own behind its time in text; three deepstack levels;
keys are normed.

Source: "Qwen3-VL Technical Report", arXiv 2511.21631, and the published transformers classes.
"""

from __future__ import annotations

from torch import Tensor
from transformers import Qwen3VLForConditionalGeneration

from streamvlm.types import KeptTokens, VisualTokens
from streamvlm.vlm.layout import Family, QwenLayout
from streamvlm.vlm.positions import Cursor, place_by_order


def _clip_layout(
    layout: QwenLayout, tokens: KeptTokens | VisualTokens, cursor: Cursor
) -> tuple[str, Tensor, str, Cursor]:
    before = f"<{tokens.pts_seconds:.1f} seconds><|vision_start|>"
    start = cursor.text + len(layout.token_ids(before))
    positions, end = place_by_order(tokens.cells, tokens.grid_thw, start)
    after = "<|vision_end|>"
    return before, positions, after, Cursor(text=end + 1, temporal=end + 1)


QWEN3_VL = Family(
    model_type="qwen3_vl",
    model_class=Qwen3VLForConditionalGeneration,
    video_prefix="",
    video_suffix="",
    clip_layout=_clip_layout,
    positions_scheme="by_order",
    moving_axes=(True, True, True),
    raw_key_module="k_norm",
    raw_query_module="q_norm",
    has_deepstack=True,
)
