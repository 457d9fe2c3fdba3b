"""Ids that callers give: what they may be, and how they are shown."""

from __future__ import annotations

import re
from contextvars import ContextVar

from streamvlm.errors import InvalidInputError, RuleError

STREAM_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
MAX_REQUEST_ID_CHARACTERS = 128

_MAX_SHOWN_CHARACTERS = 80
_stream_id: ContextVar[str] = ContextVar("stream_id", default="")


def checked_stream_id(text: str) -> str:
    """The text, which is from now on the stream of this call. Raises InvalidInputError."""
    _stream_id.set(shown(text))
    if not STREAM_ID.fullmatch(text):
        raise InvalidInputError(
            f"{shown(text)!r} cannot be a stream id; allowed: {STREAM_ID.pattern}"
        )
    return text


def checked_rule_id(text: str) -> str:
    """The text. Raises RuleError."""
    if not STREAM_ID.fullmatch(text):
        raise RuleError(f"{shown(text)!r} cannot be a rule id; allowed: {STREAM_ID.pattern}")
    return text


def checked_request_id(text: str, what: str = "a request id") -> str:
    """The text, which may be empty. Raises InvalidInputError, which says what it cannot be."""
    if len(text) > MAX_REQUEST_ID_CHARACTERS or not text.isprintable():
        raise InvalidInputError(
            f"{shown(text)!r} cannot be {what}; allowed: at most "
            f"{MAX_REQUEST_ID_CHARACTERS} printable characters"
        )
    return text


def stream_id_of_call() -> str:
    """As the caller gave it, shortened; empty where the call has named no stream yet."""
    return _stream_id.get()


def shown(text: str) -> str:
    """What a caller sent, short enough for a line of the log."""
    if len(text) <= _MAX_SHOWN_CHARACTERS:
        return text
    return f"{text[:_MAX_SHOWN_CHARACTERS]}... ({len(text)} characters)"
