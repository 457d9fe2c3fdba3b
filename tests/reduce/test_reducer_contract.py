"""What every strategy in the table promises; a new one is covered by its line in `REDUCERS`."""

from __future__ import annotations

import pkgutil
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any, get_args

import pytest
import torch
from made_tokens import make_tokens, reduce_stream

from streamvlm.reduce import (
    REDUCERS,
    SEGMENT_REDUCERS,
    ReductionContext,
    build_reducer,
    reduce_clip,
    strategies,
)
from streamvlm.reduce.compressor import Compressor
from streamvlm.types import KeptTokens, Signal, VisualTokens

GRIDS = {0: (1, 0, 0), 1: (1, 1, 1), 2: (1, 1, 2), 7: (1, 7, 1), 64: (1, 8, 8)}
VARIANTS: list[dict[str, Any]] = [
    *({"name": name} for name in REDUCERS),
    {"name": "dtd", "neighbourhood": 3},
    {"name": "dtd", "compare_with": "previous"},
    {"name": "ktv", "salience": "attention"},
    {"name": "mmr", "salience": "attention"},
    {"name": "scope", "salience_power": 0.0},
]

every_strategy = pytest.mark.parametrize(
    "spec", VARIANTS, ids=lambda spec: "-".join(map(str, spec.values()))
)
every_size = pytest.mark.parametrize("size", GRIDS)


def random_tokens(
    size: int, *, seed: int = 0, dtype: torch.dtype = torch.float32, with_deepstack: bool = True
) -> VisualTokens:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(size, 6, generator=generator).to(dtype)
    deepstack = torch.randn(3, size, 6, generator=generator).to(dtype) if with_deepstack else None
    tokens = make_tokens(features, grid_thw=GRIDS[size], deepstack=deepstack)
    salience, sensitivity = torch.rand(2, size, generator=generator)
    return replace(tokens, salience=salience, sensitivity=sensitivity)


def moving_clips(size: int, count: int = 6, **options: Any) -> list[VisualTokens]:
    """Clips in which about half of the cells change from one to the next."""
    clips = [random_tokens(size, **options)]
    for seed in range(1, count):
        fresh = random_tokens(size, seed=seed, **options)
        is_new = torch.arange(size) % 2 == seed % 2
        features = torch.where(is_new[:, None], fresh.features, clips[-1].features)
        clips.append(replace(fresh, features=features))
    return clips


@every_strategy
@every_size
@pytest.mark.parametrize(
    ("dtype", "with_deepstack"), [(torch.float32, True), (torch.bfloat16, False)], ids=str
)
def test_kept_rows_are_real_ones_in_order(
    spec: dict[str, Any], size: int, dtype: torch.dtype, with_deepstack: bool
) -> None:
    reducer, context = build_reducer(spec), ReductionContext()
    for tokens in moving_clips(size, dtype=dtype, with_deepstack=with_deepstack):
        kept, context = reduce_clip(reducer, tokens, context)
        rows = kept.indices
        assert len(kept) <= size
        assert rows.dtype == torch.int64
        assert (rows.diff() > 0).all() and (rows >= 0).all() and (rows < size).all()
        assert kept.features.dtype == dtype
        assert kept.features.device == tokens.features.device
        assert torch.equal(kept.cells, tokens.cells[rows])
        assert (kept.grid_thw, kept.interval) == (tokens.grid_thw, tokens.interval)
        assert (kept.deepstack is None) is (tokens.deepstack is None)
        if kept.owner is not None:
            assert kept.weight.sum() <= size, "no token is in two rows"
            assert (kept.weight >= 1).all()
            counts = torch.bincount(kept.owner[kept.owner >= 0], minlength=size)
            assert torch.equal(counts.nonzero().flatten(), rows)
            assert torch.equal(counts[rows].float(), kept.weight)
            check_members(kept, tokens)
            continue
        assert kept.members is None, "only what is merged has any"
        assert torch.equal(kept.weight, torch.ones(len(kept)))
        assert torch.equal(kept.features, tokens.features[rows])
        if kept.deepstack is not None and tokens.deepstack is not None:
            assert torch.equal(kept.deepstack, tokens.deepstack[:, rows])


def check_members(kept: KeptTokens, tokens: VisualTokens) -> None:
    """All are cells of tokens that joined the row, its own first."""
    if kept.members is None or kept.owner is None:
        return
    assert torch.equal(kept.members[:, 0], kept.cells)
    for row, members in zip(kept.indices, kept.members, strict=True):
        joined = {tuple(cell) for cell in tokens.cells[kept.owner == row].tolist()}
        assert {tuple(cell) for cell in members.tolist()} <= joined


@every_strategy
@every_size
def test_the_same_input_gives_the_same_output_and_is_not_changed(
    spec: dict[str, Any], size: int
) -> None:
    reducer, context = build_reducer(spec), ReductionContext()
    for tokens in moving_clips(size):
        before = [tensor.clone() for tensor in tensors_of(tokens, context)]
        first, second = reducer(tokens, context), reducer(tokens, context)
        assert torch.equal(first.indices, second.indices)
        kept, next_context = reduce_clip(reducer, tokens, context)
        assert torch.equal(kept.indices, first.indices)
        for old, new in zip(before, tensors_of(tokens, context), strict=True):
            assert torch.equal(old, new)
        context = next_context


def tensors_of(tokens: VisualTokens, context: ReductionContext) -> list[torch.Tensor]:
    tensors = [tokens.features, tokens.cells, tokens.deepstack]
    if context.previous is not None:
        tensors.append(context.previous.features)
    if context.reference is not None:
        tensors += [context.reference.features, context.reference.age]
    return [tensor for tensor in tensors if tensor is not None]


@every_strategy
@every_size
@pytest.mark.parametrize("max_kept", [0, 1, 5, 1000])
def test_the_cap_holds_in_every_clip(spec: dict[str, Any], size: int, max_kept: int) -> None:
    context = ReductionContext(max_kept=max_kept)
    for rows in reduce_stream(build_reducer(spec), moving_clips(size), context):
        assert len(rows) <= max_kept


@every_strategy
@every_size
def test_a_stream_in_one_go_equals_the_same_stream_in_pieces(
    spec: dict[str, Any], size: int
) -> None:
    clips = moving_clips(size, count=8)
    whole = reduce_stream(build_reducer(spec), clips)
    for cut in (1, 4, 7):
        context = ReductionContext()
        for tokens in clips[:cut]:
            _, context = reduce_clip(build_reducer(spec), tokens, context)
        assert reduce_stream(build_reducer(spec), clips[cut:], context) == whole[cut:]


@every_strategy
def test_streams_that_take_turns_do_not_disturb_each_other(spec: dict[str, Any]) -> None:
    reducer = build_reducer(spec)
    streams = [moving_clips(64), moving_clips(7)]
    alone = [reduce_stream(reducer, clips) for clips in streams]
    contexts = [ReductionContext(), ReductionContext()]
    for turn in range(len(streams[0])):
        for which, clips in enumerate(streams):
            kept, contexts[which] = reduce_clip(reducer, clips[turn], contexts[which])
            assert kept.indices.tolist() == alone[which][turn]


@every_strategy
@pytest.mark.parametrize("value", [0.0, 1.0], ids=["zero vectors", "all alike"])
def test_degenerate_features_do_no_harm(spec: dict[str, Any], value: float) -> None:
    reducer, context = build_reducer(spec), ReductionContext()
    even = torch.full((5,), 0.2)
    alike = replace(make_tokens(torch.full((5, 6), value)), salience=even, sensitivity=even)
    for tokens in [alike, random_tokens(7), random_tokens(1)] * 2:
        kept, context = reduce_clip(reducer, tokens, context)
        assert kept.features.isfinite().all()
        assert context.reference is not None and context.reference.features.isfinite().all()


@every_strategy
def test_settings_cannot_be_changed(spec: dict[str, Any]) -> None:
    reducer = build_reducer(spec)
    for setting in fields(reducer):  # type: ignore[arg-type]
        with pytest.raises(FrozenInstanceError):
            setattr(reducer, setting.name, getattr(reducer, setting.name))


@every_size
@pytest.mark.parametrize("name", [n for n, cls in REDUCERS.items() if hasattr(cls, "keep_ratio")])
def test_keep_ratio_one_keeps_every_row(name: str, size: int) -> None:
    reducer = build_reducer({"name": name, "keep_ratio": 1.0})
    assert reduce_stream(reducer, moving_clips(size)) == [list(range(size))] * 6


@every_strategy
@pytest.mark.parametrize("signal", get_args(Signal))
def test_signals_that_are_not_needed_may_be_missing(spec: dict[str, Any], signal: Signal) -> None:
    reducer, tokens = build_reducer(spec), replace(random_tokens(7), **{signal: None})
    if signal not in reducer.needs:
        assert len(reducer(tokens, ReductionContext())) <= 7
    else:
        with pytest.raises(ValueError, match=f"do not tell their {signal}"):
            reducer(tokens, ReductionContext())


def test_every_file_of_strategies_is_in_the_table() -> None:
    files = {
        f"{strategies.__name__}.{module.name}"
        for module in pkgutil.iter_modules(strategies.__path__)
    }
    composed = {Compressor.__module__}
    assert files | composed == {
        strategy.__module__ for strategy in (*REDUCERS.values(), *SEGMENT_REDUCERS.values())
    }
