"""Where pictures come from, as users write it. What is shown of an address has no credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

from streamvlm.errors import SourceAddressError

ALLOWED = (
    "allowed: rtsp://HOST[:PORT]/PATH, rtsps://..., a file path, file:///PATH, push:, "
    "synthetic:SCENE[?seconds=..&fps=..&height=..&width=..]"
)

_MAX_CHARACTERS = 4_096
# Parameters whose values are shown. Of all others nobody knows whether they are secret: each maker
# has its own word for the password.
_HARMLESS = {
    "channel", "subtype", "stream", "profile", "transport",
    "fps", "seconds", "height", "width", "realtime", "seed",
}  # fmt: skip
_SHORT_WORD = re.compile(r"[\w.+-]{1,16}", re.ASCII)


class SourceKind(StrEnum):
    """What reads an address."""

    RTSP = "rtsp"
    FILE = "file"
    PUSH = "push"
    SYNTHETIC = "synthetic"


_USER_AND_PASSWORD = re.compile(r"[^/\s:@]+:\S*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAddress:
    """One source. Make it with `parse`; print it freely."""

    kind: SourceKind
    redacted: str
    """The address without user, password and the like; safe to log and to show."""
    location: str = field(repr=False)
    """URL with credentials, file path, or name of the scene; empty for push. Never log it."""
    parameters: dict[str, str] = field(default_factory=dict, repr=False)
    """What follows the `?` of a synthetic address."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a user wrote. Raises SourceAddressError that says what is allowed."""
        text = _checked_text(text.strip())
        # One letter before the colon is a Windows drive, not a scheme.
        match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text)
        scheme = match[1].lower() if match else ""
        if scheme in ("rtsp", "rtsps"):
            return cls(kind=SourceKind.RTSP, redacted=redact(text), location=_checked_url(text))
        if scheme == "synthetic":
            scene, parameters = _scene(text)
            return cls(
                kind=SourceKind.SYNTHETIC,
                redacted=redact(text),
                location=scene,
                parameters=parameters,
            )
        if scheme == "push":
            if text.lower() != "push:":
                raise SourceAddressError(f"{redact(text)!r}: nothing may follow 'push:'; {ALLOWED}")
            return cls(kind=SourceKind.PUSH, redacted="push:", location="")
        if scheme and scheme != "file" and ("//" in text or scheme in ("http", "https", "data")):
            raise SourceAddressError(f"cannot read {redact(text)!r}: unknown scheme; {ALLOWED}")
        path = _file_path(text) if scheme == "file" else text
        return cls(kind=SourceKind.FILE, redacted=redact(path), location=path)

    def __str__(self) -> str:
        return self.redacted


def redact(text: str) -> str:
    """The text without what may be a credential; for addresses, right or wrong.

    Shown are scheme, host, port and path, and the values of a few parameters known as harmless. A
    part of the path that holds a parameter is hidden: some cameras take the password there.
    """
    head, separator, rest = text.partition("://")
    if not separator:
        return _masked(_USER_AND_PASSWORD.sub("***@", text), query_begins="?")
    # The last @ of all: a password may hold one and, where nobody escaped it, even a slash.
    return f"{head}://" + _masked(rest.rpartition("@")[2], query_begins="?#")


def _masked(text: str, *, query_begins: str) -> str:
    path = re.split(f"[{query_begins}]", text, maxsplit=1)[0]
    shown = "/".join("***" if "=" in unquote(part) else part for part in path.split("/"))
    query = text[len(path) :]
    if not query:
        return shown
    # Each parameter after the sign that parts it from the one before.
    parts = re.findall(r"([?#&;])([^?#&;]*)", query)
    return shown + "".join(sign + _masked_parameter(parameter) for sign, parameter in parts)


def _masked_parameter(text: str) -> str:
    name, _, value = text.partition("=")
    if not value.strip("="):
        return "***" if text else ""
    is_harmless = unquote(name).lower() in _HARMLESS and _SHORT_WORD.fullmatch(value)
    return text if is_harmless else f"{name}=***"


def _checked_text(text: str) -> str:
    if len(text) > _MAX_CHARACTERS:
        raise SourceAddressError(
            f"a source address may have {_MAX_CHARACTERS} characters, got {len(text)}; {ALLOWED}"
        )
    if not text or not text.isprintable():
        raise SourceAddressError(f"a source address cannot be {redact(text)!r}; {ALLOWED}")
    return text


def _checked_url(text: str) -> str:
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        # Its message may quote the password where that was taken for a port.
        host, port = None, 0
        problem = "a port must be a number from 1 to 65535, and a host one name or address"
    else:
        problem = "the host is missing" if not host else ""
    if not problem and port == 0:
        problem = "a port must be a number from 1 to 65535"
    if problem:
        raise SourceAddressError(f"cannot read {redact(text)!r}: {problem}; {ALLOWED}")
    return text


def _scene(text: str) -> tuple[str, dict[str, str]]:
    """The scene's name and its parameters."""
    name, _, query = text[len("synthetic:") :].partition("?")
    if not name:
        raise SourceAddressError(f"{redact(text)!r} names no scene; {ALLOWED}")
    return name, dict(parse_qsl(query, keep_blank_values=True))


def _file_path(text: str) -> str:
    url = urlsplit(text)
    if url.netloc not in ("", "localhost") or not url.path:
        raise SourceAddressError(f"{redact(text)!r} is not a file of this machine; {ALLOWED}")
    path = unquote(url.path)
    if not path.isprintable():
        raise SourceAddressError(f"a file path cannot be {redact(path)!r}; {ALLOWED}")
    return path
