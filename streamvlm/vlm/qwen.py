"""What Qwen2.5-VL and Qwen3-VL have in common, over the unmodified transformers classes.

What differs between them is a `Family`, and how a stream is written for them is in `layout`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from streamvlm.types import InputTokens, KeptTokens, RawKV, Signal, VisualTokens
from streamvlm.vlm.base import Context, Prefilled
from streamvlm.vlm.context import KVContext, room_for
from streamvlm.vlm.identity import identity_of
from streamvlm.vlm.kernels import kernels_for, plain
from streamvlm.vlm.layout import Family, QwenLayout
from streamvlm.vlm.packed_attention import PACKED_ATTENTION
from streamvlm.vlm.patch_projection import PatchProjection
from streamvlm.vlm.patches import PatchSpec
from streamvlm.vlm.positions import Cursor
from streamvlm.vlm.prefilled import QwenPrefilled
from streamvlm.vlm.raw_keys import catch
from streamvlm.vlm.recorded import RecordedPass, Recordings
from streamvlm.vlm.signals import signals_riding, split_off
from streamvlm.vlm.spread import SpreadRotary, places, places_of, rotary_ids
from streamvlm.vlm.text_layers import can_be_recorded
from streamvlm.vlm.together import run_together


class QwenVL:
    """A Qwen-VL model as a `VLM`. Owns the transformers model; keeps no state of any stream."""

    def __init__(
        self, *, name: str, family: Family, model: Any, tokenizer: Any, patch_spec: PatchSpec
    ) -> None:
        self._name, self._family, self._patch_spec = name, family, patch_spec
        self._model, self._tokenizer = model.eval().requires_grad_(False), tokenizer
        self._text_model, self._vision = model.model.language_model, model.model.visual
        self._vision.config._attn_implementation = PACKED_ATTENTION
        first = self._vision.patch_embed
        first.proj = PatchProjection(first.proj)
        self._text_model.rotary_emb = SpreadRotary(self._text_model.rotary_emb)
        text = model.config.text_config
        self._layers, self._groups = text.num_hidden_layers, text.num_key_value_heads
        self._heads = text.num_attention_heads
        self._head_size = getattr(text, "head_dim", None) or text.hidden_size // self._heads
        self._index_layer = self._layers // 2
        levels = model.config.vision_config.deepstack_visual_indexes if family.has_deepstack else ()
        self._num_deepstack = len(levels)
        self._kernels = kernels_for(self.device, self._head_size)
        self.recordings: Recordings | None = None
        """What runs few tokens faster, on a GPU; None: the classes of transformers run them."""
        if self.device.type == "cuda" and can_be_recorded(self._text_model):
            self.recordings = Recordings(
                self._text_model, index_layer=self._index_layer, num_deepstack=self._num_deepstack
            )
        self.layout = QwenLayout(family, model.config, tokenizer, self._text_model.embed_tokens)

    @property
    def name(self) -> str:
        """Checkpoint and size."""
        return self._name

    @cached_property
    def identity(self) -> Mapping[str, str | int]:
        """See `VLM.identity`."""
        return identity_of(self._name, self._model, self.layout)

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
    def input_bytes_per_token(self) -> int:
        """An embedding and a vector a deepstack level, three int64 positions, a bool."""
        numbers: int = (1 + self._num_deepstack) * self._model.config.text_config.hidden_size
        return numbers * self.dtype.itemsize + 3 * torch.int64.itemsize + torch.bool.itemsize

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

    def encode_with_signals(
        self, patches: Tensor, grid_thw: list[tuple[int, int, int]], signals: frozenset[Signal]
    ) -> tuple[Tensor, Tensor | None, Mapping[Signal, Tensor]]:
        """See `VLM.encode_with_signals`."""
        with signals_riding(self._vision, signals):
            merged, deepstack = self.encode(patches, grid_thw)
        features, told = split_off(merged, signals)
        return features, deepstack, told

    def lay_out_prefix(self) -> tuple[InputTokens, Cursor]:
        """See `VLM.lay_out_prefix`."""
        return self.layout.prefix()

    def lay_out_clip(
        self, tokens: KeptTokens | VisualTokens, cursor: Cursor
    ) -> tuple[InputTokens, Cursor]:
        """See `VLM.lay_out_clip`."""
        return self.layout.clip(tokens, cursor)

    def lay_out_question(self, text: str, position: int) -> InputTokens:
        """See `VLM.lay_out_question`."""
        return self.layout.question(text, position)

    def question_length(self, text: str) -> int:
        """See `VLM.question_length`."""
        return len(self.layout.question_ids(text))

    def token_ids(self, text: str) -> list[int]:
        """See `VLM.token_ids`."""
        return self.layout.plain_ids(text)

    def text_of(self, token_ids: Sequence[int]) -> str:
        """See `VLM.text_of`."""
        text: str = self._tokenizer.decode(list(token_ids), skip_special_tokens=True)
        return text

    @torch.inference_mode()
    def rotate(self, keys: Tensor, positions: Tensor) -> Tensor:
        """Raw keys float [...,S,E] to the keys that attention uses at `positions` int64 [S,3], or
        at `spread.places` int64 [S,M,3].
        """
        rotated = keys.clone()
        plain.turn(rotated, *self._angles(positions, keys))
        return rotated

    def _angles(self, places: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [S,E] that rotate keys `like` these to positions int64 [S,3] or
        [S,M,3].
        """
        rotary = self._text_model.rotary_emb
        if places.ndim == 2 and rotary.frequencies:
            angles: tuple[Tensor, Tensor] = self._kernels.angles(places, rotary.frequencies, like)
            return angles
        cos, sin = rotary(like, rotary_ids(places).to(like.device))
        return cos[0], sin[0]

    @torch.inference_mode()
    def open_context(self, spans: Sequence[RawKV], by_layer: Tensor | None = None) -> Context:
        """See `VLM.open_context`."""
        num_tokens = sum(map(len, spans))
        shape = (2, self._layers, self._groups, room_for(num_tokens), self._head_size)
        keys, values = torch.empty(shape, dtype=self.dtype, device=self.device)
        if num_tokens:
            self._kernels.gather(spans, keys, values, *self._angles(places_of(spans), keys))
        whole = KVContext(keys, values, num_tokens)
        return whole if by_layer is None else whole.of_layers(by_layer)

    @torch.inference_mode()
    def prefill(self, inputs: InputTokens, context: Context) -> Prefilled:
        """See `VLM.prefill`."""
        assert isinstance(context, KVContext)
        recorded = self._recording(1, len(inputs)) if inputs.spread is None else None
        if recorded:
            hidden, caught = recorded.run(inputs, [context])[0], recorded.caught(len(inputs))
            return QwenPrefilled(self, inputs, hidden, caught, context)
        with catch(
            [layer.self_attn for layer in self._text_model.layers],
            key_module=self._family.raw_key_module,
            query_module=self._family.raw_query_module,
            index_layer=self._index_layer,
        ) as caught:
            hidden = self._run(inputs, context)
        return QwenPrefilled(self, inputs, hidden[-1], caught, context)

    @torch.inference_mode()
    def decode(self, token_id: int, position: int, context: Context) -> Tensor:
        """See `VLM.decode`."""
        return self.decode_together([token_id], [position], [context])[0]

    @torch.inference_mode()
    def decode_together(
        self, token_ids: Sequence[int], positions: Sequence[int], contexts: Sequence[Context]
    ) -> Tensor:
        """See `VLM.decode_together`."""
        own = [context for context in contexts if isinstance(context, KVContext)]
        assert len(own) == len(contexts)
        tokens = self.layout.text_at(token_ids, positions)
        if recorded := self._recording(len(own), 1):
            return self.logits(recorded.run(tokens, own))
        if len(own) == 1:
            return self.logits(self._run(tokens, own[0]))
        return self.logits(run_together(self._text_model, tokens, own))

    def _recording(self, num_contexts: int, num_tokens: int) -> RecordedPass | None:
        return self.recordings.pass_for(num_contexts, num_tokens) if self.recordings else None

    def index_keys(self, kv: RawKV) -> Tensor:
        """See `VLM.index_keys`."""
        return kv.keys[self._index_layer].transpose(0, 1).cpu().float()

    def _run(self, inputs: InputTokens, context: KVContext) -> Tensor:
        """Hidden states [S,D]; the tokens join the context's cache."""
        visual: dict[str, Any] = {}
        if inputs.deepstack is not None and bool(inputs.is_visual.any()):
            visual = {
                "visual_pos_masks": inputs.is_visual[None].to(self.device),
                "deepstack_visual_embeds": list(inputs.deepstack.to(self.device)),
            }
        output = self._text_model(
            inputs_embeds=inputs.embeddings[None],
            position_ids=rotary_ids(places(inputs.positions, inputs.spread)).to(self.device),
            past_key_values=context.cache,
            use_cache=True,
            **visual,
        )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """float [...,V] for hidden states [...,D]."""
        logits: Tensor = self._model.lm_head(hidden)
        return logits

    def split_heads(self, projected: Tensor) -> Tensor:
        """A projection's output [1,S,heads*E] or [1,S,heads,E] as [heads,S,E], a copy."""
        split = projected.view(projected.shape[1], -1, self._head_size)
        return split.transpose(0, 1).contiguous()

    def mean_over_groups(self, heads: Tensor) -> Tensor:
        """[H,E] of attention heads to [G,E] of the key/value heads that they share."""
        return heads.view(self._groups, -1, self._head_size).mean(dim=1)
