"""OVO-Bench: past, now and forward; what is wrong with a copy; its own loose scoring."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from streamvlm.errors import SuiteFormatError
from streamvlm.evaluate.items import Item, is_right
from streamvlm.evaluate.suites import ovo_bench
from streamvlm.evaluate.suites.recorded import NO_VIDEO
from tests.evaluate.suites import copies


@pytest.fixture
def items(tmp_path: Path) -> dict[str, Item]:
    cases = ovo_bench.load(copies.ovo_bench(tmp_path))
    return {item.item_id: item for case in cases for item in case.items}


def test_each_look_is_an_item_at_its_moment(tmp_path: Path) -> None:
    skipped: Counter[str] = Counter()
    cases = list(ovo_bench.load(copies.ovo_bench(tmp_path), skipped=skipped))
    asked = {
        case.video.video_id: [(item.item_id, item.asked_seconds, item.group) for item in case.items]
        for case in cases
    }
    assert asked == {
        "Ego4D/one": [("1", 0.5, "now"), ("0", 2.0, "past")],
        "thumos/two": [("2_1", 0.5, "forward"), ("2_0", 1.5, "forward")],
        "COIN/three": [("3_0", 0.5, "forward"), ("3_1", 2.0, "forward")],
        "MovieNet/four": [("4_0", 1.0, "forward")],
    }
    assert not skipped


def test_choices_and_forward_looks_are_put_as_what_they_are(items: dict[str, Item]) -> None:
    assert {key: item.answer for key, item in items.items()} == {
        "0": "B", "1": "A", "2_0": "1", "2_1": "0", "3_0": "No", "3_1": "Yes", "4_0": "Yes",
    }  # fmt: skip
    assert items["0"].question.splitlines()[2] == "B. on the table"
    assert items["0"].family == "EPM"
    assert "long jump" in items["2_0"].question
    assert "peel" in items["3_0"].question
    assert "What does she take?" in items["4_0"].question
    assert is_right(items["2_0"], "1.") and not is_right(items["2_0"], "1 or 2")
    assert is_right(items["3_0"], "no") and not is_right(items["3_0"], "Not yet")


def test_videos_may_lie_next_to_the_annotation_and_that_be_the_earlier_one(tmp_path: Path) -> None:
    copies.ovo_bench(tmp_path)
    for archive in ("Ego4D", "thumos", "COIN", "MovieNet"):
        shutil.move(tmp_path / "src_videos" / archive, tmp_path / archive)
    (tmp_path / "ovo_bench_new.json").rename(tmp_path / "ovo_bench.json")
    assert len(list(ovo_bench.load(tmp_path))) == 4


BAD: list[tuple[int, dict[str, Any], str]] = [
    (0, {"task": "XYZ"}, "entry 0: task is 'XYZ'; expected one of EPM, ASI"),
    (0, {"id": "zero"}, "entry 0: id is 'zero'; expected a whole number from 0"),
    (0, {"gt": 3}, "entry 0: gt is 3; expected a whole number from 0 and below 3"),
    (0, {"gt": True}, "entry 0: gt is True; expected a whole number"),
    (0, {"options": "a, b"}, "entry 0: options is 'a, b'; expected a list of texts"),
    (0, {"options": ["a"]}, "entry 0: options is ['a']; expected 2 to 26 texts"),
    (1, {"realtime": "00:01"}, "entry 1: realtime is '00:01'; expected seconds, at least 0"),
    (1, {"realtime": -1}, "entry 1: realtime is -1; expected seconds, at least 0"),
    (1, {"realtime": float("nan")}, "entry 1: realtime is nan; expected seconds"),
    (1, {"video": "/data/one.mp4"}, "expected a path inside the folder of the videos"),
    (2, {"activity": None}, "entry 2: activity is None; expected text"),
    (2, {"test_info": []}, "entry 2: test_info is []; expected a list of entries"),
    (2, {"test_info": [3]}, "entry 2, test_info 0 is int; expected an object"),
    (2, {"test_info": [{"realtime": 1}]}, "entry 2, test_info 0: count is missing; expected"),
    (3, {"test_info": [{"realtime": 1, "step": "s", "type": 2}]}, "type is 2; expected a whole"),
]


@pytest.mark.parametrize(("index", "changes", "message"), BAD)
def test_a_bad_field_is_named(
    tmp_path: Path, index: int, changes: dict[str, Any], message: str
) -> None:
    entries = copies.ovo_entries()
    entries[index] |= changes
    with pytest.raises(SuiteFormatError) as caught:
        ovo_bench.load(copies.ovo_bench(tmp_path, entries))
    assert str(caught.value).startswith(str(tmp_path / "ovo_bench_new.json"))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as json"),
        ('{"id": 0}', "expected a list of entries, found dict"),
        ("[1]", "entry 0 is int; expected an object"),
        ("[]", "nothing can be asked"),
    ],
)
def test_a_file_that_is_something_else_is_an_error(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "ovo_bench_new.json").write_text(content)
    with pytest.raises(SuiteFormatError, match=message):
        ovo_bench.load(tmp_path)


def test_a_missing_annotation_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SuiteFormatError, match=r"ovo_bench_new\.json or ovo_bench\.json"):
        ovo_bench.load(tmp_path)


def test_a_missing_video_is_named_or_counted(tmp_path: Path) -> None:
    path = copies.ovo_bench(tmp_path) / "src_videos" / "thumos" / "two.mp4"
    path.unlink()
    with pytest.raises(SuiteFormatError, match="there is no video") as caught:
        ovo_bench.load(tmp_path)
    assert str(path) in str(caught.value)
    skipped: Counter[str] = Counter()
    assert len(list(ovo_bench.load(tmp_path, skip_missing=True, skipped=skipped))) == 3
    assert skipped == {NO_VIDEO: 2}


def test_where_no_video_is_there_nothing_can_be_asked(tmp_path: Path) -> None:
    shutil.rmtree(copies.ovo_bench(tmp_path) / "src_videos")
    with pytest.raises(SuiteFormatError, match=r"nothing can be asked \(7: the video is not there"):
        ovo_bench.load(tmp_path, skip_missing=True)


@pytest.mark.parametrize(
    ("item_id", "answer", "is_right_there"),
    [
        ("0", "It is B", True),
        ("0", "A or B", True),
        ("0", "b", False),
        ("2_0", "1 jump", True),
        ("2_0", "1 or 1", False),
        ("2_0", "one", False),
        ("3_1", "Y", True),
        ("3_1", "Yes, she does", True),
        ("3_1", "yes", False),
        ("3_0", "N", True),
        ("3_0", "Not sure", True),
        ("3_0", "no", False),
        ("4_0", "", False),
    ],
)
def test_own_score(items: dict[str, Item], item_id: str, answer: str, is_right_there: bool) -> None:
    assert ovo_bench.own_score(items[item_id], answer) is is_right_there


def test_own_averages_are_means_of_tasks_and_of_groups(items: dict[str, Item]) -> None:
    right = {"0", "2_0", "2_1", "3_0"}
    scored = [(item, float(key in right)) for key, item in items.items()]
    averages = ovo_bench.own_averages(scored)
    # Forward: REC 2 of 2, SSR 1 of 2, CRR 0 of 1.
    assert averages == pytest.approx({"now": 0.0, "past": 1.0, "forward": 0.5, "all": 0.5})
