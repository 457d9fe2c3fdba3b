"""Accuracy against what is kept and against age, as pictures. Needs matplotlib, an extra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamvlm.errors import ConfigError
from streamvlm.evaluate.report import AGES, Accuracy, MethodReport

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise ConfigError("a plot needs matplotlib: pip install 'streamvlm[eval]'") from error


def check_path(path: Path) -> None:
    """Raise ConfigError where a plot cannot be written there in a known format."""
    formats = sorted(Figure().canvas.get_supported_filetypes())
    if path.suffix.removeprefix(".").lower() not in formats:
        raise ConfigError(f"plot {path}: the name must end in one of .{', .'.join(formats)}")


def plot(reports: Sequence[MethodReport], path: Path) -> None:
    """Write one picture: a panel for each group with accuracy against the share of tokens kept,
    then one with accuracy against age. Methods that keep nothing are dashed lines.
    """
    groups = list(dict.fromkeys(group for report in reports for group in report.groups))
    figure = Figure(figsize=(4 * (len(groups) + 1), 4), layout="constrained")
    panels = figure.subplots(1, len(groups) + 1, sharey=True, squeeze=False)[0]
    for group, panel in zip(groups, panels, strict=False):
        _against_kept(panel, group, reports)
    _against_age(panels[-1], reports)
    panels[0].legend(fontsize="small")
    panels[-1].legend(fontsize="small")
    panels[0].set_ylabel("right, % (95 % interval)")
    panels[0].set_ylim(-2, 102)
    figure.savefig(path)


def _against_kept(panel: Axes, group: str, reports: Sequence[MethodReport]) -> None:
    lines: dict[str, list[MethodReport]] = {}
    for report in reports:
        if group in report.groups:
            lines.setdefault(report.method.partition("@")[0], []).append(report)
    for number, (name, some) in enumerate(lines.items()):
        color = f"C{number}"
        # Not by ratio: two methods may keep equally much.
        kept = sorted(
            (
                (100 * report.cost.kept_ratio, report.groups[group])
                for report in some
                if report.cost.kept_ratio is not None
            ),
            key=lambda pair: pair[0],
        )
        if kept:
            places, accuracies = zip(*kept, strict=True)
            _errorbar(panel, places, accuracies, name, color)
        else:
            level = 100 * some[0].groups[group].share
            panel.axhline(level, linestyle="--", color=color, label=name)
    panel.set(title=group, xlabel="tokens kept, %", xlim=(0, 105))


def _against_age(panel: Axes, reports: Sequence[MethodReport]) -> None:
    bins = [name for name in AGES if any(name in report.ages for report in reports)]
    for number, report in enumerate(reports):
        known = [name for name in bins if name in report.ages]
        aside = 0.5 * ((number + 0.5) / len(reports) - 0.5)
        places = [bins.index(name) + aside for name in known]
        accuracies = [report.ages[name] for name in known]
        _errorbar(panel, places, accuracies, report.method, f"C{number}")
    panel.set_xticks(range(len(bins)), bins)
    panel.set(title="by age", xlabel="how long ago")


def _errorbar(
    panel: Axes, places: Sequence[float], accuracies: Sequence[Accuracy], label: str, color: str
) -> None:
    shares = [100 * each.share for each in accuracies]
    below = [max(0.0, 100 * (each.share - each.interval[0])) for each in accuracies]
    above = [max(0.0, 100 * (each.interval[1] - each.share)) for each in accuracies]
    panel.errorbar(
        places, shares, yerr=[below, above], label=label, color=color, marker="o", capsize=3
    )
