"""`streamvlm eval`: how good the answers of a model are, by suite and method."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streamvlm import config
from streamvlm.config import Config
from streamvlm.errors import ConfigError
from streamvlm.evaluate.report import MethodReport, add_up, as_json, tables

if TYPE_CHECKING:
    from streamvlm.evaluate.items import Case
    from streamvlm.evaluate.methods import Method
    from streamvlm.evaluate.outcomes import Outcome
    from streamvlm.evaluate.suites import Suite
    from streamvlm.vlm import VLM

METHODS = ("full", "last-4-frames", "service")
"""What is compared unless somebody says otherwise."""

FIT_VIDEOS = 4
"""Videos, the suite's first, that thresholds are fitted to, without their questions."""

_out, _err = Console(), Console(stderr=True)

SuiteName = Annotated[
    str, typer.Option(help="mini needs no files; streamingbench, ovo-bench, video-mme, mlvu do.")
]
Folder = Annotated[Path | None, typer.Option(metavar="DIR", help="Your copy of the suite.")]
SkipMissing = Annotated[
    bool, typer.Option("--skip-missing", help="Leave out videos that are not there.")
]
Checkpoint = Annotated[
    str | None, typer.Option(help="The model; else the one that the config names.")
]
ConfigPath = Annotated[
    Path | None, typer.Option("--config", help="A YAML file; else the built-in defaults.")
]
MethodNames = Annotated[
    list[str] | None,
    typer.Option(
        help=f"Such as uniform@0.25 or quota:512; may come often; else {', '.join(METHODS)}."
    ),
]
Videos = Annotated[
    int | None, typer.Option(min=1, help="So many of the first videos; mini: 12, else all.")
]
Seconds = Annotated[
    float | None, typer.Option(min=1, max=86_400, help="Length of a video of mini: 64.")
]
Questions = Annotated[
    int | None, typer.Option(min=1, help="At each of the 4 moments of a video of mini: 6.")
]
MaxNewTokens = Annotated[int, typer.Option(min=1, help="Longest answer.")]
JsonPath = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Every answer, and the sums.")
]
PlotPath = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="A picture, such as plot.png.")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...; else the config's.")]


def evaluate(
    suite: SuiteName = "mini",
    data: Folder = None,
    skip_missing: SkipMissing = False,
    checkpoint: Checkpoint = None,
    config_path: ConfigPath = None,
    method: MethodNames = None,
    videos: Videos = None,
    seconds: Seconds = None,
    questions: Questions = None,
    max_new_tokens: MaxNewTokens = 32,
    json_path: JsonPath = None,
    plot_path: PlotPath = None,
    device: Device = None,
) -> None:
    """Measure how good the answers are, for each method of forming an answer's context."""
    # Before torch is loaded, as in `serve`.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # Late: the other commands must not wait for torch.
    from streamvlm.evaluate.methods import method as named

    methods = [named(name) for name in dict.fromkeys(method or METHODS)]
    settings = settings_of(config_path, checkpoint, device)
    _check_paths(json_path, plot_path)
    asked = _suite(suite)
    limits = {"videos": videos, "seconds": seconds, "questions_per_ask": questions}
    cases = _cases(suite, data, skip_missing, limits)
    vlm, methods, outcomes = _run(asked, cases, methods, settings, max_new_tokens)
    reports = add_up(outcomes, asked.own_averages)
    _tell(_header(vlm, settings, cases), reports, plot_path)
    if json_path:
        about = _about(vlm, settings, suite, methods)
        json_path.write_text(json.dumps({**about, **as_json(reports, outcomes)}, indent=1) + "\n")


def settings_of(config_path: Path | None, checkpoint: str | None, device: str | None) -> Config:
    """The config with the model and the device that are given beside it. Raises ConfigError."""
    settings = config.load(config_path) if config_path else Config()
    given = {"checkpoint": checkpoint, "device": device}
    wanted = {key: value for key, value in given.items() if value is not None}
    return settings.model_copy(update={"vlm": settings.vlm.model_copy(update=wanted)})


def _suite(name: str) -> Suite:
    from streamvlm.evaluate.suites import SUITES

    if name not in SUITES:
        raise ConfigError(f"no suite {name!r}; allowed: {', '.join(SUITES)}")
    return SUITES[name]


def _cases(
    name: str, folder: Path | None, skip_missing: bool, limits: dict[str, float | None]
) -> list[Case]:
    """What is asked. Raises ConfigError for options that the suite does not have."""
    from streamvlm.evaluate.suites import mini

    given: dict[str, Any] = {key: limit for key, limit in limits.items() if limit is not None}
    if name == mini.NAME:
        return list(mini.load(folder, skip_missing=skip_missing, **given))
    if folder is None:
        raise ConfigError(f"suite {name}: --data DIR must say where your copy of it is")
    if given.keys() - {"videos"}:
        raise ConfigError(f"suite {name}: --seconds and --questions are for mini only")
    cases = _suite(name).load(folder, skip_missing=skip_missing)
    return list(islice(cases, given.get("videos")))


def _check_paths(json_path: Path | None, plot_path: Path | None) -> None:
    """Before the work and not after it: raise ConfigError where a result could not be written."""
    for path in (json_path, plot_path):
        check_writable(path)
    if plot_path:
        from streamvlm.evaluate import report_plots

        report_plots.check_path(plot_path)


def check_writable(path: Path | None) -> None:
    """Raise ConfigError where a result that somebody asks for could not be written."""
    if path and (not path.parent.is_dir() or path.is_dir()):
        raise ConfigError(f"cannot write {path}: it must be a file in a folder that exists")
    if path and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"cannot write {path}: permission denied")


def _run(
    suite: Suite,
    cases: Sequence[Case],
    methods: Sequence[Method],
    settings: Config,
    max_new_tokens: int,
) -> tuple[VLM, list[Method], list[Outcome]]:
    from streamvlm.evaluate import runner
    from streamvlm.vlm import load

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    is_hidden = not _err.is_terminal
    with Progress(
        *columns, TimeElapsedColumn(), console=_err, transient=True, disable=is_hidden
    ) as progress:
        task = progress.add_task(f"loading {settings.vlm.checkpoint}", total=None)
        vlm = load(
            settings.vlm.checkpoint,
            dtype=settings.vlm.dtype,
            device=settings.vlm.device,
            max_pixels=settings.encode.max_pixels,
        )
        progress.update(task, description="fitting thresholds")
        videos = [case.video for case in cases[:FIT_VIDEOS]]
        fitted = runner.fit(vlm, methods, videos, config=settings)
        total = len(methods) * sum(len(case.items) for case in cases)
        progress.update(task, description="asking", total=total)
        outcomes = []
        for outcome in runner.run(
            vlm,
            cases,
            fitted,
            config=settings,
            max_new_tokens=max_new_tokens,
            own_score=suite.own_score,
        ):
            outcomes.append(outcome)
            progress.advance(task)
    return vlm, fitted, outcomes


def _header(vlm: VLM, settings: Config, cases: Sequence[Case]) -> str:
    """What was asked what: answers differ with the size of the pictures."""
    questions = sum(len(case.items) for case in cases)
    return (
        f"{vlm.name}, pictures of at most {settings.encode.max_pixels} pixels; "
        f"videos: {len(cases)}, questions: {questions}"
    )


def _tell(header: str, reports: Sequence[MethodReport], plot_path: Path | None) -> None:
    _out.print(header, highlight=False, markup=False, soft_wrap=True)
    _out.print("right answers, % (95 % interval)\n", highlight=False)
    for table in tables(reports):
        _out.print(table)
        _out.print()
    if plot_path:
        from streamvlm.evaluate import report_plots

        report_plots.plot(reports, plot_path)


def _about(vlm: VLM, settings: Config, suite: str, methods: Sequence[Method]) -> dict[str, Any]:
    """What was measured and with what, as plain values."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("streamvlm"),
        "suite": suite,
        "checkpoint": vlm.name,
        "device": str(vlm.device),
        "config": settings.model_dump(mode="json"),
        "settings_of_methods": {each.name: each.settings for each in methods},
    }
