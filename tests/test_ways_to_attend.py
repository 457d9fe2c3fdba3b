"""The same numbers whichever way attention runs: many streams at a time (I11), a pass of fixed
shape (I13), parts that are merged (I14).

Our contexts are made for it: raw keys and a ledger, rotated when they are gathered. Whichever way
is taken finds its reference here.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from streamvlm.pipeline import StreamPipeline
from streamvlm.respond import Prompt
from streamvlm.types import InputTokens, RawKV
from streamvlm.vlm.context import KVContext
from streamvlm.vlm.qwen import QwenVL
from streamvlm.vlm.recorded import Recordings
from tests.conftest import clip_size, make_clip, tiny_vlm
from tests.streams import ask, feed, make_pipeline

TOLERANCE = 1e-9
"""For float64 with sharpened attention."""


@pytest.fixture
def sharp(family: str) -> QwenVL:
    return tiny_vlm(family, dtype="float64", sharpened=True)


def watched(vlm: QwenVL, num_clips: int, first: int = 0) -> StreamPipeline:
    """All that it saw is in blocks."""
    pipeline = make_pipeline(vlm)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(first, first + num_clips)])
    return pipeline


def prompt_of(pipeline: StreamPipeline, text: str) -> Prompt:
    prompt = ask(pipeline, text)._prompt
    assert prompt is not None
    return prompt


def alone(vlm: QwenVL, prompt: Prompt) -> Tensor:
    return vlm.prefill(prompt.inputs, vlm.open_context(prompt.remembered)).logits


def together(vlm: QwenVL, prompts: list[Prompt], *, masked: bool) -> Tensor:
    """Logits [B,V] of one forward over the questions of several streams, padded on the right."""
    caches = [vlm.open_context(prompt.remembered).cache for prompt in prompts]
    inputs = [prompt.inputs for prompt in prompts]
    cache = DynamicCache()
    for layer in range(vlm._layers):
        keys, values = (
            pad_sequence([part(each.layers[layer]) for each in caches], batch_first=True)
            for part in (
                lambda own: own.keys[0].transpose(0, 1),
                lambda own: own.values[0].transpose(0, 1),
            )
        )
        cache.update(keys.transpose(1, 2), values.transpose(1, 2), layer)
    seen = [torch.ones(each.get_seq_length()) for each in caches]
    asked = [torch.ones(len(each)) for each in inputs]
    mask = torch.cat([pad_sequence(part, batch_first=True) for part in (seen, asked)], dim=1)
    hidden = vlm._text_model(
        inputs_embeds=pad_sequence([each.embeddings for each in inputs], batch_first=True),
        position_ids=pad_sequence([each.positions for each in inputs], batch_first=True).permute(
            2, 0, 1
        ),
        attention_mask=mask.long() if masked else torch.ones_like(mask).long(),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return torch.stack(
        [vlm.logits(row[len(own) - 1]) for row, own in zip(hidden, inputs, strict=True)]
    )


def several_streams_are_each_alone(vlm: QwenVL, *, masked: bool = True) -> None:
    prompts = [
        prompt_of(watched(vlm, 5), "What is at the left?"),
        prompt_of(watched(vlm, 2, first=7), "And now, behind the door?"),
        prompt_of(watched(vlm, 1, first=3), "Who?"),
    ]
    expected = torch.stack([alone(vlm, prompt) for prompt in prompts])
    with torch.inference_mode():
        logits = together(vlm, prompts, masked=masked)
    assert float((logits - expected).abs().max()) < TOLERANCE


def test_a_batch_of_streams_is_each_alone(sharp: QwenVL) -> None:
    """I11: ragged contexts and ragged questions, padded and masked."""
    several_streams_are_each_alone(sharp)
    with pytest.raises(AssertionError):
        several_streams_are_each_alone(sharp, masked=False)


def a_recorded_pass_is_the_model(vlm: QwenVL, lost: int = 0) -> None:
    recordings = Recordings(
        vlm._text_model, index_layer=vlm._index_layer, num_deepstack=vlm._num_deepstack
    )
    prompt = prompt_of(watched(vlm, 4), "What is at the left?")
    growing, own = (vlm.open_context(prompt.remembered) for _ in range(2))
    assert isinstance(own, KVContext)
    own.crop(own.num_tokens - lost)

    def recorded(inputs: InputTokens) -> Tensor:
        found = recordings.pass_for(1, len(inputs))
        assert found is not None
        return vlm.logits(found.run(inputs, [own])[0])

    expected = [vlm.prefill(prompt.inputs, growing).logits]
    streamed = [recorded(prompt.inputs)]
    for step in range(3):
        token, position = int(expected[-1].argmax()), prompt.next_position + step
        expected.append(vlm.decode(token, position, growing))
        streamed.append(recorded(vlm.layout.text([token], position)))
    assert float((torch.stack(streamed) - torch.stack(expected)).abs().max()) < TOLERANCE


def test_a_pass_of_fixed_shape_is_the_model(sharp: QwenVL) -> None:
    """I13: what becomes a CUDA graph; prefill and decode."""
    a_recorded_pass_is_the_model(sharp)
    with pytest.raises(AssertionError):
        a_recorded_pass_is_the_model(sharp, lost=1)


def attention(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """What queries [H,Q,E] get from keys and values [H,S,E]; the logarithm of the sum [H,Q]."""
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return scores.softmax(dim=-1) @ value, scores.logsumexp(dim=-1)


def merged(parts: list[tuple[Tensor, Tensor]], *, weighted: bool) -> Tensor:
    outputs = torch.stack([output for output, _ in parts])
    share = torch.stack([lse for _, lse in parts]).softmax(dim=0)
    if not weighted:
        share = torch.full_like(share, 1 / len(parts))
    return (share[..., None] * outputs).sum(dim=0)


def parts_merge_into_the_union(vlm: QwenVL, *, weighted: bool = True) -> None:
    pipeline = watched(vlm, 5)
    inputs: InputTokens = prompt_of(pipeline, "What is at the left?").inputs
    spans: list[RawKV] = [pipeline.memory.sinks, *(block.kv for block in pipeline.memory.blocks)]
    union = vlm.open_context(spans).cache
    asked = vlm.prefill(inputs, vlm.open_context(spans)).kv
    for layer in range(vlm._layers):
        # Keys of the question as its queries: what is asked is whether parts are the whole.
        query = vlm.rotate(asked.keys[layer], asked.positions)
        parts = [
            attention(query, vlm.rotate(kv.keys[layer], kv.positions), kv.values[layer])
            for kv in spans
        ]
        expected, _ = attention(query, union.layers[layer].keys[0], union.layers[layer].values[0])
        difference = merged(parts, weighted=weighted) - expected
        assert float(difference.abs().max()) < TOLERANCE


def test_attention_over_parts_merges_into_that_over_all(sharp: QwenVL) -> None:
    """I14: by the logarithms of the sums of weights; a plain mean is not enough."""
    parts_merge_into_the_union(sharp)
    with pytest.raises(AssertionError):
        parts_merge_into_the_union(sharp, weighted=False)
