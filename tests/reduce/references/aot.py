"""Transport to anchors by its definition, one token at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "aot", "keep_ratio": 10 / 24}
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[replace(angles(0, 5, 90, 95, 100), salience=torch.tensor([0.1, 0.8, 0.2, 0.3, 0.9]))],
    rows=[[1, 4]],
)
Plan = list[list[float]]


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Segments of four clips."""
    expected = []
    for start in range(0, len(clips), 4):
        expected += _segment(clips[start : start + 4], keep_ratio)
    return expected


def _segment(clips: Sequence[VisualTokens], keep_ratio: float) -> list[Expected]:
    total, later = round(keep_ratio * len(clips) * len(clips[0])), len(clips) - 1
    num_anchors = max(math.ceil(total / len(clips)), int(total / (1 + 0.4 * later)))
    num_anchors = min(len(clips[0]), num_anchors)
    first, *others = [_within(clip, num_anchors) for clip in clips]
    anchors, weight = first.features, first.weight
    assert anchors is not None and weight is not None
    expected, rest = [], total - num_anchors
    for age, each in enumerate(others, start=1):
        count = rest * age // later - rest * (age - 1) // later
        assert each.features is not None and each.weight is not None
        shares = _shares(each.features, anchors, age)
        clear = [round(max(share) * num_anchors, 6) for share in shares]
        order = sorted(range(num_anchors), key=lambda at, clear=clear: (clear[at], at))
        stays, goes = sorted(order[:count]), order[count:]
        updated = torch.zeros_like(anchors)
        for to in range(num_anchors):
            taken = sum(shares[at][to] * each.features[at] for at in goes)
            updated[to] = (anchors[to] + taken) / (1 + sum(shares[at][to] for at in goes))
        for at in goes:
            weight[_best([round(share * num_anchors, 6) for share in shares[at]])] += each.weight[
                at
            ]
        anchors = updated
        expected.append(
            Expected(
                rows=[each.rows[at] for at in stays],
                features=each.features[stays],
                weight=[each.weight[at] for at in stays],
            )
        )
    return [Expected(rows=first.rows, features=anchors, weight=weight), *expected]


def _within(clip: VisualTokens, num_anchors: int) -> Expected:
    """What transport makes of the anchors of a clip."""
    rows = _anchor_rows(clip, num_anchors)
    others = [row for row in range(len(clip)) if row not in rows]
    if not others:
        return Expected(rows=rows, features=clip.features, weight=[1] * len(rows))
    _, height, width = clip.grid_thw
    cost = []
    for row in others:
        costs = []
        for anchor in rows:
            _, down, across = (clip.cells[row] - clip.cells[anchor]).tolist()
            apart = math.hypot(down / height, across / width)
            costs.append(1 - _cosine(clip.features[row], clip.features[anchor]) + 0.5 * apart)
        cost.append(costs)
    plan = _sinkhorn(cost)
    nearest = [_best([round(-each, 6) for each in costs]) for costs in cost]
    features = []
    for to, anchor in enumerate(rows):
        own = clip.features[anchor]
        carried = own + sum(plan[at][to] * clip.features[row] for at, row in enumerate(others))
        carried = carried / (1 + sum(plan[at][to] for at in range(len(others))))
        group = [own, *(clip.features[row] for at, row in enumerate(others) if nearest[at] == to)]
        features.append(0.9 * carried + 0.1 * sum(group) / len(group))
    weight = [1 + nearest.count(to) for to in range(len(rows))]
    return Expected(rows=rows, features=torch.stack(features), weight=weight)


def _anchor_rows(clip: VisualTokens, count: int) -> list[int]:
    assert clip.salience is not None
    _, height, width = clip.grid_thw
    order = sorted(range(len(clip)), key=lambda row: (-float(clip.salience[row]), row))
    local: list[int] = []
    for down in range(3):
        for across in range(3):
            inside = [
                row
                for row in order
                if (int(clip.cells[row, 1]) * 3 // height, int(clip.cells[row, 2]) * 3 // width)
                == (down, across)
            ]
            local += inside[: count // 2 // 9]
    return sorted((local + [row for row in order if row not in local])[:count])


def _shares(sources: Tensor, anchors: Tensor, age: int) -> Plan:
    cost = [[1 - _cosine(source, anchor) for anchor in anchors] for source in sources]
    lowest = min(map(min, cost))
    fading = 1 - math.exp(-(age**2) / (2 * 1.5**2))
    plan = _sinkhorn([[(each - lowest) * fading for each in costs] for costs in cost])
    return [[each / sum(row) for each in row] for row in plan]


def _sinkhorn(cost: Plan) -> Plan:
    kernel = [[math.exp(-each / 0.1) for each in costs] for costs in cost]
    sources, anchors = range(len(cost)), range(len(cost[0]))
    give, take = [1.0] * len(sources), [1.0] * len(anchors)
    for _ in range(100):
        before = give
        give = [1 / len(sources) / sum(kernel[s][a] * take[a] for a in anchors) for s in sources]
        take = [1 / len(anchors) / sum(kernel[s][a] * give[s] for s in sources) for a in anchors]
        if sum(abs(give[s] - before[s]) for s in sources) / len(sources) < 1e-2:
            break
    return [[give[s] * kernel[s][a] * take[a] for a in anchors] for s in sources]


def _best(values: list[float]) -> int:
    return values.index(max(values))


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
