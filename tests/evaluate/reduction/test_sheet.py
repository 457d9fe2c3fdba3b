"""The picture: which clips it shows, and that it shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made import fates, pixels, reduction, seen

from streamvlm.errors import ConfigError
from streamvlm.evaluate.reduction import chart, overlay
from streamvlm.evaluate.reduction.sheet import telling_clips, write_sheet
from streamvlm.types import Clip

WHOLE = fates(range(6), grid_thw=(1, 2, 3), kept=range(6))
SOME = fates([0, 0, -1, -1, -1, 5], grid_thw=(1, 2, 3), kept=[0, 5], merged=[0, 1])


def test_of_each_stretch_the_clip_is_shown_in_which_most_changed() -> None:
    ratios = [0.0, 0.9, 0.2, 0.8, 0.7, 0.9, 1.0, 0.4]
    clips = [seen(second, SOME, drop_ratio=ratio) for second, ratio in enumerate(ratios)]
    assert telling_clips(clips, 2) == [2, 7]
    assert telling_clips(clips, 4) == [1, 2, 4, 7]
    clips[7] = seen(7, None)
    assert telling_clips(clips, 2) == [2, 4]


def test_the_first_clip_is_shown_where_there_is_no_other() -> None:
    assert telling_clips([seen(0, WHOLE, drop_ratio=0.0)]) == [0]
    assert telling_clips([seen(0, WHOLE, drop_ratio=0.0), seen(1, None)]) == [0]


def test_the_picture_shows_clips_and_reads_no_further_than_it_must(tmp_path: Path) -> None:
    from matplotlib.image import imread

    clips = [seen(0, WHOLE, drop_ratio=0.0), seen(1, SOME, drop_ratio=0.5), seen(2, None)]
    read = []

    def clips_again() -> Iterator[Clip]:
        for second in range(3):
            read.append(second)
            yield pixels(second)

    path = tmp_path / "sheet.png"
    write_sheet(path, "title", clips_again(), reduction(clips))
    assert read == [0, 1]
    shown = (imread(path)[..., :3] * 255).round().astype(int)
    blue = np.array((0, 0, 200))
    merged = ((1 - overlay.TINT) * blue + overlay.TINT * np.array(overlay.CLUSTERS[0])).round()
    grey = overlay.grey(np.full((1, 1, 3), blue, dtype=np.uint8))[0, 0]
    for colour in (blue, merged, overlay.KEPT, grey):
        assert (np.abs(shown - colour).max(axis=2) <= 1).sum() > 500, colour


def test_the_legend_names_what_there_is_and_nothing_else() -> None:
    def labels(*clips: object) -> str:
        return " ".join(str(each.get_label()) for each in chart.legend(reduction(clips)))  # type: ignore[arg-type]

    pruned = fates([0, -1], grid_thw=(1, 1, 2), kept=[0])
    plain, full = (
        labels(seen(0, pruned)),
        labels(seen(0, SOME), seen(1, SOME, is_cut=True), seen(2, None)),
    )
    for word in ("kept", "dropped", "segment", "key clip", "unchanged since last kept"):
        assert word in plain and word in full
    for word in ("merged", "scene cut", "not encoded"):
        assert word not in plain and word in full


def test_a_name_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none/sheet\.png"):
        path = tmp_path / "none" / "sheet.png"
        write_sheet(path, "title", iter([pixels(0)]), reduction([seen(0, WHOLE)]))
