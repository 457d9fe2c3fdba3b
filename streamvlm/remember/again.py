"""Keys and values of a block from its embeddings or its pictures: when it is new, and again when it
has lain in the form `embeddings` or `pictures` since and is recalled.

Embeddings are an eighth of exact keys and values (7 of 57 KB a token for Qwen2.5-VL-7B), and cost a
forward over the block each time that it is read. Pictures are smaller by far, and cost one of the
vision tower too: what comes back are clips that stood still, with other cells than the reducer kept
and none of the clips between. A new block attends to the blocks before it too, an old one made
again to the sinks alone: it is context-free, as the documents of Block-attention (arXiv
2409.15355), for which that work trains its model. Of embeddings only the first layer comes back as
it was. With the tiny random models the deeper ones are off by 1 to 7 % (relative L2 norm of a
block), with mini, which leans on what came before, keys by 54 % and values by 68 % on average,
where int4 costs 5 and 9 %: without a model that is trained for it, measure before relying on it.
Of 48 questions about what was a minute old or more mini knew 31 with such blocks exact or as int4,
24 as embeddings, and 23, 26 and 28 as pictures of one, two and four of their four clips; 17 where
they were forgotten. Pictures of four took an eighteenth of exact, a third of int4.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from streamvlm.remember.pictures import Pictures, Sight
from streamvlm.remember.quantise import FORMS, Form, HeldKV, QuantisedKV, shrunk
from streamvlm.remember.stored import FileKV, StoredBlock, inputs_on
from streamvlm.remember.summary import summarise
from streamvlm.remember.thin import cut_to
from streamvlm.types import InputTokens, KVBlock, RawKV
from streamvlm.vlm import VLM, Cursor
from streamvlm.vlm.inputs import bring_together, join
from streamvlm.vlm.positions import PositionPolicy


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prefilling:
    """How the blocks of one stream get their keys and values."""

    vlm: VLM
    sinks: RawKV
    policy: PositionPolicy
    max_span: int
    sight: Sight | None = None
    """Needed by pictures."""

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

    def seen(self, block: StoredBlock, pictures: Pictures) -> KVBlock:
        """The block as its pictures show it: each where its clip was, together at most their
        `num_tokens`.
        """
        assert self.sight is not None, "pictures without anybody who sees them"
        laid_out = []
        places, seconds = pictures.places.tolist(), pictures.pts_seconds.tolist()
        for tokens, place, pts_seconds in zip(
            self.sight.see(pictures.packed, block.interval.start), places, seconds, strict=True
        ):
            at = Cursor(text=place, temporal=place)
            clip, _ = self.vlm.lay_out_clip(replace(tokens, pts_seconds=pts_seconds), at)
            laid_out.append(clip)
        lengths = [len(clip) for clip in laid_out]
        inputs, lengths = cut_to(join(laid_out), lengths, pictures.num_tokens)
        kv = self(inputs)
        return KVBlock(
            block_id=block.block_id,
            kv=kv,
            summary=summarise(self.vlm.index_keys(kv), inputs.is_visual),
            interval=block.interval,
            is_visual=inputs.is_visual,
            clip_lengths=tuple(lengths),
        )


def in_form(block: StoredBlock, form: Form, *, wanted: Collection[Form]) -> StoredBlock:
    """The block in this form, where it is, or in the coarsest finer one where it lacks what that is
    made from; itself where it is as coarse already, or in a file. What the forms `wanted` by tiers
    below are made from stays beside finer ones.
    """
    if isinstance(block.kv, FileKV):
        return block
    kv = _coarsest(block, block.kv, form)
    held = replace(block, kv=kv)
    below = {each for each in wanted if FORMS.index(each) > FORMS.index(held.form)}
    return replace(
        held,
        inputs=block.inputs if "embeddings" in below else None,
        pictures=block.pictures if "pictures" in below else None,
    )


def _coarsest(block: StoredBlock, kv: HeldKV, form: Form) -> HeldKV:
    coarser = FORMS[FORMS.index(block.form) + 1 : FORMS.index(form) + 1]
    if "pictures" in coarser and block.pictures is not None:
        return replace(block.pictures, num_tokens=len(kv))
    if "embeddings" in coarser and block.inputs is not None:
        return block.inputs
    if isinstance(kv, RawKV | QuantisedKV):
        return shrunk(kv, form)
    return kv
