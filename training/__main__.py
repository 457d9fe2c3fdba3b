"""`python -m training`: run the recipe, leg by leg, or write its result into the package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import torch
import typer

from training.answer import answer
from training.architecture import build
from training.export import begin_from
from training.export import export as export_weights
from training.leg import Leg
from training.see import see
from training.settings import SETTINGS
from training.tokenizer import tokenizer

app = typer.Typer(add_completion=False, help=__doc__)


def _known(size: str) -> str:
    if size not in SETTINGS:
        raise typer.BadParameter(f"{size!r}; allowed: {', '.join(SETTINGS)}")
    return size


Size = Annotated[str, typer.Option(help=f"One of {', '.join(SETTINGS)}.", callback=_known)]
Folder = Annotated[Path, typer.Option(help="Where the run is kept between legs.")]


@app.command()
def run(
    folder: Folder = Path("build/mini"),
    minutes: Annotated[float, typer.Option(help="Length of one leg.")] = 9.0,
    legs: Annotated[int, typer.Option(help="How many of them.")] = 1,
    size: Size = "cpu",
    last: Annotated[
        bool, typer.Option(help="The learning rate comes down within the last leg.")
    ] = False,
) -> None:
    """Go on with the run in this folder, or begin one."""
    settings = SETTINGS[size]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.set_float32_matmul_precision("high")
    for number in range(legs):
        leg = Leg(folder, settings, minutes, is_last=last and number == legs - 1)
        model = build(tokenizer()).to(settings.device)
        if leg.steps["see"] < settings.see_steps:
            see(leg, model)
        if not leg.is_over:
            answer(leg, model)


@app.command()
def begin(
    folder: Folder = Path("build/mini"),
    checkpoint: Annotated[Path, typer.Option()] = Path("streamvlm/vlm/mini"),
    size: Size = "cpu",
    see_again: Annotated[int, typer.Option(help="Steps for the tower before that.")] = 0,
) -> None:
    """Begin a run with what the checkpoint in the package knows; then `run` goes on with it."""
    begin_from(checkpoint, folder, SETTINGS[size], see_again=see_again)


@app.command()
def export(
    folder: Folder = Path("build/mini"),
    target: Annotated[Path, typer.Option()] = Path("streamvlm/vlm/mini"),
    earlier: Annotated[
        list[Path] | None,
        typer.Option(help="A weights.safetensors that an earlier leg left; the mean is written."),
    ] = None,
) -> None:
    """Write the run's weights as a checkpoint of transformers."""
    export_weights(folder, target, earlier or ())


@app.command()
def plot(folder: Folder = Path("build/mini"), target: Path = Path("training/mini.png")) -> None:
    """Draw loss and accuracy of the run so far. Needs matplotlib."""
    from training.plot import draw_log

    draw_log(folder / "log.jsonl", target)


if __name__ == "__main__":
    app()
