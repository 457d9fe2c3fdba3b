"""Recorded videos of a benchmark, and the cases made of them."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamvlm.capture import SourceAddress, SourceKind
from streamvlm.capture.file import FileSource
from streamvlm.capture.length import length_seconds
from streamvlm.capture.sampling import ClipAssembler
from streamvlm.errors import SuiteFormatError
from streamvlm.evaluate.items import Case, Item
from streamvlm.evaluate.suites.annotation import Entry
from streamvlm.types import Clip, Frame, GridRule, SourceReport

logger = logging.getLogger(__name__)

AT_END = math.inf
"""`asked_seconds` of an item that is asked when its video is over; `cases` puts the time in."""

FIRST_CLIP_SECONDS = 0.5
"""When the first two frames have been taken. Some annotations ask at second 0, when nobody can have
seen anything: they are asked then."""

NO_VIDEO = "the video is not there"
"""Why an item is skipped."""

Skipped = Counter[str]
"""How many items are not asked, by reason; a loader adds to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedVideo:
    """A video file as the service would watch it: a `Video` read while it is watched."""

    video_id: str
    path: Path
    cell_pixels: int = 32
    """Side of the model's visual token. With another one clips are resized once more."""

    def clips(self, fps: float, max_pixels: int) -> Iterator[Clip]:
        """Clips of two frames, as capture takes them from files; the last may repeat its frame.

        A damaged file gives what it has, and a warning. Raises SourceError.
        """
        least = min(max_pixels, 4 * self.cell_pixels**2)
        rule = GridRule(cell_pixels=self.cell_pixels, min_pixels=least, max_pixels=max_pixels)
        # Not parsed: of a file's name nothing is a scheme or a password.
        address = SourceAddress(
            kind=SourceKind.FILE, redacted=str(self.path), location=str(self.path)
        )
        assembler = ClipAssembler(self.video_id, fps)
        for item in FileSource(self.video_id, address, fps=fps, rule=rule):
            if isinstance(item, Frame):
                yield from assembler.add(item)
            elif isinstance(item, SourceReport) and item.reason:
                logger.warning("video %s: %s", self.video_id, item.message)
        yield from assembler.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One item of an annotation file, and its video."""

    entry: Entry
    """Where it is from, for errors."""
    video_id: str
    places: tuple[Path, ...]
    """Where the video may be; where it is in none, the first is named."""
    item: Item


def cases(
    suite: str, asked: Sequence[Asked], *, skip_missing: bool, skipped: Skipped
) -> Iterator[Case]:
    """A case for each video, videos in the order in which they come, items by their moments.

    Whether the videos are there is checked at once; how long one is, when its case is taken.
    Logs what is skipped. Raises SuiteFormatError for a video that is not there unless
    `skip_missing`, and where nothing can be asked; SourceFormatError for what is no video.
    """
    by_video: dict[Path, list[Asked]] = {}
    for one in asked:
        path = next((place for place in one.places if place.is_file()), None)
        if path:
            by_video.setdefault(path, []).append(one)
        elif skip_missing:
            skipped[NO_VIDEO] += 1
        else:
            raise SuiteFormatError(f"{one.entry}: there is no video {one.places[0]}")
    reasons = "; ".join(f"{count}: {reason}" for reason, count in skipped.items())
    if not by_video:
        raise SuiteFormatError(f"suite {suite}: nothing can be asked ({reasons or 'no items'})")
    if skipped:
        logger.warning("suite %s: not asked are %d: %s", suite, skipped.total(), reasons)
    return _cases(by_video)


def _cases(by_video: dict[Path, list[Asked]]) -> Iterator[Case]:
    seen: Counter[str] = Counter()
    for path, asked in by_video.items():
        items = []
        for one in asked:
            item_id = one.item.item_id
            seen[item_id] += 1
            if seen[item_id] > 1:
                item_id = f"{item_id}#{seen[item_id]}"
            items.append(replace(one.item, item_id=item_id))
        if any(item.asked_seconds == AT_END for item in items):
            end_seconds = length_seconds(path)
            items = [
                replace(item, asked_seconds=min(item.asked_seconds, end_seconds)) for item in items
            ]
        items = [
            replace(item, asked_seconds=max(item.asked_seconds, FIRST_CLIP_SECONDS))
            for item in items
        ]
        items.sort(key=lambda item: item.asked_seconds)
        yield Case(video=RecordedVideo(video_id=asked[0].video_id, path=path), items=tuple(items))
