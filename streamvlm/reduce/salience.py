"""What ranks tokens where a paper takes the attention of its vision tower."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from streamvlm.reduce.base import Signal, told
from streamvlm.types import VisualTokens

Salience = Literal["attention", "novelty"]
"""Attention: what a token receives in the tower. Novelty: how unlike something known it is; costs
nothing, and each strategy says unlike what."""


def needed_for(salience: Salience) -> frozenset[Signal]:
    """The signals that it takes."""
    return frozenset({"salience"}) if salience == "attention" else frozenset()


def received_attention(tokens: VisualTokens) -> Tensor:
    """float [N]. Raises ValueError where the encoder was not asked for it."""
    return told(tokens, "salience")
