"""The errors that users can meet, as one tree.

    StreamVLMError
    |-- InvalidInputError            the caller's value is wrong; the message says what is allowed
    |   |-- ConfigError                a setting
    |   |-- QuestionError              a question
    |   |-- TimeAheadError             a time that has not come yet
    |   |-- FrameError                 a pushed frame
    |   |-- RuleError                  an alert rule
    |   |-- ErasureError               what is to be erased
    |   `-- SuiteFormatError           a local copy of a benchmark
    |-- StreamNotFoundError
    |-- StreamExistsError
    |-- RuleNotFoundError
    |-- RuleExistsError
    |-- AlertNotFoundError
    |-- WebhookNotFoundError
    |-- AuthenticationError          no key, or one that is not known
    |-- StreamEmptyError             nothing was seen yet, so nothing can be asked
    |-- TimeNotRememberedError       nothing is known of the time that was asked about
    |-- CapacityError                a limit is reached: streams, questions, bytes; try again later
    |-- EngineStoppedError           the engine is not running
    |-- MetadataError                Redis cannot be reached, is full, or refuses to write
    |-- FencedError                  another worker holds the stream by now
    |-- NotErasedError               what was to be erased may still be on the disk; try again
    |-- SnapshotError                what a stream remembered cannot be read back
    |   `-- SnapshotMismatchError      it is of another model or another source
    |-- CheckpointError              a model cannot be loaded
    |-- AddressInUseError            another process listens there
    |-- ServiceUnreachableError      no service answers at the address
    |-- DeadlineExceededError        the time that the caller gave is over
    `-- SourceError                  a camera or a file
        |-- SourceAddressError         not an address we can read
        |-- SourceUnreachableError     nobody answers
        |-- SourceAuthError            user or password refused
        |-- SourceNotFoundError        the server answers, the stream or file is not there
        |-- SourceFormatError          there, but not video that can be decoded
        |-- SourceStalledError         connected, but no pictures arrive
        `-- SourceLostError            the connection ended, or its decoder did

Each class has a `reason`, a stable word for machines (it travels in gRPC errors and in
`Gap.reason`). Messages never hold credentials.
"""

from __future__ import annotations


class StreamVLMError(Exception):
    """Everything that streamvlm raises on purpose."""

    reason = "INTERNAL"


class InvalidInputError(StreamVLMError, ValueError):
    """The caller's value is wrong."""

    reason = "INVALID_INPUT"


class ConfigError(InvalidInputError):
    """A setting is unknown, out of range, or has no effect in this combination."""

    reason = "INVALID_CONFIG"


class QuestionError(InvalidInputError):
    """A question is empty, too long, or asks for impossible sampling."""

    reason = "INVALID_QUESTION"


class TimeAheadError(InvalidInputError):
    """All of the time that was asked about is ahead."""

    reason = "TIME_AHEAD"


class FrameError(InvalidInputError):
    """A pushed frame cannot be used."""

    reason = "INVALID_FRAME"


class RuleError(InvalidInputError):
    """An alert rule has no text, or settings that contradict each other."""

    reason = "INVALID_RULE"


class ErasureError(InvalidInputError):
    """Nobody says what is to be erased, or it has not happened yet."""

    reason = "INVALID_ERASURE"


class SuiteFormatError(InvalidInputError):
    """The local copy of a benchmark is not as it was published, or lacks a file."""

    reason = "INVALID_SUITE"


class StreamNotFoundError(StreamVLMError):
    """No stream has this id."""

    reason = "STREAM_NOT_FOUND"


class StreamExistsError(StreamVLMError):
    """A stream with this id is there already."""

    reason = "STREAM_EXISTS"


class RuleNotFoundError(StreamVLMError):
    """No alert rule has this id."""

    reason = "RULE_NOT_FOUND"


class RuleExistsError(StreamVLMError):
    """An alert rule with this id is there already."""

    reason = "RULE_EXISTS"


class AlertNotFoundError(StreamVLMError):
    """No alert has this id, or none that is still known."""

    reason = "ALERT_NOT_FOUND"


class WebhookNotFoundError(StreamVLMError):
    """No webhook of this name has been served."""

    reason = "WEBHOOK_NOT_FOUND"


class AuthenticationError(StreamVLMError):
    """The call has no API key, or one that the service does not know."""

    reason = "KEY_REFUSED"


class StreamEmptyError(StreamVLMError):
    """The stream has not shown a picture yet."""

    reason = "STREAM_EMPTY"


class TimeNotRememberedError(StreamVLMError):
    """Nothing is remembered of the time that was asked about: it was before memory begins, or the
    camera was blind.
    """

    reason = "TIME_NOT_REMEMBERED"


class CapacityError(StreamVLMError):
    """A limit is reached; nothing was changed."""

    reason = "CAPACITY_REACHED"


class EngineStoppedError(StreamVLMError):
    """The engine is stopping or has stopped."""

    reason = "ENGINE_STOPPED"


class MetadataError(StreamVLMError):
    """The store of streams, rules and events cannot be used now; nothing was changed."""

    reason = "METADATA_UNAVAILABLE"


class FencedError(StreamVLMError):
    """Another worker holds the stream by now: what this one says of it does not count."""

    reason = "STREAM_FENCED"


class NotErasedError(StreamVLMError):
    """Memory has forgotten what was to be erased, but the disk may not have."""

    reason = "NOT_ERASED"


class SnapshotError(StreamVLMError):
    """No snapshot of a stream can be read from where they are kept."""

    reason = "SNAPSHOT_UNUSABLE"


class SnapshotMismatchError(SnapshotError):
    """A snapshot is there and sound, but not of this model, source or format."""

    reason = "SNAPSHOT_MISMATCH"


class CheckpointError(StreamVLMError):
    """A model cannot be loaded from where the configuration points."""

    reason = "CHECKPOINT_UNUSABLE"


class AddressInUseError(StreamVLMError):
    """Another process listens on the address that the service was told to use."""

    reason = "ADDRESS_IN_USE"


class ServiceUnreachableError(StreamVLMError):
    """No streamvlm service answers at the address, or it went away."""

    reason = "SERVICE_UNREACHABLE"


class DeadlineExceededError(StreamVLMError):
    """The time that the caller gave, or the service by default, was over before the end."""

    reason = "DEADLINE_EXCEEDED"


class SourceError(StreamVLMError):
    """A camera or a file gives trouble."""

    reason = "SOURCE_FAILED"


class SourceAddressError(SourceError, InvalidInputError):
    """The text is not an address that we can read."""

    reason = "SOURCE_ADDRESS_INVALID"


class SourceUnreachableError(SourceError):
    """Nobody answers at the address."""

    reason = "SOURCE_UNREACHABLE"


class SourceAuthError(SourceError):
    """The camera refuses the user or the password."""

    reason = "SOURCE_AUTH_FAILED"


class SourceNotFoundError(SourceError):
    """The server answers but does not have this stream, or the file is not there."""

    reason = "SOURCE_NOT_FOUND"


class SourceFormatError(SourceError):
    """It is there but is not video that can be decoded."""

    reason = "SOURCE_NOT_VIDEO"


class SourceStalledError(SourceError):
    """Connected, but no pictures arrive."""

    reason = "SOURCE_STALLED"


class SourceLostError(SourceError):
    """The connection or the decoder process ended."""

    reason = "SOURCE_LOST"
