"""Strategies that rank by the attention a token receives, where they are told to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from made_tokens import make_tokens

from streamvlm.errors import ConfigError
from streamvlm.reduce import ReductionContext, build_reducer, open_stream
from streamvlm.types import VisualTokens

ATTENDED = [3, 17, 29]


def attended(seed: int = 0) -> VisualTokens:
    """Noise of which three cells receive most of the attention."""
    generator = torch.Generator().manual_seed(seed)
    salience = torch.full((32,), 0.01)
    salience[ATTENDED] = 0.2
    return replace(make_tokens(torch.randn(32, 16, generator=generator)), salience=salience)


@pytest.mark.parametrize("name", ["ktv", "mmr"])
def test_what_receives_attention_is_kept(name: str) -> None:
    settings = {"keep_ratio": 3 / 32, "importance_weight": 1.0}
    by_attention = build_reducer({"name": name, "salience": "attention"} | settings)
    by_novelty = build_reducer({"name": name} | settings)
    context = ReductionContext()
    assert by_attention(attended(), context).indices.tolist() == ATTENDED
    assert by_novelty(attended(), context).indices.tolist() != ATTENDED


def test_of_what_moves_holitom_keeps_what_receives_attention() -> None:
    kept = {}
    for salience in ("attention", "novelty"):
        stream = open_stream(
            build_reducer({"name": "holitom", "keep_ratio": 3 / 32, "salience": salience}), 4
        )
        segments = [each for seed in range(6) for each in stream.push(attended(seed), None)]
        segments += stream.flush()
        kept[salience] = [clip.indices.tolist() for each in segments for clip in each.clips]
    assert kept["attention"] == [ATTENDED] * 6 != kept["novelty"]


@pytest.mark.parametrize("name", ["ktv", "mmr", "holitom"])
def test_only_who_ranks_by_attention_asks_for_it(name: str) -> None:
    spec: dict[str, Any] = {"name": name}
    assert build_reducer(spec).needs == frozenset()
    assert build_reducer(spec | {"salience": "attention"}).needs == {"salience"}
    with pytest.raises(ConfigError, match="'attention' or 'novelty'"):
        build_reducer(spec | {"salience": "cls"})
