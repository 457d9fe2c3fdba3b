"""StreamingBench: what is asked, what is not, and what is wrong with a copy."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from pathlib import Path

import pytest

from streamvlm.errors import SuiteFormatError
from streamvlm.evaluate.items import is_right
from streamvlm.evaluate.suites import streamingbench
from streamvlm.evaluate.suites.recorded import NO_VIDEO
from tests.evaluate.suites import copies

REAL = "Real-Time Visual Understanding"
SEQUENTIAL = "Sequential Question Answering"


def test_each_video_is_asked_in_the_order_of_its_moments(tmp_path: Path) -> None:
    skipped: Counter[str] = Counter()
    cases = list(streamingbench.load(copies.streamingbench(tmp_path), skipped=skipped))
    assert [case.video.video_id for case in cases] == [
        f"{archive}/sample_7" for archive in copies.STREAMINGBENCH_FILES
    ]
    assert [[item.asked_seconds for item in case.items] for case in cases] == [[1.0, 2.0]] * 4
    groups = [item.group for case in cases for item in case.items]
    assert groups == ["now"] * 2 + ["omni-source"] * 2 + ["contextual"] * 4
    second, first = cases[0].items
    assert (first.item_id, second.item_id) == (f"{REAL}_sample_7_1", f"{REAL}_sample_7_2")
    assert first.family == "Object Perception"
    assert first.options == ("A cup.", "A hat.", "A dog.", "A car.")
    assert first.question.splitlines()[:3] == ["What is there at 1?", "A. A cup.", "B. A hat."]
    assert is_right(first, "B. A hat.") and not is_right(first, "A")
    assert skipped == {streamingbench.PROACTIVE: 3}


def test_what_is_not_asked_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        streamingbench.load(copies.streamingbench(tmp_path))
    assert f"not asked are 3: 3: {streamingbench.PROACTIVE}" in caplog.text


def test_sequential_questions_come_with_those_before_and_their_answers(tmp_path: Path) -> None:
    *_, case = streamingbench.load(copies.streamingbench(tmp_path))
    second, first = case.items
    assert first.question.startswith("What is there at 1?")
    assert second.question.splitlines()[:2] == [
        "Asked at 00:00:02: What is there at 1? Right answer: A hat.",
        "What is there at 2?",
    ]


@pytest.mark.parametrize(
    ("archive", "place"), [(REAL, "real"), (SEQUENTIAL, "sqa"), ("Emotion Recognition", None)]
)
def test_videos_may_lie_as_the_readme_says(tmp_path: Path, archive: str, place: str | None) -> None:
    copies.streamingbench(tmp_path)
    target = tmp_path / place if place else tmp_path / "omni" / archive
    target.parent.mkdir(exist_ok=True)
    shutil.move(tmp_path / archive, target)
    assert len(list(streamingbench.load(tmp_path))) == 4


@pytest.mark.parametrize("written", ["00:01:02", "0:01:02", "01:02", "1:2", " 00:01:02 "])
def test_timestamps_as_annotators_write_them(tmp_path: Path, written: str) -> None:
    copies.streamingbench(tmp_path, REAL, time_stamp=written)
    case = next(streamingbench.load(tmp_path))
    assert case.items[-1].asked_seconds == 62.0


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("['red', 'blue', 'D. Wade', 'green']", ("red", "blue", "D. Wade", "green")),
        ("['A.red', 'blue', 'two', 'green']", ("red", "blue", "two", "green")),
        ("['A. red', 'B. blue', 'B. two', 'D. green']", ("red", "blue", "two", "green")),
        ("['A. red', 'B. a b', 'c d', 'C. two', 'D. x']", ("red", "a b c d", "two", "x")),
        ("['A. a', 'B. b', 'C. c', 'D. d', 'B. b', 'C. c', 'D. d']", ("a", "b", "c", "d")),
    ],
)
def test_options_are_mended(tmp_path: Path, written: str, options: tuple[str, ...]) -> None:
    copies.streamingbench(tmp_path, REAL, options=written)
    case = next(streamingbench.load(tmp_path))
    assert case.items[-1].options == options


BAD = {
    "question_id": ("sample 7", "<archive>_sample_<n>_<number of the question>"),
    "task_type": ("", "text"),
    "question": (" ", "text"),
    "time_stamp": ("1 min", 'a time such as "00:01:23"'),
    "answer": ("E", "one of A, B, C, D"),
    "options": ("['A. red'", "a list of texts"),
}


@pytest.mark.parametrize("field", BAD)
def test_a_bad_field_is_named_with_file_row_and_what_is_expected(
    tmp_path: Path, field: str
) -> None:
    value, expected = BAD[field]
    copies.streamingbench(tmp_path, REAL, **{field: value})
    with pytest.raises(SuiteFormatError) as caught:
        streamingbench.load(tmp_path)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "StreamingBench/Real_Time_Visual_Understanding.csv"))
    assert f"row 0: {field} is {value!r}; expected {expected}" in message


def test_options_that_lack_a_letter_are_an_error(tmp_path: Path) -> None:
    copies.streamingbench(tmp_path, REAL, options="['A. a', 'b', 'C. c', 'D. d', 'D. d']")
    with pytest.raises(SuiteFormatError, match="options with the letters A, B, C"):
        streamingbench.load(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = copies.streamingbench(tmp_path) / "StreamingBench" / "Contextual_Understanding.csv"
    copies.put_csv(path, [{"question_id": "a", "question": "b"}])
    with pytest.raises(SuiteFormatError, match="no column task_type, time_stamp, answer, options"):
        streamingbench.load(tmp_path)


def test_a_missing_annotation_file_is_named_or_counted(tmp_path: Path) -> None:
    path = copies.streamingbench(tmp_path) / "StreamingBench" / "Omni_Source_Understanding.csv"
    path.unlink()
    with pytest.raises(SuiteFormatError, match=r"Omni_Source_Understanding\.csv: there is no such"):
        streamingbench.load(tmp_path)
    skipped: Counter[str] = Counter()
    assert len(list(streamingbench.load(tmp_path, skip_missing=True, skipped=skipped))) == 3
    assert skipped[streamingbench.NO_PART] == 1


def test_a_missing_video_is_named_or_counted(tmp_path: Path) -> None:
    path = copies.streamingbench(tmp_path) / REAL / "sample_7" / "video.mp4"
    path.unlink()
    with pytest.raises(SuiteFormatError) as caught:
        streamingbench.load(tmp_path)
    assert f"row 0: there is no video {path}" in str(caught.value)
    skipped: Counter[str] = Counter()
    assert len(list(streamingbench.load(tmp_path, skip_missing=True, skipped=skipped))) == 3
    assert skipped == {streamingbench.PROACTIVE: 3, NO_VIDEO: 2}


def test_own_score_is_the_first_character(tmp_path: Path) -> None:
    item = next(streamingbench.load(copies.streamingbench(tmp_path))).items[0]
    assert streamingbench.own_score(item, " B")
    assert streamingbench.own_score(item, "Blue, I think")
    assert not streamingbench.own_score(item, "(B)")
    assert not streamingbench.own_score(item, "")


def test_own_averages_count_questions(tmp_path: Path) -> None:
    items = [
        item for case in streamingbench.load(copies.streamingbench(tmp_path)) for item in case.items
    ]
    scored = [(item, float(item.group == "contextual")) for item in items]
    assert streamingbench.own_averages(scored) == {
        "now": 0.0,
        "omni-source": 0.0,
        "contextual": 1.0,
        "all": 0.5,
    }
