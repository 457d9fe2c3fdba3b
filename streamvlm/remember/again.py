"""Keys and values of a block from its embeddings: when it is new, and again when it has lain in the
form `embeddings` since and is recalled.

That form is an eighth of exact keys and values (7 of 57 KB a token for Qwen2.5-VL-7B), and costs a
forward over the block each time that it is read. A new block attends to the blocks before it too,
an old one made again to the sinks alone: it is context-free, as the documents of Block-attention
(arXiv 2409.15355), for which that work trains its model. Only the first layer comes back as it was.
With the tiny random models the deeper ones are off by 1 to 7 % (relative L2 norm of a block), with
mini, which leans on what came before, keys by 54 % and values by 68 % on average, where int4 costs
5 and 9 %: without a model that is trained for it, measure before relying on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamvlm.remember.quantise import Form, shrunk
from streamvlm.remember.stored import FileKV, StoredBlock, inputs_on
from streamvlm.types import InputTokens, RawKV
from streamvlm.vlm import VLM
from streamvlm.vlm.inputs import bring_together
from streamvlm.vlm.positions import PositionPolicy


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prefilling:
    """How the blocks of one stream get their keys and values."""

    vlm: VLM
    sinks: RawKV
    policy: PositionPolicy
    max_span: int

    def __call__(self, inputs: InputTokens, before: Sequence[RawKV] = ()) -> RawKV:
        """Keys and values on the device of tokens that attend to the sinks, to what comes `before`
        them, and causally to each other. Costs one forward over them.
        """
        context, moved, _ = bring_together(
            [self.sinks, *before],
            inputs_on(inputs, self.vlm.device),
            following=int(inputs.positions.max()) + 1,
            moving_axes=self.vlm.moving_axes,
            policy=self.policy,
            max_span=self.max_span,
        )
        assert moved is not None
        done = self.vlm.prefill(moved, self.vlm.open_context(context))
        # The ledger keeps the stream's own positions, not those of this context.
        return replace(done.kv, positions=inputs.positions)


def in_form(block: StoredBlock, form: Form, *, keeps_inputs: bool) -> StoredBlock:
    """The block in this form, where it is; itself where it is as coarse already, or in a file. A
    block that has no embeddings, out of a snapshot of before, becomes int4 instead. With
    `keeps_inputs` its embeddings stay beside finer forms: a tier below wants them.
    """
    if isinstance(block.kv, FileKV | InputTokens):
        return block
    if form == "embeddings" and block.inputs is not None:
        return replace(block, kv=block.inputs, inputs=None)
    inputs = block.inputs if keeps_inputs else None
    return replace(block, kv=shrunk(block.kv, form), inputs=inputs)
