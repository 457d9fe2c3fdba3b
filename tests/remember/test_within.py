"""Which intervals lie in stretches of stream time."""

from __future__ import annotations

import pytest

from streamvlm.remember.within import Stretch, check, overlaps
from streamvlm.types import Interval
from tests.conftest import at


@pytest.mark.parametrize(
    ("stretch", "is_in"),
    [
        ((0, 100), True),
        ((12, 14), True),
        ((0, 10), False),
        ((0, 10.1), True),
        ((20, 30), False),
        ((19.9, 30), True),
        ((float("-inf"), float("inf")), True),
        ((10, 10), True),
        ((15, 15), True),
        ((20, 20), False),
    ],
)
def test_half_open_stretches_and_instants(stretch: Stretch, is_in: bool) -> None:
    interval = Interval(start=at(10), end=at(20))
    assert overlaps(interval, [stretch]) is is_in
    assert overlaps(interval, [(0, 1), stretch]) is is_in


def test_a_block_of_no_length_is_an_instant() -> None:
    assert overlaps(Interval(start=at(10), end=at(10)), [(10, 11)])
    assert not overlaps(Interval(start=at(10), end=at(10)), [(9, 10)])


def test_nothing_is_in_no_stretch() -> None:
    assert not overlaps(Interval(start=at(10), end=at(20)), [])


@pytest.mark.parametrize("stretch", [(5.0, 4.0), (float("nan"), 4.0), (4.0, float("nan"))])
def test_a_stretch_that_is_none_is_told(stretch: Stretch) -> None:
    with pytest.raises(ValueError, match="must not end before it starts"):
        check([(0, 1), stretch])
