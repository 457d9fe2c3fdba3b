"""Every strategy of the zoo is its formula, and does the obvious with five tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from made_tokens import START, make_tokens
from references import Example, Expected
from torch import Tensor

from streamvlm.reduce import REDUCERS, SEGMENT_REDUCERS, build_reducer, open_stream
from streamvlm.types import Interval, KeptTokens, VisualTokens

ZOO = sorted(path.stem for path in (Path(__file__).parent / "references").glob("[a-z]*.py"))
GRID = (1, 4, 6)
NUM_CELLS, SIZE, NUM_CLIPS = 24, 12, 10

every_strategy = pytest.mark.parametrize("name", ZOO)


def noise(generator: torch.Generator) -> Tensor:
    return torch.randn(NUM_CELLS, SIZE, generator=generator).double()


def random(generator: torch.Generator) -> list[Tensor]:
    """Every clip is another picture."""
    return [noise(generator) for _ in range(NUM_CLIPS)]


def duplicated(generator: torch.Generator) -> list[Tensor]:
    """In each clip every token is there three times: ties everywhere."""
    return [noise(generator)[: NUM_CELLS // 3].repeat(3, 1) for _ in range(NUM_CLIPS)]


def frozen(generator: torch.Generator) -> list[Tensor]:
    """One picture, to the bit."""
    return [noise(generator)] * NUM_CLIPS


def drifting(generator: torch.Generator) -> list[Tensor]:
    """A still scene that becomes another one while something moves through it."""
    first, last, moving = noise(generator), noise(generator), noise(generator)[:4]
    clips = []
    for number in range(NUM_CLIPS):
        share = number / NUM_CLIPS
        features = (1 - share) * first + share * last + 0.05 * noise(generator)
        features[2 * number : 2 * number + 4] = moving
        clips.append(features)
    return clips


INPUTS: dict[str, Callable[[torch.Generator], list[Tensor]]] = {
    "random": random,
    "duplicated": duplicated,
    "frozen": frozen,
    "drifting": drifting,
}


def stream_of(features: Sequence[Tensor], generator: torch.Generator) -> list[VisualTokens]:
    """Clips of one stream, a second apart. What is the same has the same signals."""
    weights, others = torch.rand(2, SIZE, generator=generator).double()
    clips = []
    for number, each in enumerate(features):
        start = START.later(float(number))
        tokens = make_tokens(each, grid_thw=GRID)
        clips.append(
            replace(
                tokens,
                interval=Interval(start=start, end=start.later(1.0)),
                pts_seconds=number + 0.5,
                salience=torch.sigmoid(each @ weights),
                sensitivity=(each @ others).square(),
            )
        )
    return clips


def kept_of(spec: dict[str, Any], clips: Sequence[VisualTokens]) -> list[KeptTokens | None]:
    """What stays of each clip; None where nothing does."""
    stream = open_stream(build_reducer(spec), segment_clips=4)
    segments = []
    for tokens, following in zip(clips, [*clips[1:], None], strict=True):
        segments += stream.push(tokens, following)
    segments += stream.flush()
    kept = {clip.pts_seconds: clip for segment in segments for clip in segment.clips}
    return [kept.get(tokens.pts_seconds) for tokens in clips]


def compare(kept: KeptTokens | None, expected: Expected, tokens: VisualTokens) -> None:
    if kept is None:
        assert expected.rows == []
        return
    assert kept.indices.tolist() == expected.rows
    assert kept.weight.tolist() == (expected.weight or [1] * len(expected.rows))
    if expected.members is None:
        assert kept.members is None
    else:
        assert kept.members is not None
        assert torch.equal(kept.members, tokens.cells[torch.tensor(expected.members)])
    features = expected.features
    if features is None:
        assert torch.equal(kept.features, tokens.features[expected.rows])
    else:
        assert torch.allclose(kept.features, features, atol=1e-9)


@every_strategy
@pytest.mark.parametrize("kind", INPUTS)
def test_it_is_its_formula(name: str, kind: str) -> None:
    module = import_module(f"references.{name}")
    settings = {key: value for key, value in module.SPEC.items() if key != "name"}
    generator = torch.Generator().manual_seed(1)
    clips = stream_of(INPUTS[kind](generator), generator)
    all_expected: list[Expected] = module.reference(clips, **settings)
    assert any(each.rows for each in all_expected)
    for kept, expected, tokens in zip(
        kept_of(module.SPEC, clips), all_expected, clips, strict=True
    ):
        compare(kept, expected, tokens)


@every_strategy
def test_five_tokens(name: str) -> None:
    example: Example = import_module(f"references.{name}").EXAMPLE
    clips = [
        replace(tokens, pts_seconds=float(number)) for number, tokens in enumerate(example.clips)
    ]
    assert all(len(tokens) == 5 for tokens in clips)
    kept = kept_of({"name": name, **example.settings}, clips)
    assert [[] if each is None else each.indices.tolist() for each in kept] == example.rows


def test_every_reference_is_of_a_strategy() -> None:
    assert set(ZOO) <= {*REDUCERS, *SEGMENT_REDUCERS}
