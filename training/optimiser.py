"""What trains both parts: Muon for the matrices of their layers, AdamW for all else.

Muon orthogonalises each step, so that directions seldom seen are learnt as fast as common ones:
"Muon is Scalable for LLM Training", arXiv 2502.16982, whose scaling lets both share one rate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_WEIGHT_DECAY = 0.02


class MuonWithAdamW:
    """Two optimisers with the face of one, as far as a leg needs it."""

    def __init__(self, layers: nn.Module, *parts: nn.Module) -> None:
        """What is trained is `parts`; the matrices of `layers`, which belong to them, by Muon."""
        matrices = [each for each in layers.parameters() if each.ndim == 2]
        chosen = {id(each) for each in matrices}
        everything = [each for part in parts for each in part.parameters()]
        rest = [each for each in everything if id(each) not in chosen]
        self._muon = torch.optim.Muon(
            matrices, weight_decay=_WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"
        )
        self._adamw = torch.optim.AdamW(rest, weight_decay=_WEIGHT_DECAY, betas=(0.9, 0.98))
        self._both: tuple[Any, Any] = (self._muon, self._adamw)
        self.parameters = [*matrices, *rest]

    @property
    def is_new(self) -> bool:
        """Whether it has done no step yet."""
        return not self._muon.state

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for each in self._both:
            each.zero_grad()

    def step(self, rate: float) -> None:
        """One step at this learning rate."""
        for each in self._both:
            for group in each.param_groups:
                group["lr"] = rate
            each.step()

    def state_dict(self) -> dict[str, Any]:
        """Of both."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._muon.load_state_dict(state_dict["muon"])
        self._adamw.load_state_dict(state_dict["adamw"])
