"""Logits to a token."""

from __future__ import annotations

import torch
from torch import Tensor

from streamvlm.types import Sampling


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """The next token for `logits` float [V]: the best one, or one drawn by temperature and top-p
    (nucleus sampling, "The Curious Case of Neural Text Degeneration", arXiv 1904.09751).
    `generator` lives on the cpu.
    """
    if sampling.temperature == 0:
        return int(logits.argmax())
    probabilities = (logits.float() / sampling.temperature).softmax(dim=-1)
    if sampling.top_p == 1:
        return int(torch.multinomial(probabilities.cpu(), 1, generator=generator))
    ordered, ids = probabilities.sort(descending=True, stable=True)
    # Keep a token as long as those before it have not reached top_p yet, and always the best one.
    is_dropped = ordered.cumsum(0) - ordered >= sampling.top_p
    is_dropped[0] = False
    ordered[is_dropped] = 0
    drawn = int(torch.multinomial(ordered.cpu(), 1, generator=generator))
    return int(ids[drawn])
