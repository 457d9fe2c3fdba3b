"""Video-MME (arXiv 2405.21075), a local copy of the dataset lmms-lab/Video-MME.

    FOLDER/videomme/test-00000-of-00001.parquet     the annotation (needs pyarrow); or
    FOLDER/video_mme.json                           the same as the README of BradyFU/Video-MME
                                                    has it, a list of videos with "questions"
    FOLDER/data/<YouTube id>.mp4                    the archives "videos_chunked_*.zip"

Every question is asked at the end of its video, without subtitles. Groups are the benchmark's
lengths: short, medium, long. The form of its README (question, options with letters, only the
letter wanted) is kept, in words of our own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from streamvlm.errors import SuiteFormatError
from streamvlm.evaluate.items import Case, Item
from streamvlm.evaluate.suites.annotation import Entry, read_json, read_parquet
from streamvlm.evaluate.suites.averages import Scored, by_group, over_items
from streamvlm.evaluate.suites.multiple_choice import plain_options, put
from streamvlm.evaluate.suites.recorded import AT_END, Asked, Skipped, cases

NAME = "video-mme"

_PARQUET = Path("videomme", "test-00000-of-00001.parquet")
_JSON = Path("video_mme.json")
_LENGTHS = dict.fromkeys(("short", "medium", "long"))


def load(
    folder: Path, *, skip_missing: bool = False, skipped: Skipped | None = None
) -> Iterator[Case]:
    """The videos with their questions; `skipped` counts what is not asked, by reason.

    Raises SuiteFormatError for what is not as published, and for a video that is not there unless
    `skip_missing`; SourceFormatError, when its case is taken, for a file that is no video.
    """
    skipped = Counter() if skipped is None else skipped
    if (folder / _PARQUET).is_file():
        asked = [_flat(folder, row) for row in read_parquet(folder / _PARQUET)]
    elif (folder / _JSON).is_file():
        asked = [one for entry in read_json(folder / _JSON) for one in _nested(folder, entry)]
    else:
        raise SuiteFormatError(f"{folder}: there is no annotation file {_PARQUET} or {_JSON}")
    return cases(NAME, asked, skip_missing=skip_missing, skipped=skipped)


def own_score(item: Item, answer: str) -> bool | None:
    """`eval_your_results.py` of BradyFU/Video-MME: the first of the capitals A, B, C, D anywhere.

    None where there is none: such answers are not counted. (The phrases that it takes out before
    have none of these capitals.)
    """
    found = re.search(r"[ABCD]", answer)
    return None if found is None else found[0] == item.answer


def own_averages(scored: Scored) -> Mapping[str, float]:
    """Of each length and of all, over the questions that were answered."""
    scored = list(scored)
    groups = {name: over_items(some) for name, some in by_group(scored).items()}
    return {**groups, "all": over_items(scored)}


def _flat(folder: Path, row: Entry) -> Asked:
    """A row of the parquet file."""
    video = row.text("videoID")
    return _asked(folder, row, video, row.word("duration", _LENGTHS), "options")


def _nested(folder: Path, entry: Entry) -> Iterator[Asked]:
    """The questions of an entry of the JSON file."""
    video = parse_qs(urlsplit(entry.text("url")).query).get("v", [""])[0]
    if not video:
        raise entry.error("url", "an address with the id of the video, such as ...watch?v=ID")
    length = entry.word("duration_category", _LENGTHS)
    for question in entry.entries("questions"):
        yield _asked(folder, question, video, length, "choices")


def _asked(folder: Path, entry: Entry, video: str, length: str, options_field: str) -> Asked:
    options = plain_options(entry.texts(options_field))
    item = Item(
        item_id=entry.text("question_id"),
        family=entry.text("task_type"),
        group=length,
        question=put(entry.text("question"), options),
        answer=entry.letter("answer", len(options)),
        options=options,
        asked_seconds=AT_END,
    )
    places = (folder / "data" / f"{video}.mp4",)
    return Asked(entry=entry, video_id=video, places=places, item=item)
