"""What every stage may ask of a model. Shapes use the letters of `streamvlm.types`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, device

from streamvlm.types import InputTokens, KeptTokens, RawKV, Signal, VisualTokens
from streamvlm.vlm.patches import PatchSpec
from streamvlm.vlm.positions import Cursor


class Context(Protocol):
    """Keys and values that one reader attends to: a private copy, so a reader cannot disturb
    memory.
    """

    @property
    def num_tokens(self) -> int:
        """Tokens in it now."""
        ...


DEVICE_LOST = torch.AcceleratorError
"""After one of these every call to the device fails: only a new process helps."""


class Prefilled(Protocol):
    """What a prefill leaves behind; each part is computed when it is first asked for."""

    @property
    def kv(self) -> RawKV:
        """Raw keys, values and positions of the tokens that were prefilled; shares no memory with
        the context.
        """
        ...

    @property
    def logits(self) -> Tensor:
        """float [V] after the last token."""
        ...

    @property
    def probe(self) -> Tensor:
        """float32 [R] cpu: mean raw query of the tokens in the index layer, heads averaged over
        their key/value group.
        """
        ...

    def attention(self, lengths: Sequence[int]) -> Tensor:
        """float32 [L,P] cpu, in [0, 1], for the P pieces of `lengths` tokens that the context began
        with: the largest share of its attention that any head of each layer gives to the piece,
        from the last token.
        """
        ...


class VLM(Protocol):
    """A video language model. Not thread-safe: one thread owns it."""

    @property
    def name(self) -> str:
        """For people: checkpoint and size."""
        ...

    @property
    def identity(self) -> Mapping[str, str | int]:
        """What cached keys and values depend on, by field: equal where they may be read again."""
        ...

    @property
    def device(self) -> device:
        """Where it runs."""
        ...

    @property
    def patch_spec(self) -> PatchSpec:
        """How pictures become patches."""
        ...

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes that one cached token takes, its ledger entry included."""
        ...

    @property
    def input_bytes_per_token(self) -> int:
        """Bytes that one visual token takes in `InputTokens`; text takes no more."""
        ...

    @property
    def moving_axes(self) -> tuple[bool, bool, bool]:
        """Which axes of visual tokens move when a piece of context is moved
        (`positions.offsets`).
        """
        ...

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        ...

    def encode(
        self, patches: Tensor, grid_thw: list[tuple[int, int, int]]
    ) -> tuple[Tensor, Tensor | None]:
        """Vision tower over many clips at once.

        `patches` float [P,C*T*P*P] of all clips in order, `grid_thw` in patches, one a clip. Gives
        features [N,D] and deepstack [Z,N,D] (None for models without), N = merged tokens of all
        clips.
        """
        ...

    def encode_with_signals(
        self, patches: Tensor, grid_thw: list[tuple[int, int, int]], signals: frozenset[Signal]
    ) -> tuple[Tensor, Tensor | None, Mapping[Signal, Tensor]]:
        """`encode`, and each of `signals`, float [N] in float32 at least.

        "salience": the attention that the patches of each token receive in the last layer of the
        tower that sees whole pictures: mean over heads and queries, 1 in all for each temporal
        patch of a clip. Costs that layer's attention once more.

        "sensitivity": how far a token's feature moves with the patches that become it, as they come
        out of the tower's layers: change by distance, in mean over 64 fixed small steps. Costs the
        merger 128 times more.
        """
        ...

    def lay_out_prefix(self) -> tuple[InputTokens, Cursor]:
        """What comes before all video: the sinks of every stream."""
        ...

    def lay_out_clip(
        self, tokens: KeptTokens | VisualTokens, cursor: Cursor
    ) -> tuple[InputTokens, Cursor]:
        """A clip as the model expects it, with its time where the model is told times."""
        ...

    def lay_out_question(self, text: str, position: int) -> InputTokens:
        """What comes after all video: the question, and the start of the answer."""
        ...

    def question_length(self, text: str) -> int:
        """How many tokens `lay_out_question` gives, whatever it costs to lay them out."""
        ...

    def open_context(self, spans: Sequence[RawKV], by_layer: Tensor | None = None) -> Context:
        """A context holding these spans in this order, keys rotated to their positions. Copies;
        changes nothing. `by_layer` bool [L,S] cpu: which of their S tokens each layer holds,
        equally many in all; None: all of them.
        """
        ...

    def prefill(self, inputs: InputTokens, context: Context) -> Prefilled:
        """Run tokens attending to the context and, causally, to each other; they join the
        context.
        """
        ...

    def decode(self, token_id: int, position: int, context: Context) -> Tensor:
        """Run one text token at this position on all axes; it joins the context. Gives logits
        [V].
        """
        ...

    def decode_together(
        self, token_ids: Sequence[int], positions: Sequence[int], contexts: Sequence[Context]
    ) -> Tensor:
        """`decode` for several contexts at once: logits [B,V], the same but for rounding. No
        context has grown where it fails.
        """
        ...

    def index_keys(self, kv: RawKV) -> Tensor:
        """float32 [S,G,E] cpu: raw keys in the index layer; the inner product of one with a probe
        says how much the question's queries would attend to the token, positions aside (after ReKV,
        arXiv 2503.00540).
        """
        ...

    def token_ids(self, text: str) -> list[int]:
        """Tokenize; what looks like a special token in it is plain text."""
        ...

    def text_of(self, token_ids: Sequence[int]) -> str:
        """Detokenize; special tokens are left out."""
        ...
