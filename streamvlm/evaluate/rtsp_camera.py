"""A test camera over RTSP, in a process that can be killed and frozen.

It loops a simple scene, or it plays a synthetic world once, live, whose truth is known at every
second. By hand: `python -m streamvlm.evaluate.rtsp_camera --port 8554 --world 7 --seconds 60`.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import selectors
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_type_hints

from streamvlm.capture.h264 import AccessUnit, encode
from streamvlm.capture.scenes import SCENES
from streamvlm.evaluate.rtsp_server import Faults, Programme, RtspServer
from streamvlm.evaluate.world.script import Pace, Script, write

_START_SECONDS = 60.0
_SCENE_SIZE, _WORLD_SIZE = (480, 640), (256, 256)
_ROOT = Path(__file__).parents[2]


def scene_units(
    scene: str, *, seconds: float, fps: int, sizes: tuple[tuple[int, int], ...]
) -> list[AccessUnit]:
    """A scene of this length as access units, once for each (height, width) in turn."""
    render = SCENES[scene]
    return [
        unit
        for height, width in sizes
        for unit in encode(
            (render(i / fps, height=height, width=width) for i in range(round(seconds * fps))),
            fps=fps,
        )
    ]


@dataclass(slots=True, kw_only=True)
class RtspCamera:
    """A test camera in its own process; entering starts it, leaving kills it.

    `faults` and `credentials` may be changed between `kill` and `start`.
    """

    scene: str = "moving"
    world: int | None = None
    """Seed of a synthetic world, which is shown instead of a scene: live, and once."""
    pace: Pace = field(default_factory=Pace)
    """How busy the world is."""
    seconds: float = 4.0
    """Length of the programme; a scene loops."""
    fps: int = 10
    sizes: tuple[tuple[int, int], ...] = ((240, 320),)
    """(height, width) of the pictures; with several, a scene plays in each in turn.

    A world has one, and it must be square: its truth is told for a square.
    """
    mount: str = "camera"
    credentials: str | None = None
    """"user:password", or None for a camera that lets everyone in."""
    faults: Faults = field(default_factory=Faults)
    port: int = 0
    """0 until the first start chooses a free port, which is then kept."""
    began_utc_seconds: float | None = None
    """When the world's second 0 was; each start begins it anew. None for a scene."""
    _process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Its address, credentials included."""
        user = f"{self.credentials}@" if self.credentials else ""
        return f"rtsp://{user}127.0.0.1:{self.port}/{self.mount}"

    @property
    def script(self) -> Script:
        """What happens in its world. Raises ValueError where it shows a scene."""
        if self.world is None:
            raise ValueError("the test camera shows a scene, of which no truth is known")
        return write(self.world, self.seconds, self.pace)

    def start(self) -> None:
        """Start the process; returns when it accepts connections, or raises RuntimeError."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, *self._arguments()],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=_ROOT,
            env={**os.environ, "STREAMVLM_CAMERA_CREDENTIALS": self.credentials or ""},
        )
        url, *began = self._first_line().split()
        self.port = int(url.rpartition(":")[2].partition("/")[0])
        self.began_utc_seconds = float(began[-1]) if began else None

    def kill(self) -> None:
        """End it as `kill -9` does, without a goodbye to its clients, if it runs."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def freeze(self) -> None:
        """Stop it in its tracks: connections stay, nothing is sent or accepted."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError(f"the camera on port {self.port} does not run")
        self._process.send_signal(number)

    def _arguments(self) -> list[str]:
        arguments = [f"--port={self.port}", f"--scene={self.scene}", f"--seconds={self.seconds}"]
        arguments += [f"--fps={self.fps}", f"--mount={self.mount}"]
        arguments += [f"--size={height}x{width}" for height, width in self.sizes]
        if self.world is not None:
            arguments += [f"--world={self.world}", *_as_arguments(self.pace)]
        return [*arguments, *_as_arguments(self.faults)]

    def _first_line(self) -> str:
        """What it prints once it listens: its URL, and when a live programme began."""
        assert self._process is not None and self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(_START_SECONDS) else ""
        if not line:
            self.kill()
            raise RuntimeError(f"the test camera did not start within {_START_SECONDS} s")
        return line.strip()


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    size = int(height), int(width)
    if min(size) < 16 or size[0] % 2 or size[1] % 2:
        raise argparse.ArgumentTypeError(f"{text!r}: both sides must be even and at least 16")
    return size


def seed(text: str) -> int:
    """The seed of a world, from a command line."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: a seed is a whole number from 0")
    return int(text)


def _as_arguments(settings: Faults | Pace) -> list[str]:
    """Those that are not the default, for the parser."""
    arguments = list[str]()
    for each in dataclasses.fields(settings):
        value = getattr(settings, each.name)
        if value != each.default:
            values = value if isinstance(value, tuple) else () if value is True else (value,)
            arguments += [f"--{each.name.replace('_', '-')}", *map(str, values)]
    return arguments


def _add_settings(parser: argparse.ArgumentParser, settings: type[Faults] | type[Pace]) -> None:
    """An argument for each field."""
    hints = get_type_hints(settings)
    for each in dataclasses.fields(settings):
        flag, hint = f"--{each.name.replace('_', '-')}", hints[each.name]
        if hint is bool:
            parser.add_argument(flag, action="store_true")
        else:
            number = int if hint is int else float
            count = 2 if isinstance(each.default, tuple) else None
            parser.add_argument(flag, type=number, nargs=count, default=each.default)


def _settings(options: argparse.Namespace, settings: type[Any]) -> dict[str, Any]:
    """The values that were given for the fields."""
    given = {each.name: getattr(options, each.name) for each in dataclasses.fields(settings)}
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A test camera that shows what is made up.")
    parser.add_argument("--host", default="127.0.0.1", help="where it listens")
    parser.add_argument("--port", type=int, default=8554, help="0 chooses a free one")
    parser.add_argument("--mount", default="camera")
    parser.add_argument("--scene", choices=sorted(SCENES), default="moving")
    parser.add_argument("--world", type=seed, help="show the world of this seed, live and once")
    parser.add_argument("--seconds", type=float, default=20.0, help="length; a scene loops")
    parser.add_argument("--fps", type=int, default=None, help="25; of a world 10")
    parser.add_argument("--size", type=_size, action="append", help="HEIGHTxWIDTH, may be repeated")
    _add_settings(parser, Faults)
    _add_settings(parser, Pace)
    return parser


def _programme(options: argparse.Namespace) -> Programme:
    if options.world is None:
        sizes = tuple(options.size or [_SCENE_SIZE])
        return scene_units(options.scene, seconds=options.seconds, fps=options.fps, sizes=sizes)
    # Not above: it takes torch, which takes seconds, and a scene needs none.
    from streamvlm.evaluate.world_programme import WorldProgramme

    script = write(options.world, options.seconds, Pace(**_settings(options, Pace)))
    (side, _), *_ = options.size or [_WORLD_SIZE]
    return WorldProgramme(script, fps=options.fps, side=side)


async def _run(options: argparse.Namespace) -> None:
    # Not an argument: everyone on the machine can read the arguments of a process.
    credentials = os.environ.get("STREAMVLM_CAMERA_CREDENTIALS") or None
    server = RtspServer(
        _programme(options),
        options.fps,
        is_live=options.world is not None,
        mount=options.mount,
        credentials=credentials,
        faults=Faults(**_settings(options, Faults)),
    )
    port = await server.start(host=options.host, port=options.port)
    began = f" began at UTC {server.began.utc_seconds:.6f}" if server.is_live else ""
    sys.stdout.write(f"rtsp://127.0.0.1:{port}/{options.mount}{began}\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.close()


def main() -> None:
    """Run the camera until it is told to stop; prints its URL, and when a world began."""
    parser = _parser()
    options = parser.parse_args()
    if options.world is not None and len(options.size or ()) > 1:
        parser.error("a world plays in one size only")
    for height, width in options.size or ():
        if options.world is not None and height != width:
            parser.error(f"a world must be square: --size={height}x{width} is not")
    if options.fps is None:
        options.fps = 25 if options.world is None else 10
    asyncio.run(_run(options))


if __name__ == "__main__":
    main()
