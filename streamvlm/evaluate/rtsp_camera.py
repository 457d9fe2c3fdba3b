"""A test camera: a synthetic scene over RTSP, in a process that can be killed and frozen.

By hand: `python -m streamvlm.evaluate.rtsp_camera --port 8554 --scene moving --seconds 20`.
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
from typing import Self, get_type_hints

from streamvlm.capture.h264 import AccessUnit, encode
from streamvlm.capture.scenes import SCENES
from streamvlm.evaluate.rtsp_server import Faults, RtspServer

_START_SECONDS = 20.0
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
    seconds: float = 4.0
    """Length of the programme, which loops."""
    fps: int = 10
    sizes: tuple[tuple[int, int], ...] = ((240, 320),)
    """(height, width) of the pictures; with several, the programme plays in each in turn."""
    mount: str = "camera"
    credentials: str | None = None
    """"user:password", or None for a camera that lets everyone in."""
    faults: Faults = field(default_factory=Faults)
    port: int = 0
    """0 until the first start chooses a free port, which is then kept."""
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
        self.port = int(self._first_line().rpartition(":")[2].partition("/")[0])

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
        for fault in dataclasses.fields(Faults):
            value = getattr(self.faults, fault.name)
            if value != fault.default:
                flag = f"--{fault.name.replace('_', '-')}"
                arguments.append(flag if value is True else f"{flag}={value}")
        return arguments

    def _first_line(self) -> str:
        """The URL it prints once it listens."""
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A test camera that loops a synthetic scene.")
    parser.add_argument("--port", type=int, default=8554, help="0 chooses a free one")
    parser.add_argument("--mount", default="camera")
    parser.add_argument("--scene", choices=sorted(SCENES), default="moving")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the loop")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--size", type=_size, action="append", help="HEIGHTxWIDTH, may be repeated")
    hints = get_type_hints(Faults)
    for fault in dataclasses.fields(Faults):
        flag = f"--{fault.name.replace('_', '-')}"
        if hints[fault.name] is bool:
            parser.add_argument(flag, action="store_true")
        else:
            kind = int if hints[fault.name] is int else float
            parser.add_argument(flag, type=kind, default=fault.default)
    return parser


async def _run(options: argparse.Namespace) -> None:
    faults = Faults(**{f.name: getattr(options, f.name) for f in dataclasses.fields(Faults)})
    sizes = tuple(options.size or [(480, 640)])
    units = scene_units(options.scene, seconds=options.seconds, fps=options.fps, sizes=sizes)
    # Not an argument: everyone on the machine can read the arguments of a process.
    credentials = os.environ.get("STREAMVLM_CAMERA_CREDENTIALS") or None
    server = RtspServer(
        units, options.fps, mount=options.mount, credentials=credentials, faults=faults
    )
    port = await server.start(port=options.port)
    sys.stdout.write(f"rtsp://127.0.0.1:{port}/{options.mount}\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.close()


def main() -> None:
    """Run the camera until it is told to stop; prints its URL on one line."""
    asyncio.run(_run(_parser().parse_args()))


if __name__ == "__main__":
    main()
