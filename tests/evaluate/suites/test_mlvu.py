"""MLVU: seven tasks asked at the end, generation tasks counted; its own scoring."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from streamvlm.errors import SuiteFormatError
from streamvlm.evaluate.items import Item, is_right
from streamvlm.evaluate.suites import mlvu
from streamvlm.evaluate.suites.recorded import NO_VIDEO
from tests.evaluate.suites import copies


def load_items(folder: Path) -> list[Item]:
    return [item for case in mlvu.load(folder) for item in case.items]


@pytest.mark.parametrize("below", ["", "MLVU"])
def test_seven_tasks_are_asked_at_the_end_and_the_others_counted(
    tmp_path: Path, below: str
) -> None:
    copies.mlvu(tmp_path / below)
    skipped: Counter[str] = Counter()
    cases = list(mlvu.load(tmp_path, skipped=skipped))
    assert [case.video.video_id for case in cases] == [
        f"{task}/{task}_32" for task in copies.MLVU_TASKS
    ]
    items = [item for case in cases for item in case.items]
    assert [item.family for item in items] == [
        "plotQA", "needle", "ego", "count", "order", "anomaly_reco", "topic_reasoning",
    ]  # fmt: skip
    assert [item.group for item in items] == (
        ["single detail"] * 3 + ["multi-detail"] * 2 + ["holistic"] * 2
    )
    assert items[0].item_id == "1_plotQA_0"
    assert items[0].options == ("waves", "A. points", "nothing", "claps")
    assert items[0].answer == "B" and is_right(items[0], "B")
    assert all(item.asked_seconds == pytest.approx(copies.SECONDS, abs=0.15) for item in items)
    assert skipped == {mlvu.GENERATION: 3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": "flies"}, "entry 0: answer is 'flies'; expected one of the candidates 'waves'"),
        ({"candidates": None}, "entry 0: candidates is None; expected a list of texts"),
        ({"candidates": ["1", 2]}, "entry 0: candidates is ['1', 2]; expected a list of texts"),
        ({"question": 5}, "entry 0: question is 5; expected text"),
        ({"video": ""}, "entry 0: video is ''; expected text"),
    ],
)
def test_a_bad_field_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    copies.mlvu(tmp_path, "4_count", **changes)
    with pytest.raises(SuiteFormatError) as caught:
        mlvu.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'json' / '4_count.json'}: {message}")


def test_a_missing_annotation_file_is_named_or_counted(tmp_path: Path) -> None:
    (copies.mlvu(tmp_path) / "json" / "3_ego.json").unlink()
    with pytest.raises(SuiteFormatError, match=r"3_ego\.json: there is no such annotation file"):
        mlvu.load(tmp_path)
    skipped: Counter[str] = Counter()
    assert len(list(mlvu.load(tmp_path, skip_missing=True, skipped=skipped))) == 6
    assert skipped == {mlvu.NO_PART: 1, mlvu.GENERATION: 3}


def test_a_missing_video_is_named_or_counted(tmp_path: Path) -> None:
    path = copies.mlvu(tmp_path) / "video" / "5_order" / "5_order_32.mp4"
    path.unlink()
    with pytest.raises(SuiteFormatError, match="there is no video") as caught:
        mlvu.load(tmp_path)
    assert str(path) in str(caught.value)
    skipped: Counter[str] = Counter()
    assert len(list(mlvu.load(tmp_path, skip_missing=True, skipped=skipped))) == 6
    assert skipped[NO_VIDEO] == 1


@pytest.mark.parametrize(
    ("answer", "is_right_there"),
    [("B", True), ("(B) points", True), ("B) or A)", True), ("B.", False), ("A", False)],
)
def test_own_score(tmp_path: Path, answer: str, is_right_there: bool) -> None:
    item = load_items(copies.mlvu(tmp_path))[0]
    assert mlvu.own_score(item, answer) is is_right_there


def test_m_avg_is_the_mean_of_the_tasks(tmp_path: Path) -> None:
    plot, needle = load_items(copies.mlvu(tmp_path))[:2]
    scored = [(plot, 1.0), (plot, 1.0), (plot, 1.0), (needle, 0.0)]
    assert mlvu.own_averages(scored) == {"M-Avg": 0.5}
