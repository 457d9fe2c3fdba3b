"""What makes keys and values of one model unusable for another: to be written beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch

from streamvlm.vlm.layout import QwenLayout

_SAMPLED = 8
"""Numbers of each weight that its fingerprint is taken from: any training changes some."""
_NOT_OF_THE_MODEL = ("_name_or_path", "transformers_version")


def identity_of(name: str, model: Any, layout: QwenLayout) -> dict[str, str | int]:
    """Equal for two models if and only if each may read what the other has cached.

    Costs a pass over the names of the weights, and one copy of a few numbers of each.
    """
    config, text = model.config, model.config.text_config
    heads = text.num_attention_heads
    return {
        "model": name,
        "revision": getattr(config, "_commit_hash", None) or "",
        "layers": text.num_hidden_layers,
        "key_value_heads": text.num_key_value_heads,
        "head_size": getattr(text, "head_dim", None) or text.hidden_size // heads,
        "hidden_size": text.hidden_size,
        "dtype": str(model.dtype).removeprefix("torch."),
        "rope": _canonical(text.rope_parameters),
        "positions": layout.positions_scheme,
        "prefix_sha256": _sha256(_canonical(layout.token_ids(layout.turn_start))),
        "config_sha256": _sha256(_canonical(config.to_dict())),
        "weights_sha256": _fingerprint(model),
    }


def _canonical(value: Any) -> str:
    return json.dumps(_without_circumstances(value), sort_keys=True, default=str)


def _without_circumstances(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {
        str(key): _without_circumstances(item)
        for key, item in value.items()
        if key not in _NOT_OF_THE_MODEL
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@torch.inference_mode()
def _fingerprint(model: Any) -> str:
    named = sorted(model.named_parameters())
    shapes = _canonical([[name, list(weight.shape)] for name, weight in named])
    some = [weight.flatten()[:: max(1, weight.numel() // _SAMPLED)] for _, weight in named]
    numbers = torch.cat([part.float() for part in some]).cpu().numpy()
    return _sha256(shapes + hashlib.sha256(numbers.tobytes()).hexdigest())
