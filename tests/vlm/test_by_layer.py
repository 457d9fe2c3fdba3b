"""A context whose layers hold different tokens, equally many."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from streamvlm.types import RawKV
from streamvlm.vlm.context import KVContext
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import tiny_vlm
from tests.vlm.test_recorded import recording

KEPT = torch.tensor([0, 1, 2, 4, 7, 8, 11])


def spans_of(vlm: QwenVL) -> list[RawKV]:
    """Two pieces of text, of more than twelve tokens each, far from each other."""
    pieces = [vlm.lay_out_question("A van came.", 0), vlm.lay_out_question("It left.", 500)]
    return [vlm.prefill(piece, vlm.open_context([])).kv for piece in pieces]


@pytest.fixture
def spans(vlm: QwenVL) -> list[RawKV]:
    return spans_of(vlm)


def opened(vlm: QwenVL, spans: list[RawKV], by_layer: torch.Tensor | None = None) -> KVContext:
    context = vlm.open_context(spans, by_layer)
    assert isinstance(context, KVContext)
    return context


def test_each_layer_holds_its_tokens_rotated_where_they_stand(
    vlm: QwenVL, spans: list[RawKV]
) -> None:
    count = sum(map(len, spans))
    rows = torch.stack([(KEPT + layer) % count for layer in range(vlm._layers)])
    by_layer = torch.zeros(vlm._layers, count, dtype=torch.bool).scatter(1, rows, True)
    whole, some = opened(vlm, spans), opened(vlm, spans, by_layer)
    assert some.num_tokens == len(KEPT)
    for layer, own in enumerate(by_layer):
        assert torch.equal(some.keys[layer], whole.keys[layer][:, own])
        assert torch.equal(some.values[layer], whole.values[layer][:, own])


def test_layers_that_hold_the_same_are_a_context_of_that_to_the_bit(
    vlm: QwenVL, spans: list[RawKV]
) -> None:
    """Question, answer, and another answer beside it."""
    first = RawKV(
        keys=spans[0].keys[:, :, KEPT],
        values=spans[0].values[:, :, KEPT],
        positions=spans[0].positions[KEPT],
    )
    by_layer = torch.zeros(vlm._layers, sum(map(len, spans)), dtype=torch.bool)
    by_layer[:, KEPT] = True
    by_layer[:, len(spans[0]) :] = True
    question = vlm.lay_out_question("Where?", 600)
    told = []
    for context in (vlm.open_context([first, spans[1]]), vlm.open_context(spans, by_layer)):
        other = vlm.open_context(spans)
        done = vlm.prefill(question, context)
        told.append(
            [
                done.logits,
                done.kv.keys,
                vlm.decode(5, 700, context),
                vlm.decode_together([6, 7], [701, 700], [context, other]),
            ]
        )
    for one, two in zip(*told, strict=True):
        assert torch.equal(one, two)


def test_a_recorded_pass_reads_them_as_the_classes_of_transformers_do(family: str) -> None:
    vlm = tiny_vlm(family, sharpened=True)
    spans = spans_of(vlm)
    by_layer = torch.rand(vlm._layers, sum(map(len, spans))).argsort(dim=1) < len(KEPT)
    told = []
    for way in (nullcontext, lambda: recording(vlm)):
        context = vlm.open_context(spans, by_layer)
        with way():
            asked = vlm.prefill(vlm.lay_out_question("Where?", 600), context)
            told.append(torch.cat([asked.logits, vlm.decode(5, 700, context)]))
    assert float((told[0] - told[1]).norm() / told[0].norm()) < 1e-5
