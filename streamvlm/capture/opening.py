"""From an address to a feed."""

from __future__ import annotations

from streamvlm.capture.address import SourceAddress, SourceKind
from streamvlm.capture.backoff import Backoff
from streamvlm.capture.feed import Feed
from streamvlm.capture.push import PushFeed
from streamvlm.types import GridRule


def open_feed(
    stream_id: str,
    address_text: str,
    *,
    fps: float,
    rule: GridRule,
    queue_clips: int,
    open_timeout_seconds: float,
    read_timeout_seconds: float,
    backoff: Backoff | None = None,
) -> Feed | PushFeed:
    """A feed for what a user wrote, not started yet. Raises SourceAddressError."""
    address = SourceAddress.parse(address_text)
    if address.kind is SourceKind.PUSH:
        return PushFeed(
            stream_id,
            fps=fps,
            rule=rule,
            queue_clips=queue_clips,
            pause_seconds=read_timeout_seconds,
        )
    return Feed(
        stream_id,
        address,
        fps=fps,
        rule=rule,
        queue_clips=queue_clips,
        open_timeout_seconds=open_timeout_seconds,
        read_timeout_seconds=read_timeout_seconds,
        backoff=backoff,
    )
