"""The parent's end of a decoder process."""

from __future__ import annotations

import math
import os
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path

from streamvlm.capture.decoder import STOP_SECONDS, DecoderJob, Message
from streamvlm.errors import SourceLostError, SourceStalledError

_ROOT = Path(__file__).parents[2]
_PROGRAM = "from streamvlm.capture.decoder import main; main()"


class DecoderProcess:
    """One running decoder. Its crash, its hanging and its memory are its own.

    A plain child process and not `multiprocessing.Process`: spawning there first imports the
    program's main module again, and with it torch, for each camera. The job goes through the pipe,
    since everyone on the machine can read arguments and it holds credentials.

    Raises SourceLostError where the system gives no process or pipe.
    """

    def __init__(self, job: DecoderJob) -> None:
        self._name = f"the decoder of stream {job.stream_id}"
        try:
            self._start()
        except OSError as error:
            raise SourceLostError(f"{self._name} cannot start: {error.strerror}") from error
        # One that died at once is found dead by `receive`.
        with suppress(OSError):
            self._connection.send(job)

    def _start(self) -> None:
        self._connection, childs_end = Pipe()
        paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
        with childs_end:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(childs_end.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[childs_end.fileno()],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                    # numpy's threads cost start-up time and memory, and do nothing here.
                    "OPENBLAS_NUM_THREADS": "1",
                },
            )

    @property
    def process_id(self) -> int:
        """Of the operating system."""
        return self._process.pid

    def receive(self, timeout_seconds: float) -> Message:
        """The next message. Raises SourceStalledError at the timeout, SourceLostError if dead."""
        try:
            if not self._connection.poll(timeout_seconds):
                raise SourceStalledError(f"{self._name} was silent for {timeout_seconds:g} s")
            # A message may stop in its middle: `poll` knows only of its first byte.
            _limit_reads(self._connection.fileno(), timeout_seconds)
            message: Message = self._connection.recv()
            return message
        except BlockingIOError:
            problem = f"{self._name} stopped for {timeout_seconds:g} s in the middle of a message"
            raise SourceStalledError(problem) from None
        except (EOFError, OSError):
            status = self._exit_status()
        raise SourceLostError(f"{self._name} died ({_cause(status)})")

    def _exit_status(self) -> int:
        """Of a process that closed its pipe, which it does a moment before it is gone."""
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def ask_to_stop(self) -> None:
        """Let it close its source and exit; any thread. Nothing happens if it is gone."""
        with suppress(OSError):
            self._connection.send_bytes(b"stop")

    def kill(self) -> None:
        """End it at once; any thread. `receive` then raises SourceLostError."""
        self._process.kill()

    def close(self) -> None:
        """Kill it if it runs and free what it held here; the receiving thread only."""
        self._process.kill()
        self._process.wait()
        self._connection.close()


def _limit_reads(descriptor: int, timeout_seconds: float) -> None:
    """Let a read from this end of a pipe raise BlockingIOError when nothing comes for so long."""
    fraction, seconds = math.modf(timeout_seconds)
    timeval = struct.pack("@ll", int(seconds), max(1, int(fraction * 1e6)))
    # `Pipe` makes a pair of sockets; an option set on a copy of the descriptor holds for both.
    with socket.socket(fileno=os.dup(descriptor)) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)


def _cause(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return f"signal {signal.Signals(-status).name}"
