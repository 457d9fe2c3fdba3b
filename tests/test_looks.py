"""When rules look, and what reaches the listener; looks at scripted margins, no model."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamvlm.alerts import Alert, AlertRule, AlertState
from streamvlm.config import Config, WatchConfig
from streamvlm.engine import StreamEngine
from streamvlm.errors import CapacityError, RuleExistsError, RuleNotFoundError
from streamvlm.looks import LookTable
from streamvlm.types import Clip, ClockSource, Gap, StreamTime
from tests.conftest import clip_size, make_clip, make_gap, tiny_vlm
from tests.test_engine import ListFeed, settle

FIRING, RESOLVED = AlertState.FIRING, AlertState.RESOLVED
QUESTION = "Is there a red circle?"


@dataclass
class Stage:
    """An engine with one stream; what looks say is the test's to choose."""

    engine: StreamEngine
    feed: ListFeed
    told: list[Alert]
    margins: list[float]
    looked_seconds: list[float] = field(default_factory=list)
    shown: int = 0
    picture: NDArray[np.uint8] | None = None

    def show(self, margin: float, clips: int = 1, *, is_new: bool = True) -> None:
        """So many clips, one after the other, of which looks say this."""
        self.margins[0] = margin
        for _ in range(clips):
            if is_new or not self.shown:
                self.picture = patchwork(self.shown)
            self.feed.waiting.append(make_clip(self.shown, self.picture))
            self.shown += 1
            settle(self.engine)


def patchwork(number: int) -> NDArray[np.uint8]:
    """Cells of any colour, the same in both frames; no two numbers are alike."""
    height, width = clip_size(tiny_vlm("qwen3-vl"))
    cells = np.random.default_rng(number).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    picture = cells.repeat(height // 3, axis=0).repeat(width // 4, axis=1)
    return np.stack([picture, picture])


def of_file(time: StreamTime) -> StreamTime:
    return replace(time, clock=ClockSource.FILE)


def stage(monkeypatch: pytest.MonkeyPatch, rule: AlertRule | None = None, **watch: Any) -> Stage:
    told: list[Alert] = []
    config = Config.model_validate({"watch": watch})
    engine = StreamEngine(tiny_vlm("qwen3-vl"), config, told.append)
    feed = ListFeed(deque[Clip | Gap]())
    engine.add_stream("door", "test:door", feed)
    made = Stage(engine, feed, told, [0.0])
    pipeline = engine._streams.get("door").pipeline

    def look(text: str) -> float:
        assert text == QUESTION
        remembered = pipeline.status().remembered
        assert remembered
        made.looked_seconds.append(remembered.end.pts_seconds)
        return made.margins[0]

    monkeypatch.setattr(pipeline, "look", look)
    if rule:
        engine.rules.add(rule)
    return made


def a_rule(rule_id: str = "red", **settings: Any) -> AlertRule:
    return AlertRule(rule_id=rule_id, text=QUESTION, **settings)


def test_an_event_is_told_once_and_ends_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(monkeypatch, a_rule())
    for margin in (-5.0, 5.0, -5.0):
        scene.show(margin, clips=6)
    assert [alert.state for alert in scene.told] == [FIRING, RESOLVED]
    assert scene.told[0].began.pts_seconds == 7.0, "the end of the seventh clip"


def test_nobody_looks_again_at_what_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(monkeypatch, a_rule())
    scene.show(-5.0, clips=20, is_new=False)
    assert len(scene.looked_seconds) == 1
    scene.show(-5.0, clips=20, is_new=False)
    assert len(scene.looked_seconds) == 2, "a heartbeat after 30 s"


def test_what_is_not_settled_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(monkeypatch, a_rule())
    scene.show(-5.0)
    scene.show(5.0)
    assert not scene.told
    scene.show(5.0, clips=5, is_new=False)
    assert [alert.state for alert in scene.told] == [FIRING]
    assert scene.looked_seconds == [1, 2, 3], "nothing more to be found out after the third"


def test_looks_keep_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(monkeypatch, a_rule(), look_seconds=3.0)
    scene.show(-5.0, clips=10)
    assert scene.looked_seconds == [1, 4, 7, 10]


def test_a_rule_looks_at_its_own_streams_only(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(monkeypatch, a_rule(stream_ids=frozenset({"gate"})))
    scene.show(5.0, clips=6)
    assert not scene.looked_seconds


def test_a_camera_that_is_lost_ends_the_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(monkeypatch, a_rule())
    scene.show(5.0, clips=3)
    scene.feed.blind = make_gap(3.0, 8.0)
    settle(scene.engine)
    assert len(scene.told) == 1, "5 s are no loss yet"
    scene.feed.blind = make_gap(3.0, 14.0)
    settle(scene.engine)
    settle(scene.engine)
    assert [alert.state for alert in scene.told] == [FIRING, AlertState.EXPIRED]
    scene.feed.blind = None
    scene.shown += 20
    scene.show(5.0, clips=3)
    assert scene.told[-1].state is FIRING
    assert scene.told[-1].alert_id != scene.told[0].alert_id


def test_a_stream_that_is_removed_ends_its_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(monkeypatch, a_rule())
    scene.show(5.0, clips=3)
    scene.engine.remove_stream("door")
    settle(scene.engine)
    assert [alert.state for alert in scene.told] == [FIRING, AlertState.EXPIRED]


def test_a_stream_that_comes_again_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(monkeypatch, a_rule())
    scene.show(5.0, clips=3)
    scene.engine.remove_stream("door")
    scene.engine.add_stream("door", "test:door", scene.feed)
    settle(scene.engine)
    assert [alert.state for alert in scene.told] == [FIRING, AlertState.EXPIRED]
    assert scene.engine.rules._armed["red"].by_stream["door"].looked_seconds == float("-inf")


def test_a_listener_that_fails_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(monkeypatch)

    def broken(_: Alert) -> None:
        raise RuntimeError("the listener is broken")

    scene.engine.rules._listener = broken
    scene.engine.rules.add(a_rule())
    scene.show(5.0, clips=5)
    scene.show(-5.0, clips=5)
    assert len(scene.looked_seconds) == 10


def test_a_look_that_fails_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(monkeypatch, a_rule())

    def broken(_: str) -> float:
        raise RuntimeError("the model is broken")

    monkeypatch.setattr(scene.engine._streams.get("door").pipeline, "look", broken)
    scene.show(5.0, clips=3)
    assert scene.engine.get_stream("door").memory.clips_encoded == 3
    assert not scene.told


def test_rules_are_kept_by_id_and_are_bounded() -> None:
    table = LookTable(WatchConfig(max_rules=2), print)
    table.add(a_rule("b"))
    with pytest.raises(RuleExistsError, match="'b'"):
        table.add(a_rule("b"))
    table.add(a_rule("a"))
    with pytest.raises(CapacityError, match=r"watch\.max_rules"):
        table.add(a_rule("c"))
    assert [rule.rule_id for rule in table.all()] == ["a", "b"]
    table.remove("b")
    for use in (table.get, table.remove):
        with pytest.raises(RuleNotFoundError, match="'b'"):
            use("b")
    assert table.get("a") == a_rule("a")


def test_what_waits_is_looked_at_as_if_it_came_clip_by_clip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file is faster than real time, and a camera catches up after a hiccup."""
    scene = stage(monkeypatch, a_rule())
    scene.margins[0] = 5.0
    scene.feed.waiting += [make_clip(number, patchwork(number)) for number in range(6)]
    settle(scene.engine)
    assert [alert.state for alert in scene.told] == [FIRING]
    assert scene.looked_seconds == [1, 2, 3, 4, 5, 6]


def test_all_rules_look_at_each_clip_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(monkeypatch)
    for number in range(3):
        scene.engine.rules.add(a_rule(f"rule{number}"))
    made = [make_clip(number, patchwork(number)) for number in range(6)]
    scene.feed.waiting += [replace(clip, times=tuple(map(of_file, clip.times))) for clip in made]
    settle(scene.engine)
    assert Counter(scene.looked_seconds) == dict.fromkeys(range(1, 7), 3)


def test_looks_and_clips_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = stage(monkeypatch)
    for number in range(3):
        scene.engine.rules.add(a_rule(f"rule{number}"))
    scene.feed.waiting.append(make_clip(0, size=clip_size(tiny_vlm("qwen3-vl"))))
    scene.engine.step()
    scene.feed.waiting += [make_clip(n, size=clip_size(tiny_vlm("qwen3-vl"))) for n in range(1, 9)]
    for clips in range(2, 10):
        scene.engine.step()
        assert len(scene.looked_seconds) == clips - 1
        scene.engine.step()
        assert scene.engine.get_stream("door").memory.clips_encoded == clips
