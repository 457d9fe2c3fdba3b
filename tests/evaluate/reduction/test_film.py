"""The film: a picture for each frame, with a cursor in the chart."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from made import fates, pixels, reduction, seen

from streamvlm.errors import ConfigError
from streamvlm.evaluate.reduction import sheet  # noqa: F401  loaded, so that it can be lost
from streamvlm.evaluate.reduction.film import pictures, write_film
from streamvlm.evaluate.reduction.overlay import KEPT

WHOLE = fates(range(6), grid_thw=(1, 2, 3), kept=range(6))
NONE = fates([-1] * 6, grid_thw=(1, 2, 3), kept=[])
SEEN = reduction([seen(0, WHOLE, drop_ratio=0.0), seen(1, NONE), seen(2, None)])


def test_the_film_has_each_frame(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    assert write_film(path, "title", map(pixels, range(3)), SEEN, fps=2.0) == 6
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert [frame.time for frame in frames] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in frames]
    outlined = [(np.abs(picture - KEPT).max(axis=2) < 40).sum() for picture in shown]
    # The legend has some of this colour in every picture.
    assert min(outlined[:2]) > 10 * max(outlined[2:])


def test_the_cursor_moves_to_the_right_with_time() -> None:
    drawn = list(pictures("title", map(pixels, range(3)), SEEN))
    assert len({picture.shape for picture in drawn}) == 1
    height, width, _ = drawn[0].shape
    assert height % 2 == width % 2 == 0
    row = height - 100
    black = [set(np.flatnonzero((picture[row] == 0).all(axis=1)).tolist()) for picture in drawn]
    always = set.intersection(*black)
    cursors = [min(columns - always, default=0) for columns in black[1:]]
    assert cursors == sorted(set(cursors))
    steps = np.diff(cursors)
    assert steps.max() - steps.min() <= 1 and steps.min() > 50


def test_another_size_on_the_way_changes_no_picture_of_the_film() -> None:
    clips = [pixels(0), pixels(1, height=96, width=64), pixels(2)]
    changed = fates([-1] * 6, grid_thw=(1, 3, 2), kept=[])
    drawn = list(
        pictures("title", clips, reduction([seen(0, WHOLE), seen(1, changed), seen(2, None)]))
    )
    assert len(drawn) == 6 and len({picture.shape for picture in drawn}) == 1


@pytest.mark.parametrize("module", ["chart", "film", "sheet"])
def test_without_matplotlib_a_picture_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    name = f"streamvlm.evaluate.reduction.{module}"
    monkeypatch.delitem(sys.modules, name)
    for part in ("axes", "artist", "figure", "backends.backend_agg"):
        monkeypatch.setitem(sys.modules, f"matplotlib.{part}", None)
    with pytest.raises(ConfigError, match=r"streamvlm\[eval\]"):
        importlib.import_module(name)
