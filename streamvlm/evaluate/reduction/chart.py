"""What was kept over the time of the video: the drop ratio, segments, key clips, tokens a clip."""

from __future__ import annotations

from collections.abc import Sequence

from streamvlm.errors import ConfigError
from streamvlm.evaluate.reduction import overlay
from streamvlm.evaluate.reduction.seen import Reduction

try:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
except ImportError as error:
    raise ConfigError("a picture needs matplotlib: pip install 'streamvlm[eval]'") from error

_BLUE, _GREEN, _VERMILION, _PURPLE = "#0072B2", "#009E73", "#D55E00", "#CC79A7"
_BAND, _STILL = "#E4E4E4", "#9A9A9A"


def draw(
    upper: Axes, lower: Axes, reduction: Reduction, *, marked: Sequence[tuple[float, str]] = ()
) -> None:
    """The drop ratio above, tokens a clip below, over stream seconds. `marked` are moments with a
    letter.
    """
    clips = reduction.clips
    middles = [(clip.start_seconds + clip.end_seconds) / 2 for clip in clips]
    for panel in (upper, lower):
        spans = [
            (span.start_seconds, span.end_seconds - span.start_seconds)
            for span in reduction.segments[::2]
        ]
        panel.broken_barh(spans, (0, 1), color=_BAND, transform=panel.get_xaxis_transform())
        panel.set_xlim(0, clips[-1].end_seconds)
        panel.spines[["top", "right"]].set_visible(False)
    still = [c for c in clips if c.fates is None]
    _drop_ratio(upper, reduction, middles)
    lower.bar(
        [clip.start_seconds for clip in clips],
        [clip.num_kept for clip in clips],
        width=[clip.end_seconds - clip.start_seconds for clip in clips],
        align="edge",
        color=_GREEN,
    )
    lower.broken_barh(
        [(clip.start_seconds, clip.end_seconds - clip.start_seconds) for clip in still],
        (0, 0.06),
        color=_STILL,
        transform=lower.get_xaxis_transform(),
    )
    lower.set_ylim(0, 1.05 * max(clip.num_cells for clip in clips))
    lower.set(ylabel="tokens kept\nof a clip", xlabel="stream time, s")
    upper.tick_params(labelbottom=False)
    for seconds, letter in marked:
        upper.annotate(
            letter,
            (seconds, 1.0),
            (0, 3),
            xycoords=upper.get_xaxis_transform(),
            textcoords="offset points",
            ha="center",
            fontweight="bold",
        )


def _drop_ratio(panel: Axes, reduction: Reduction, middles: Sequence[float]) -> None:
    clips = reduction.clips
    percent = [100 * clip.drop_ratio for clip in clips]
    panel.plot(middles, percent, color=_BLUE, linewidth=1.4)
    for clip in clips:
        if clip.is_cut:
            panel.axvline(clip.start_seconds, color=_VERMILION, linestyle="--", linewidth=1.2)
    keys = reduction.key_clips
    panel.plot(
        [middles[key] for key in keys],
        [percent[key] for key in keys],
        linestyle="none",
        marker="v",
        markersize=8,
        color=_PURPLE,
        markeredgecolor="black",
    )
    panel.set(ylabel="drop ratio,\n% of cells", ylim=(-4, 108))


def legend(reduction: Reduction) -> list[Artist]:
    """What the colours of the pictures and of the chart mean; only of what there is."""
    clips, fates = reduction.clips, [clip.fates for clip in reduction.clips if clip.fates]
    kept = _shown(overlay.KEPT)
    made: list[Artist] = [
        Patch(facecolor="white", edgecolor=kept, linewidth=2.5, label="kept"),
        Patch(facecolor="#B8B8B8", label="dropped"),
    ]
    if any(each.is_merged.any() for each in fates):
        colour = _shown(overlay.CLUSTERS[1])
        made.append(Patch(facecolor=colour, label="merged: one colour, one token"))
    made.append(Line2D([], [], color=_BLUE, label="cells unchanged since last kept"))
    made.append(Patch(facecolor=_BAND, label="every second segment"))
    made.append(
        Line2D(
            [],
            [],
            color=_PURPLE,
            linestyle="none",
            marker="v",
            markeredgecolor="black",
            label="key clip",
        )
    )
    if any(clip.is_cut for clip in clips):
        made.append(Line2D([], [], color=_VERMILION, linestyle="--", label="scene cut"))
    if any(clip.fates is None for clip in clips):
        made.append(Patch(facecolor=_STILL, label="nothing new: not encoded"))
    return made


def _shown(colour: tuple[int, int, int]) -> str:
    """As matplotlib takes it."""
    return "#" + bytes(colour).hex()
