"""What a clip leaves for the next one."""

from __future__ import annotations

import torch
from made_tokens import angles, make_tokens

from streamvlm.reduce import ReductionContext, reduce_clip
from streamvlm.reduce.carry import advance_reference
from streamvlm.reduce.ops import keep_rows
from streamvlm.types import KeptTokens, VisualTokens

FIVE = make_tokens(torch.arange(10.0).view(5, 2))


def test_the_reference_starts_with_what_was_kept_and_ages_elsewhere() -> None:
    first = advance_reference(None, FIVE, keep_rows(FIVE, torch.tensor([1, 3])))
    assert first.age.tolist() == [1, 0, 1, 0, 1]
    assert first.features.tolist() == [[0, 0], [2, 3], [0, 0], [6, 7], [0, 0]]
    later = make_tokens(FIVE.features + 100)
    second = advance_reference(first, later, keep_rows(later, torch.tensor([0, 3])))
    assert second.age.tolist() == [0, 1, 2, 0, 2]
    assert second.features.tolist() == [[100, 101], [2, 3], [0, 0], [106, 107], [0, 0]]
    assert first.age.tolist() == [1, 0, 1, 0, 1], "the old reference was changed"


def test_the_reference_starts_anew_for_another_grid() -> None:
    first = advance_reference(None, FIVE, keep_rows(FIVE, torch.arange(5)))
    other = make_tokens(FIVE.features, grid_thw=(1, 5, 1))
    anew = advance_reference(first, other, keep_rows(other, torch.tensor([2])))
    assert anew.grid_thw == (1, 5, 1)
    assert anew.features.any(dim=1).tolist() == [False, False, True, False, False]


class Counting:
    """Keeps the first row, and carries how many clips there were."""

    needs = frozenset[str]()

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        return keep_rows(tokens, torch.tensor([0]))

    def advance(self, tokens: VisualTokens, context: ReductionContext) -> tuple[KeptTokens, int]:
        return self(tokens, context), (context.carried or 0) + 1


def test_a_clip_leaves_all_that_the_next_one_may_know() -> None:
    first, second = angles(0, 0), angles(90, 90)
    _, context = reduce_clip(Counting(), first, ReductionContext(following=second, max_kept=7))
    assert (context.clip_index, context.carried, context.max_kept) == (1, 1, 7)
    assert context.previous is first and context.following is None
    _, context = reduce_clip(Counting(), second, context)
    assert (context.clip_index, context.carried) == (2, 2)
