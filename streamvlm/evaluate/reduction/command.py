"""`streamvlm reduce`: what a strategy keeps of a video file, what it takes, what it looks like."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from streamvlm.cli_options import AsJson, print_json
from streamvlm.config import Config
from streamvlm.errors import ConfigError
from streamvlm.evaluate.command import Checkpoint, ConfigPath, Device, check_writable, settings_of

if TYPE_CHECKING:
    from streamvlm.evaluate.methods import Method
    from streamvlm.evaluate.reduction.seen import Reduction
    from streamvlm.evaluate.suites.recorded import RecordedVideo
    from streamvlm.vlm import VLM

_out, _err = Console(), Console(stderr=True)

VideoPath = Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file.")]
StrategyName = Annotated[
    str | None,
    typer.Option(metavar="NAME[@RATIO]", help="Such as dtd or compressor@0.1; else the config's."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the strategy; may come often."),
]
Seconds = Annotated[
    float | None, typer.Option(min=0.1, max=1e7, help="Only so much of the video's beginning.")
]
PicturePath = Annotated[
    Path | None, typer.Option("--picture", metavar="FILE", help="Some clips and the curve: a PNG.")
]
FilmPath = Annotated[
    Path | None, typer.Option("--video", metavar="FILE", help="Every frame and the curve: an MP4.")
]


def reduce(
    video: VideoPath,
    strategy: StrategyName = None,
    settings: Settings = None,
    seconds: Seconds = None,
    picture: PicturePath = None,
    film: FilmPath = None,
    checkpoint: Checkpoint = None,
    config_path: ConfigPath = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Show what a strategy keeps of a video file: tokens, time, a picture."""
    # Before torch is loaded, as in `serve`.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # Late: the other commands must not wait for torch.
    from streamvlm.evaluate.reduction import tell
    from streamvlm.evaluate.reduction.strategy import strategy as named

    config = settings_of(config_path, checkpoint, device)
    method = named(strategy, settings or [], config)
    _check_paths(video, picture, film)
    shown, vlm, method, reduction = _run(video, method, config, seconds)
    _draw(shown, vlm, method, config, reduction, seconds, picture, film)
    about = tell.About(
        video=str(video),
        model=vlm.name,
        strategy=dict(method.settings["reduce"]),
        fps=config.capture.fps,
    )
    if as_json:
        print_json(tell.plain(about, reduction))
    else:
        _out.print(tell.table(about, reduction))


def _check_paths(video: Path, picture: Path | None, film: Path | None) -> None:
    """Before the work and not after it: raise ConfigError where a result could not be written."""
    for path in (picture, film):
        check_writable(path)
        if path and path.exists() and video.exists() and path.samefile(video):
            raise ConfigError(f"cannot write {path}: it is the video itself")
    if picture:
        from streamvlm.evaluate import report_plots

        report_plots.check_path(picture)
    if film:
        from streamvlm.evaluate.reduction.film import check_path

        check_path(film)


def _run(
    video: Path, method: Method, config: Config, seconds: float | None
) -> tuple[RecordedVideo, VLM, Method, Reduction]:
    from streamvlm.errors import SourceFormatError
    from streamvlm.evaluate.reduction import run
    from streamvlm.evaluate.suites.recorded import RecordedVideo
    from streamvlm.vlm import load

    with _saying(f"loading {config.vlm.checkpoint}"):
        vlm = load(
            config.vlm.checkpoint,
            dtype=config.vlm.dtype,
            device=config.vlm.device,
            max_pixels=config.encode.max_pixels,
        )
    shown = RecordedVideo(
        video_id=video.name, path=video, cell_pixels=vlm.patch_spec.rule.cell_pixels
    )
    with _saying(f"reducing {video.name}"):
        method = run.fit(method, vlm, run.clips_until(vlm, shown, config, seconds), config)
        clips = run.clips_until(vlm, shown, config, seconds)
        reduction = run.run(run.reducer_of(method), vlm, clips, config)
    if not reduction.clips:
        raise SourceFormatError(f"{video}: no picture can be decoded")
    return shown, vlm, method, reduction


def _draw(
    video: RecordedVideo,
    vlm: VLM,
    method: Method,
    config: Config,
    reduction: Reduction,
    seconds: float | None,
    picture: Path | None,
    film: Path | None,
) -> None:
    """The pictures that are asked for; each reads the video once more."""
    from streamvlm.evaluate.reduction.run import clips_until

    kept = 100 * reduction.tokens_kept / max(1, reduction.tokens_seen)
    title = f"{video.video_id}: {method.name} keeps {kept:.1f} % ({vlm.name})"
    if picture:
        from streamvlm.evaluate.reduction.sheet import write_sheet

        with _saying(f"drawing {picture}"):
            write_sheet(picture, title, clips_until(vlm, video, config, seconds), reduction)
    if film:
        from streamvlm.evaluate.reduction.film import write_film

        with _saying(f"filming {film}"):
            clips = clips_until(vlm, video, config, seconds)
            write_film(film, title, clips, reduction, fps=config.capture.fps)


@contextmanager
def _saying(text: str) -> Iterator[None]:
    """What is being done, on a terminal."""
    with _err.status(text):
        yield
