"""Each scoring rule against a reference of plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from streamvlm.remember.score import RULES
from streamvlm.remember.summary import summarise
from streamvlm.remember.table import SummaryTable
from streamvlm.remember_config import RememberConfig
from streamvlm.types import Summary

GROUPS, HEAD_SIZE = 2, 5
Summaries = list[Summary]
Probe = list[float]


def summaries(count: int) -> Summaries:
    generator = torch.Generator().manual_seed(count)
    return [
        summarise(
            torch.randn(1 + number % 7, GROUPS, HEAD_SIZE, generator=generator),
            torch.ones(1 + number % 7, dtype=torch.bool),
        )
        for number in range(count)
    ]


def dot(one: Probe, two: Probe) -> float:
    return sum(a * b for a, b in zip(one, two, strict=True))


def mean(probe: Probe, blocks: Summaries) -> list[float]:
    return [dot(probe, block.mean.flatten().tolist()) for block in blocks]


def cosine(probe: Probe, blocks: Summaries) -> list[float]:
    means = [block.mean.flatten().tolist() for block in blocks]
    return [dot(probe, key) / math.sqrt(dot(probe, probe) * dot(key, key)) for key in means]


def representatives(probe: Probe, blocks: Summaries) -> list[float]:
    return [max(dot(probe, key) for key in block.keys.flatten(1).tolist()) for block in blocks]


def vote(probe: Probe, blocks: Summaries) -> list[float]:
    votes = [0.0] * len(blocks)
    for head in range(GROUPS):
        asked = probe[head * HEAD_SIZE : (head + 1) * HEAD_SIZE]
        weights = [
            [math.exp(dot(asked, key[head]) / math.sqrt(HEAD_SIZE)) for key in block.keys.tolist()]
            for block in blocks
        ]
        total = sum(map(sum, weights))
        for number, own in enumerate(weights):
            votes[number] += sum(own) / total
    return votes


def bound(probe: Probe, blocks: Summaries) -> list[float]:
    bounds = [(block.low.flatten().tolist(), block.high.flatten().tolist()) for block in blocks]
    return [
        sum(max(q * a, q * b) for q, a, b in zip(probe, low, high, strict=True))
        for low, high in bounds
    ]


REFERENCES: dict[str, Callable[[Probe, Summaries], list[float]]] = {
    "mean": mean,
    "cosine": cosine,
    "representatives": representatives,
    "vote": vote,
    "bound": bound,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("count", [1, 40, 700])
def test_a_rule_is_its_reference(rule: str, count: int) -> None:
    table = SummaryTable()
    blocks = summaries(count)
    for number, block in enumerate(blocks):
        table.add(number, block)
    probe = torch.randn(GROUPS * HEAD_SIZE, generator=torch.Generator().manual_seed(1))
    ids, stack = table.stack()
    assert ids.tolist() == list(range(count))
    expected = REFERENCES[rule](probe.tolist(), blocks)
    torch.testing.assert_close(RULES[rule](probe, stack), torch.tensor(expected))


@pytest.mark.parametrize("rule", RULES)
def test_where_a_block_stands_does_not_matter(rule: str) -> None:
    """Bit for bit, so that equal blocks tie wherever they are."""
    block, others = summaries(6)[5], summaries(600)
    probe = torch.randn(GROUPS * HEAD_SIZE, generator=torch.Generator().manual_seed(2))
    table = SummaryTable()
    for number, each in enumerate([block, *others[:300], block, *others[300:], block]):
        table.add(number, each)
    scores = RULES[rule](probe, table.stack()[1])
    assert float(scores[0]) == float(scores[301]) == float(scores[602])


def test_no_token_exceeds_its_bound() -> None:
    keys = torch.randn(30, GROUPS, HEAD_SIZE, generator=torch.Generator().manual_seed(3))
    probe = torch.randn(GROUPS * HEAD_SIZE, generator=torch.Generator().manual_seed(4))
    table = SummaryTable()
    table.add(0, summarise(keys, torch.ones(30, dtype=torch.bool)))
    best = float((keys.flatten(1) @ probe).max())
    assert float(RULES["bound"](probe, table.stack()[1])[0]) >= best


def test_the_config_allows_every_rule_and_no_other() -> None:
    for rule in RULES:
        assert RememberConfig(score=rule)  # type: ignore[arg-type].score == rule
    with pytest.raises(ValueError, match="'mean', 'cosine'"):
        RememberConfig(score="best")  # type: ignore[arg-type]
