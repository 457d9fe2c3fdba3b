"""MLVU (arXiv 2406.04264), its dev set: a local copy of the dataset MLVU/MVLU.

    FOLDER/json/1_plotQA.json, ...      the annotation, or below FOLDER/MLVU
    FOLDER/video/1_plotQA/<video>, ...

The seven multiple-choice tasks (M-Avg), asked at the end of each video. The two generation tasks,
sub-scene captioning and summary, are not asked: GPT-4 scores them. Of the test set no right
answers are published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from streamvlm.evaluate.items import Case, Item
from streamvlm.evaluate.suites.annotation import Entry, read_json
from streamvlm.evaluate.suites.averages import Scored, over_families
from streamvlm.evaluate.suites.multiple_choice import letter, put
from streamvlm.evaluate.suites.recorded import AT_END, Asked, Skipped, cases

NAME = "mlvu"
GENERATION = "generation tasks are scored by GPT-4"
NO_PART = "the annotation file of its task is not there: tasks"

_GROUPS = {
    "1_plotQA": "single detail",
    "2_needle": "single detail",
    "3_ego": "single detail",
    "4_count": "multi-detail",
    "5_order": "multi-detail",
    "6_anomaly_reco": "holistic",
    "7_topic_reasoning": "holistic",
}
_GENERATION = ("8_sub_scene", "9_summary")


def load(
    folder: Path, *, skip_missing: bool = False, skipped: Skipped | None = None
) -> Iterator[Case]:
    """The videos with their questions; `skipped` counts what is not asked, by reason.

    Raises SuiteFormatError for what is not as published. A video or an annotation file that is not
    there is an error too, unless `skip_missing`. Raises SourceFormatError, when its case is taken,
    for a file that is no video.
    """
    skipped = Counter() if skipped is None else skipped
    root = folder / "MLVU" if (folder / "MLVU").is_dir() else folder
    asked: list[Asked] = []
    for task in _GROUPS:
        path = root / "json" / f"{task}.json"
        if skip_missing and not path.is_file():
            skipped[NO_PART] += 1
            continue
        asked += [_asked(root, task, entry) for entry in read_json(path)]
    for task in _GENERATION:
        path = root / "json" / f"{task}.json"
        if path.is_file():
            skipped[GENERATION] += len(read_json(path))
    return cases(NAME, asked, skip_missing=skip_missing, skipped=skipped)


def own_score(item: Item, answer: str) -> bool:
    """`check_ans` in `choice_bench.py` of JUNJIE99/MLVU: what comes before the first ")" is the
    right letter and nothing else.

    There the prompt ends in an opening parenthesis; here an answer may begin with it.
    """
    said = answer.strip().removeprefix("(")
    return said.partition(")")[0].strip() == item.answer


def own_averages(scored: Scored) -> Mapping[str, float]:
    """M-Avg: the mean of the accuracies of the tasks."""
    return {"M-Avg": over_families(scored)}


def _asked(root: Path, task: str, entry: Entry) -> Asked:
    video = entry.text("video")
    options = tuple(option.strip() for option in entry.texts("candidates"))
    right = entry.text("answer")
    if right not in options:
        raise entry.error("answer", f"one of the candidates {', '.join(map(repr, options))}")
    video_id = f"{task}/{Path(video).stem}"
    item = Item(
        item_id=f"{task}_{entry.place.split()[-1]}",
        family=task.partition("_")[2],
        group=_GROUPS[task],
        question=put(entry.text("question"), options),
        answer=letter(options.index(right)),
        options=options,
        asked_seconds=AT_END,
    )
    places = (root / "video" / task / video,)
    return Asked(entry=entry, video_id=video_id, places=places, item=item)
