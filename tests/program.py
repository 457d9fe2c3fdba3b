"""streamvlm as a process of its own."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def program(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The program while it runs; whatever the test does, it has ended afterwards."""
    with subprocess.Popen(
        [sys.executable, "-m", "streamvlm.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def first_line(process: subprocess.Popen[str]) -> str:
    """What it prints first; fails where that takes a minute."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(60), "the program says nothing"
        return process.stdout.readline()


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C, pressed again where it was not heeded; fails where three times are not enough."""
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
            return
    raise AssertionError("the program does not end when it is interrupted")
