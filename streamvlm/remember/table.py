"""The summaries of a stream's blocks, stacked for scoring; a row a block, in no order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from streamvlm.remember.score import Stack
from streamvlm.remember.summary import MOST_REPRESENTATIVES
from streamvlm.types import Summary

_FIRST_ROWS = 64


class SummaryTable:
    """Summaries by block id. Takes room for at most twice the most blocks that there were."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}
        self._ids = torch.empty(0, dtype=torch.int64)
        self._stack: Stack | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, block_id: object) -> bool:
        return block_id in self._rows

    @property
    def ids(self) -> Tensor:
        """int64 [B], of all blocks, in the order of the rows; valid until one is added or
        removed.
        """
        return self._ids[: len(self)]

    def add(self, block_id: int, summary: Summary) -> None:
        """A block that is not in yet."""
        assert block_id not in self._rows, f"block {block_id} is in already"
        row = len(self)
        if self._stack is None or row == len(self._stack):
            self._stack = _larger(self._stack, summary)
            self._ids = torch.cat([self._ids, self._ids.new_empty(len(self._stack) - row)])
        num_keys = len(summary.tokens)
        self._stack.means[row], self._stack.lows[row] = summary.mean, summary.low
        self._stack.highs[row], self._stack.keys[row, :num_keys] = summary.high, summary.keys
        self._stack.num_keys[row] = num_keys
        self._ids[row], self._rows[block_id] = block_id, row

    def remove(self, block_id: int) -> None:
        """Take a block out, without a trace; raises KeyError where it is not in."""
        row, last = self._rows.pop(block_id), len(self)
        assert self._stack is not None
        if row != last:
            self._move(last, row)
        for name in _PARTS:
            getattr(self._stack, name)[last].zero_()

    def stack(self, block_ids: Sequence[int] | None = None) -> tuple[Tensor, Stack]:
        """Ids int64 [B] and summaries of these blocks, each in here, or of all; the latter valid
        until one is added or removed. Needs a block.
        """
        assert self._stack is not None, "an empty table has no summaries"
        if block_ids is None:
            return self.ids, self._stack.at(slice(len(self)))
        rows = torch.tensor([self._rows[each] for each in block_ids], dtype=torch.int64)
        return self._ids[rows], self._stack.at(rows)

    def _move(self, row: int, into: int) -> None:
        """So that the rows in use stay together."""
        assert self._stack is not None
        moved = int(self._ids[row])
        self._ids[into], self._rows[moved] = moved, into
        source, target = self._stack.at(slice(row, row + 1)), self._stack.at(slice(into, into + 1))
        for name in _PARTS:
            getattr(target, name).copy_(getattr(source, name))


_PARTS = tuple(each.name for each in fields(Stack))


def _larger(stack: Stack | None, like: Summary) -> Stack:
    """Room for twice as many; the first for summaries like this one."""
    if stack is not None:
        parts = {name: getattr(stack, name) for name in _PARTS}
        return Stack(
            **{name: torch.cat([part, torch.zeros_like(part)]) for name, part in parts.items()}
        )
    vector = torch.zeros(_FIRST_ROWS, *like.mean.shape)
    return Stack(
        means=vector,
        lows=vector.clone(),
        highs=vector.clone(),
        keys=torch.zeros(_FIRST_ROWS, MOST_REPRESENTATIVES, *like.mean.shape),
        num_keys=torch.zeros(_FIRST_ROWS, dtype=torch.int64),
    )
