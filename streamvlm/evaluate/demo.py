"""The whole way once, on this machine: a camera, the service, a stream, two questions, the numbers.

`make demo` runs it. Every part is the real one: an RTSP server in its own process, `streamvlm
serve` in another, the client of `streamvlm.client` in this one.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from streamvlm import show
from streamvlm.client import Client
from streamvlm.errors import EngineStoppedError, ServiceUnreachableError, StreamVLMError
from streamvlm.evaluate.rtsp_camera import RtspCamera
from streamvlm.types import AnswerFinished, AnswerStarted, AnswerToken, Sampling, StreamStatus

STREAM_ID = "demo"
SEEN_SECONDS = 20.0
PATIENCE_SECONDS = 90.0
QUESTIONS = ("What is moving right now?", "Where was the red square ten seconds ago?")

console = Console(highlight=False)


def main() -> int:
    """Run it. 0 when everything worked; 1 with one line of why not."""
    try:
        _demo()
    except (StreamVLMError, RuntimeError, TimeoutError) as error:
        Console(stderr=True).print(f"[red]demo failed:[/] {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _demo() -> None:
    console.rule("streamvlm demo")
    console.print(
        "The model has [bold]random weights[/]: the path is the real one, its words mean nothing.\n"
    )
    with RtspCamera(sizes=((360, 640),), fps=25, seconds=20.0) as camera:
        console.print(f"camera   {camera.url} (H.264, RTSP over TCP)")
        with _service() as address, Client(address) as client:
            console.print(f"service  {address}")
            client.create_stream(STREAM_ID, camera.url)
            _watch(client)
            for question in QUESTIONS:
                _ask(client, question)
            console.print("\n", show.stream(client.get_stream(STREAM_ID)))
            client.delete_stream(STREAM_ID)
    console.print("\nEverything is stopped.")


@contextmanager
def _service() -> Iterator[str]:
    """`streamvlm serve` on a free port, ended at the end; its log is shown where it fails."""
    address = f"127.0.0.1:{_free_port()}"
    command = [sys.executable, "-m", "streamvlm.cli", "serve", "--address", address]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for(process, address)
            yield address
        except (StreamVLMError, RuntimeError, TimeoutError):
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    with Client(address) as client, console.status("loading the model"):
        while process.poll() is None and time.monotonic() < deadline:
            try:
                client.list_streams()
            except (ServiceUnreachableError, EngineStoppedError):
                time.sleep(0.2)
            else:
                return
    raise RuntimeError(f"the service on {address} did not start")


def _watch(client: Client) -> None:
    """Wait until the stream's memory covers SEEN_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    columns = (TextColumn("watching"), BarColumn(), TextColumn("{task.completed:.0f} s seen"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("watching", total=SEEN_SECONDS)
        while (seen := _seen_seconds(client.get_stream(STREAM_ID))) < SEEN_SECONDS:
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {seen:.0f} s seen within {PATIENCE_SECONDS:.0f} s")
            progress.update(task, completed=seen)
            time.sleep(0.5)
        progress.update(task, completed=SEEN_SECONDS)


def _seen_seconds(status: StreamStatus) -> float:
    remembered = status.memory.remembered
    return remembered.duration_seconds if remembered else 0.0


def _ask(client: Client, question: str) -> None:
    """Print a question, its answer as it comes, what it was given from and what it cost."""
    console.print(f"\n[bold]> {question}[/]")
    for event in client.ask(STREAM_ID, question, Sampling(max_new_tokens=24)):
        if isinstance(event, AnswerStarted):
            started = event
        elif isinstance(event, AnswerToken):
            console.print(show.plain(event.text), end="", markup=False, style="cyan")
        elif isinstance(event, AnswerFinished):
            console.print("\n", show.evidence(started), show.usage(event.usage), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
