"""A synthetic world as a camera's programme: H.264, made while it plays."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch

from streamvlm.capture.h264 import AccessUnit, encode
from streamvlm.evaluate.world.render import render
from streamvlm.evaluate.world.script import Script


class WorldProgramme:
    """The access units of a script, each second made when it is asked for, or the one before.

    A keyframe begins each second. Making one takes a while and blocks who asks, unless the second
    before it was asked for in time. What was two seconds or more before the one asked for is
    forgotten.
    """

    def __init__(self, script: Script, *, fps: int, side: int) -> None:
        self._script, self._fps, self._side = script, fps, side
        self._seconds: dict[int, Future[list[AccessUnit]]] = {}
        # A test camera must not take the cores of what is tested.
        self._thread = ThreadPoolExecutor(1, "render", torch.set_num_threads, (1,))
        self[0]

    def __len__(self) -> int:
        return round(self._script.seconds * self._fps)

    def __getitem__(self, index: int, /) -> AccessUnit:
        second, offset = divmod(index, self._fps)
        made = self._ordered(second)
        self._ordered(second + 1)
        for over in [each for each in self._seconds if each < second - 1]:
            del self._seconds[over]
        return made.result()[offset]

    def _ordered(self, second: int) -> Future[list[AccessUnit]]:
        if second not in self._seconds:
            self._seconds[second] = self._thread.submit(self._make, second)
        return self._seconds[second]

    def _make(self, second: int) -> list[AccessUnit]:
        first = second * self._fps
        times = [index / self._fps for index in range(first, min(first + self._fps, len(self)))]
        if not times:
            return []
        frames = render(self._script, times, height=self._side, width=self._side)
        return encode(frames.numpy(), fps=self._fps)
