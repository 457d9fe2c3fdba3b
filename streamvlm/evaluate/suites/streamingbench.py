"""StreamingBench (arXiv 2411.03628), a local copy of the dataset mjuicem/StreamingBench.

    FOLDER/StreamingBench/*.csv                 the annotation, as published
    FOLDER/<archive>/sample_<n>/video.mp4       archives unpacked into folders of their names
                                                without "_1-50", or
    FOLDER/real, FOLDER/omni, FOLDER/sqa        as the README of THUNLP-MT/StreamingBench has it

Supported are real-time, omni-source and contextual understanding with sequential question
answering. The sound that omni-source items are about is not heard: they are asked all the same.
Proactive output is not asked: it is scored by when a model speaks up by itself, and an `Item` is
a question at a given moment. All of the stream until the question counts as seen, which is the
benchmark's "all context" and not its main setting of the last 60 seconds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from streamvlm.evaluate.items import Case, Item
from streamvlm.evaluate.suites.annotation import Entry, read_csv
from streamvlm.evaluate.suites.averages import Scored, by_group, over_items
from streamvlm.evaluate.suites.multiple_choice import letter, plain_options, put
from streamvlm.evaluate.suites.recorded import Asked, Skipped, cases

NAME = "streamingbench"
PROACTIVE = "proactive output is scored by when a model speaks up by itself"
NO_PART = "the annotation file of its part is not there: parts"

_COLUMNS = ("question_id", "task_type", "question", "time_stamp", "answer", "options")
_QUESTION_ID = re.compile(r"(?P<archive>.+)_(?P<sample>sample_\d+)_(?P<number>\d+)")


@dataclass(frozen=True, slots=True)
class _Part:
    file: str
    group: str
    folder: str
    """Where the README puts the videos of the part."""


_PARTS = (
    _Part("Real_Time_Visual_Understanding.csv", "now", "real"),
    _Part("Omni_Source_Understanding.csv", "omni-source", "omni"),
    _Part("Contextual_Understanding.csv", "contextual", "omni"),
    _Part("Sequential_Question_Answering.csv", "contextual", "sqa"),
)
_PROACTIVE_FILE = "Proactive_Output.csv"
_SEQUENTIAL_FOLDER = "sqa"


def load(
    folder: Path, *, skip_missing: bool = False, skipped: Skipped | None = None
) -> Iterator[Case]:
    """The videos with their questions; `skipped` counts what is not asked, by reason.

    Raises SuiteFormatError for what is not as published. A video or an annotation file that is not
    there is an error too, unless `skip_missing`.
    """
    skipped = Counter() if skipped is None else skipped
    annotation = folder / "StreamingBench"
    asked: list[Asked] = []
    for part in _PARTS:
        path = annotation / part.file
        if skip_missing and not path.is_file():
            skipped[NO_PART] += 1
            continue
        asked += _part(folder, part, read_csv(path, _COLUMNS))
    proactive = annotation / _PROACTIVE_FILE
    if proactive.is_file():
        skipped[PROACTIVE] += len(read_csv(proactive, ("question_id",)))
    return cases(NAME, asked, skip_missing=skip_missing, skipped=skipped)


def own_score(item: Item, answer: str) -> bool:
    """The first character is the right letter: `count.py` of THUNLP-MT/StreamingBench."""
    return answer.strip()[:1] == item.answer


def own_averages(scored: Scored) -> Mapping[str, float]:
    """Of each group and of all, over questions as `count.py` adds them up."""
    scored = list(scored)
    groups = {name: over_items(some) for name, some in by_group(scored).items()}
    return {**groups, "all": over_items(scored)}


def _part(folder: Path, part: _Part, rows: list[Entry]) -> Iterator[Asked]:
    earlier: dict[str, list[str]] = {}
    for row in rows:
        match = _QUESTION_ID.fullmatch(row.text("question_id"))
        if match is None:
            raise row.error("question_id", "<archive>_sample_<n>_<number of the question>")
        video_id = f"{match['archive']}/{match['sample']}"
        options = plain_options(row.texts("options", is_literal=True))
        if len(options) < 2:
            raise row.error("options", "options with the letters A, B, C, ...")
        answer = row.letter("answer", len(options))
        question = row.text("question")
        text = put(question, options)
        if part.folder == _SEQUENTIAL_FOLDER:
            before = earlier.setdefault(video_id, [])
            text = "\n".join([*before, text])
            right = options[ord(answer) - ord(letter(0))]
            before.append(f"Asked at {row.text('time_stamp')}: {question} Right answer: {right}")
        item = Item(
            item_id=row.text("question_id"),
            family=row.text("task_type"),
            group=part.group,
            question=text,
            answer=answer,
            options=options,
            asked_seconds=row.timestamp("time_stamp"),
        )
        places = _places(folder, part, match["archive"], match["sample"])
        yield Asked(entry=row, video_id=video_id, places=places, item=item)


def _places(folder: Path, part: _Part, archive: str, sample: str) -> tuple[Path, ...]:
    roots = [folder / archive, folder / part.folder / archive]
    # Of "omni" several archives have the same samples.
    if part.folder != "omni":
        roots.append(folder / part.folder)
    return tuple(root / sample / "video.mp4" for root in roots)
