"""A film of a reduction: every frame with what became of its cells, the chart below with a cursor.

Frames are painted one by one, as the file is read once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from streamvlm.capture.mp4 import write_mp4
from streamvlm.errors import ConfigError
from streamvlm.evaluate.reduction import chart, overlay
from streamvlm.evaluate.reduction.overlay import Picture
from streamvlm.evaluate.reduction.seen import Reduction, SeenClip
from streamvlm.types import Clip

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
except ImportError as error:
    raise ConfigError("a picture needs matplotlib: pip install 'streamvlm[eval]'") from error

_PIXELS_WIDE = 900
_DPI = 100
_LINE_PIXELS = 28
_CHART_PIXELS = 280
_CURSOR = np.array((0, 0, 0), dtype=np.uint8)


def check_path(path: Path) -> None:
    """Raise ConfigError for a name that no player would know."""
    if path.suffix.lower() != ".mp4":
        raise ConfigError(f"video {path}: the name must end in .mp4")


def write_film(
    path: Path, title: str, clips: Iterable[Clip], reduction: Reduction, *, fps: float
) -> int:
    """Write one picture for each frame of the `clips`, which are those that were reduced, and give
    how many. Raises InvalidInputError where the file cannot be written.
    """
    return write_mp4(path, pictures(title, clips, reduction), fps=fps)


def pictures(title: str, clips: Iterable[Clip], reduction: Reduction) -> Iterator[Picture]:
    """Those of the film, uint8 [H,W,3], all of one size with even sides."""
    height, width = reduction.clips[0].num_pixels
    factor = max(1, round(_PIXELS_WIDE / width))
    height, width = height * factor, width * factor
    below, lower = _chart(reduction, width)
    head = _line(title, width)
    for clip, seen in zip(clips, reduction.clips, strict=False):
        line = _line(_told(seen), width)
        for number, pixels in enumerate(clip.pixels):
            picture = overlay.enlarge(pixels, factor)
            painted = overlay.paint(picture, seen.fates, moment=number / len(clip.pixels))
            at = clip.times[number].pts_seconds
            parts = [head, line, _fitted(painted, height, width), _with_cursor(below, lower, at)]
            yield _even(np.concatenate(parts))


def _told(seen: SeenClip) -> str:
    when = f"{seen.start_seconds:7.1f} s"
    if seen.fates is None:
        return f"{when}   nothing new: not encoded"
    merged = int((seen.fates.is_merged & ~seen.fates.is_kept).sum())
    joined = f", {merged} share another one's token" if merged else ""
    return f"{when}   {seen.num_kept} of {seen.num_cells} tokens kept{joined}"


def _chart(reduction: Reduction, width: int) -> tuple[Picture, Axes]:
    """The chart as a picture, and the axes that know where a moment is in it."""
    figure = Figure(figsize=(width / _DPI, _CHART_PIXELS / _DPI), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.16, top=0.8, hspace=0.14)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    chart.draw(upper, lower, reduction)
    handles = chart.legend(reduction)
    columns = -(-len(handles) // 2)
    figure.legend(handles=handles, loc="upper center", ncols=columns, frameon=False, fontsize=8)
    canvas.draw()
    drawn: Picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return drawn, lower


def _with_cursor(below: Picture, lower: Axes, at: float) -> Picture:
    """The chart with a line at this moment."""
    column = int(lower.transData.transform((at, 0.0))[0])
    bottom = below.shape[0] - int(lower.bbox.y0)
    marked = below.copy()
    marked[int(0.2 * below.shape[0]) : bottom, column : column + 2] = _CURSOR
    return marked


def _line(text: str, width: int) -> Picture:
    """One line of black text on white, uint8 [_LINE_PIXELS,width,3]."""
    # matplotlib's own raster: a figure for each line would cost more than the frame.
    renderer = RendererAgg(width, _LINE_PIXELS, _DPI)
    font = FontProperties(family="monospace", size=11)
    renderer.draw_text(renderer.new_gc(), 8, _LINE_PIXELS - 8, text, font, 0.0)
    ink = np.asarray(renderer.buffer_rgba())[..., 3:].astype(np.uint16)
    return np.repeat(255 - ink, 3, axis=2).astype(np.uint8)


def _fitted(picture: Picture, height: int, width: int) -> Picture:
    """The same size for all, also where that of the video changes on the way."""
    if picture.shape[:2] == (height, width):
        return picture
    rows = np.arange(height) * picture.shape[0] // height
    columns = np.arange(width) * picture.shape[1] // width
    fitted: Picture = picture[rows][:, columns]
    return fitted


def _even(picture: Picture) -> Picture:
    """H.264 in 4:2:0 wants even sides."""
    height, width = picture.shape[:2]
    return picture[: height - height % 2, : width - width % 2]
