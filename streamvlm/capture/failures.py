"""From the errors of FFmpeg to ours. FFmpeg quotes the URL in its messages: they are never used."""

from __future__ import annotations

import av

from streamvlm.errors import (
    SourceAuthError,
    SourceError,
    SourceFormatError,
    SourceLostError,
    SourceNotFoundError,
    SourceStalledError,
    SourceUnreachableError,
)

_BY_REASON: dict[str, type[SourceError]] = {
    kind.reason: kind for kind in SourceError.__subclasses__()
}


def error_of(reason: str, message: str) -> SourceError:
    """The error that a report tells of."""
    return _BY_REASON.get(reason, SourceError)(message)


def open_failure(
    error: av.FFmpegError, *, where: str, waited_seconds: float, limit_seconds: float
) -> SourceError:
    """Why a connection could not be opened. `where` is the redacted address."""
    problem = f"{where}: {error.strerror}"
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return SourceAuthError(problem)
    if isinstance(error, av.error.HTTPNotFoundError):
        return SourceNotFoundError(problem)
    # A camera that accepts and never answers ends as "invalid data", after the whole timeout.
    if waited_seconds >= 0.9 * limit_seconds:
        return SourceUnreachableError(f"{where}: no answer within {limit_seconds:g} s")
    if isinstance(error, _NOT_VIDEO):
        return SourceFormatError(f"{where}: the answer is not video that can be decoded")
    return SourceUnreachableError(problem)


def read_failure(
    error: av.FFmpegError | None, *, where: str, silent_seconds: float, limit_seconds: float
) -> SourceError:
    """Why a connection ended that was open: it went silent, or it broke. None: it just ended.

    Told by the silence, not by the type: FFmpeg has a different error for each way to be silent.
    """
    if silent_seconds >= 0.9 * limit_seconds:
        return SourceStalledError(f"{where}: no picture for {silent_seconds:.1f} s")
    problem = error.strerror if error is not None else "the other side ended the stream"
    return SourceLostError(f"{where}: {problem}")


_NOT_VIDEO = (
    av.error.InvalidDataError,
    av.error.DemuxerNotFoundError,
    av.error.DecoderNotFoundError,
    av.error.ProtocolNotFoundError,
)
