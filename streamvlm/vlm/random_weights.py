"""Qwen-VL models with random weights, at a tiny size for tests and at the published sizes for
speed.

What they say means nothing; what they cost is real, since speed does not depend on the values.
Sizes are those of the published config.json files; `tests/vlm/test_random_weights.py` holds them
against the key/value bytes per token that follow from the papers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen3VLConfig

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


@cache
def tiny_tokenizer() -> Any:
    """A byte-level BPE of a few hundred tokens with the special tokens of Qwen; any UTF-8 text
    survives it.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        ["user assistant system seconds What is happening now? When did the red van leave?"] * 8,
        trainer,
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
    )


def _qwen3_vl(
    *, hidden: int, layers: int, heads: int, inner: int, tied: bool, vision: dict[str, Any]
) -> Any:
    """Config of a published Qwen3-VL size: 8 key/value heads of 128, theta 5e6."""
    return Qwen3VLConfig(
        text_config=dict(
            vocab_size=151_936,
            hidden_size=hidden,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=8,
            head_dim=128,
            max_position_embeddings=262_144,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_section": [24, 20, 20],
                "mrope_interleaved": True,
            },
        ),
        vision_config={**vision, "out_hidden_size": hidden},
        tie_word_embeddings=tied,
    )


def _qwen2_5_vl(
    *, hidden: int, layers: int, heads: int, groups: int, inner: int, vocab: int, tied: bool
) -> Any:
    """Config of a published Qwen2.5-VL size: heads of 128, theta 1e6, one vision tower for all."""
    return Qwen2_5_VLConfig(
        text_config=dict(
            vocab_size=vocab,
            hidden_size=hidden,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=groups,
            max_position_embeddings=128_000,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [16, 24, 24],
            },
        ),
        vision_config=dict(
            hidden_size=1280,
            intermediate_size=3420,
            out_hidden_size=hidden,
            tokens_per_second=2,
        ),
        tie_word_embeddings=tied,
    )


def _tiny(family: str) -> Any:
    """Either family at about half a million parameters."""
    tokenizer = tiny_tokenizer()
    text: dict[str, Any] = dict(
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.pad_token_id,
        pad_token_id=tokenizer.pad_token_id,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32_768,
    )
    rope = {"rope_type": "default", "rope_theta": 1e6}
    if family == "qwen2_5_vl":
        return Qwen2_5_VLConfig(
            text_config={**text, "rope_parameters": {**rope, "mrope_section": [4, 6, 6]}},
            vision_config=dict(
                depth=2,
                hidden_size=64,
                num_heads=2,
                intermediate_size=128,
                out_hidden_size=128,
                fullatt_block_indexes=[1],
                tokens_per_second=2,
            ),
        )
    rope |= {"mrope_section": [6, 5, 5], "mrope_interleaved": True}
    return Qwen3VLConfig(
        text_config={**text, "head_dim": 32, "rope_parameters": rope},
        vision_config=dict(
            depth=2,
            hidden_size=64,
            num_heads=2,
            intermediate_size=128,
            out_hidden_size=128,
            deepstack_visual_indexes=[0, 1],
        ),
    )


_VISION_SMALL = dict(
    depth=24,
    hidden_size=1024,
    num_heads=16,
    intermediate_size=4096,
    deepstack_visual_indexes=[5, 11, 17],
)
_VISION_LARGE = dict(
    depth=27,
    hidden_size=1152,
    num_heads=16,
    intermediate_size=4304,
    deepstack_visual_indexes=[8, 16, 24],
)

SIZES: dict[str, Any] = {
    "qwen3-vl-tiny": lambda: _tiny("qwen3_vl"),
    "qwen2.5-vl-tiny": lambda: _tiny("qwen2_5_vl"),
    "qwen3-vl-2b": lambda: _qwen3_vl(
        hidden=2048, layers=28, heads=16, inner=6144, tied=True, vision=_VISION_SMALL
    ),
    "qwen3-vl-4b": lambda: _qwen3_vl(
        hidden=2560, layers=36, heads=32, inner=9728, tied=True, vision=_VISION_SMALL
    ),
    "qwen3-vl-8b": lambda: _qwen3_vl(
        hidden=4096, layers=36, heads=32, inner=12_288, tied=False, vision=_VISION_LARGE
    ),
    "qwen2.5-vl-3b": lambda: _qwen2_5_vl(
        hidden=2048, layers=36, heads=16, groups=2, inner=11_008, vocab=151_936, tied=True
    ),
    "qwen2.5-vl-7b": lambda: _qwen2_5_vl(
        hidden=3584, layers=28, heads=28, groups=4, inner=18_944, vocab=152_064, tied=False
    ),
}
"""Name -> config, made when asked for."""


def set_vision_tokens(config: Any, tokenizer: Any) -> None:
    """Tell a config the ids that its tokenizer has for the special tokens around pictures."""
    for name in ("image", "video"):
        setattr(config, f"{name}_token_id", tokenizer.convert_tokens_to_ids(f"<|{name}_pad|>"))
    for name in ("start", "end"):
        token_id = tokenizer.convert_tokens_to_ids(f"<|vision_{name}|>")
        setattr(config, f"vision_{name}_token_id", token_id)


def build(
    size: str, model_class: Any, *, dtype: torch.dtype, device: torch.device, seed: int = 0
) -> Any:
    """A transformers model of this size with random weights, the same for the same seed, dtype and
    device.
    """
    config = SIZES[size]()
    tokenizer = tiny_tokenizer()
    config.text_config.eos_token_id = tokenizer.eos_token_id
    config.text_config.bos_token_id = config.text_config.pad_token_id = tokenizer.pad_token_id
    set_vision_tokens(config, tokenizer)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.device(device):
        torch.manual_seed(seed)
        return model_class._from_config(config, dtype=dtype)
