"""What a rule's margin usually is on a stream, so that a score says how far a look stands out.

A model that leans to "yes" about one camera would otherwise never stop firing there.
"""

from __future__ import annotations

from collections import deque
from statistics import median

WARM_UP_LOOKS = 16
_MOST_LOOKS = 512


class Background:
    """The newest margins of one rule on one stream while its condition did not hold; bounded."""

    def __init__(self) -> None:
        self._margins: deque[float] = deque(maxlen=_MOST_LOOKS)

    def add(self, margin: float) -> None:
        """One more look at what is usual."""
        self._margins.append(margin)

    @property
    def usual_margin(self) -> float:
        """Their median; 0 until `WARM_UP_LOOKS` are known."""
        return median(self._margins) if len(self._margins) >= WARM_UP_LOOKS else 0.0

    def score(self, margin: float) -> float:
        """How far a margin stands out, in nats.

        A usual margin above 0 raises the bar. One below 0 does not lower it: where "no" is sure
        all day, being a little less sure is no "yes".
        """
        return margin - max(0.0, self.usual_margin)
