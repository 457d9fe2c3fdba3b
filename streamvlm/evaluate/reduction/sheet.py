"""A picture of a reduction: some clips, chosen so that things happen, and the chart below them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from streamvlm.errors import ConfigError
from streamvlm.evaluate.reduction import chart, overlay
from streamvlm.evaluate.reduction.seen import Reduction, SeenClip
from streamvlm.types import Clip

try:
    from matplotlib.figure import Figure, SubFigure
except ImportError as error:
    raise ConfigError("a picture needs matplotlib: pip install 'streamvlm[eval]'") from error

NUM_CLIPS = 6
_COLUMNS = 3
_PIXELS_WIDE = 640
_INCHES_WIDE = 13.0
_CHART_INCHES = 4.4
_LINE_INCHES = 0.4


def telling_clips(clips: Sequence[SeenClip], count: int = NUM_CLIPS) -> list[int]:
    """Which clips to show, at most `count`, in order: of as many equal stretches of the video the
    one in which most changed. The first clip, of which everything is new, only where there is no
    other.
    """
    begin, end = clips[0].start_seconds, clips[-1].end_seconds
    chosen: dict[int, int] = {}
    for index, clip in enumerate(clips):
        if clip.fates is None or (index == 0 and len(clips) > 1):
            continue
        stretch = min(count - 1, int(count * (clip.start_seconds - begin) / (end - begin)))
        best = chosen.get(stretch)
        if best is None or clip.drop_ratio < clips[best].drop_ratio:
            chosen[stretch] = index
    return sorted(chosen.values()) or [0]


def write_sheet(path: Path, title: str, clips: Iterable[Clip], reduction: Reduction) -> None:
    """Write the picture; `clips` are those that were reduced, read again up to the last shown."""
    indices = telling_clips(reduction.clips)
    shown = {}
    for index, clip in enumerate(clips):
        if index in indices:
            shown[index] = _tile(clip, reduction.clips[index])
        if index == indices[-1]:
            break
    height, width = reduction.clips[indices[0]].num_pixels
    num_rows = -(-len(indices) // _COLUMNS)
    tiles_inches = num_rows * (_INCHES_WIDE / _COLUMNS * height / width + _LINE_INCHES)
    figure = Figure(figsize=(_INCHES_WIDE, tiles_inches + _CHART_INCHES), dpi=120)
    top, bottom = figure.subfigures(
        2, 1, squeeze=False, height_ratios=[tiles_inches, _CHART_INCHES]
    ).ravel()
    top.suptitle(title, fontsize=13)
    marked = _draw_tiles(top, [(reduction.clips[index], shown[index]) for index in indices])
    bottom.subplots_adjust(left=0.075, right=0.985, bottom=0.13, top=0.78, hspace=0.12)
    upper, lower = bottom.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    chart.draw(upper, lower, reduction, marked=marked)
    handles = chart.legend(reduction)
    columns = -(-len(handles) // 2)
    bottom.legend(handles=handles, loc="upper center", ncols=columns, frameon=False, fontsize=10)
    try:
        figure.savefig(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _draw_tiles(
    figure: SubFigure, shown: Sequence[tuple[SeenClip, overlay.Picture]]
) -> list[tuple[float, str]]:
    """Give the moment and the letter of each."""
    num_rows = -(-len(shown) // _COLUMNS)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.88, wspace=0.02, hspace=0.14)
    tiles = figure.subplots(num_rows, _COLUMNS, squeeze=False).ravel()
    marked = []
    for tile in tiles:
        tile.axis("off")
    for number, ((clip, picture), tile) in enumerate(zip(shown, tiles, strict=False)):
        letter = chr(ord("a") + number)
        tile.imshow(picture, interpolation="antialiased")
        kept = f"{clip.num_kept} of {clip.num_cells} kept" if clip.fates else "not encoded"
        tile.set_title(f"{letter}   {clip.start_seconds:.1f} s: {kept}", loc="left", fontsize=11)
        marked.append(((clip.start_seconds + clip.end_seconds) / 2, letter))
    return marked


def _tile(clip: Clip, seen: SeenClip) -> overlay.Picture:
    """The clip's last frame, large enough for fine outlines."""
    factor = max(1, -(-_PIXELS_WIDE // clip.pixels.shape[2]))
    frames = len(clip.pixels)
    picture = overlay.enlarge(clip.pixels[-1], factor)
    return overlay.paint(picture, seen.fates, moment=(frames - 1) / frames)
