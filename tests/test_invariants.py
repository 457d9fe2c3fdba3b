"""What must always be true of memory and answers, and proof that these tests can fail.

Each invariant (numbered as in the design notes on memory) is a function that asserts. One test
shows that it holds, another plants a bug and expects the assertion to fail. All 24:

    I1   streaming is one forward               test_streaming_equals_offline.py
    I2   a window is a mask                     here
    I3   recall by layer is a mask by layer     here, respond/test_select.py
    I4   order of gathering is irrelevant       here
    I5   decoding is scoring                    test_streaming_equals_offline.py
    I6   a constant on all axes                 test_long_streams.py
    I7   the question is behind everything      here
    I8   rotated raw keys are the native ones   here
    I9   two rotations are one                  test_long_streams.py
    I10  ledgers do not drift                   test_long_streams.py
    I11  a batch is each alone                  test_ways_to_attend.py (bit for bit: GPU), and of
                                                clips encode/test_encoder.py
    I12  a restored stream goes on              remember/test_snapshot.py
    I13  a fixed cache is a growing one         test_ways_to_attend.py
    I14  parts merge into the union             test_ways_to_attend.py
    I15  moved keys are the same keys           remember/test_tiers.py, remember/test_snapshot.py
    I16  evicted is not selected                here
    I17  questions change nothing               here
    I18  later frames change no answer          here
    I19  keeping all is identity, one mask      here
    I20  index and blocks agree                 remember/test_any_order.py, remember/test_index.py
    I21  grouping of clips is irrelevant        test_streaming_equals_offline.py
    I22  positions against a reference          vlm/test_positions.py
    I23  the budget holds                       remember/test_any_order.py, remember/test_tiers.py
    I24  twice is the same                      test_determinism.py
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

import tests.streams as streams_module
from streamvlm.encode import preprocess
from streamvlm.pipeline import StreamPipeline
from streamvlm.reduce import ops
from streamvlm.remember import KVMemory
from streamvlm.types import InputTokens, KeptTokens, RawKV
from streamvlm.vlm.inputs import join
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, tiny_vlm
from tests.streams import ask, feed, make_pipeline, streamed_logits

TEXT = "What is at the left?"
TOLERANCE = 1e-9
"""For float64 with sharpened attention."""

Plant = Callable[[], AbstractContextManager[Any]]


@pytest.fixture
def sharp(family: str) -> QwenVL:
    return tiny_vlm(family, dtype="float64", sharpened=True)


def watched(vlm: QwenVL, num_clips: int = 8, **settings: Any) -> StreamPipeline:
    """A pipeline that has seen noise."""
    pipeline = make_pipeline(vlm, **settings)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(num_clips)])
    return pipeline


def answer_logits(pipeline: StreamPipeline, text: str = TEXT) -> Tensor:
    return torch.stack(streamed_logits(ask(pipeline, text), 3)[0])


def digest(pipeline: StreamPipeline) -> str:
    """A hash of everything that a stream remembers."""
    state = hashlib.sha256(repr((pipeline._cursor, pipeline._gaps.newest())).encode())
    tensors: list[Tensor] = []
    for block in pipeline.memory.blocks:
        state.update(repr((block.block_id, block.interval)).encode())
        tensors += [block.kv.keys, block.kv.values, block.kv.positions]
        tensors += [block.summary.mean, block.summary.low, block.summary.high, block.summary.keys]
    waiting = pipeline._reduction.waiting
    for clip in waiting.clips if waiting else ():
        tensors += [clip.features, clip.cells]
    tensors += [fresh.tokens.features for fresh in pipeline._fresh]
    for tensor in tensors:
        state.update(tensor.numpy().tobytes())
    return state.hexdigest()


@contextmanager
def attention(vlm: QwenVL, function: Callable[..., Any]) -> Iterator[None]:
    """Run the language model with another attention function, which makes its own masks."""
    AttentionInterface.register("test_reference", function)
    AttentionMaskInterface.register("test_reference", lambda *_, **__: None)
    config = vlm._text_model.config
    before = config._attn_implementation
    config._attn_implementation = "test_reference"
    try:
        yield
    finally:
        config._attn_implementation = before


def masked_attention(mask_of: Callable[[int], Tensor]) -> Callable[..., Any]:
    """Plain attention in which `mask_of(layer)` bool [Q,S] says who sees whom."""

    def attend(
        module: Any, query: Tensor, key: Tensor, value: Tensor, _mask: Any, **kwargs: Any
    ) -> tuple[Tensor, None]:
        repeat = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
        scores = (query @ key.transpose(-1, -2)) * kwargs["scaling"]
        scores = scores.masked_fill(~mask_of(module.layer_idx), float("-inf"))
        return (scores.softmax(-1) @ value).transpose(1, 2).contiguous(), None

    return attend


def windowed_prefill_is_a_masked_forward(vlm: QwenVL) -> None:
    """I2."""
    local = 2
    pipeline = watched(vlm, num_clips=6, local_blocks=local)
    prefix, cursor = vlm.lay_out_prefix()
    parts, owners = [prefix], [-1] * len(prefix)
    for block in pipeline.memory.blocks:
        clip = vlm.encode(*clip_patches(vlm, block.block_id))
        laid_out, cursor = vlm.lay_out_clip(as_kept(vlm, block.block_id, clip), cursor)
        parts.append(laid_out)
        owners += [block.block_id] * len(laid_out)
    question = vlm.lay_out_question(TEXT, cursor.text)
    parts.append(question)
    owners += [EVERYTHING_VISIBLE] * len(question)
    owner = torch.tensor(owners)
    age = owner[:, None] - owner[None, :]
    causal = torch.ones(len(owner), len(owner)).tril().bool()
    visible = (age <= local) | (owner[None, :] == -1) | (owner[:, None] == EVERYTHING_VISIBLE)
    with attention(vlm, masked_attention(lambda _layer: causal & visible)):
        expected = vlm.prefill(join(parts), vlm.open_context([])).logits
    streamed = answer_logits(pipeline)[0]
    assert float((streamed - expected).abs().max()) < TOLERANCE


EVERYTHING_VISIBLE = 10**6


def clip_patches(vlm: QwenVL, index: int) -> tuple[Tensor, list[tuple[int, int, int]]]:
    clip = make_clip(index, size=clip_size(vlm))
    patches, grid = preprocess(torch.from_numpy(clip.pixels[None]), vlm.patch_spec)
    return patches, [grid]


def as_kept(vlm: QwenVL, index: int, encoded: tuple[Tensor, Tensor | None]) -> KeptTokens:
    features, deepstack = encoded
    count = len(features)
    return KeptTokens(
        features=features,
        deepstack=deepstack,
        cells=torch.cartesian_prod(torch.arange(1), torch.arange(3), torch.arange(4)),
        indices=torch.arange(count),
        weight=torch.ones(count),
        grid_thw=(1, 3, 4),
        interval=make_clip(index, size=clip_size(vlm)).interval,
        pts_seconds=make_clip(index, size=clip_size(vlm)).pts_seconds,
    )


def per_layer_recall_is_a_mask_per_layer(vlm: QwenVL, selected_layer_shift: int = 0) -> None:
    """I3."""
    pipeline = watched(vlm, num_clips=6)
    spans = [pipeline.memory.sinks, *(block.kv for block in pipeline.memory.blocks)]
    chosen = [[0, 1 + layer % 6, 1 + (layer + 3) % 6] for layer in range(vlm._layers)]
    question = vlm.lay_out_question(TEXT, 1 + max(int(kv.positions.max()) for kv in spans))
    owner = torch.cat([torch.full((len(kv),), i) for i, kv in enumerate(spans)])
    by_layer = torch.stack([torch.isin(owner, torch.tensor(own)) for own in chosen])
    shifted = by_layer.roll(selected_layer_shift, dims=0)
    streamed = vlm.prefill(question, vlm.open_context(spans, shifted)).logits

    causal = torch.ones(len(question), len(question)).tril().bool()

    def mask_of(layer: int) -> Tensor:
        return torch.cat([by_layer[layer].expand(len(question), -1), causal], dim=1)

    everything = vlm.open_context(spans)
    with attention(vlm, masked_attention(mask_of)):
        expected = vlm.prefill(question, everything).logits
    assert float((streamed - expected).abs().max()) < TOLERANCE


def order_of_blocks_is_irrelevant(vlm: QwenVL) -> None:
    """I4."""
    pipeline = watched(vlm)
    answering = ask(pipeline, TEXT)
    expected = vlm.prefill(
        answering._prompt.inputs, vlm.open_context(answering._prompt.remembered)
    ).logits
    shuffled = [answering._prompt.remembered[i] for i in (5, 2, 0, 7, 8, 1, 3, 6, 4)]
    logits = vlm.prefill(answering._prompt.inputs, vlm.open_context(shuffled)).logits
    assert float((logits - expected).abs().max()) < TOLERANCE


def question_starts_behind_everything(vlm: QwenVL, policy: str) -> None:
    """I7."""
    pipeline = watched(vlm, num_clips=9, policy=policy, max_span=40, fresh_clips=2, segment_clips=2)
    pipeline.recalling = replace(pipeline.recalling, num_blocks=2)
    prompt = ask(pipeline, TEXT)._prompt
    ledgers = [kv.positions for kv in prompt.remembered]
    visual = prompt.inputs.positions[prompt.inputs.is_visual]
    last_visual = int(torch.nonzero(prompt.inputs.is_visual).max())
    asked = prompt.inputs.positions[last_visual + 1 :]
    assert bool((asked.diff(dim=0) == 1).all()), "the question does not count up"
    behind = max(int(ledger.max()) for ledger in [*ledgers, visual])
    assert int(asked.min()) == behind + 1, "the question must start one past the largest position"
    temporal = torch.cat([ledger[:, 0] for ledger in [*ledgers, prompt.inputs.positions]])
    starts = [int(ledger[:, 0].min()) for ledger in ledgers]
    assert starts == sorted(starts) and int(temporal.min()) == 0, "pieces changed their order"


def rotated_raw_keys_are_the_native_ones(vlm: QwenVL) -> None:
    """I8."""
    pipeline = watched(vlm, num_clips=3)
    inputs = ask(pipeline, TEXT)._prompt.inputs
    context = vlm.open_context([pipeline.memory.sinks])
    past = context.num_tokens
    kv = vlm.prefill(inputs, context).kv
    for layer, cached in enumerate(context.cache.layers):
        assert torch.equal(vlm.rotate(kv.keys[layer], kv.positions), cached.keys[0, :, past:])
        assert torch.equal(kv.values[layer], cached.values[0, :, past:])


def evicting_is_not_selecting(vlm: QwenVL) -> None:
    """I16."""
    whole, evicted = watched(vlm), watched(vlm)
    sizes = [block.kv.num_bytes for block in evicted.memory.blocks]
    evicted.memory.evict(sum(sizes[3:]))
    evicted.memory.check()
    left = evicted.memory.blocks
    assert [block.block_id for block in left] == [3, 4, 5, 6, 7]
    for block, original in zip(left, whole.memory.blocks[3:], strict=True):
        assert torch.equal(block.kv.keys, original.kv.keys)
        assert torch.equal(block.kv.values, original.kv.values)
    prompt = ask(whole, TEXT)._prompt
    selected = [prompt.remembered[0], *(block.kv for block in whole.memory.blocks[3:])]
    expected = vlm.prefill(prompt.inputs, vlm.open_context(selected)).logits
    assert float((answer_logits(evicted)[0] - expected).abs().max()) < TOLERANCE


def questions_change_nothing(vlm: QwenVL) -> None:
    """I17."""
    settings: dict[str, Any] = dict(fresh_clips=2, segment_clips=3, reduce={"name": "dtd"})
    asked, silent = watched(vlm, **settings), watched(vlm, **settings)
    before = digest(asked)
    for text in (TEXT, "And now?"):
        answering = ask(asked, text, max_new_tokens=3)
        for _ in range(3):
            answering.advance()
    assert digest(asked) == before == digest(silent)
    more = [make_clip(i, size=clip_size(vlm)) for i in range(8, 14)]
    feed(asked, more)
    feed(silent, more)
    assert digest(asked) == digest(silent), "what came after a question was remembered differently"


def later_frames_do_not_change_an_answer(vlm: QwenVL) -> None:
    """I18."""
    pipeline = watched(vlm, fresh_clips=2, segment_clips=2)
    expected = answer_logits(pipeline)
    begun = ask(pipeline, TEXT)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(8, 14)])
    pipeline.memory.evict(0)
    logits = torch.stack(streamed_logits(begun, 3)[0])
    assert torch.equal(logits, expected)


def keeping_all_is_identity(vlm: QwenVL) -> None:
    """I19."""
    expected = watched(vlm)
    for name in ("uniform", "random"):
        kept = watched(vlm, reduce={"name": name, "keep_ratio": 1.0})
        assert digest(kept) == digest(expected), name


UNIFORM_HALF_OF_12 = torch.tensor([1, 3, 5, 7, 9, 11])


def one_mask_cuts_everything(vlm: QwenVL) -> None:
    """I19: a prefill of kept tokens equals a prefill of rows cut by hand out of everything laid
    out in full.
    """
    pipeline = watched(
        vlm, num_clips=2, segment_clips=2, reduce={"name": "uniform", "keep_ratio": 0.5}
    )
    full, cursor = [], vlm.lay_out_prefix()[1]
    keep_visual = torch.zeros(24, dtype=torch.bool)
    for index in range(2):
        everything = as_kept(vlm, index, vlm.encode(*clip_patches(vlm, index)))
        laid_out, cursor = vlm.lay_out_clip(everything, cursor)
        full.append(laid_out)
        keep_visual[12 * index + UNIFORM_HALF_OF_12] = True
    whole = join(full)
    keep = torch.ones(len(whole), dtype=torch.bool)
    keep[whole.is_visual] = keep_visual
    cut = InputTokens(
        embeddings=whole.embeddings[keep],
        positions=whole.positions[keep],
        is_visual=whole.is_visual[keep],
        deepstack=None if whole.deepstack is None else whole.deepstack[:, keep_visual],
    )
    expected = vlm.prefill(cut, vlm.open_context([pipeline.memory.sinks])).kv
    (block,) = pipeline.memory.blocks
    assert torch.equal(block.kv.positions, expected.positions)
    assert float((block.kv.keys - expected.keys).abs().max()) < TOLERANCE
    assert pipeline._cursor == cursor, "dropped tokens must still count"


@pytest.mark.parametrize(
    "invariant",
    [
        windowed_prefill_is_a_masked_forward,
        per_layer_recall_is_a_mask_per_layer,
        order_of_blocks_is_irrelevant,
        rotated_raw_keys_are_the_native_ones,
        evicting_is_not_selecting,
        questions_change_nothing,
        later_frames_do_not_change_an_answer,
        keeping_all_is_identity,
        one_mask_cuts_everything,
    ],
)
def test_holds(invariant: Callable[[QwenVL], None], sharp: QwenVL) -> None:
    invariant(sharp)


@pytest.mark.parametrize("policy", ["keep", "clamp", "compact"])
def test_question_starts_behind_everything(policy: str, sharp: QwenVL) -> None:
    question_starts_behind_everything(sharp, policy)


def test_rotated_raw_keys_are_the_native_ones_in_every_dtype(family: str) -> None:
    for dtype in ("float32", "bfloat16"):
        rotated_raw_keys_are_the_native_ones(tiny_vlm(family, dtype=dtype))


def shifted_keys() -> AbstractContextManager[Any]:
    """Raw keys are rotated one position off, except the sinks'."""
    angles = QwenVL._angles
    return patch.object(QwenVL, "_angles", lambda self, p, like: angles(self, p + (p > 3), like))


def keys_stored_rotated() -> AbstractContextManager[Any]:
    """What a prefill hands back is the rotated key."""
    prefill = QwenVL.prefill

    def planted(self: QwenVL, inputs: InputTokens, context: Any) -> Any:
        done = prefill(self, inputs, context)
        rotated = self.rotate(done.kv.keys, inputs.positions)
        done.__dict__["kv"] = replace(done.kv, keys=rotated)
        return done

    return patch.object(QwenVL, "prefill", planted)


def window_of_one_more() -> AbstractContextManager[Any]:
    """Memory's local window is one block too wide."""
    memory = KVMemory
    return patch.object(
        streams_module, "KVMemory", lambda *a, **kw: memory(*a, **kw | {"local_blocks": 3})
    )


def positions_by_order_of_gathering() -> AbstractContextManager[Any]:
    """Gathered keys are placed by where they stand in the context, not by their ledger."""
    open_context = QwenVL.open_context

    def planted(self: QwenVL, spans: list[RawKV], by_layer: Tensor | None = None) -> Any:
        placed, start = [], 0
        for kv in spans:
            positions = torch.arange(start, start + len(kv))[:, None].expand(-1, 3)
            placed.append(replace(kv, positions=positions))
            start += len(kv)
        return open_context(self, placed, by_layer)

    return patch.object(QwenVL, "open_context", planted)


def oldest_block_survives() -> AbstractContextManager[Any]:
    """Eviction forgets the newest block instead of the oldest."""

    def planted(self: Any, budget_bytes: int) -> int:
        while self.num_bytes > budget_bytes:
            self._forget(self.blocks[-1].block_id)
        return 0

    return patch.object(KVMemory, "evict", planted)


def answers_join_memory() -> AbstractContextManager[Any]:
    """The cursor of the stream moves with each question."""
    lay_out = StreamPipeline._lay_out_recent

    def planted(self: StreamPipeline) -> Any:
        recent, self._cursor = lay_out(self)
        return recent, self._cursor

    return patch.object(StreamPipeline, "_lay_out_recent", planted)


def prompt_reads_memory_late() -> AbstractContextManager[Any]:
    """The context is gathered from what memory holds when the answer is computed."""
    begin = StreamPipeline.ask

    def planted(self: StreamPipeline, *args: Any) -> Any:
        answering = begin(self, *args)
        opened = answering._vlm.open_context

        class Late:
            def __getattr__(late, name: str) -> Any:
                return getattr(self._vlm, name)

            def open_context(late, _spans: Any, _by_layer: Any) -> Any:
                return opened([self.memory.sinks, *(b.kv for b in self.memory.blocks)])

        answering._vlm = Late()
        return answering

    return patch.object(StreamPipeline, "ask", planted)


def deepstack_is_not_cut() -> AbstractContextManager[Any]:
    """Reduction leaves the first rows of every signal but the features and the cells."""
    keep = ops.keep_rows

    def planted(tokens: Any, indices: Tensor) -> KeptTokens:
        kept = keep(tokens, indices)
        if tokens.deepstack is None:
            return replace(kept, cells=tokens.cells[: len(kept)])
        return replace(kept, deepstack=tokens.deepstack[:, : len(kept)])

    return patch("streamvlm.reduce.strategies.uniform.keep_rows", planted)


def last_token_is_lost() -> AbstractContextManager[Any]:
    """Uniform keeps one too few, even at a ratio of one."""
    keep = ops.keep_rows
    return patch(
        "streamvlm.reduce.strategies.uniform.keep_rows",
        lambda tokens, indices: keep(tokens, indices[:-1]),
    )


def question_starts_early() -> AbstractContextManager[Any]:
    """The text after the clips starts two positions early, like the bug of transformers 5.23."""
    lay_out = QwenVL.lay_out_question
    return patch.object(
        QwenVL, "lay_out_question", lambda self, text, start: lay_out(self, text, start - 2)
    )


@pytest.mark.parametrize(
    ("invariant", "plant"),
    [
        (windowed_prefill_is_a_masked_forward, window_of_one_more),
        (windowed_prefill_is_a_masked_forward, shifted_keys),
        (lambda vlm: per_layer_recall_is_a_mask_per_layer(vlm, 1), nullcontext),
        (order_of_blocks_is_irrelevant, positions_by_order_of_gathering),
        (lambda vlm: question_starts_behind_everything(vlm, "keep"), question_starts_early),
        (rotated_raw_keys_are_the_native_ones, keys_stored_rotated),
        (evicting_is_not_selecting, oldest_block_survives),
        (questions_change_nothing, answers_join_memory),
        (later_frames_do_not_change_an_answer, prompt_reads_memory_late),
        (keeping_all_is_identity, last_token_is_lost),
        (one_mask_cuts_everything, deepstack_is_not_cut),
    ],
)
def test_fails_on_a_planted_bug(
    invariant: Callable[[QwenVL], None], plant: Plant, sharp: QwenVL
) -> None:
    with plant(), pytest.raises(AssertionError):
        invariant(sharp)
