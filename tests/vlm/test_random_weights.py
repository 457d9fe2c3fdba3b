"""The random models have the published sizes."""

from __future__ import annotations

import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration

from streamvlm.vlm.random_weights import SIZES, tiny_tokenizer
from tests.conftest import tiny_vlm


@pytest.mark.parametrize(
    ("size", "kv_bytes_per_token", "parameters"),
    [
        ("qwen2.5-vl-3b", 36_864, 3.75e9),
        ("qwen2.5-vl-7b", 57_344, 8.29e9),
        ("qwen3-vl-2b", 114_688, 2.13e9),
        ("qwen3-vl-4b", 147_456, 4.44e9),
        ("qwen3-vl-8b", 147_456, 8.77e9),
    ],
)
def test_sizes_are_the_published_ones(
    size: str, kv_bytes_per_token: int, parameters: float
) -> None:
    config = SIZES[size]()
    text = config.text_config
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    bfloat16_kv = 2 * text.num_hidden_layers * text.num_key_value_heads * head_size * 2
    assert bfloat16_kv == kv_bytes_per_token
    qwen3 = size.startswith("qwen3")
    model_class = Qwen3VLForConditionalGeneration if qwen3 else Qwen2_5_VLForConditionalGeneration
    with torch.device("meta"):
        model = model_class._from_config(config)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(parameters, rel=0.01)


def test_the_same_seed_gives_the_same_weights(family: str) -> None:
    first = tiny_vlm(family)._model.state_dict()
    tiny_vlm.cache_clear()
    again = tiny_vlm(family)._model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("text", ["red van", "Ünïcödé 日本語 🚐", "line\n\nbreak\ttab", "<|im_x|>"])
def test_any_text_survives_the_tokenizer(text: str) -> None:
    tokenizer = tiny_tokenizer()
    assert tokenizer.decode(tokenizer(text).input_ids) == text
