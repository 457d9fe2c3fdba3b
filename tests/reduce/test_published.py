"""What strategies of the literature do beside their formula, which is among the references."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from made_tokens import angles, make_tokens, reduce_stream

from streamvlm.reduce import ReductionContext, build_reducer
from streamvlm.reduce.ops import directions
from streamvlm.types import VisualTokens


def kept_of(name: str, tokens: VisualTokens, keep_ratio: float, **settings: Any) -> list[int]:
    reducer = build_reducer({"name": name, "keep_ratio": keep_ratio, **settings})
    return reducer(tokens, ReductionContext()).indices.tolist()


@pytest.mark.parametrize("name", ["divprune", "dpp", "mmr", "ktv", "vidcom2"])
def test_of_rows_that_are_alike_the_first_ones_stay(name: str) -> None:
    assert kept_of(name, angles(20, 20, 20, 20, 20), 0.4) == [0, 1]


def test_tome_merges_what_is_alike_into_a_real_place() -> None:
    tokens = make_tokens([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, 0]])
    kept = build_reducer({"name": "tome", "keep_ratio": 0.6})(tokens, ReductionContext())
    assert kept.indices.tolist() == [0, 2, 4]
    assert kept.weight.tolist() == [2, 2, 1]
    assert torch.allclose(kept.features, torch.tensor([[1, 0.05], [0.05, 1], [-1, 0]]))


def test_evs_keeps_its_share_of_the_stream_whatever_the_scene_does() -> None:
    generator = torch.Generator().manual_seed(0)
    reducer = build_reducer({"name": "evs", "keep_ratio": 0.2})
    shown, clips = torch.randn(50, 8, generator=generator), []
    for number in range(600):
        calm = 0.02 if (number // 150) % 2 else 0.5
        shown = directions(shown + calm * torch.randn(50, 8, generator=generator))
        clips.append(make_tokens(shown))
    kept = [len(rows) for rows in reduce_stream(reducer, clips)]
    assert kept[0] == 50
    for quarter in range(4):
        late = kept[150 * quarter + 75 : 150 * quarter + 150]
        assert 0.12 < sum(late) / len(late) / 50 < 0.28, "also in a calm that follows a storm"


def test_vidcom2_gives_an_unusual_clip_more() -> None:
    generator = torch.Generator().manual_seed(2)
    usual = torch.randn(40, 16, generator=generator)
    clips = [
        make_tokens(usual + 0.05 * torch.randn(40, 16, generator=generator)) for _ in range(20)
    ]
    clips.append(make_tokens(torch.randn(40, 16, generator=generator).abs()))
    kept = [len(rows) for rows in reduce_stream(build_reducer({"name": "vidcom2"}), clips)]
    assert kept[-1] == 20 > max(kept[:-1])


def test_vflowopt_recycles_deepstack_like_the_features() -> None:
    features = torch.randn(16, 6, generator=torch.Generator().manual_seed(3))
    tokens = replace(
        make_tokens(features, grid_thw=(1, 4, 4), deepstack=features.repeat(2, 1, 1)),
        salience=torch.linspace(0.1, 0.9, 16),
    )
    kept = build_reducer({"name": "vflowopt", "block": 2})(tokens, ReductionContext())
    assert len(kept) == 4 and kept.weight.sum() == 16 and kept.deepstack is not None
    assert torch.allclose(kept.deepstack, kept.features.repeat(2, 1, 1))
    cut = build_reducer({"name": "vflowopt", "block": 1})(tokens, ReductionContext())
    assert len(cut) == 4 and (cut.weight == 1).all(), "no room for a token of each block"
