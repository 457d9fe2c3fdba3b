from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from training.optimiser import MuonWithAdamW


class Text(nn.Module):
    """As much of a language model as the optimiser looks at."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = nn.Embedding(5, 8)
        self.layers = nn.ModuleList([nn.Linear(8, 4), nn.LayerNorm(4), nn.Linear(4, 8)])

    def loss(self) -> torch.Tensor:
        x = self.embed_tokens.weight
        for layer in self.layers:
            x = layer(x)
        return (x - 1).pow(2).mean()


def trained(steps: int) -> tuple[Text, nn.Linear, MuonWithAdamW]:
    text, head = Text(), nn.Linear(8, 1)
    optimiser = MuonWithAdamW(text.layers, text, head)
    step(text, head, optimiser, steps)
    return text, head, optimiser


def step(text: Text, head: nn.Linear, optimiser: MuonWithAdamW, steps: int) -> None:
    for _ in range(steps):
        optimiser.zero_grad()
        (text.loss() + head(text.embed_tokens.weight).pow(2).mean()).backward()
        optimiser.step(0.01)


def test_it_trains_all_there_is() -> None:
    before, after = Text(), trained(30)[0]
    for name, value in after.named_parameters():
        assert not torch.equal(value, before.get_parameter(name)), name
    assert after.loss() < before.loss() / 2


def test_matrices_of_layers_step_alike_in_all_directions() -> None:
    before, after = Text(), trained(1)[0]
    change = after.layers[0].weight - before.layers[0].weight * (1 - 0.01 * 0.02)
    first, second, *_ = torch.linalg.svdvals(change)
    assert first / second < 2


def test_what_it_knew_is_gone_on_with() -> None:
    text, head, optimiser = trained(5)
    again, other = Text(), nn.Linear(8, 1)
    fresh = MuonWithAdamW(again.layers, again, other)
    assert fresh.is_new and not optimiser.is_new
    again.load_state_dict(text.state_dict())
    other.load_state_dict(head.state_dict())
    fresh.load_state_dict(deepcopy(optimiser.state_dict()))
    assert not fresh.is_new
    step(text, head, optimiser, 3)
    step(again, other, fresh, 3)
    for name, value in text.named_parameters():
        assert torch.allclose(value, again.get_parameter(name), atol=1e-5), name
