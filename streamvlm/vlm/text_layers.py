"""What the layers of a text model of transformers consist of, for one who goes through them by
himself: the same weights, products of the same input side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from streamvlm.vlm.kernels.places import Norms

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLayer:
    """One layer, but for the norms before attention and feed-forward."""

    projected: Product
    """[...,D] to queries, keys and values, one behind the other."""
    norms: Norms | None
    """Of queries and keys; Qwen2.5 has none."""
    output: Product
    """Of attention."""
    gate_and_up: Product
    """[...,D] to [...,2*I]."""
    down: Product


class TextModel:
    """A text model of Qwen2.5-VL or Qwen3-VL."""

    def __init__(self, model: Any, num_deepstack: int) -> None:
        """Moves weights that are multiplied with the same input next to each other: the model's
        own become views of them.
        """
        self.rotary, self.num_deepstack = model.rotary_emb, num_deepstack
        self.layers = [_parts_of(layer) for layer in model.layers]
        norms = [
            norm
            for layer in model.layers
            for norm in (layer.input_layernorm, layer.post_attention_layernorm)
        ]
        self.norms = [(norm.weight, norm.variance_epsilon) for norm in [*norms, model.norm]]
        """Before attention and before the feed-forward of each layer in turn, and the last one:
        weight and eps.
        """
        weight, config = model.embed_tokens.weight, model.config
        self.dtype, self.device, self.width = weight.dtype, weight.device, weight.shape[1]
        groups, size = config.num_key_value_heads, model.layers[0].self_attn.head_dim
        self.shape = len(self.layers), config.num_attention_heads, groups, size
        """Layers, heads, groups, size of a head."""


def can_be_recorded(model: Any) -> bool:
    """Whether this text model is what `TextModel` takes it for."""
    config, rope = model.config, model.config.rope_parameters["rope_type"]
    if rope in ("dynamic", "longrope"):
        return False
    return config.hidden_act == "silu" and not getattr(config, "use_sliding_window", False)


def _parts_of(layer: Any) -> TextLayer:
    attention, mlp = layer.self_attn, layer.mlp
    norms = None
    if hasattr(attention, "q_norm"):
        query, key = attention.q_norm, attention.k_norm
        norms = Norms(query=query.weight, key=key.weight, eps=query.variance_epsilon)
    return TextLayer(
        projected=_side_by_side([attention.q_proj, attention.k_proj, attention.v_proj]),
        norms=norms,
        output=attention.o_proj,
        gate_and_up=_side_by_side([mlp.gate_proj, mlp.up_proj]),
        down=mlp.down_proj,
    )


@torch.no_grad()
def _side_by_side(modules: Sequence[Any]) -> Product:
    """What these give, one behind the other: as one product, where they are plain ones."""
    if any(type(each) is not nn.Linear for each in modules):
        return lambda x: torch.cat([each(x) for each in modules], dim=-1)
    weight, bias = _one_of([each.weight for each in modules]), None
    if modules[0].bias is not None:
        bias = _one_of([each.bias for each in modules])
    return partial(linear, weight=weight, bias=bias)


def _one_of(parameters: Sequence[nn.Parameter]) -> Tensor:
    """All of them in one tensor, of which they are views from now on."""
    both = torch.cat([each.data for each in parameters])
    for each, own in zip(parameters, both.split([len(each) for each in parameters]), strict=True):
        each.data = own
    return both
