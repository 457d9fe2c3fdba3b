"""Which rule looks at which stream, and when: seldom while nothing happens, soon when it may.

A look is due when the scene changed since the last one, when the last ones do not agree yet,
or at a heartbeat, but never more often than `look_seconds` of stream time.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from streamvlm.alerts import Alert, AlertRule, AlertState
from streamvlm.capture import thumbnail
from streamvlm.config import WatchConfig
from streamvlm.encode import scenes_differ
from streamvlm.errors import (
    CapacityError,
    RuleExistsError,
    RuleNotFoundError,
    StreamNotFoundError,
    StreamVLMError,
)
from streamvlm.streams import WatchedStream
from streamvlm.types import Gap, StreamTime
from streamvlm.vlm.base import DEVICE_LOST
from streamvlm.watch import Watch

log = logging.getLogger(__name__)

MAX_TRIALS = 16

AlertListener = Callable[[Alert], None]
"""Called on the engine's thread with each revision of an alert; must not block."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Standing:
    """One rule on one stream; belongs to the engine's thread."""

    stream: WatchedStream
    watch: Watch
    looked_seconds: float = float("-inf")
    scene: NDArray[np.float32] | None = None
    """What the stream showed at the last look."""
    is_lost: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class _Armed:
    rule: AlertRule
    by_stream: dict[str, _Standing] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Trial:
    """A look that somebody waits for."""

    stream_id: str
    text: str
    seen: Future[tuple[float, StreamTime]] = field(default_factory=Future)


class LookTable:
    """At most `max_rules` rules. `advance` belongs to the engine's thread, the rest to any."""

    def __init__(self, config: WatchConfig, listener: AlertListener) -> None:
        self._config, self._listener = config, listener
        self._lock = threading.Lock()
        self._armed: dict[str, _Armed] = {}
        self._disarmed: list[_Armed] = []
        """What they were firing about is to be told as expired."""
        self._open: dict[tuple[str, str], Alert] = {}
        self._trials: deque[_Trial] = deque()
        self._failure: StreamVLMError | None = None
        self.num_looks = 0
        """Since the start."""

    def forget(self, stream_id: str) -> None:
        """The stream is another process's: what was to go on about it does so there."""
        with self._lock:
            for known in [key for key in self._open if key[1] == stream_id]:
                del self._open[known]

    def resume(self, alert: Alert) -> None:
        """An alert that another process told and that has not ended: it goes on as soon as its rule
        looks at its stream.
        """
        with self._lock:
            self._open[alert.rule_id, alert.stream_id] = alert

    def add(self, rule: AlertRule) -> None:
        """Arm a rule. Raises RuleExistsError, CapacityError."""
        with self._lock:
            if rule.rule_id in self._armed:
                raise RuleExistsError(f"rule {rule.rule_id!r} exists already")
            if len(self._armed) >= self._config.max_rules:
                raise CapacityError(
                    f"{len(self._armed)} rules are armed, watch.max_rules allows no more"
                )
            self._armed[rule.rule_id] = _Armed(rule=rule)

    def get(self, rule_id: str) -> AlertRule:
        """The rule with this id. Raises RuleNotFoundError."""
        with self._lock:
            armed = self._armed.get(rule_id)
        if armed is None:
            raise RuleNotFoundError(f"no rule {rule_id!r}")
        return armed.rule

    def all(self) -> list[AlertRule]:
        """Those of now, by id."""
        with self._lock:
            return [self._armed[rule_id].rule for rule_id in sorted(self._armed)]

    def remove(self, rule_id: str) -> None:
        """Disarm a rule; what it was firing about expires. Raises RuleNotFoundError."""
        with self._lock:
            armed = self._armed.pop(rule_id, None)
            if armed is None:
                raise RuleNotFoundError(f"no rule {rule_id!r}")
            self._disarmed.append(armed)
            waiting = [self._open.pop(key) for key in list(self._open) if key[0] == rule_id]
        for alert in waiting:
            self._tell(alert.expired())

    def try_once(self, stream_id: str, text: str) -> Future[tuple[float, StreamTime]]:
        """One look without a rule: its margin in nats, and how far the stream was seen. Gives what
        `StreamPipeline.look` raises, StreamNotFoundError, EngineStoppedError. Raises CapacityError.
        """
        trial = _Trial(stream_id=stream_id, text=text)
        with self._lock:
            if self._failure is not None:
                trial.seen.set_exception(self._failure)
            elif len(self._trials) >= MAX_TRIALS:
                raise CapacityError(f"{MAX_TRIALS} rules are being tested, try again soon")
            else:
                self._trials.append(trial)
        return trial.seen

    def close(self, failure: StreamVLMError) -> None:
        """Nobody looks any more: what waits for a look gets this."""
        with self._lock:
            self._failure, trials = failure, list(self._trials)
            self._trials.clear()
        for trial in trials:
            trial.seen.set_exception(failure)

    def watches(self, stream_id: str) -> bool:
        """Whether any rule looks at this stream."""
        with self._lock:
            return any(each.rule.watches(stream_id) for each in self._armed.values())

    def is_due(self, stream: WatchedStream) -> bool:
        """Whether a rule has yet to look at what the stream shows."""
        with self._lock:
            armed = list(self._armed.values())
        standings = [each.by_stream.get(stream.stream_id) for each in armed]
        return any(each is not None and self._is_due(each) for each in standings)

    def forget_scene(self, stream_id: str) -> None:
        """Compare nothing with what the stream showed at the last looks; the engine's thread."""
        with self._lock:
            armed = list(self._armed.values())
        for each in armed:
            if standing := each.by_stream.get(stream_id):
                standing.scene = None

    def delivered(self, rule_id: str, stream_id: str) -> None:
        """An alert of this rule and stream reached somebody just now: its cooldown begins."""
        with self._lock:
            armed = self._armed.get(rule_id)
        standing = armed.by_stream.get(stream_id) if armed else None
        if standing and (now := _shown_until(standing.stream)):
            standing.watch.delivered(now.pts_seconds)

    def advance(self, streams: Sequence[WatchedStream]) -> bool:
        """Take the look that has been due for longest; False where none is due."""
        with self._lock:
            armed, disarmed = list(self._armed.values()), self._disarmed
            self._disarmed = []
            trial = self._trials.popleft() if self._trials else None
        if trial is not None:
            self._try(trial, streams)
            return True
        for each in disarmed:
            self._lose(each.by_stream.values())
        if not armed:
            return False
        blind = {stream.stream_id: stream.feed.status().blind for stream in streams}
        standings = [standing for each in armed for standing in self._standings(each, streams)]
        for standing in standings:
            self._check_camera(standing, blind[standing.stream.stream_id])
        due = [each for each in standings if self._is_due(each)]
        if not due:
            return False
        self._look(min(due, key=lambda each: each.looked_seconds))
        return True

    def _try(self, trial: _Trial, streams: Sequence[WatchedStream]) -> None:
        if not trial.seen.set_running_or_notify_cancel():
            return
        try:
            found = [each for each in streams if each.stream_id == trial.stream_id]
            if not found:
                raise StreamNotFoundError(f"no stream {trial.stream_id!r}")
            margin, now = found[0].pipeline.look(trial.text), _shown_until(found[0])
            assert now is not None, "what was looked at is remembered"
            trial.seen.set_result((margin, now))
        except DEVICE_LOST as error:
            trial.seen.set_exception(error)
            raise
        except Exception as error:
            trial.seen.set_exception(error)

    def _standings(self, armed: _Armed, streams: Sequence[WatchedStream]) -> list[_Standing]:
        """The rule on its streams as they are now; one that came again under its id begins anew."""
        known = armed.by_stream
        armed.by_stream = {}
        for stream in streams:
            standing = known.get(stream.stream_id)
            if standing and standing.stream is stream:
                armed.by_stream[stream.stream_id] = known.pop(stream.stream_id)
            elif armed.rule.watches(stream.stream_id):
                with self._lock:
                    open_alert = self._open.pop((armed.rule.rule_id, stream.stream_id), None)
                watch = Watch(armed.rule, stream.stream_id, open_alert)
                armed.by_stream[stream.stream_id] = _Standing(stream=stream, watch=watch)
        self._lose(known.values())
        return list(armed.by_stream.values())

    def _lose(self, standings: Iterable[_Standing]) -> None:
        """Nobody looks there any more."""
        for gone in standings:
            if at := _shown_until(gone.stream):
                self._tell(gone.watch.lose(at))

    def _check_camera(self, standing: _Standing, blind: Gap | None) -> None:
        """What held when a camera went may hold or not: nobody can tell."""
        if blind is None or blind.interval.duration_seconds < self._config.lost_seconds:
            standing.is_lost = False
        elif not standing.is_lost:
            standing.is_lost = True
            self._tell(standing.watch.lose(blind.interval.end))

    def _is_due(self, standing: _Standing) -> bool:
        now = _shown_until(standing.stream)
        if now is None or standing.is_lost:
            return False
        waited = now.pts_seconds - standing.looked_seconds
        if waited < self._config.look_seconds:
            return False
        if waited >= self._config.heartbeat_seconds or not standing.watch.is_settled:
            return True
        shown, least = standing.stream.pipeline.scene, self._config.change_threshold
        return scenes_differ(standing.scene, shown, least)

    def _look(self, standing: _Standing) -> None:
        stream, now = standing.stream, _shown_until(standing.stream)
        assert now is not None
        standing.looked_seconds = now.pts_seconds
        standing.scene = stream.pipeline.scene
        self.num_looks += 1
        try:
            alert = standing.watch.look(now, stream.pipeline.look(standing.watch.rule.text))
            self._tell(alert and _with_picture(alert, stream))
        except DEVICE_LOST:
            raise
        except Exception:
            log.exception("stream %s: rule %s", stream.stream_id, standing.watch.rule.rule_id)

    def _tell(self, alert: Alert | None) -> None:
        if alert is None:
            return
        try:
            self._listener(alert)
        except Exception:
            log.exception("stream %s: alert %s was not told", alert.stream_id, alert.alert_id)


def _with_picture(alert: Alert, stream: WatchedStream) -> Alert:
    """What is told first comes with what was seen."""
    if alert.state is not AlertState.FIRING or stream.picture is None:
        return alert
    return replace(alert, thumbnail=thumbnail(stream.picture))


def _shown_until(stream: WatchedStream) -> StreamTime | None:
    remembered = stream.memory.remembered
    return remembered.end if remembered else None
