"""STC-Pruner: Gaussian kernels to the mean of the clip and to the mean of all clips before."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, sqrt

from made_tokens import make_tokens

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "stc", "keep_ratio": 7 / 24}
# The second channel varies more and is not looked at: of the first what is negative is odd, in the
# last clip by the history alone.
EXAMPLE = Example(
    settings={"keep_ratio": 0.2},
    clips=[
        make_tokens([[1.0, 3.0], [1.0, 9.0], [-1.0, 0.0], [1.0, -9.0], [1.0, 0.0]]),
        make_tokens([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]),
        make_tokens([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]),
    ],
    rows=[[2], [4], [1]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """The channels are those of the first clip; the history has no clip that is not past."""
    first = clips[0].features
    spread = [_variance(first[:, number].tolist()) for number in range(first.shape[1])]
    steady = sorted(range(len(spread)), key=lambda number: spread[number])[: len(spread) // 2]
    history: list[list[float]] = []
    expected = []
    for clip in clips:
        rows = [_direction([float(row[each]) for each in sorted(steady)]) for row in clip.features]
        mean = _mean(rows)
        known = []
        for row in rows:
            alike = _kernel(row, mean)
            if history:
                alike += _kernel(row, _mean(history))
            known.append(round(alike, 6))
        count = round(keep_ratio * len(clip))
        expected.append(
            Expected(rows=sorted(sorted(range(len(rows)), key=known.__getitem__)[:count]))
        )
        history.append(mean)
    return expected


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / len(values)


def _direction(row: Sequence[float]) -> list[float]:
    length = sqrt(sum(value**2 for value in row))
    return [value / length for value in row]


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def _kernel(row: Sequence[float], mean: Sequence[float]) -> float:
    square = sum((one - other) ** 2 for one, other in zip(row, mean, strict=True))
    return sum(exp(-square / (2 * width)) for width in (1 / 8, 1 / 4, 1 / 2, 1, 2))
