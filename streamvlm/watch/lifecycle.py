"""The life of an alert: fired, updated, ended, all under one id.

    FIRING -> UPDATED -> ... -> RESOLVED   the condition ended
                             -> EXPIRED    nobody looks any more: camera lost, rule not armed
    SUPPRESSED -> FIRING                   it held too soon after the one before, and lasted

One rule on one stream, in stream time. Whoever delivers alerts says so: the cooldown counts from
then, so that an alert that reached nobody silences nothing.
"""

from __future__ import annotations

import uuid
from dataclasses import replace

from streamvlm.alerts import Alert, AlertRule, AlertState
from streamvlm.types import StreamTime
from streamvlm.watch.background import Background
from streamvlm.watch.decision import Decision, Holding

UPDATE_SECONDS = 60.0
"""How often an alert that lasts is told again."""

_NAMESPACE = uuid.UUID("5a1f6f0e-6f1c-5c59-9a0b-0d8f0a8f4a1e")


class Watch:
    """One rule on one stream: looks in, revisions of alerts out."""

    def __init__(self, rule: AlertRule, stream_id: str, open_alert: Alert | None = None) -> None:
        """`open_alert` was told by a process before this one and has not ended: it goes on."""
        self.rule, self._stream_id = rule, stream_id
        self._background, self._decision = Background(), Decision(rule)
        self._alert = open_alert
        """The newest revision of what holds now."""
        if open_alert is not None:
            self._decision.resume(open_alert.began.pts_seconds)
        self._quiet_until = float("-inf")

    def look(self, at: StreamTime, margin: float) -> Alert | None:
        """Judge by a look; `margin` is how much likelier "yes" is than "no", in nats.

        Gives the revision that it leads to, if any.
        """
        schedule = self.rule.schedule
        if schedule and not schedule.is_armed(at.utc_seconds):
            return self.lose(at)
        score = self._background.score(margin)
        judged = self._decision.look(at.pts_seconds, score)
        if judged.holding is Holding.NO:
            self._background.add(margin)
            return self._end(AlertState.RESOLVED, at, score)
        if judged.holding is Holding.PENDING:
            return None
        assert judged.since_seconds is not None
        began = at.later(judged.since_seconds - at.pts_seconds)
        return self._hold(began, at, score)

    @property
    def is_settled(self) -> bool:
        """Whether another look at the same pictures could lead to nothing."""
        return self._decision.is_settled

    def lose(self, at: StreamTime) -> Alert | None:
        """Nobody can look from now on: what held may hold or not. Gives the last revision."""
        self._decision.forget()
        return self._end(AlertState.EXPIRED, at, 0.0)

    def delivered(self, pts_seconds: float) -> None:
        """An alert reached somebody: the cooldown begins."""
        self._quiet_until = pts_seconds + self.rule.cooldown_seconds

    def _hold(self, began: StreamTime, at: StreamTime, score: float) -> Alert | None:
        is_quiet = at.pts_seconds < self._quiet_until
        if self._alert is None:
            state = AlertState.SUPPRESSED if is_quiet else AlertState.FIRING
            identity = f"{self.rule.rule_id}/{self._stream_id}/{began.utc_seconds:.3f}"
            self._alert = Alert(
                alert_id=str(uuid.uuid5(_NAMESPACE, identity)),
                revision=0,
                state=state,
                rule_id=self.rule.rule_id,
                stream_id=self._stream_id,
                began=began,
                observed=at,
                score=score,
                highest_score=score,
                rule_text=self.rule.text,
                severity=self.rule.severity,
                enter_threshold=self.rule.enter_threshold,
            )
            return self._alert
        if self._alert.state is AlertState.SUPPRESSED:
            return None if is_quiet else self._revise(AlertState.FIRING, at, score)
        if at.pts_seconds - self._alert.observed.pts_seconds >= UPDATE_SECONDS:
            return self._revise(AlertState.UPDATED, at, score)
        highest = max(self._alert.highest_score, score)
        self._alert = replace(self._alert, highest_score=highest)
        return None

    def _end(self, state: AlertState, at: StreamTime, score: float) -> Alert | None:
        """The last revision; None where nothing was told that could end."""
        was_told = self._alert is not None and self._alert.state is not AlertState.SUPPRESSED
        ended = self._revise(state, at, score) if was_told else None
        self._alert = None
        return ended

    def _revise(self, state: AlertState, at: StreamTime, score: float) -> Alert:
        assert self._alert is not None
        self._alert = replace(
            self._alert,
            state=state,
            revision=self._alert.revision + 1,
            observed=at,
            score=score,
            highest_score=max(self._alert.highest_score, score),
        )
        return self._alert
