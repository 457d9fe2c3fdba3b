"""A few tokens of each of several contexts in one forward that is recorded once and replayed.

Questions, answers and reduced clips are few tokens at a time. On a GPU the weights are read in a
few milliseconds then, and a forward of transformers, two thousand small kernels that Python
launches one by one, takes ten times as long. Here the same layers are gone through with the
operations of `kernels`, a dozen a layer, recorded as a CUDA graph. A recording has a fixed shape;
which contexts it reads and how long they are it is told when it is replayed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from math import prod
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from streamvlm.types import InputTokens
from streamvlm.vlm.context import KVContext
from streamvlm.vlm.kernels import kernels_for
from streamvlm.vlm.kernels.places import COLUMNS, Places, Raw
from streamvlm.vlm.raw_keys import Caught
from streamvlm.vlm.text_layers import TextLayer, TextModel

log = logging.getLogger(__name__)

_LENGTHS = (1, 32, 64, 128, 256, 512)
"""Tokens of a context that a recording has room for; more than one for a single context only."""
_COUNTS = (1, 2, 4, 8, 16, 32)
"""Contexts that a recording has room for."""
_USUAL = ((1, 1), (1, 32), (1, 64), (2, 1), (4, 1))
"""Contexts and tokens of the recordings that are made before anybody asks."""


class RecordedPass:
    """A forward of one shape. Where there is no GPU it is not recorded but run each time."""

    def __init__(
        self, model: TextModel, num_contexts: int, num_tokens: int, *, index_layer: int, pool: Any
    ) -> None:
        """`pool` is the memory of recordings, see `torch.cuda.graph_pool_handle`; None where there
        is no GPU.
        """
        self._model, self._index_layer = model, index_layer
        dtype, device = model.dtype, model.device
        layers, heads, groups, size = model.shape
        self._ops: ModuleType = kernels_for(device, size)
        shape = num_contexts, num_tokens

        def zeros(*sizes: int) -> Tensor:
            return torch.zeros(*sizes, dtype=dtype, device=device)

        self._embeddings = zeros(*shape, model.width)
        # What joins on the way through the first layers; text has nothing there.
        self._deepstack = zeros(model.num_deepstack, *shape, model.width)
        # In one tensor, so that one copy tells a replay all that it needs besides.
        num_rows = num_contexts * len(COLUMNS)
        self._numbers = torch.zeros(num_rows + 3 * prod(shape), dtype=torch.int64, device=device)
        self._positions = self._numbers[num_rows:].view(3, *shape)
        rows = self._numbers[:num_rows].view(num_contexts, -1)
        self._places = Places(rows=rows, anchor=zeros(64), num_groups=groups)
        self._raw_keys = zeros(layers, *shape, groups, size)
        self._last_queries = zeros(layers, num_contexts, heads, size)
        self._raw_queries = zeros(*shape, heads, size)
        self._hidden = zeros(num_contexts, model.width)
        self._replay = self._recorded(pool) if device.type == "cuda" else self._go_through

    @torch.inference_mode()
    def run(self, tokens: InputTokens, contexts: Sequence[KVContext]) -> Tensor:
        """Hidden states [B,D] of the last token of each of the B contexts, which the tokens join:
        all of them the only one, or each its own. No context has grown where this fails.
        """
        starts = [context.num_tokens for context in contexts]
        count = len(tokens) // len(contexts)
        for context, start in zip(contexts, starts, strict=True):
            context.make_room(start + count)
        buffers = [context.buffers for context in contexts]
        # Either of the two is 1, contexts or tokens of each: what counts comes first.
        self._embeddings.flatten(0, 1)[: len(tokens)] = tokens.embeddings
        self._write_deepstack(tokens)
        positions = torch.zeros(3, prod(self._positions.shape[1:]), dtype=torch.int64)
        positions[:, : len(tokens)] = tokens.positions.T
        numbers = self._places.rows_of(buffers, starts, count), positions
        self._numbers.copy_(torch.cat([each.flatten() for each in numbers]), non_blocking=True)
        self._places.buffers = buffers
        try:
            self._replay()
        finally:
            self._places.buffers = []
        for context in contexts:
            context.grow(count)
        return self._hidden[: len(contexts)].clone()

    def _write_deepstack(self, tokens: InputTokens) -> None:
        self._deepstack.zero_()
        if tokens.deepstack is not None:
            at = tokens.is_visual.nonzero()[:, 0].to(self._deepstack.device)
            self._deepstack.flatten(1, 2)[:, at] = tokens.deepstack.to(self._deepstack)

    @torch.inference_mode()
    def caught(self, count: int) -> Caught:
        """What came by in the last run, of the first context's first `count` tokens: copies."""
        return Caught(
            keys=list(self._raw_keys[:, :1, :count].clone()),
            queries=[self._raw_queries[:1, :count].clone()],
            last_queries=list(self._last_queries[:, None, :1].clone()),
        )

    def _recorded(self, pool: Any) -> Callable[[], None]:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._go_through()  # what is made at the first call must not be recorded
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            self._go_through()
        return graph.replay

    def _go_through(self) -> None:
        ops, x = self._ops, self._embeddings
        angles = self._model.rotary(x, self._positions)
        normed = ops.norm(x, *self._model.norms[0])
        for number, layer in enumerate(self._model.layers):
            attended = self._attend(number, layer, normed, angles)
            x, normed = ops.add_norm(x, attended, *self._model.norms[2 * number + 1])
            change = layer.down(ops.gated(layer.gate_and_up(normed)))
            if number < len(self._deepstack):
                x = x + change
                change = self._deepstack[number]
            x, normed = ops.add_norm(x, change, *self._model.norms[2 * number + 2])
        last = (self._places.rows[:, -1] - 1).clamp(min=0)
        self._hidden.copy_(normed[torch.arange(len(last), device=last.device), last])

    def _attend(
        self, number: int, layer: TextLayer, normed: Tensor, angles: tuple[Tensor, Tensor]
    ) -> Tensor:
        shape, size = normed.shape[:2], self._raw_queries.shape[-1]
        states = layer.projected(normed).view(*shape, -1, size)
        raw = Raw(
            keys=self._raw_keys[number],
            last_queries=self._last_queries[number],
            queries=self._raw_queries if number == self._index_layer else None,
        )
        query = self._ops.join(states, *angles, self._places, number, raw, layer.norms)
        attended: Tensor = self._ops.attend(query, self._places, number, size**-0.5)
        return layer.output(attended.view(*shape, -1))


class Recordings:
    """The recordings of one text model, made when they are first needed."""

    def __init__(self, text_model: Any, *, index_layer: int, num_deepstack: int) -> None:
        """`num_deepstack`: of so many first layers what comes out is added to."""
        self._model = TextModel(text_model, num_deepstack)
        self._index_layer = index_layer
        self._passes: dict[tuple[int, int], RecordedPass | None] = {}
        """None: there was no memory for it, and the model itself runs what would go through it."""
        is_on_gpu = self._model.device.type == "cuda"
        self._pool = torch.cuda.graph_pool_handle() if is_on_gpu else None

    def make_usual(self) -> None:
        """Some seconds now, which the first answers would have to wait for otherwise."""
        for shape in _USUAL:
            self.pass_for(*shape)

    def pass_for(self, num_contexts: int, num_tokens: int) -> RecordedPass | None:
        """One with room for as many tokens of as many contexts; None where there is none. May need
        a second, the first time.
        """
        count, length = _at_least(num_contexts, _COUNTS), _at_least(num_tokens, _LENGTHS)
        if count is None or length is None or (count > 1 and length > 1):
            return None
        if (shape := (count, length)) not in self._passes:
            try:
                self._passes[shape] = RecordedPass(
                    self._model, *shape, index_layer=self._index_layer, pool=self._pool
                )
            except torch.OutOfMemoryError:
                log.warning("no memory to record a pass of %d contexts, %d tokens each", *shape)
                self._passes[shape] = None
        return self._passes[shape]


def _at_least(number: int, sizes: Sequence[int]) -> int | None:
    return next((size for size in sizes if size >= number), None)
