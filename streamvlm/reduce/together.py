"""Clips of many streams through their compressors at once."""

from __future__ import annotations

from collections.abc import Sequence

from streamvlm.reduce.compression import CompressorStream
from streamvlm.reduce.look import Looked, look
from streamvlm.reduce.stream import Reduced
from streamvlm.types import VisualTokens


def push_together(
    streams: Sequence[CompressorStream], clips: Sequence[VisualTokens]
) -> list[list[Reduced] | Exception]:
    """One more clip of each stream, with the result of a `push` of each; in place of one that
    failed its error, as that is no concern of the others. What reads whole clips is done for all
    streams of one shape in one go, and the host waits once for it.

    Raises ValueError where a stream comes twice. Where looking at the clips fails, it fails for
    all, and no stream has changed.
    """
    if len({id(stream) for stream in streams}) < len(streams):
        raise ValueError("a stream cannot take two clips in one go")
    standings = [stream.standing(clip) for stream, clip in zip(streams, clips, strict=True)]
    looked = look(standings, clips)
    return [_taken(*each) for each in zip(streams, clips, looked, strict=True)]


def _taken(
    stream: CompressorStream, clip: VisualTokens, looked: Looked
) -> list[Reduced] | Exception:
    try:
        return stream.take(clip, looked)
    except Exception as error:
        return error
