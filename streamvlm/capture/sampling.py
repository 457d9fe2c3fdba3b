"""Which frames are taken, and how they are grouped. By presentation time, never by count."""

from __future__ import annotations

import numpy as np

from streamvlm.types import Clip, Frame

_MAX_UTC_STEP_SECONDS = 1.0


class TimeSampler:
    """Chooses frames at `fps` per second of presentation time from any rate, even or not.

    Takes the frame nearest to each due time as far as one can tell without looking ahead. Any two
    taken frames are at least half a period apart, and no stretch gets more than its share: the due
    times advance by a whole period for each frame taken.
    """

    def __init__(self, fps: float) -> None:
        self._period_seconds = 1.0 / fps
        self._due_seconds: float | None = None
        self._seen_seconds: float | None = None
        self._taken_seconds = 0.0

    def wants(self, pts_seconds: float) -> bool:
        """Whether to take this frame. Ask for every frame, in order; equal and older PTS: no."""
        seen, due, period = self._seen_seconds, self._due_seconds, self._period_seconds
        if seen is not None and pts_seconds <= seen:
            return False
        self._seen_seconds = pts_seconds
        if seen is None or due is None:
            self._take(pts_seconds, pts_seconds)
            return True
        # Half the way to the next frame, which is about as far as this one is from the last.
        early_seconds = min((pts_seconds - seen) / 2, period / 4)
        if pts_seconds < due - early_seconds or pts_seconds < self._taken_seconds + period / 2:
            return False
        is_behind = pts_seconds - due >= period
        self._take(pts_seconds, pts_seconds if is_behind else due)
        return True

    def _take(self, pts_seconds: float, due_seconds: float) -> None:
        self._taken_seconds = pts_seconds
        self._due_seconds = due_seconds + self._period_seconds


class ClipAssembler:
    """Groups consecutive frames of one size and one clock into clips of `frames_per_clip`."""

    def __init__(
        self, stream_id: str, fps: float, *, frames_per_clip: int = 2, first_clip_index: int = 0
    ) -> None:
        self._stream_id = stream_id
        self._frame_seconds = 1.0 / fps
        self._frames_per_clip = frames_per_clip
        self._clip_index = first_clip_index
        self._frames: list[Frame] = []

    def add(self, frame: Frame) -> list[Clip]:
        """Take the next frame; give the clips that are complete by it, also cut short by it."""
        clips = []
        if self._frames and not _belong_together(self._frames[-1], frame):
            clips += self.flush()
        self._frames.append(frame)
        if len(self._frames) == self._frames_per_clip:
            clips += self.flush()
        return clips

    def flush(self) -> list[Clip]:
        """The frames that wait, as a clip; its last frame is repeated to fill it. At most one clip.

        Call it where the stream is interrupted: frames before and after a gap never share a clip.
        """
        if not self._frames:
            return []
        missing = self._frames_per_clip - len(self._frames)
        frames = [*self._frames, *[self._frames[-1]] * missing]
        self._frames = []
        clip = Clip(
            stream_id=self._stream_id,
            clip_index=self._clip_index,
            pixels=np.stack([frame.pixels for frame in frames]),
            times=tuple(frame.time for frame in frames),
            frame_seconds=self._frame_seconds,
        )
        self._clip_index += 1
        return [clip]


def _belong_together(earlier: Frame, later: Frame) -> bool:
    """Whether two frames may share a clip: one size, and UTC goes on as stream time does."""
    passed_seconds = later.time.pts_seconds - earlier.time.pts_seconds
    utc_passed_seconds = later.time.utc_seconds - earlier.time.utc_seconds
    return (
        earlier.pixels.shape == later.pixels.shape
        and utc_passed_seconds >= 0
        and abs(utc_passed_seconds - passed_seconds) <= _MAX_UTC_STEP_SECONDS
    )
