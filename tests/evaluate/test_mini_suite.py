"""The built-in suite: the same every time, never the training's, and only about what was shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from math import inf, nan
from typing import Any

import numpy as np
import pytest

from streamvlm.errors import ConfigError
from streamvlm.evaluate.items import Case, is_right
from streamvlm.evaluate.suites import mini
from streamvlm.evaluate.world.phrasings import HELD_OUT, TRAIN
from streamvlm.evaluate.world.render import render
from streamvlm.evaluate.world.script import write
from streamvlm.types import Clip, ClockSource

SEED = mini.TEST_SEEDS.start


def video(seconds: float = 6.0, side: int = 64) -> mini.SyntheticVideo:
    return mini.SyntheticVideo(script=write(SEED, seconds), side=side)


def test_clips_are_two_frames_half_a_second_apart_from_zero_on() -> None:
    clips = list(video().clips(2.0, 10**6))
    assert [clip.clip_index for clip in clips] == list(range(6))
    seconds = [time.pts_seconds for clip in clips for time in clip.times]
    assert seconds == [index / 2 for index in range(12)]
    assert {time.clock for clip in clips for time in clip.times} == {ClockSource.FILE}
    first, last = clips[0].times[0], clips[-1].times[-1]
    assert last.utc_seconds - first.utc_seconds == last.pts_seconds


def test_a_sampling_rate_without_a_truth_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"capture\.fps = 1; allowed: 2"):
        next(video().clips(1.0, 10**6))


def test_pictures_are_those_of_the_script() -> None:
    shown = video()
    clip = list(shown.clips(2.0, 10**6))[4]
    expected = render(shown.script, [4.0, 4.5], height=64, width=64).numpy()
    np.testing.assert_array_equal(clip.pixels, expected)


def test_each_call_begins_anew() -> None:
    shown = video()
    once, again = (next(shown.clips(2.0, 10**6)) for _ in range(2))
    np.testing.assert_array_equal(once.pixels, again.pixels)


def test_only_what_is_taken_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[float] = []

    def counting(script: Any, times: list[float], **settings: Any) -> object:
        rendered.extend(times)
        return render(script, times, **settings)

    monkeypatch.setattr(mini, "render", counting)
    next(video(seconds=3600.0).clips(2.0, 10**6))
    assert max(rendered) < 10


def test_pictures_are_at_most_as_large_as_wanted() -> None:
    clip: Clip = next(video(side=96).clips(2.0, 64 * 64))
    assert clip.pixels.shape == (2, 64, 64, 3)
    assert next(video(side=96).clips(2.0, 10**6)).pixels.shape == (2, 96, 96, 3)


def some_cases(**settings: Any) -> list[Case]:
    return list(mini.cases(mini.TEST_SEEDS[:6], seconds=32.0, **settings))


def test_a_suite_is_the_same_every_time() -> None:
    assert [case.items for case in some_cases()] == [case.items for case in some_cases()]


def test_videos_are_asked_evenly_and_at_their_end() -> None:
    asked = {item.asked_seconds for case in some_cases() for item in case.items}
    assert asked == {7.5, 15.5, 23.5, 31.5}


def test_items_are_in_order_and_have_ids_of_their_own() -> None:
    cases = some_cases()
    for case in cases:
        asked = [item.asked_seconds for item in case.items]
        assert asked == sorted(asked)
    ids = [item.item_id for case in cases for item in case.items]
    assert len(set(ids)) == len(ids) > 50


def test_it_is_asked_when_the_newest_clip_was_taken() -> None:
    for case in some_cases():
        taken = {clip.times[-1].pts_seconds for clip in case.video.clips(2.0, 16 * 16)}
        assert {item.asked_seconds for item in case.items} <= taken


def test_no_item_is_about_the_future() -> None:
    events = [
        (item.event_seconds, item.asked_seconds) for case in some_cases() for item in case.items
    ]
    assert any(event is not None for event, _ in events)
    assert all(event is None or event < asked for event, asked in events)


def test_both_what_is_and_what_was_is_asked() -> None:
    groups = {item.group for case in some_cases() for item in case.items}
    assert groups == {"now", "past", "not answerable", "yes/no"}


def is_put_in(question: str, ways: Iterable[str]) -> bool:
    """Whether one of these ways, its slots filled, is the question."""
    return any(re.fullmatch(_pattern(way), question) for way in ways)


def _pattern(way: str) -> str:
    """A kind is two words, a part of the picture up to two, all else one."""
    words = {"kind": r"\w+ \w+", "zone": r"\w+(?: \w+)?"}
    parts = re.split(r"\{(\w+)\}", way)
    texts, slots = map(re.escape, parts[::2]), [words.get(slot, r"\w+") for slot in parts[1::2]]
    return "".join(text + slot for text, slot in zip(texts, [*slots, ""], strict=True))


def test_no_item_is_put_in_words_of_the_training() -> None:
    trained = [way for ways in TRAIN.values() for way in ways]
    assert is_put_in("What colour is the star?", trained)
    for case in some_cases():
        for item in case.items:
            assert not is_put_in(item.question, trained), item.question
            assert is_put_in(item.question, HELD_OUT[item.family]), item.question


def test_only_times_and_lengths_have_a_tolerance() -> None:
    for case in some_cases():
        for item in case.items:
            assert (item.tolerance_seconds == 2.0) == (item.family in ("when", "how_long"))
            assert is_right(item, item.answer)


def test_seeds_of_the_training_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"899999999.*900000000"):
        list(mini.cases([SEED - 1]))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"seconds": 7.0}, "seconds = 7"),
        ({"seconds": nan}, "seconds = nan"),
        ({"seconds": inf}, "seconds = inf"),
        ({"asks_per_video": 0}, "asks_per_video = 0"),
        ({"questions_per_ask": 0}, "questions_per_ask = 0"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        mini.cases([SEED], **settings)


def test_the_suite_is_its_first_seeds() -> None:
    loaded = [case.video.video_id for case in islice(mini.load(seconds=8.0), 3)]
    assert loaded == [f"mini-{SEED + number}" for number in range(3)]
    assert len(list(mini.load(videos=2, seconds=8.0))) == 2
