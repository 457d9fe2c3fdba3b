"""OVO-Bench (arXiv 2501.05510), a local copy of the dataset JoeLeelyf/OVO-Bench.

    FOLDER/ovo_bench_new.json       the annotation; else ovo_bench.json, the earlier one
    FOLDER/src_videos/<video>       whole videos, named as in the annotation; or FOLDER/<video>

Whole videos only: "chunked_videos", which are cut where a question is asked, are not read. Of
forward responding each look of an entry (`test_info`) is an item of its own: repetitions counted
so far (REC), whether a step is under way (SSR), whether enough was seen to answer (CRR).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean

from streamvlm.errors import SuiteFormatError
from streamvlm.evaluate.items import Case, Item
from streamvlm.evaluate.suites.annotation import Entry, read_json
from streamvlm.evaluate.suites.averages import Scored, by_group, over_families
from streamvlm.evaluate.suites.multiple_choice import letter, put
from streamvlm.evaluate.suites.recorded import Asked, Skipped, cases

NAME = "ovo-bench"

_FILES = ("ovo_bench_new.json", "ovo_bench.json")
_GROUPS = {
    **dict.fromkeys(("EPM", "ASI", "HLD"), "past"),
    **dict.fromkeys(("STU", "OJR", "ATR", "ACR", "OCR", "FPD"), "now"),
    **dict.fromkeys(("REC", "SSR", "CRR"), "forward"),
}
_SAID = ("No", "Yes")
_SAY = "Answer Yes or No and nothing else."


def load(
    folder: Path, *, skip_missing: bool = False, skipped: Skipped | None = None
) -> Iterator[Case]:
    """The videos with their questions; `skipped` counts what is not asked, by reason.

    Raises SuiteFormatError for what is not as published, and for a video that is not there unless
    `skip_missing`.
    """
    skipped = Counter() if skipped is None else skipped
    path = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if path is None:
        raise SuiteFormatError(f"{folder}: there is no annotation file {' or '.join(_FILES)}")
    asked = [one for entry in read_json(path) for one in _asked(folder, entry)]
    return cases(NAME, asked, skip_missing=skip_missing, skipped=skipped)


def own_score(item: Item, answer: str) -> bool:
    """`OVOBenchScore.py` of JoeLeelyf/OVO-Bench.

    The right letter, or "Yes" or "No", anywhere in the answer, upper and lower case as it is (only
    "Y" or "N" will do too); of a count all digits of the answer, put together.
    """
    if item.family == "REC":
        return "".join(re.findall(r"\d+", answer)) == item.answer
    if item.group == "forward" and answer == item.answer[0]:
        return True
    return item.answer in answer


def own_averages(scored: Scored) -> Mapping[str, float]:
    """Of each group the mean over its tasks; "all": the mean over the groups."""
    groups = {name: over_families(some) for name, some in by_group(scored).items()}
    return {**groups, "all": fmean(groups.values()) if groups else 0.0}


def _asked(folder: Path, entry: Entry) -> Iterator[Asked]:
    video = entry.text("video")
    if Path(video).is_absolute():
        raise entry.error("video", "a path inside the folder of the videos")
    places = (folder / "src_videos" / video, folder / video)
    family = entry.word("task", _GROUPS)
    items = _forward(entry, family) if _GROUPS[family] == "forward" else [_choice(entry, family)]
    for item in items:
        yield Asked(
            entry=entry,
            video_id=Path(video).with_suffix("").as_posix(),
            places=places,
            item=item,
        )


def _choice(entry: Entry, family: str) -> Item:
    options = tuple(option.strip() for option in entry.texts("options"))
    return Item(
        item_id=str(entry.whole("id", 0)),
        family=family,
        group=_GROUPS[family],
        question=put(entry.text("question"), options),
        answer=letter(entry.whole("gt", 0, len(options))),
        options=options,
        asked_seconds=entry.seconds("realtime"),
    )


def _forward(entry: Entry, family: str) -> Iterator[Item]:
    for number, look in enumerate(entry.entries("test_info")):
        if family == "REC":
            answer = str(look.whole("count", 0))
        else:
            answer = _SAID[look.whole("type", 0, len(_SAID))]
        yield Item(
            item_id=f"{entry.whole('id', 0)}_{number}",
            family=family,
            group=_GROUPS[family],
            question=_question(entry, look, family),
            answer=answer,
            asked_seconds=look.seconds("realtime"),
        )


def _question(entry: Entry, look: Entry, family: str) -> str:
    if family == "REC":
        return (
            f"How often has this been done so far, by all people together: "
            f"{entry.text('activity')}? Count what was carried through. "
            f"Answer with one number in digits and nothing else."
        )
    if family == "SSR":
        return (
            f"This is one step of the instructions that the video follows: {look.text('step')}. "
            f"Is somebody carrying out this step right now? {_SAY}"
        )
    return (
        f"Somebody wants to know: {entry.text('question')} Is what was shown until now, above all "
        f"in the newest pictures, enough to answer that? {_SAY}"
    )
