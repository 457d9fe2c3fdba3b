"""streamvlm as a process of its own."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
        preexec_fn=_heed_interrupts,
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
    """Ctrl-C; fails where the program does not end."""
    process.send_signal(signal.SIGINT)
    process.wait(60)


def _heed_interrupts() -> None:
    """A shell has what it starts in the background ignore SIGINT, children of these too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
