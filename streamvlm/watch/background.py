"""What a rule's margin usually is on a stream, so that a score says how far a look stands out.

A model that leans to "yes" about one camera would otherwise never stop firing there.
"""

from __future__ import annotations

from collections import deque

WARM_UP_LOOKS = 16
_MOST_LOOKS = 512
_QUANTILE = 0.9
"""Few looks at something that was too weak to fire do not move it."""
_LOWEST = -2.0
"""Where "no" is sure all day the bar is lower by this much, in nats, and never by more: at the
default threshold that is where "yes" becomes the likelier answer."""


class Background:
    """The newest margins of one rule on one stream while its condition did not hold; bounded."""

    def __init__(self) -> None:
        self._margins: deque[float] = deque(maxlen=_MOST_LOOKS)

    def add(self, margin: float) -> None:
        """One more look at what is usual."""
        self._margins.append(margin)

    @property
    def usual_margin(self) -> float:
        """What nine of ten stay below; 0 until `WARM_UP_LOOKS` are known."""
        if len(self._margins) < WARM_UP_LOOKS:
            return 0.0
        return sorted(self._margins)[int(_QUANTILE * (len(self._margins) - 1))]

    def score(self, margin: float) -> float:
        """How far a margin stands out from what is usual, in nats."""
        return margin - max(_LOWEST, self.usual_margin)
