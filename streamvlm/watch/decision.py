"""From scores to whether a condition holds: hysteresis, K of N looks, a minimum duration.

One rule on one stream. It knows nothing of delivery; `lifecycle` does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from streamvlm.alerts import AlertRule


class Holding(StrEnum):
    """Whether a rule's condition holds, as far as can be told."""

    NO = "no"
    PENDING = "pending"
    """It does, but not for long enough yet."""
    YES = "yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a look led to."""

    holding: Holding
    has_changed: bool
    """Whether it was something else before this look."""
    since_seconds: float | None
    """Stream time of the first look that spoke for it; None where it does not hold."""


class Decision:
    """Looks in, in the order of time; bounded by the rule's `considered_looks`."""

    def __init__(self, rule: AlertRule) -> None:
        self._rule = rule
        self._looks: deque[tuple[float, float]] = deque(maxlen=rule.considered_looks)
        self._newest_seconds = float("-inf")
        self._holding = Holding.NO
        self._since_seconds: float | None = None

    def look(self, pts_seconds: float, score: float) -> Judged:
        """Judge by one more look. One that is not newer than the newest changes nothing: a clip
        that is looked at twice does not count twice.
        """
        before = self._holding
        if pts_seconds > self._newest_seconds:
            self._newest_seconds = pts_seconds
            self._looks.append((pts_seconds, score))
            self._holding = self._judge(pts_seconds)
        return Judged(
            holding=self._holding,
            has_changed=self._holding is not before,
            since_seconds=self._since_seconds,
        )

    @property
    def is_settled(self) -> bool:
        """Whether the newest look is clearly on the side that is held. Between the thresholds it is
        not, and what comes next may tell: the thing is still coming, or half hidden.
        """
        if not self._looks:
            return self._holding is not Holding.PENDING
        score = self._looks[-1][1]
        if self._holding is Holding.NO:
            return score < self._rule.leave_threshold
        return self._holding is Holding.YES and score >= self._rule.enter_threshold

    def resume(self, since_seconds: float) -> None:
        """It held since this stream time, as others found: looks that speak against it end it."""
        self._looks.clear()
        self._holding, self._since_seconds = Holding.YES, since_seconds

    def forget(self) -> None:
        """Nothing was seen for a while: what was seen before says nothing about what follows."""
        self._looks.clear()
        self._holding, self._since_seconds = Holding.NO, None

    def _judge(self, now_seconds: float) -> Holding:
        rule = self._rule
        if self._since_seconds is None:
            speaking = [at for at, score in self._looks if score >= rule.enter_threshold]
            if len(speaking) < rule.needed_looks:
                return Holding.NO
            self._since_seconds = speaking[0]
            self._looks.clear()  # what spoke against it before must not end it
        else:
            against = sum(score < rule.leave_threshold for _, score in self._looks)
            if against >= rule.needed_looks:
                self.forget()
                return Holding.NO
        if self._holding is Holding.YES:
            return Holding.YES
        has_lasted = now_seconds - self._since_seconds >= rule.min_duration_seconds
        return Holding.YES if has_lasted else Holding.PENDING
