"""Loss and accuracy of a run over its steps, as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

_SEEN = ("color", "shape", "motion", "digit_1")
_GROUPS = ("[now]", "[past]", "[not answerable]", "[yes/no]")


def draw_log(log: Path, target: Path) -> None:
    """One row a stage: loss at the left, accuracies at the right."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained")
    for row, (stage, names) in enumerate((("see", _SEEN), ("answer", _GROUPS))):
        own = [line for line in lines if line["stage"] == stage]
        _draw(axes[row][0], own, ("loss",))
        _draw(axes[row][1], own, names)
        held_out = [
            {"step": each["step"], **each["held_out"]} for each in own if "held_out" in each
        ]
        if held_out:
            _draw(axes[row][1], held_out, names, suffix=" held out", style="--")
        axes[row][0].set_title(f"{stage}: loss")
        axes[row][1].set_title(f"{stage}: accuracy")
    figure.savefig(target, dpi=110)


def _draw(
    axis: Any,
    lines: list[dict[str, Any]],
    names: tuple[str, ...],
    suffix: str = "",
    style: str = "-",
) -> None:
    for name in names:
        known = [(line["step"], line[name]) for line in lines if name in line]
        if known:
            axis.plot(*zip(*known, strict=True), style, label=name.strip("[]") + suffix)
    axis.set_xlabel("step")
    axis.legend()
