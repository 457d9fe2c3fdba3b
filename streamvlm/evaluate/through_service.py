"""Questions about a live world, put to the real service at their moments and scored.

Asking takes time and the camera goes on, so an answer counts only if what it was given from shows
the same as the moment that its question was made for.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from streamvlm.client import Client
from streamvlm.errors import EngineStoppedError, ServiceUnreachableError, SourceError
from streamvlm.evaluate.live_truth import LiveTruth, item_of
from streamvlm.evaluate.outcomes import Outcome
from streamvlm.evaluate.rtsp_camera import RtspCamera
from streamvlm.evaluate.world.drafts import Group
from streamvlm.evaluate.world.questions import FAMILIES, TruthQuestion
from streamvlm.types import AnswerFinished, AnswerStarted, AnswerToken, Sampling, SourceState

METHOD = "over gRPC"
"""Of outcomes: the service as it runs, with capture and the wire around it."""
PATIENCE_SECONDS = 90.0
STOP_SECONDS = 20.0
_POLL_SECONDS = 0.05


@contextmanager
def serving(
    config: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """`streamvlm serve` on a free port, in a process that is ended at the end: its address.
    `environment` is added to ours.

    Where it or what is done with it fails, its log goes to the standard error. Raises RuntimeError
    where it does not start.
    """
    address = f"127.0.0.1:{_free_port()}"
    command = [sys.executable, "-m", "streamvlm.cli", "serve", "--address", address]
    command += [f"--config={config}"] if config else []
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryFile() as log:
        command += [f"--data={data}"]
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **(environment or {})}
        )
        try:
            _wait_for_service(process, address)
            yield address
        except Exception:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def watch(client: Client, stream_id: str, camera: RtspCamera, *, fps: float = 2.0) -> LiveTruth:
    """Create a stream of this camera's world; its truth, once the first clip is remembered.

    `fps` is the service's sampling rate. Raises what `create_stream` does, TimeoutError.
    """
    script, began = camera.script, camera.began_utc_seconds
    assert began is not None, "a camera that runs and shows a world knows when it began"
    client.create_stream(stream_id, camera.url)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (status := client.get_stream(stream_id)).memory.remembered is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no clip of {camera.url} within {PATIENCE_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    return LiveTruth.of(script, began, status, fps=fps)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveQuestion:
    """A question for the moment at which one look is the newest."""

    look: int
    truth: TruthQuestion


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveAnswer:
    """What the service said, and what it had seen."""

    asked: LiveQuestion
    newest_look: int
    """The newest that the answer was given from."""
    is_comparable: bool
    """Whether all looks from there to the one of the question show the same."""
    started: AnswerStarted
    outcome: Outcome
    """Its item is asked at the newest look."""


@dataclass(slots=True, kw_only=True)
class LiveExam:
    """Questions spread over what is left of a script; families take turns.

    `while (question := exam.wait()) is not None: exam.ask(question)`. An answer that is not
    comparable is made up for by another question as long as the script lasts.
    """

    client: Client
    stream_id: str
    truth: LiveTruth
    groups: Sequence[Group | None]
    """What to ask, in this order; None: anything."""
    first_look: int = 5
    """None is asked before it."""
    max_new_tokens: int = 24
    _next_look: int = field(init=False)
    _num_comparable: int = 0
    _num_asked: int = 0
    _asked_of: Counter[str] = field(default_factory=Counter)
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._next_look = self.first_look
        self._rng = np.random.default_rng((self.truth.script.seed, 9))

    def wait(self) -> LiveQuestion | None:
        """Wait for the moment of the next question; None where all are asked or it is too late.

        Raises SourceError where the stream is not live any more, TimeoutError where it stands
        still.
        """
        if self._num_comparable == len(self.groups):
            return None
        look = max(self._next_look, self._newest_look() + 1)
        while look <= self._last_look:
            question = self._choose(look)
            if question is not None:
                self._wait_for(look)
                return LiveQuestion(look=look, truth=question)
            look += 1
        return None

    def ask(
        self, question: LiveQuestion, hear: Callable[[str], None] = lambda text: None
    ) -> LiveAnswer:
        """The service's answer, greedily, scored; `hear` gets its text piece by piece.

        Raises what `Client.ask` does, and SourceError where the stream was interrupted.
        """
        sampling = Sampling(max_new_tokens=self.max_new_tokens)
        for event in self.client.ask(self.stream_id, question.truth.text, sampling):
            if isinstance(event, AnswerStarted):
                started = event
            elif isinstance(event, AnswerToken):
                hear(event.text)
            elif isinstance(event, AnswerFinished):
                finished = event
        answer = self._scored(question, started, finished)
        self._num_asked += 1
        self._num_comparable += answer.is_comparable
        self._asked_of[question.truth.family] += 1
        left = len(self.groups) - self._num_comparable
        rest = self._last_look - answer.newest_look
        self._next_look = answer.newest_look + max(1, rest // (left + 1))
        return answer

    @property
    def _last_look(self) -> int:
        # Behind the last look the camera hangs up.
        return self.truth.num_looks - 2

    def _choose(self, look: int) -> TruthQuestion | None:
        """Of the family that was asked about least."""
        wanted = self.groups[self._num_comparable]
        offered = self.truth.questions(look, self._rng, len(FAMILIES))
        fitting = [each for each in offered if wanted in (None, each.group)]
        return min(fitting, key=lambda each: self._asked_of[each.family], default=None)

    def _scored(
        self, question: LiveQuestion, started: AnswerStarted, finished: AnswerFinished
    ) -> LiveAnswer:
        newest = self.truth.newest_look(started)
        video_id = f"world-{self.truth.script.seed}"
        item = replace(
            item_of(question.truth, f"{video_id}-{question.look}-{self._num_asked}"),
            asked_seconds=self.truth.looks(newest)[-1].taken_seconds,
        )
        memory = self.client.get_stream(self.stream_id).memory
        return LiveAnswer(
            asked=question,
            newest_look=newest,
            is_comparable=self.truth.is_unchanged(question.look, newest),
            started=started,
            outcome=Outcome.of(item, finished, memory, video_id=video_id, method=METHOD),
        )

    def _newest_look(self) -> int:
        """The newest clip that has come to the service; -1 where none has."""
        feed = self.client.get_stream(self.stream_id).feed
        if feed.state is not SourceState.LIVE or feed.last_frame is None:
            raise SourceError(f"stream {self.stream_id!r} is {feed.state.value}: {feed.message}")
        return self.truth.look_of(feed.last_frame.pts_seconds)

    def _wait_for(self, look: int) -> None:
        newest, deadline = self._newest_look(), time.monotonic() + PATIENCE_SECONDS
        while newest < look:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no look {look} within {PATIENCE_SECONDS:.0f} s, only {newest}")
            time.sleep(_POLL_SECONDS)
            newest = self._newest_look()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for_service(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    with Client(address) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                client.list_streams()
            except (ServiceUnreachableError, EngineStoppedError):
                time.sleep(0.2)
            else:
                return
    raise RuntimeError(f"the service on {address} did not start")
