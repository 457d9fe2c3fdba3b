"""What a prefill says of the attention it paid, against transformers' own weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from streamvlm.types import InputTokens
from streamvlm.vlm.inputs import join
from streamvlm.vlm.qwen import QwenVL
from streamvlm.vlm.spread import places, rotary_ids
from tests.conftest import FAMILIES, tiny_vlm


@pytest.mark.parametrize("num_members", [0, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_that_of_the_model(family: str, num_members: int) -> None:
    """Its eager attention gives weights: those of the last token, summed over each piece, and the
    most of any head of each layer.
    """
    vlm = tiny_vlm(family, dtype="float64", sharpened=True)
    first = vlm.lay_out_question("A red van came at noon and left.", 0)
    second = vlm.lay_out_question("Where?", len(first))
    if num_members:
        first, second = spread_out(first, num_members), spread_out(second, num_members)
    lengths = [4, len(first) - 4]
    context = vlm.open_context([vlm.prefill(first, vlm.open_context([])).kv])
    found = vlm.prefill(second, context).attention(lengths)

    weights = last_weights(vlm, join([first, second]))
    pieces = [weights[..., : lengths[0]], weights[..., lengths[0] : len(first)]]
    expected = torch.stack([piece.sum(dim=-1).amax(dim=1) for piece in pieces], dim=1)  # [L,P]
    assert found.dtype == torch.float32 and found.shape == expected.shape
    assert float((found - expected).abs().max()) < 1e-5
    assert float(expected.max()) > 0.3, "attention is too even to show an error"
    assert float(expected.std(dim=0).max()) > 0.01, "layers are too like each other to show one"


def test_a_context_that_grows_afterwards_does_not_count(vlm: QwenVL) -> None:
    first, second = vlm.lay_out_question("one", 0), vlm.lay_out_question("two", 20)
    context = vlm.open_context([vlm.prefill(first, vlm.open_context([])).kv])
    prefilled = vlm.prefill(second, context)
    before = prefilled.attention([len(first)])
    vlm.decode(5, 60, context)
    assert torch.equal(prefilled.attention([len(first)]), before)


def spread_out(inputs: InputTokens, num_members: int) -> InputTokens:
    """As if every token stood for others far away."""
    generator = torch.Generator().manual_seed(len(inputs))
    return replace(
        inputs,
        spread=torch.randint(-20, 20, (len(inputs), num_members, 3), generator=generator),
    )


def last_weights(vlm: QwenVL, inputs: InputTokens) -> torch.Tensor:
    """[L,H,S]: attention of the last of all tokens."""
    text_model = vlm._text_model
    implementation = text_model.config._attn_implementation
    text_model.config._attn_implementation = "eager"
    try:
        output = text_model(
            inputs_embeds=inputs.embeddings[None],
            position_ids=rotary_ids(places(inputs.positions, inputs.spread)),
            output_attentions=True,
        )
    finally:
        text_model.config._attn_implementation = implementation
    return torch.stack([layer[0, :, -1] for layer in output.attentions])
