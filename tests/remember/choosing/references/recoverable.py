"""The typical and the fitting ones, as many of each as lie apart from the others."""

from __future__ import annotations

from collections.abc import Sequence

from streamvlm.remember.choosing import FoundTokens
from tests.remember.choosing.references import (
    Example,
    Expected,
    by_score,
    cosine,
    first_of,
    fits_of,
    inner,
    keys_of,
    mean,
    members,
)

# The third is nearest to the mean of all, the last to the question.
EXAMPLE = Example(
    keys=[(0, 1), (0.1, 1), (0.3, 1), (0.7, 1), (0.9, 0.5)], sizes=[5], max_tokens=2, rows={2, 4}
)


def reference(found: FoundTokens, max_tokens: int) -> Expected:
    keys, fits = keys_of(found), fits_of(found)
    typical = [0.0] * len(keys)
    for rows in members(found):
        middle = mean([keys[row] for row in rows])
        for row in rows:
            typical[row] = round(cosine(keys[row], middle), 6)
    order = by_score(range(len(keys)), typical)
    num_typical = num_outliers(typical)
    exact = [inner(key, found.probe.tolist()) for key in keys]
    num_fitting = num_outliers([exact[row] for row in order[num_typical:]])
    both = num_typical + num_fitting
    part = max_tokens * num_typical // both if both else max_tokens // 2
    kept = first_of(found, order, part)
    recovered = by_score([row for row in range(len(keys)) if row not in kept], fits)
    return Expected(rows=set(first_of(found, [*kept, *recovered], max_tokens)))


def num_outliers(values: Sequence[float], neighbours: int = 20) -> int:
    """The local outlier factor as it is defined, every distance of every pair."""
    points = sorted(values)
    count = min(neighbours, len(points) - 1)
    if count < 1:
        return 0

    def distance(one: int, other: int) -> float:
        return abs(points[one] - points[other])

    places = range(len(points))
    nearest = {
        one: sorted((other for other in places if other != one), key=lambda o: distance(one, o))[
            :count
        ]
        for one in places
    }

    def density(one: int) -> float:
        reach = [
            max(distance(one, other), distance(other, nearest[other][-1])) for other in nearest[one]
        ]
        return 1 / (sum(reach) / count + 1e-10)

    densities = [density(one) for one in places]
    factors = [sum(densities[o] for o in nearest[one]) / count / densities[one] for one in places]
    return sum(factor > 1.5 for factor in factors)
