"""The zoo as pictures: whole curves of a few strategies, and all of them side by side."""

from __future__ import annotations

from collections.abc import Sequence

from machine import RESULTS
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streamvlm.evaluate import report_plots
from streamvlm.evaluate.report import MethodReport


def curves(reports: Sequence[MethodReport]) -> None:
    """Write zoo-curves.png: accuracy against what is kept, and against age."""
    report_plots.plot(reports, RESULTS / "zoo-curves.png")


def side_by_side(reports: Sequence[MethodReport], ratios: Sequence[float], ours: str) -> None:
    """Write zoo-strategies.png: a panel for each ratio, the best of the past on top; ours and the
    oracle stand out.
    """
    full = next(each for each in reports if each.method == "full").groups["past"].share
    at = [[each for each in reports if each.method.endswith(f"@{ratio}")] for ratio in ratios]
    most = max(map(len, at))
    size = (4 * len(ratios), 1.2 + 0.2 * most)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(ratios), sharex=True, squeeze=False)[0]
    for ratio, some, panel in zip(ratios, at, panels, strict=True):
        _panel(panel, sorted(some, key=lambda each: each.groups["past"].share), ours)
        panel.axvline(100 * full, linestyle="--", color="grey")
        panel.set(title=f"asked to keep {100 * ratio:g} %", xlabel="past: right, % (95 %)")
    figure.savefig(RESULTS / "zoo-strategies.png")


def _panel(panel: Axes, reports: Sequence[MethodReport], ours: str) -> None:
    for height, each in enumerate(reports):
        past = each.groups["past"]
        low, high = past.interval
        color = "C1" if each.method.startswith(ours) else "C0"
        panel.plot([100 * low, 100 * high], [height, height], color=color)
        panel.plot([100 * past.share], [height], "o", color=color, markersize=4)
    labels = [
        f"{each.method.partition('@')[0]} ({100 * (each.cost.kept_ratio or 0.0):.0f} %)"
        for each in reports
    ]
    panel.set_yticks(range(len(reports)), labels, fontsize="small")
