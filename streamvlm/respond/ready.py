"""The recent clips, run once for all that is asked about them.

They are the longest part of a context, and the same until the next clip comes: for all rules that
look at a stream, and for all questions that recall the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import torch
from torch import Tensor

from streamvlm.respond.prompt import Prompt
from streamvlm.types import InputTokens
from streamvlm.vlm import VLM

_MOST = 2
"""What rules look at, and what the last question recalled."""


class Ready:
    """Keys and values of the recent clips of one stream, for the contexts of the last questions."""

    def __init__(self) -> None:
        self._made: deque[Prompt] = deque(maxlen=_MOST)

    def made(self, vlm: VLM, prompt: Prompt) -> Prompt:
        """The prompt with `Prompt.ready`. Costs one forward over the recent clips, unless it was
        made for the same clips behind the same keys and values at the same positions, the same of
        them in each layer.

        It is always made by a forward of its own, so that an answer is the same to the bit whether
        it was there or not.
        """
        if prompt.recent is None:
            return prompt
        for known in self._made:
            if known.recent and _same_past(known, prompt) and _equal(known.recent, prompt.recent):
                return replace(prompt, ready=known.ready)
        past = vlm.open_context(prompt.remembered, prompt.by_layer)
        made = replace(prompt, ready=vlm.prefill(prompt.recent, past).kv)
        self._made.append(made)
        return made

    def forget(self) -> None:
        """The next clip is there, or what was seen must go."""
        self._made.clear()


def _same_past(one: Prompt, two: Prompt) -> bool:
    if len(one.remembered) != len(two.remembered):
        return False
    return _equal_or_none(one.by_layer, two.by_layer) and all(
        a.keys is b.keys and torch.equal(a.positions, b.positions)
        for a, b in zip(one.remembered, two.remembered, strict=True)
    )


def _equal(one: InputTokens, two: InputTokens) -> bool:
    return torch.equal(one.positions, two.positions) and all(
        _equal_or_none(a, b)
        for a, b in (
            (one.embeddings, two.embeddings),
            (one.deepstack, two.deepstack),
            (one.spread, two.spread),
        )
    )


def _equal_or_none(one: Tensor | None, two: Tensor | None) -> bool:
    if one is None or two is None:
        return one is two
    return torch.equal(one, two)
