"""Addresses: what is read, what is refused, and that nobody sees a password."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamvlm.capture import SourceAddress, SourceKind
from streamvlm.errors import SourceAddressError

SECRETS = ("s3cret", "hunter2")


@pytest.mark.parametrize(
    ("text", "kind", "location"),
    [
        ("rtsp://cam/1", SourceKind.RTSP, "rtsp://cam/1"),
        ("RTSPS://cam:322/1", SourceKind.RTSP, "RTSPS://cam:322/1"),
        ("rtsp://[::1]:8554/a", SourceKind.RTSP, "rtsp://[::1]:8554/a"),
        ("/a/b.mp4", SourceKind.FILE, "/a/b.mp4"),
        ("b.mp4", SourceKind.FILE, "b.mp4"),
        ("C:\\a.mp4", SourceKind.FILE, "C:\\a.mp4"),
        ("file:///a/b%20c.mp4", SourceKind.FILE, "/a/b c.mp4"),
        ("push:", SourceKind.PUSH, ""),
        ("synthetic:moving?seconds=3", SourceKind.SYNTHETIC, "moving"),
    ],
)
def test_every_documented_form_is_read(text: str, kind: SourceKind, location: str) -> None:
    address = SourceAddress.parse(text)
    assert (address.kind, address.location) == (kind, location)


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "a\nb.mp4", "http://cam/1", "https://cam", "rtmp://cam/1", "http:cam",
        "rtsp://", "rtsp:///path", "rtsp://:554/x", "rtsp://cam:0/x", "rtsp://cam:99999/x",
        "rtsp://cam:port/x", "rtsp://[::1/x", "rtsp:/cam", "push:x", "synthetic:", "file://",
        "file://other/a.mp4",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_the_allowed_forms(text: str) -> None:
    with pytest.raises(SourceAddressError, match="allowed: rtsp://"):
        SourceAddress.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://s3cret:hunter2@cam/1",
        "rtsp://s3cret:hun@ter2:hunter2@cam/1",
        "rtsp://cam/live?user=s3cret&password=hunter2",
        "rtsp://cam/user=s3cret&password=hunter2&channel=1",
        "rtsp://cam/user=s3cret_password=hunter2_channel=1",
        "rtsp://s3cret:12/hunter2@cam/1",
        "rtsp://s3cret:hunter2@cam:bad/1",
        "rtsp:/s3cret:hunter2@cam/1",
        "rtsp//s3cret:hunter2@cam/1",
        "http://s3cret:hunter2@cam/1",
        "push:s3cret:hunter2@x",
        "s3cret:hun@ter2:hunter2@cam/1",
        "s3cret:hun/hunter2@cam/1",
        "rtsp://cam/live?token=abc/hunter2+x==",
        "rtsp://cam/live?password=a;hunter2",
        "rtsp://cam/live?accessToken=hunter2",
        "rtsp://cam/live?x-token=hunter2",
        "rtsp://cam/live?jwt=hunter2&channel=1",
        "rtsp://cam/streamkey/?streamKey=hunter2",
        "rtsp://cam/live?pass%77ord=hunter2",
        "rtsp://cam/live?hunter2",
        "rtsp://cam/live?hunter2==",
        "rtsp://cam/live?channel=1#hunter2",
        "rtsp://cam/live#hunter2",
        "rtsp://cam/live?channel=1?x=hunter2",
        "rtsp://cam/live?channel=a/b/hunter2",
        "rtsp://cam/user=admin&psd=hunter2",
        "rtsp://cam/user%3Dadmin&psd%3Dhunter2/x",
        "cam/user=admin&psd=hunter2",
        "synthetic:moving?token=hunter2",
        "synthetic:?token=hunter2",
    ],
)
def test_no_credentials_in_anything_that_is_shown(text: str) -> None:
    try:
        address = SourceAddress.parse(text)
    except SourceAddressError as error:
        shown = str(error)
    else:
        shown = f"{address} {address!r} {address.redacted}"
    assert not any(secret in shown for secret in SECRETS), shown


@given(st.text())
def test_any_text_is_an_address_or_a_typed_error(text: str) -> None:
    try:
        SourceAddress.parse(text)
    except SourceAddressError as error:
        assert "allowed" in str(error)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://a:b@cam:554/live/1?channel=1&subtype=0", "rtsp://cam:554/live/1?channel=1&subtype=0"),
        ("rtsp://cam/live?chan%6Eel=2;token=x", "rtsp://cam/live?chan%6Eel=2;token=***"),
        ("rtsp://cam/user=a&password=b/1", "rtsp://cam/***/1"),
        ("synthetic:moving?seconds=3&fps=2.5", "synthetic:moving?seconds=3&fps=2.5"),
        ("/videos/cam #1.mp4", "/videos/cam #1.mp4"),
    ],
)  # fmt: skip
def test_what_tells_sources_apart_is_shown(text: str, shown: str) -> None:
    assert SourceAddress.parse(text).redacted == shown


@pytest.mark.parametrize("text", ["file:///a/%1B%5D0;x%07", "file:///a%00b", "file:///a%0Ab"])
def test_control_characters_are_refused_however_they_are_written(text: str) -> None:
    with pytest.raises(SourceAddressError) as raised:
        SourceAddress.parse(text)
    assert str(raised.value).isprintable()
