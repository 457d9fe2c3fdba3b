"""Loss and accuracy of a run over its steps, as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

_NAMES = {
    "see": ("color", "shape", "motion", "digit_1"),
    "answer": ("[now]", "[past]", "[not answerable]", "[yes/no]"),
}
"""What is drawn of each stage."""


def draw_log(log: Path, target: Path) -> None:
    """One row for each stage that the log tells of: loss at the left, accuracies at the right."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    by_stage = {stage: [line for line in lines if line["stage"] == stage] for stage in _NAMES}
    trained = {stage: own for stage, own in by_stage.items() if own}
    figure, axes = plt.subplots(
        len(trained), 2, figsize=(11, 3.5 * len(trained)), layout="constrained", squeeze=False
    )
    for row, (stage, own) in zip(axes, trained.items(), strict=True):
        _draw(row[0], own, ("loss",))
        _draw(row[1], own, _NAMES[stage])
        held_out = [
            {"step": each["step"], **each["held_out"]} for each in own if "held_out" in each
        ]
        if held_out:
            _draw(row[1], held_out, _NAMES[stage], suffix=" held out", style="--")
        row[0].set_title(f"{stage}: loss")
        row[1].set_title(f"{stage}: accuracy")
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
