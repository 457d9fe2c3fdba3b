"""What Qwen2.5-VL and Qwen3-VL have in common, over the unmodified transformers classes.

What differs is a `Family`: how a clip is written, where the raw keys come out, whether there is
deepstack.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from streamvlm.types import InputTokens, KeptTokens, RawKV, VisualTokens
from streamvlm.vlm.base import Context, Prefilled
from streamvlm.vlm.packed_attention import PACKED_ATTENTION
from streamvlm.vlm.patches import PatchSpec
from streamvlm.vlm.positions import Cursor, text_positions
from streamvlm.vlm.raw_keys import Caught, catch

log = logging.getLogger(__name__)

QUESTION_MARK = "\x00question\x00"
"""Stands for the user's turn while the chat template is split; cannot occur in a template."""


class ClipLayout(Protocol):
    """How one family writes a clip: text before, positions of the visual tokens, text after."""

    def __call__(
        self, model: QwenVL, tokens: KeptTokens | VisualTokens, cursor: Cursor
    ) -> tuple[str, Tensor, str, Cursor]:
        """Text before the visual tokens, their positions int64 [K,3], text after them, and the next
        cursor.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What differs between the Qwen-VL generations."""

    model_type: str
    """`model_type` in the checkpoint's config.json."""
    model_class: Any
    """The transformers class."""
    video_prefix: str
    """Text between the start of the user's turn and the first clip."""
    video_suffix: str
    """Text between the last clip and the question."""
    clip_layout: ClipLayout
    moving_axes: tuple[bool, bool, bool]
    raw_key_module: str
    """Child of the attention module whose output is the raw key."""
    raw_query_module: str
    """The same for the raw query."""
    has_deepstack: bool


@dataclass(slots=True)
class _KVContext:
    """A `Context` over the cache class of transformers."""

    cache: DynamicCache = field(default_factory=DynamicCache)

    @property
    def num_tokens(self) -> int:
        return int(self.cache.get_seq_length())


class _QwenPrefilled:
    """A `Prefilled` that holds what came by and puts it together on demand."""

    def __init__(
        self,
        model: QwenVL,
        inputs: InputTokens,
        hidden: Tensor,
        caught: Caught,
        values: list[Tensor],
    ) -> None:
        self._model, self._inputs, self._hidden = model, inputs, hidden
        self._caught, self._values = caught, values

    @cached_property
    def kv(self) -> RawKV:
        return RawKV(
            keys=torch.stack([self._model.split_heads(key) for key in self._caught.keys]),
            values=torch.stack(self._values),
            positions=self._inputs.positions.clone(),
        )

    @cached_property
    def logits(self) -> Tensor:
        return self._model.logits(self._hidden)

    @cached_property
    def probe(self) -> Tensor:
        heads = self._model.split_heads(self._caught.queries[0]).float().mean(dim=1)  # [H,E]
        return self._model.mean_over_groups(heads).flatten().cpu()


class QwenVL:
    """A Qwen-VL model as a `VLM`. Owns the transformers model; keeps no state of any stream."""

    def __init__(
        self, *, name: str, family: Family, model: Any, tokenizer: Any, patch_spec: PatchSpec
    ) -> None:
        self._name, self._family, self._patch_spec = name, family, patch_spec
        self._model, self._tokenizer = model.eval().requires_grad_(False), tokenizer
        self._text_model, self._vision = model.model.language_model, model.model.visual
        self._vision.config._attn_implementation = PACKED_ATTENTION
        text = model.config.text_config
        self._layers, self._groups = text.num_hidden_layers, text.num_key_value_heads
        self._heads = text.num_attention_heads
        self._head_size = getattr(text, "head_dim", None) or text.hidden_size // self._heads
        self._index_layer = self._layers // 2
        self._turn_start, self._turn_end = self._split_chat_template()

    @property
    def name(self) -> str:
        """Checkpoint and size."""
        return self._name

    @property
    def patch_spec(self) -> PatchSpec:
        """How pictures become patches."""
        return self._patch_spec

    @property
    def config(self) -> Any:
        """The transformers config of the checkpoint."""
        return self._model.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(self._model.device)

    @property
    def dtype(self) -> torch.dtype:
        """Of weights, features, keys and values."""
        dtype: torch.dtype = self._model.dtype
        return dtype

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values of all layers, and three int64 positions."""
        numbers: int = 2 * self._layers * self._groups * self._head_size
        return numbers * self.dtype.itemsize + 3 * torch.int64.itemsize

    @property
    def moving_axes(self) -> tuple[bool, bool, bool]:
        """See `VLM.moving_axes`."""
        return self._family.moving_axes

    @cached_property
    def stop_token_ids(self) -> frozenset[int]:
        """End-of-text tokens of the checkpoint's generation config, and the tokenizer's own."""
        stated = self._model.generation_config.eos_token_id
        ids = [stated] if isinstance(stated, int) else list(stated or [])
        return frozenset([*ids, self._tokenizer.eos_token_id]) - {None}

    @cached_property
    def video_start(self) -> int:
        """Position of the first visual token where clips are placed by time: the end of the
        prefix.
        """
        return len(self.token_ids(self._turn_start + self._family.video_prefix))

    @torch.inference_mode()
    def encode(
        self, patches: Tensor, grid_thw: list[tuple[int, int, int]]
    ) -> tuple[Tensor, Tensor | None]:
        """See `VLM.encode`."""
        grid = torch.tensor(grid_thw, device=self.device)
        output = self._vision(patches.to(self.device, self.dtype), grid_thw=grid)
        if not self._family.has_deepstack:
            return output.pooler_output, None
        return output.pooler_output, torch.stack(output.deepstack_features)

    def lay_out_prefix(self) -> tuple[InputTokens, Cursor]:
        """See `VLM.lay_out_prefix`."""
        inputs = self._text_inputs(self.token_ids(self._turn_start + self._family.video_prefix), 0)
        return inputs, Cursor(text=len(inputs), temporal=len(inputs))

    def lay_out_clip(
        self, tokens: KeptTokens | VisualTokens, cursor: Cursor
    ) -> tuple[InputTokens, Cursor]:
        """See `VLM.lay_out_clip`."""
        start = cursor.text
        before, positions, after, cursor = self._family.clip_layout(self, tokens, cursor)
        before_ids, after_ids = self.token_ids(before), self.token_ids(after)
        first, last = len(before_ids), len(before_ids) + len(tokens)
        is_visual = torch.zeros(last + len(after_ids), dtype=torch.bool)
        is_visual[first:last] = True
        inputs = InputTokens(
            embeddings=torch.cat(
                [self._embed(before_ids), tokens.features.to(self.device), self._embed(after_ids)]
            ),
            positions=torch.cat(
                [
                    text_positions(start, len(before_ids)),
                    positions,
                    text_positions(cursor.text - len(after_ids), len(after_ids)),
                ]
            ),
            is_visual=is_visual,
            deepstack=tokens.deepstack,
        )
        return inputs, cursor

    def lay_out_question(self, text: str, position: int) -> InputTokens:
        """See `VLM.lay_out_question`. Special tokens written in `text` are read as plain
        characters.
        """
        ids = [
            *self.token_ids(self._family.video_suffix),
            *self._tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids,
            *self.token_ids(self._turn_end),
        ]
        return self._text_inputs(ids, position)

    def _split_chat_template(self) -> tuple[str, str]:
        """What the checkpoint's chat template puts before and after the content of the first user
        turn.
        """
        rendered = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": QUESTION_MARK}], tokenize=False, add_generation_prompt=True
        )
        before, _, after = rendered.partition(QUESTION_MARK)
        return before, after

    def token_ids(self, text: str) -> list[int]:
        """Tokenize our own text: special tokens in it are special."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def _embed(self, token_ids: Sequence[int]) -> Tensor:
        ids = torch.tensor(token_ids, dtype=torch.long, device=self.device)
        embedded: Tensor = self._text_model.embed_tokens(ids)
        return embedded

    def _text_inputs(self, token_ids: Sequence[int], start: int) -> InputTokens:
        return InputTokens(
            embeddings=self._embed(token_ids),
            positions=text_positions(start, len(token_ids)),
            is_visual=torch.zeros(len(token_ids), dtype=torch.bool),
        )

    def text_of(self, token_ids: Sequence[int]) -> str:
        """See `VLM.text_of`."""
        text: str = self._tokenizer.decode(list(token_ids), skip_special_tokens=True)
        return text

    @torch.inference_mode()
    def rotate(self, keys: Tensor, positions: Tensor) -> Tensor:
        """Raw keys float [...,S,E] to the keys that attention uses at `positions` int64 [S,3]."""
        cos, sin = self._text_model.rotary_emb(keys, positions.T[:, None].to(keys.device))
        half = keys.shape[-1] // 2
        turned = torch.cat((-keys[..., half:], keys[..., :half]), dim=-1)
        rotated: Tensor = keys * cos[0] + turned * sin[0]
        return rotated

    @torch.inference_mode()
    def open_context(self, spans: Sequence[RawKV]) -> Context:
        """See `VLM.open_context`."""
        context = _KVContext()
        if sum(len(span) for span in spans):
            values = torch.cat([span.values for span in spans], dim=2)
            keys = self.rotate(
                torch.cat([span.keys for span in spans], dim=2),
                torch.cat([span.positions for span in spans]),
            )
            for layer in range(self._layers):
                context.cache.update(keys[layer][None], values[layer][None], layer)
        return context

    @torch.inference_mode()
    def prefill(self, inputs: InputTokens, context: Context) -> Prefilled:
        """See `VLM.prefill`."""
        assert isinstance(context, _KVContext)
        with catch(
            [layer.self_attn for layer in self._text_model.layers],
            key_module=self._family.raw_key_module,
            query_module=self._family.raw_query_module,
            index_layer=self._index_layer,
        ) as caught:
            hidden = self._run(inputs, context)
        cached = [layer.values[0, :, -len(inputs) :] for layer in context.cache.layers]
        return _QwenPrefilled(self, inputs, hidden[-1], caught, cached)

    @torch.inference_mode()
    def decode(self, token_id: int, position: int, context: Context) -> Tensor:
        """See `VLM.decode`."""
        assert isinstance(context, _KVContext)
        return self.logits(self._run(self._text_inputs([token_id], position), context)[-1])

    def summary(self, kv: RawKV, is_visual: Tensor) -> Tensor:
        """See `VLM.summary`."""
        keys = kv.keys[self._index_layer][:, is_visual.to(kv.keys.device)]  # [G,M,E]
        return keys.float().mean(dim=1).flatten().cpu()

    def _run(self, inputs: InputTokens, context: _KVContext) -> Tensor:
        """Hidden states [S,D]; the tokens join the context's cache."""
        visual: dict[str, Any] = {}
        if inputs.deepstack is not None and bool(inputs.is_visual.any()):
            visual = {
                "visual_pos_masks": inputs.is_visual[None].to(self.device),
                "deepstack_visual_embeds": list(inputs.deepstack.to(self.device)),
            }
        output = self._text_model(
            inputs_embeds=inputs.embeddings[None],
            position_ids=inputs.positions.T[:, None].to(self.device),
            past_key_values=context.cache,
            use_cache=True,
            **visual,
        )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """float [V] for a hidden state [D]."""
        logits: Tensor = self._model.lm_head(hidden)
        return logits

    def split_heads(self, projected: Tensor) -> Tensor:
        """A projection's output [1,S,heads*E] or [1,S,heads,E] as [heads,S,E], a copy."""
        split = projected.view(projected.shape[1], -1, self._head_size)
        return split.transpose(0, 1).contiguous()

    def mean_over_groups(self, heads: Tensor) -> Tensor:
        """[H,E] of attention heads to [G,E] of the key/value heads that they share."""
        return heads.view(self._groups, -1, self._head_size).mean(dim=1)
