"""What mini is: the sizes of its parts. The classes are those of Qwen3-VL, unchanged."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from streamvlm.evaluate.world.render import PICTURE
from streamvlm.types import GridRule
from streamvlm.vlm.packed_attention import PACKED_ATTENTION
from streamvlm.vlm.patch_projection import PatchProjection
from streamvlm.vlm.patches import PatchSpec
from streamvlm.vlm.random_weights import set_vision_tokens

CELLS = 8
"""Visual tokens along a side."""
HIDDEN = 256
_SHARPNESS = 2.0
"""How much more attention heads tell apart at first than they would by default."""

SPEC = PatchSpec(
    patch_size=16,
    merge_size=2,
    temporal_patch_size=2,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    rule=GridRule(cell_pixels=32, min_pixels=4 * 32 * 32, max_pixels=PICTURE * PICTURE),
)


def config(tokenizer: Any) -> Any:
    """The transformers config of mini for this tokenizer."""
    text = dict(
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.pad_token_id,
        pad_token_id=tokenizer.pad_token_id,
        hidden_size=HIDDEN,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=32_768,
        initializer_range=0.05,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [12, 10, 10],
            "mrope_interleaved": True,
        },
    )
    vision = dict(
        depth=4,
        hidden_size=192,
        num_heads=4,
        intermediate_size=576,
        out_hidden_size=HIDDEN,
        deepstack_visual_indexes=[1],
        num_position_embeddings=(PICTURE // SPEC.patch_size) ** 2,
    )
    made = Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)
    set_vision_tokens(made, tokenizer)
    return made


def build(tokenizer: Any, seed: int = 0) -> Any:
    """An untrained mini in float32."""
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration._from_config(config(tokenizer), dtype=torch.float32)
    model.model.visual.config._attn_implementation = PACKED_ATTENTION
    for layer in model.model.language_model.layers:
        _begin_with_looking_up(layer.self_attn)
    projection = model.model.visual.patch_embed
    projection.proj = PatchProjection(projection.proj)
    return model


def turn() -> torch.Tensor:
    """float32 [D, D]: the rotation between where things are seen and where words for them are.

    Words lie apart from what they name, so that a word looks for the thing and not for itself.
    """
    generator = torch.Generator().manual_seed(1)
    rotation: torch.Tensor = torch.linalg.qr(torch.randn(HIDDEN, HIDDEN, generator=generator))[0]
    return rotation


@torch.no_grad()
def _begin_with_looking_up(attention: Any) -> None:
    """Of each group, let one head begin by attending to what a word names and saying it, and one by
    copying words from wherever it attends: by itself a model of this size finds out late that
    questions can be looked up.

    After "Mimetic Initialization of Self-Attention Layers", arXiv 2305.09828, where heads begin by
    attending to what is like their own token.
    """
    size = attention.head_dim
    heads = attention.q_proj.weight.shape[0] // size
    groups = attention.k_proj.weight.shape[0] // size
    for group in range(groups):
        own = slice(group * size, (group + 1) * size)
        first = group * (heads // groups) * size
        naming, copying = slice(first, first + size), slice(first + size, first + 2 * size)
        attention.q_proj.weight[naming] = attention.k_proj.weight[own] @ turn().T
        attention.o_proj.weight[:, naming] = turn() @ attention.v_proj.weight[own].T
        attention.o_proj.weight[:, copying] = attention.v_proj.weight[own].T
    attention.q_norm.weight.mul_(_SHARPNESS)
