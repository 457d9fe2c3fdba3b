"""Video-MME: both forms of its annotation, asked at the end; its own scoring."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from streamvlm.errors import SourceFormatError, SuiteFormatError
from streamvlm.evaluate.items import Item, is_right
from streamvlm.evaluate.suites import video_mme
from streamvlm.evaluate.suites.recorded import NO_VIDEO
from tests.evaluate.suites import copies


def check(folder: Path) -> None:
    """The copy is loaded whole."""
    cases = list(video_mme.load(folder))
    assert [case.video.video_id for case in cases] == ["id-1", "id-2"]
    items = [item for case in cases for item in case.items]
    assert [item.item_id for item in items] == ["001-1", "001-2", "002-1", "002-2"]
    assert [item.group for item in items] == ["short", "short", "long", "long"]
    assert [item.family for item in items[:2]] == ["Object Reasoning", "OCR Problems"]
    assert all(item.asked_seconds == pytest.approx(copies.SECONDS, abs=0.15) for item in items)
    assert items[0].options == ("Black shirts.", "Blue.", "Red.", "Brown hat.")
    assert is_right(items[0], "D") and is_right(items[0], "Brown hat")


def test_the_json_of_the_readme_is_read(tmp_path: Path) -> None:
    check(copies.video_mme(tmp_path))


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir()
    parquet.write_table(arrow.Table.from_pylist(rows), path)


def test_the_published_parquet_is_read(tmp_path: Path) -> None:
    copies.video_mme(tmp_path)
    (tmp_path / "video_mme.json").unlink()
    write_parquet(tmp_path / "videomme/test-00000-of-00001.parquet", copies.video_mme_rows())
    check(tmp_path)


def test_a_bad_row_of_the_parquet_is_named(tmp_path: Path) -> None:
    rows = copies.video_mme_rows()
    rows[3]["duration"] = "endless"
    write_parquet(tmp_path / "videomme/test-00000-of-00001.parquet", rows)
    with pytest.raises(SuiteFormatError, match="row 3: duration is 'endless'; expected one of sho"):
        video_mme.load(tmp_path)


def test_what_is_no_parquet_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "videomme/test-00000-of-00001.parquet"
    path.parent.mkdir()
    path.write_bytes(b"not this")
    with pytest.raises(SuiteFormatError, match="cannot be read as parquet"):
        video_mme.load(tmp_path)


def test_without_pyarrow_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = tmp_path / "videomme/test-00000-of-00001.parquet"
    path.parent.mkdir()
    path.write_bytes(b"PAR1")
    with pytest.raises(SuiteFormatError, match="install pyarrow"):
        video_mme.load(tmp_path)


def test_a_missing_annotation_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SuiteFormatError, match=r"test-00000-of-00001\.parquet or video_mme\.json"):
        video_mme.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "https://youtu.be"}, "entry 1: url is 'https://youtu.be'; expected an address"),
        ({"duration_category": 3}, "entry 1: duration_category is 3; expected one of short, me"),
        ({"questions": None}, "entry 1: questions is None; expected a list of entries"),
    ],
)
def test_a_bad_entry_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    entries = copies.video_mme_entries()
    entries[1] |= changes
    with pytest.raises(SuiteFormatError) as caught:
        video_mme.load(copies.video_mme(tmp_path, entries))
    assert message in str(caught.value)


def test_a_letter_of_no_option_is_named(tmp_path: Path) -> None:
    entries = copies.video_mme_entries()
    entries[0]["questions"][1]["answer"] = "d"
    with pytest.raises(SuiteFormatError) as caught:
        video_mme.load(copies.video_mme(tmp_path, entries))
    expected = "entry 0, questions 1: answer is 'd'; expected one of A, B, C, D"
    assert expected in str(caught.value)


def test_a_missing_video_is_named_or_counted(tmp_path: Path) -> None:
    path = copies.video_mme(tmp_path) / "data" / "id-2.mp4"
    path.unlink()
    with pytest.raises(SuiteFormatError, match="there is no video") as caught:
        video_mme.load(tmp_path)
    assert str(path) in str(caught.value)
    skipped: Counter[str] = Counter()
    assert len(list(video_mme.load(tmp_path, skip_missing=True, skipped=skipped))) == 1
    assert skipped == {NO_VIDEO: 2}


def test_a_file_that_is_no_video_is_named_when_it_is_taken(tmp_path: Path) -> None:
    path = copies.video_mme(tmp_path) / "data" / "id-1.mp4"
    path.write_text("no video")
    cases = video_mme.load(tmp_path)
    with pytest.raises(SourceFormatError, match=r"id-1\.mp4 is not video"):
        next(cases)


@pytest.mark.parametrize(
    ("answer", "score"),
    [("D", True), ("The best answer is D.", True), ("Day", True), ("A", False), ("d", None)],
)
def test_own_score_is_the_first_capital_and_counts_no_other(
    tmp_path: Path, answer: str, score: bool | None
) -> None:
    item = next(video_mme.load(copies.video_mme(tmp_path))).items[0]
    assert video_mme.own_score(item, answer) is score


def test_own_averages_leave_out_what_was_not_answered() -> None:
    def item(group: str) -> Item:
        return Item(
            item_id="1", family="f", group=group, question="?", answer="A", asked_seconds=0.0
        )

    scored = [(item("short"), 1.0), (item("short"), None), (item("long"), 0.0), (item("long"), 0.0)]
    averages = video_mme.own_averages(scored)
    assert averages == pytest.approx({"short": 1.0, "long": 0.0, "all": 1 / 3})
